#include "eval/sampler_table.h"

#include <algorithm>
#include <set>

#include "core/error.h"
#include "eval/run_scores.h"

namespace canvaslab {
namespace {

/// Sums of one configuration's samples.
struct Sums {
  double tokens = 0, denoise = 0, verify = 0, unconditional = 0, append = 0;
};

std::vector<Sums> sum_samples(const H5Reader& file, size_t num_configs) {
  std::vector<Sums> out(num_configs);
  const auto config = file.read<uint32_t>("samples/config_idx");
  const auto failed = file.read<uint8_t>("samples/failed");
  const auto add = [&](const std::string& column, double Sums::*field) {
    const auto values = file.read<double>("samples/" + column);
    for (size_t i = 0; i < values.size(); ++i)
      if (!failed[i]) out[config[i]].*field += values[i];
  };
  add("num_tokens", &Sums::tokens);
  add("forwards_denoise", &Sums::denoise);
  add("forwards_verify", &Sums::verify);
  add("forwards_unconditional", &Sums::unconditional);
  add("forwards_append", &Sums::append);
  return out;
}

int32_t step_limit(const std::string& settings) {
  for (const auto& [key, value] : split_settings(settings))
    if (key == "num_steps") return static_cast<int32_t>(parse_integer(value, "num_steps"));
  throw std::logic_error("settings without num_steps: " + settings);
}

const Measured& find_measured(const std::map<std::string, Measured>& run, const std::string& settings, const char* which) {
  const auto found = run.find(settings);
  if (found == run.end()) throw usage_error("the {} run does not hold these settings of the sweep file:\n  {}\nrun the file again with canvaslab sweep", which, settings);
  return found->second;
}

}  // namespace

std::vector<TableRow> table_rows(const SweepPlan& plan, const Denoiser& denoiser) {
  std::vector<TableRow> rows;
  for (const auto& config : plan.configs) {
    GenerationPlan generation;
    try {
      generation = resolve_plan(config.request, denoiser);
    } catch (const UserError& error) {
      throw UserError(error.code(), config.where + ": " + error.what());
    }
    const std::string label = config.label.empty() ? generation.sampler.name : config.label, settings = settings_line(generation, false);
    auto row = std::find_if(rows.begin(), rows.end(), [&](const TableRow& r) { return r.label == label; });
    if (row == rows.end()) row = rows.insert(rows.end(), {.label = label, .settings = {}, .facts = generation.sampler.facts});
    if (std::find(row->settings.begin(), row->settings.end(), settings) == row->settings.end()) row->settings.push_back(settings);
  }
  return rows;
}

std::map<std::string, Measured> read_measured(const std::string& run, const std::string& denoiser, int32_t unit) {
  const H5Reader file = open_results(run);
  if (file.text_attribute("aggregates", "quality") != "pair_divergence_nats")
    throw usage_error("{}: is judged by {}, not against an exact source; the table needs a run with dataset source(...)", run, file.text_attribute("aggregates", "quality"));
  if (const std::string caveat = quality_caveat(file); !caveat.empty()) throw usage_error("{}: {}; the table needs a source such as hmm or markov", run, caveat);
  if (file.text_attribute("/", "denoiser") != denoiser) throw usage_error("{}: is a run of {}, but the sweep file says {}", run, file.text_attribute("/", "denoiser"), denoiser);
  const auto settings = file.read_strings("config/settings");
  const auto sums = sum_samples(file, settings.size());
  const auto column = [&](const char* name) { return file.read<double>(std::string("aggregates/") + name); };
  const auto quality = column("pair_divergence_nats"), error = column("pair_divergence_standard_error"), score = column("score_mean"), entropy = column("output_entropy_nats");
  const auto count = file.read<int64_t>("aggregates/num_samples"), failed = file.read<int64_t>("aggregates/num_failed");
  const auto control = file.read<uint8_t>("config/control");
  std::map<std::string, Measured> out;
  for (size_t c = 0; c < settings.size(); ++c) {
    const double canvases = sums[c].tokens / unit;
    const auto per_canvas = [&](double forwards) { return canvases > 0 ? forwards / canvases : 0; };
    out[settings[c]] = {.quality = quality[c], .quality_error = error[c], .score = score[c], .output_entropy = entropy[c], .denoise = per_canvas(sums[c].denoise),
                        .verify = per_canvas(sums[c].verify), .unconditional = per_canvas(sums[c].unconditional), .append = per_canvas(sums[c].append),
                        .count = count[c], .failed = failed[c], .control = control[c] != 0};
  }
  return out;
}

int32_t longest_canvas(const std::string& run) {
  const auto length = open_results(run).read<int32_t>("config/canvas_length");
  return length.empty() ? 1 : *std::max_element(length.begin(), length.end());
}

std::vector<int32_t> table_budgets(const std::vector<TableRow>& rows) {
  std::set<int32_t> out;
  for (const auto& row : rows)
    for (const auto& settings : row.settings) out.insert(step_limit(settings));
  return {out.begin(), out.end()};
}

std::vector<Chosen> choose_settings(const std::vector<TableRow>& rows, const std::map<std::string, Measured>& tuning, const std::vector<int32_t>& budgets) {
  std::vector<Chosen> out;
  for (size_t r = 0; r < rows.size(); ++r)
    for (const int32_t budget : budgets) {
      const std::string* best = nullptr;
      double least = 0;
      for (const auto& settings : rows[r].settings) {
        const Measured& measured = find_measured(tuning, settings, "tuning");
        constexpr double kRounding = 1e-9;  // of the mean over samples
        if (measured.count == 0 || measured.forwards() > budget * (1 + kRounding)) continue;
        if (!best || measured.quality < least) best = &settings, least = measured.quality;
      }
      if (best) out.push_back({.row = r, .budget = budget, .settings = *best});
    }
  return out;
}

SamplerTable make_sampler_table(const SweepPlan& plan, const Denoiser& denoiser, const std::string& tuning_run, const std::string& test_run,
                                const std::vector<int32_t>& budgets) {
  SamplerTable out;
  out.denoiser = plan.denoiser;
  const auto in_words = [](const std::string& run) {
    const H5Reader file = open_results(run);
    return fmt::format("{}, seed {}", file.text_attribute("/", "dataset"), file.text_attribute("/", "seeds"));
  };
  out.tuning = in_words(tuning_run), out.test = in_words(test_run);
  if (out.tuning.substr(out.tuning.find("seed")) == out.test.substr(out.test.find("seed")))
    throw usage_error("tuning and test run have the same seeds, so that their samples share noise; run the test with --set run.seed=...");
  out.rows = table_rows(plan, denoiser);
  out.budgets = budgets;
  out.unit = longest_canvas(tuning_run);
  out.tuned = read_measured(tuning_run, plan.denoiser, out.unit), out.tested = read_measured(test_run, plan.denoiser, out.unit);
  out.chosen = choose_settings(out.rows, out.tuned, out.budgets);
  for (const auto& choice : out.chosen) find_measured(out.tested, choice.settings, "test");
  return out;
}

}  // namespace canvaslab
