// canvaslab plot: figures of finished runs.
#include "core/error.h"
#include "eval/plot.h"
#include "experiments/commands.h"

namespace canvaslab {

void add_plot(CLI::App& app, int*) {
  auto* command = app.add_subcommand("plot", "draw PNG, SVG and one HTML report of finished runs");
  auto* runs = new std::vector<std::string>;
  auto* out = new std::string;
  command->add_option("runs", *runs, "run folders or run.h5 files")->required();
  command->add_option("--out", *out, "folder for the figures (default: plots/ beside each run)");
  command->footer("Example:\n  canvaslab plot results/runs/quickstart");
  command->callback([=] {
    for (const auto& path : plot_runs(*runs, *out)) fmt::print("{}\n", path);
  });
}

}  // namespace canvaslab
