// canvaslab generate: one prompt or a JSONL of prompts.
#include "experiments/commands.h"
namespace canvaslab {
void add_generate(CLI::App&, int*) {}
}  // namespace canvaslab
