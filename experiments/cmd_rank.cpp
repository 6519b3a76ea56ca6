// canvaslab rank: which configurations are better than which, in every run given.
#include <cmath>

#include "core/error.h"
#include "core/json.h"
#include "eval/ranking.h"
#include "experiments/commands.h"

namespace canvaslab {
namespace {

OrderedJson number(double value) { return std::isfinite(value) ? OrderedJson(value) : OrderedJson(nullptr); }

OrderedJson ranking_json(const Ranking& ranking, const RankingOptions& options) {
  OrderedJson out = {{"runs", OrderedJson::array()}, {"quality", ranking.quality_name}, {"higher_is_better", ranking.higher_is_better}, {"alpha", options.alpha}};
  if (options.category) out["category"] = *options.category;
  for (const auto& run : ranking.runs) out["runs"].push_back({{"path", run.path}, {"denoiser", run.denoiser}});
  out.update({{"pairs", ranking.num_pairs}, {"agreed", ranking.num_agreed}, {"opposite", ranking.num_opposite}, {"configurations", OrderedJson::array()}});
  for (size_t c = 0; c < ranking.configs.size(); ++c) {
    const RankedConfig& config = ranking.configs[c];
    OrderedJson row = {{"settings", config.settings}, {"tokens_per_forward", number(config.tokens_per_forward)}, {"mean", number(config.mean)}, {"by_run", OrderedJson::array()}, {"front", config.front}};
    for (const double quality : config.quality) row["by_run"].push_back(number(quality));
    row["better_than"] = OrderedJson::array();
    for (size_t d = 0; d < ranking.configs.size(); ++d)
      if (ranking.order[c][d] > 0) row["better_than"].push_back(d);
    out["configurations"].push_back(row);
  }
  return out;
}

struct Arguments {
  std::vector<std::string> runs;
  std::string category;
  double alpha = 0.05;
  bool json = false;
};

void run(const Arguments& arguments) {
  if (!(arguments.alpha > 0 && arguments.alpha < 1)) throw usage_error("--alpha {}: expected a number between 0 and 1", arguments.alpha);
  RankingOptions options{.category = {}, .alpha = arguments.alpha};
  if (!arguments.category.empty()) options.category = arguments.category;
  std::vector<RunScores> runs;
  for (const auto& path : arguments.runs) runs.push_back(read_run_scores(path));
  if (const std::string caveat = runs.front().quality_caveat; !caveat.empty()) fmt::print(stderr, "note: {}\n", caveat);
  const Ranking ranking = rank_runs(std::move(runs), options);
  if (arguments.json) fmt::print("{}\n", json_text(ranking_json(ranking, options), 2));
  else fmt::print("{}", ranking_markdown(ranking, options));
}

}  // namespace

void add_rank(CommandLine& line) {
  const Command command = line.command("rank", "which configurations are better than which, in every one of several runs");
  auto* a = new Arguments;
  command.option("runs", a->runs, "run folders or run.h5 files of one plan with different denoisers (training seeds, say); one is enough").required();
  command.option("--category", a->category, "rank on the items of this category alone");
  command.option("--alpha", a->alpha, "chance of one false ranking in a run (default 0.05)");
  command.flag("--json", a->json, "one JSON object, with all pairs; better_than holds places in the list");
  command.footer("Examples:\n  canvaslab rank results/runs/quickstart\n  canvaslab rank results/runs/small-1 results/runs/small-2 results/runs/small-3 --category sudoku\n"
                  "Prints a Markdown table, the best first. Two configurations are ranked where the paired difference over items is significant in every run\n"
                  "and has the same sign in all of them; Holm's adjustment covers all pairs of a run.");
  command.action([=] { run(*a); });
}

}  // namespace canvaslab
