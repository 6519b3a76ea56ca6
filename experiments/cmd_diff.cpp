// canvaslab diff: two runs over the same items.
#include <cmath>


#include "core/error.h"
#include "core/json.h"
#include "eval/compare.h"
#include "experiments/commands.h"

namespace canvaslab {
namespace {

OrderedJson number(double value) { return std::isfinite(value) ? OrderedJson(value) : OrderedJson(nullptr); }
OrderedJson interval(const Interval& value) { return OrderedJson::array({number(value.low), number(value.high)}); }

OrderedJson run_json(const RunScores& run) {
  return {{"path", run.path}, {"name", run.name}, {"denoiser", run.denoiser}, {"dataset", run.dataset}, {"dtype", run.dtype}, {"items", run.items.size()}};
}

OrderedJson pair_json(const RunComparison& all, const PairComparison& pair) {
  OrderedJson out = {{"config_a", pair.config_a}, {"config_b", pair.config_b}, {"settings_a", all.a.configs[pair.config_a].settings}, {"settings_b", all.b.configs[pair.config_b].settings}};
  out["differing_settings"] = OrderedJson::object();
  for (const auto& setting : pair.settings) out["differing_settings"][setting.key] = {{"a", setting.a}, {"b", setting.b}};
  out.update({{"items", pair.num_items}, {"mean_a", number(pair.mean_a)}, {"mean_b", number(pair.mean_b)}, {"difference", number(pair.difference)},
              {"standard_error", number(pair.standard_error)}, {"bootstrap95", interval(pair.interval)}});
  if (pair.binary)
    out["flips"] = {{"only_a", pair.only_a}, {"only_b", pair.only_b}, {"wilson95_a", interval(pair.wilson_a)}, {"wilson95_b", interval(pair.wilson_b)},
                    {"mcnemar_exact", pair.mcnemar.exact}, {"mcnemar_mid_p", pair.mcnemar.mid_p}};
  out.update({{"test", pair.binary ? "mcnemar_exact" : "sign_flip"}, {"p_value", number(pair.p_value)}, {"p_holm", number(pair.p_holm)}});
  if (pair.equivalence) out["equivalence"] = {{"p_value", pair.equivalence->p_value}, {"interval90", interval(pair.equivalence->interval90)}};
  if (pair.quality_difference) out["quality"] = {{"name", all.a.quality_name}, {"difference", number(*pair.quality_difference)}, {"jackknife_standard_error", number(*pair.quality_error)}};
  return out;
}

void print_json(const RunComparison& all) {
  OrderedJson out = {{"a", run_json(all.a)}, {"b", run_json(all.b)}, {"score", {{"name", all.a.score_name}, {"unit", all.a.score_unit}, {"higher_is_better", all.a.higher_is_better}}},
              {"notes", all.notes}, {"pairs", OrderedJson::array()}};
  for (const auto& pair : all.pairs) out["pairs"].push_back(pair_json(all, pair));
  fmt::print("{}\n", json_text(out, 2));
}

void print_ids(const char* title, const std::vector<std::string>& ids) {
  fmt::print("    {}: {}", title, ids.size());
  for (size_t i = 0; i < std::min<size_t>(10, ids.size()); ++i) fmt::print("{}{}", i ? ", " : "  (", ids[i]);
  fmt::print("{}\n", ids.empty() ? "" : ids.size() > 10 ? ", ...; --json has all)" : ")");
}

void print_pair(const RunComparison& all, const PairComparison& pair, const CompareOptions& options) {
  fmt::print("\nA {} against B {}, {} items\n", pair.config_a, pair.config_b, pair.num_items);
  if (pair.settings.empty()) fmt::print("    settings: equal ({})\n", all.a.configs[pair.config_a].settings);
  for (const auto& setting : pair.settings) fmt::print("    {}: {} -> {}\n", setting.key, setting.a.empty() ? "(none)" : setting.a, setting.b.empty() ? "(none)" : setting.b);
  fmt::print("    {}: A {:.6g}, B {:.6g} {}\n", all.a.score_name, pair.mean_a, pair.mean_b, all.a.score_unit);
  if (pair.binary) fmt::print("    Wilson 95%: A [{:.4f}, {:.4f}], B [{:.4f}, {:.4f}]\n", pair.wilson_a.low, pair.wilson_a.high, pair.wilson_b.low, pair.wilson_b.high);
  fmt::print("    difference B - A: {:+.6g}, paired bootstrap 95% [{:+.6g}, {:+.6g}]\n", pair.difference, pair.interval.low, pair.interval.high);
  if (pair.binary) {
    print_ids("only A right", pair.only_a);
    print_ids("only B right", pair.only_b);
    fmt::print("    McNemar: exact p = {:.4g}, mid-p = {:.4g}", pair.mcnemar.exact, pair.mcnemar.mid_p);
  } else {
    fmt::print("    sign flips: p = {:.4g}", pair.p_value);
  }
  if (all.pairs.size() > 1) fmt::print("; Holm over {} pairs: {:.4g}", all.pairs.size(), pair.p_holm);
  fmt::print("\n");
  if (pair.equivalence)
    fmt::print("    equivalence within {:g}: p = {:.4g}; 90% interval [{:+.6g}, {:+.6g}]\n", *options.margin, pair.equivalence->p_value, pair.equivalence->interval90.low, pair.equivalence->interval90.high);
  if (pair.quality_difference) fmt::print("    {} B - A: {:+.6g} +- {:.2g} (95%, jackknife over items)\n", all.a.quality_name, *pair.quality_difference, 1.96 * *pair.quality_error);
}

struct Arguments {
  std::string a, b;
  CompareOptions options;
  double margin = 0;
  bool json = false;
};

void run(Arguments arguments, bool has_margin) {
  if (has_margin) {
    if (!(arguments.margin > 0) || !std::isfinite(arguments.margin)) throw usage_error("--margin {}: expected a number above 0, in the unit of the score", arguments.margin);
    arguments.options.margin = arguments.margin;
  }
  const RunComparison all = compare_runs(read_run_scores(arguments.a), read_run_scores(arguments.b), arguments.options);
  if (arguments.json) return print_json(all);
  fmt::print("A  {} ({})\nB  {} ({})\n", all.a.path, all.a.denoiser, all.b.path, all.b.denoiser);
  for (const auto& note : all.notes) fmt::print("note: {}\n", note);
  for (const auto& pair : all.pairs) print_pair(all, pair, arguments.options);
}

}  // namespace

void add_diff(CommandLine& line) {
  const Command command = line.command("diff", "compare two runs item by item: settings, flips or differences, p-values");
  auto* a = new Arguments;
  command.option("run_a", a->a, "run folder or run.h5").required();
  command.option("run_b", a->b, "run folder or run.h5; may be the same run").required();
  command.option("--config-a", a->options.config_a, "configuration of A: its number or a part of its settings; may be repeated (default: those whose settings both runs have)");
  command.option("--config-b", a->options.config_b, "configuration of B; every A is compared with every B");
  const CommandOption margin = command.option("--margin", a->margin, "also test that the means differ by less than this, in the unit of the score (two one-sided t tests)");
  command.option("--seed", a->options.seed, "of the bootstrap and of the sign flips (default 1)");
  command.flag("--json", a->json, "one JSON object, with the ids of all items that flip");
  command.footer("Examples:\n  canvaslab diff runs/before runs/after\n  canvaslab diff runs/my runs/my --config-a 3 --config-b 7 --config-b 8 --margin 0.02\n"
                  "  canvaslab diff runs/my runs/my --config-a 'entropy_bound=0.1); stop' --config-b ddim --json\n"
                  "Only items that both finished are compared, by id; repeats of an item are averaged first. 0/1 scores of single samples are tested with\n"
                  "McNemar's exact test, others by sign flips per item; Holm's adjustment covers all pairs shown.");
  command.action([=] { run(*a, margin.given()); });
}

}  // namespace canvaslab
