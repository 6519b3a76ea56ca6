// canvaslab attribute: which of several changes made by how much the difference of two configurations.
#include <algorithm>
#include <cmath>
#include <fmt/format.h>

#include "core/durable_file.h"
#include "core/error.h"
#include "core/json.h"
#include "eval/attribution_run.h"
#include "experiments/commands.h"
#include "experiments/shown_run.h"
#include "experiments/sweep_setup.h"

namespace canvaslab {
namespace {

struct Arguments {
  std::string config, a, b, out;
  std::vector<std::string> set;
  int32_t threads = 0, batch = 1, draws = 1000;
  int64_t limit = 0;
  uint64_t seed = 1;
  bool dry_run = false, json = false, markdown = false, quiet = false;
};

OrderedJson number(double value) { return std::isfinite(value) ? OrderedJson(value) : OrderedJson(nullptr); }

OrderedJson part_json(const FactorPart& part) {
  return {{"contribution", number(part.contribution)}, {"standard_error", number(part.standard_error)}, {"interval95", {number(part.interval.low), number(part.interval.high)}},
          {"bootstrap_bias", number(part.bias)}, {"alone_from_a", number(part.alone)}, {"last_to_b", number(part.last)}};
}

OrderedJson report_json(const PreparedAttribution& attribution, const std::vector<OutcomeParts>& outcomes, const Arguments& a, const std::string& results) {
  const PreparedSweep& sweep = attribution.sweep;
  const auto text = [&](size_t mixture) { return sweep.settings_text[attribution.config[mixture]]; };
  OrderedJson out = {{"method", "shapley"}, {"denoiser", sweep.plan.denoiser}, {"dataset", sweep.plan.dataset}, {"items", sweep.examples.size()}, {"repeats", sweep.plan.total_repeats()},
                     {"a", text(0)}, {"b", text(attribution.config.size() - 1)}, {"bootstrap", {{"draws", a.draws}, {"seed", a.seed}}}, {"results", results},
                     {"notes", attribution.mixtures.notes}, {"factors", OrderedJson::array()}, {"mixtures", OrderedJson::array()}, {"outcomes", OrderedJson::array()}};
  const auto& factors = attribution.mixtures.factors;
  for (const auto& factor : factors) out["factors"].push_back({{"name", factor.name}, {"settings", factor.keys}, {"a", factor.a}, {"b", factor.b}});
  for (size_t which = 0; which < attribution.config.size(); ++which) {
    OrderedJson as_in_b = OrderedJson::array();
    for (size_t i = 0; i < factors.size(); ++i)
      if (which >> i & 1) as_in_b.push_back(factors[i].name);
    out["mixtures"].push_back({{"as_in_b", as_in_b}, {"config_idx", attribution.config[which]}, {"settings", text(which)}});
  }
  for (const auto& outcome : outcomes) {
    OrderedJson at = {{"name", outcome.name}, {"unit", outcome.unit}, {"higher_is_better", outcome.higher_is_better}, {"a", number(outcome.parts.a)}, {"b", number(outcome.parts.b)},
                      {"control", outcome.control ? number(*outcome.control) : OrderedJson()}, {"total", part_json(outcome.parts.total)}, {"factors", OrderedJson::array()}, {"mixtures", OrderedJson::array()}};
    for (size_t i = 0; i < factors.size(); ++i) {
      OrderedJson part = {{"name", factors[i].name}};
      part.update(part_json(outcome.parts.factors[i]));
      at["factors"].push_back(std::move(part));
    }
    for (const double value : outcome.parts.values) at["mixtures"].push_back(number(value));
    out["outcomes"].push_back(std::move(at));
  }
  return out;
}

/// A row of the table; `cells` are already text.
std::string table_row(const std::vector<std::string>& cells, const std::vector<size_t>& widths, bool markdown) {
  std::string out = markdown ? "|" : "  ";
  for (size_t i = 0; i < cells.size(); ++i) out += markdown ? fmt::format(" {} |", cells[i]) : i == 0 ? fmt::format("{:<{}}", cells[i], widths[i]) : fmt::format("  {:>{}}", cells[i], widths[i]);
  return out + "\n";
}

std::string outcome_table(const PreparedAttribution& attribution, const OutcomeParts& outcome, bool markdown) {
  const auto row = [&](const std::string& name, const FactorPart& part) -> std::vector<std::string> {
    const double total = outcome.parts.total.contribution;
    return {name, fmt::format("{:+.4f}", part.contribution), fmt::format("[{:+.4f}, {:+.4f}]", part.interval.low, part.interval.high),
            total == 0 ? "-" : fmt::format("{}%", std::lround(100 * part.contribution / total)), fmt::format("{:+.4f}", part.alone), fmt::format("{:+.4f}", part.last)};
  };
  std::vector<std::vector<std::string>> rows = {{"factor", "contribution", "95% interval", "share", "alone, from A", "last, to B"}};
  for (size_t i = 0; i < outcome.parts.factors.size(); ++i) rows.push_back(row(attribution.mixtures.factors[i].name, outcome.parts.factors[i]));
  rows.push_back(row("B - A", outcome.parts.total));
  std::vector<size_t> widths(rows[0].size());
  for (const auto& cells : rows)
    for (size_t i = 0; i < cells.size(); ++i) widths[i] = std::max(widths[i], cells[i].size());
  std::string out;
  for (size_t r = 0; r < rows.size(); ++r) {
    out += table_row(rows[r], widths, markdown);
    if (markdown && r == 0) out += "|---|--:|--:|--:|--:|--:|\n";
  }
  return out;
}

std::string report_text(const PreparedAttribution& attribution, const std::vector<OutcomeParts>& outcomes, const Arguments& a, const std::string& results) {
  const PreparedSweep& sweep = attribution.sweep;
  const Mixtures& mixtures = attribution.mixtures;
  const bool md = a.markdown;
  std::string out = md ? "# Where the difference comes from\n\n" : "";
  const auto line = [&](const std::string& text) { out += (md ? "- " : "") + text + "\n"; };
  line(fmt::format("denoiser {}, data set {}: {} items x {} repeats", sweep.plan.denoiser, sweep.plan.dataset, sweep.examples.size(), sweep.plan.total_repeats()));
  for (const auto& factor : mixtures.factors) line(fmt::format("{}: A {} | B {}", factor.name, factor.a, factor.b));
  std::string shared;
  for (const auto& [key, value] : mixtures.shared)
    if (key != "end_ids" && key != "pad_id" && key != "rng") shared += fmt::format("{}{}={}", shared.empty() ? "" : "; ", key, value);
  line("in both: " + shared);
  for (const auto& note : mixtures.notes) line("note: " + note);
  for (const auto& outcome : outcomes) {
    const auto& parts = outcome.parts;
    out += fmt::format("\n{}: A {:.4f}, B {:.4f} {}{}; {} is better\n{}", md ? "**" + outcome.name + "**" : outcome.name, parts.a, parts.b, outcome.unit,
                       outcome.control ? fmt::format(" (exact samples: {:.4f})", *outcome.control) : "", outcome.higher_is_better ? "higher" : "lower", md ? "\n" : "");
    out += outcome_table(attribution, outcome, md);
  }
  out += fmt::format("\nContributions are Shapley values over {} mixtures ({} of them different) on the same items and noise: what a factor adds on average over all orders in which A can become B.\n"
                     "They sum to B - A. 'Alone': A with this factor as in B. 'Last': B against B with this factor as in A. Intervals: {} bootstrap draws of the items, +- 1.96 standard errors.\n",
                     attribution.config.size(), std::count_if(sweep.plan.configs.begin(), sweep.plan.configs.end(), [](const auto& config) { return !config.control; }), a.draws);
  if (md) out += fmt::format("\n```sh\n{}\n```\n", command_line());
  else out += fmt::format("mixtures: {}\n", results);
  return out;
}

/// What would be run, one mixture a line.
void print_plan(const PreparedAttribution& attribution, const std::string& folder) {
  for (const auto& factor : attribution.mixtures.factors) fmt::print("{}: A {} | B {}\n", factor.name, factor.a, factor.b);
  for (const auto& note : attribution.mixtures.notes) fmt::print("note: {}\n", note);
  const PreparedSweep& sweep = attribution.sweep;
  for (size_t c = 0; c < sweep.settings_text.size(); ++c) fmt::print("{:4}  {}\n", c, sweep.settings_text[c]);
  fmt::print("{} mixtures, {} configurations x {} items x {} repeats = {} samples, into {}\n", attribution.config.size(), sweep.settings_text.size(), sweep.examples.size(),
             sweep.plan.total_repeats(), sweep.num_samples(), folder);
}

/// Runs the mixtures; finished samples are never run twice.
SweepOutcome run_mixtures(const PreparedSweep& sweep, const Arguments& a, const std::string& folder) {
  SweepOptions options;
  options.out_dir = folder;
  options.threads = a.threads;
  options.batch = a.batch;
  options.command_line = command_line();
  return run_shown(sweep, std::move(options), a.quiet ? Showing::kNothing : Showing::kText);
}

ExitCode run(const Arguments& a) {
  if (a.json && a.markdown) throw usage_error("give --json or --markdown, not both");
  auto overrides = a.set;
  if (a.limit > 0) overrides.push_back(fmt::format("run.limit={}", a.limit));
  const PreparedAttribution attribution = prepare_attribution(a.config, overrides, a.a, a.b, prompt_encoder);
  const std::string folder = a.out.empty() ? "results/runs/" + attribution.sweep.plan.name : a.out;
  if (a.dry_run) return print_plan(attribution, folder), ExitCode::kDone;
  const SweepOutcome outcome = run_mixtures(attribution.sweep, a, folder);
  if (outcome.interrupted) return report_interrupt(outcome);
  const auto outcomes = attribute_run(attribution, outcome.results_path, {.seed = a.seed, .draws = static_cast<uint32_t>(a.draws)});
  const OrderedJson report = report_json(attribution, outcomes, a, outcome.results_path);
  write_text_durably(folder + "/attribution.json", json_text(report, 2) + "\n");
  if (a.json) fmt::print("{}\n", json_text(report, 2));
  else fmt::print("{}", report_text(attribution, outcomes, a, outcome.results_path));
  return ExitCode::kDone;
}

}  // namespace

void add_attribute(CommandLine& line) {
  const Command command = line.command("attribute", "take the difference of two configurations apart: order, emission, temperature, stop rule, ...");
  auto* a = new Arguments;
  command.option("config", a->config, "sweep file that names denoiser, data set, seeds and repeats").required();
  command.option("a", a->a, "configuration A: 'sampler=...; steps=16; emission=canvas', or the number of one of the file's configurations or a part of its settings").required();
  command.option("b", a->b, "configuration B, likewise").required();
  command.option("--out", a->out, "folder of the mixtures' run and attribution.json (default: results/runs/NAME-attribution)");
  command.option("--set", a->set, "override a key of the file: --set dataset.name='source(items=500)'");
  command.option("--limit", a->limit, "only the first so many items").positive();
  command.option("--draws", a->draws, "bootstrap draws of the items").range(2, 1'000'000).shows_default();
  command.option("--seed", a->seed, "of the bootstrap").shows_default();
  command.option("--threads", a->threads, "samples run side by side (default: all cores)").positive();
  command.option("--batch", a->batch, "samples of one configuration that go through the denoiser together; never changes results").range(1, 65536);
  command.flag("--dry-run", a->dry_run, "print factors and mixtures and run nothing");
  command.flag("--json", a->json, "one JSON object on stdout, with the values of all mixtures");
  command.flag("--markdown", a->markdown, "the tables in Markdown, with the command that made them");
  command.flag("--quiet", a->quiet, "no progress on stderr");
  command.footer("Examples:\n  canvaslab attribute experiments/exact_source.toml 'sampler=entropy_bound(0.1); steps=16' 'sampler=ddim; steps=16'\n"
                  "  canvaslab attribute my.toml 3 7 --out runs/why --json\n"
                  "A's settings are turned into B's one factor at a time, in all 2^n combinations, on the same items and noise. Each factor gets its Shapley value:\n"
                  "what it adds on average over all orders; the values sum to B - A. The run is an ordinary one: killed, it goes on where it stopped; plot and diff read it.");
  command.action([=] { return run(*a); });
}

}  // namespace canvaslab
