// canvaslab plot: figures of finished runs.
#include "core/error.h"
#include "eval/plot.h"
#include "experiments/commands.h"

namespace canvaslab {

void add_plot(CommandLine& line) {
  const Command command = line.command("plot", "draw PNG, SVG and one HTML report of finished runs");
  auto* runs = new std::vector<std::string>;
  auto* out = new std::string;
  command.option("runs", *runs, "run folders or run.h5 files").required();
  command.option("--out", *out, "folder for the figures (default: plots/ beside each run)");
  command.footer("Example:\n  canvaslab plot results/runs/quickstart");
  command.action([=] {
    for (const auto& path : plot_runs(*runs, *out)) fmt::print("{}\n", path);
  });
}

}  // namespace canvaslab
