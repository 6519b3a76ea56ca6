// canvaslab plot: figures of finished runs.
#include "core/error.h"
#include "eval/plot.h"
#include "experiments/commands.h"

namespace canvaslab {

void add_plot(CommandLine& line) {
  const Command command = line.command("plot", "draw PNG, SVG and one HTML report of finished runs");
  auto* request = new PlotRequest;
  auto* costs = new std::string;
  command.option("runs", request->runs, "run folders or run.h5 files; of two on the same data also where they disagree");
  command.option("--out", request->out_dir, "folder for the figures (default: plots/ beside each run)");
  command.option("--x", request->choice.x.name, "what quality is plotted against: " + joined(plot_axis_names())).shows_default();
  command.option("--cost", *costs, "for --x cost_weighted_forwards: kind=cost,... of denoise, verify, unconditional, append (1 each) and prefill (0), in denoiser forwards");
  command.flag("--per-token", request->choice.x.per_token, "divide what a sample costs by its tokens");
  command.option("--quality", request->choice.quality, "the other axis: auto, divergence, agreement, score or a metric of the data set").shows_default();
  command.option("--config-a", request->config_a, "configuration to compare item by item: its number or a part of its settings; may be repeated");
  command.option("--config-b", request->config_b, "with which (of the second run where two are given); every A is compared with every B");
  command.option("--trace", request->traces, "trace of generate for the report's viewer; may be repeated; without runs a page of its own, in the folder plots beside the first");
  command.option("--tokenizer", request->tokenizer, "tokenizer.json, so that the viewer shows text instead of ids (default: that of the model)");
  command.footer("Examples:\n  canvaslab plot results/runs/quickstart\n  canvaslab plot runs/my --x cost_weighted_forwards --cost verify=0.3,append=0.5\n"
                 "  canvaslab plot runs/before runs/after\n  canvaslab plot runs/my --config-a 3 --config-b 7");
  command.action([=] {
    PlotRequest full = *request;
    if (!costs->empty() && canonical_name(full.choice.x.name) != "cost_weighted_forwards") throw usage_error("--cost weighs forwards for --x cost_weighted_forwards; the axis is {}", full.choice.x.name);
    full.choice.x.costs = parse_costs(*costs);
    const PlotOutcome outcome = plot_runs(full);
    for (const auto& path : outcome.written) fmt::print("{}\n", path);
    for (const auto& note : outcome.notes) fmt::print(stderr, "note: {}\n", note);
  });
}

}  // namespace canvaslab
