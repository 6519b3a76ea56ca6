#pragma once
// One function per subcommand: adds it, with its options and what it does, to the command line.
#include "experiments/command_line.h"

namespace canvaslab {

void add_list(CommandLine& line);
void add_inspect(CommandLine& line);
void add_tokenize(CommandLine& line);
void add_generate(CommandLine& line);
void add_logits(CommandLine& line);
void add_sweep(CommandLine& line);
void add_plot(CommandLine& line);
void add_merge(CommandLine& line);
void add_diff(CommandLine& line);
void add_rank(CommandLine& line);
void add_attribute(CommandLine& line);
void add_export(CommandLine& line);
void add_table(CommandLine& line);
void add_import(CommandLine& line);
void add_plans(CommandLine& line);
void add_speculate(CommandLine& line);
void add_plugin(CommandLine& line);
void add_check(CommandLine& line);
void add_data(CommandLine& line);
void add_regrade(CommandLine& line);
void add_train(CommandLine& line);
void add_quantize(CommandLine& line);
void add_recipe_command(CommandLine& line);

}  // namespace canvaslab
