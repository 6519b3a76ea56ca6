// canvaslab: the command line.
#include <csignal>

#include "experiments/commands.h"

int main(int argc, char** argv) {
  using namespace canvaslab;
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);  // a file-size limit is then an error like a full disk
  CommandLine line("CanvasLab: a laboratory for samplers of block text-diffusion models",
                   "Examples:\n"
                   "  canvaslab sweep experiments/quickstart.toml      run the default experiment (resumes by itself)\n"
                   "  canvaslab plot results/runs/quickstart           draw it\n"
                   "  canvaslab list samplers                          what there is, with parameters\n"
                   "  canvaslab generate --model DIR --prompt 'Hello'  text from a checkpoint");
  add_list(line);
  add_inspect(line);
  add_tokenize(line);
  add_generate(line);
  add_logits(line);
  add_sweep(line);
  add_plot(line);
  add_merge(line);
  add_diff(line);
  add_rank(line);
  add_attribute(line);
  add_export(line);
  add_table(line);
  add_train(line);
  add_import(line);
  add_plans(line);
  add_speculate(line);
  add_plugin(line);
  add_check(line);
  add_data(line);
  add_regrade(line);
  add_quantize(line);
  add_recipe_command(line);
  return line.run(argc, argv);
}
