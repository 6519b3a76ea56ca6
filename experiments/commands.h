#pragma once
// One function per subcommand: adds it to the command line; running it is a callback that sets *exit_code.
#include <CLI/CLI.hpp>

namespace canvaslab {

void add_list(CLI::App& app, int* exit_code);
void add_inspect(CLI::App& app, int* exit_code);
void add_tokenize(CLI::App& app, int* exit_code);
void add_generate(CLI::App& app, int* exit_code);
void add_logits(CLI::App& app, int* exit_code);
void add_sweep(CLI::App& app, int* exit_code);
void add_plot(CLI::App& app, int* exit_code);
void add_merge(CLI::App& app, int* exit_code);
void add_diff(CLI::App& app, int* exit_code);
void add_export(CLI::App& app, int* exit_code);

}  // namespace canvaslab
