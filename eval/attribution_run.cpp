#include "eval/attribution_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "core/error.h"
#include "eval/run_scores.h"
#include "eval/statistics.h"

namespace canvaslab {
namespace {

SweepConfig choose_config(const std::vector<SweepConfig>& listed, const Denoiser& denoiser, const std::string& file, const std::string& text, const char* name) {
  if (text.starts_with("sampler=")) return parse_config(text, fmt::format("configuration {}", name));
  RunScores known;
  known.path = file;
  for (const auto& config : listed) known.configs.push_back({.settings = settings_line(resolve_plan(config.request, denoiser), false), .control = false, .items = {}, .left_out = {}, .quality = 0});
  return listed[find_config(known, text)];
}

/// One run's samples by configuration and item; repeats of an item lie together.
struct Samples {
  std::vector<std::vector<std::vector<std::vector<int32_t>>>> tokens;  // [configuration][item][repeat][n]
  std::vector<std::vector<double>> score, tokens_per_forward;          // [configuration][item], mean over repeats
  std::string score_name, score_unit;
  bool higher_is_better = false;
};

Samples read_samples(const std::string& path, size_t num_configs, size_t num_items) {
  const H5Reader file = open_results(path);
  const auto config = file.read<uint32_t>("samples/config_idx"), item = file.read<uint32_t>("samples/item_idx"), num_tokens = file.read<uint32_t>("samples/num_tokens");
  const auto failed = file.read<uint8_t>("samples/failed");
  const auto score = file.read<double>("samples/score"), speed = file.read<double>("samples/tokens_per_forward_report");
  const auto begin = file.read<uint64_t>("samples/ids_begin");
  const auto ids = file.read<int32_t>("text/ids");
  Samples out;
  out.score_name = file.text_attribute("samples/score", "quality_name");
  out.score_unit = file.text_attribute("samples/score", "unit");
  out.higher_is_better = file.integer_attribute("samples/score", "higher_is_better") != 0;
  out.tokens.assign(num_configs, std::vector<std::vector<std::vector<int32_t>>>(num_items));
  out.score.assign(num_configs, std::vector<double>(num_items));
  out.tokens_per_forward = out.score;
  if (const auto bad = std::count(failed.begin(), failed.end(), uint8_t{1}); bad > 0)
    throw UserError(ExitCode::kSomeFailed, fmt::format("{}: {} samples failed, so the mixtures are not over the same items; the same command tries them again", path, bad));
  for (size_t i = 0; i < score.size(); ++i) {
    const auto first = ids.begin() + static_cast<ptrdiff_t>(begin[i]);
    out.tokens.at(config[i]).at(item[i]).emplace_back(first, first + num_tokens[i]);
    out.score[config[i]][item[i]] += score[i];
    out.tokens_per_forward[config[i]][item[i]] += speed[i];
  }
  for (size_t c = 0; c < num_configs; ++c)
    for (size_t i = 0; i < num_items; ++i) {
      const auto repeats = static_cast<double>(out.tokens[c][i].size());
      out.score[c][i] /= repeats, out.tokens_per_forward[c][i] /= repeats;
    }
  return out;
}

/// Values of the mixtures from those of the configurations: equal mixtures are computed once.
MixtureValues by_mixture(MixtureValues of_configs, std::vector<size_t> config) {
  return [of_configs = std::move(of_configs), config = std::move(config)](std::span<const uint32_t> weights) {
    const auto values = of_configs(weights);
    std::vector<double> out;
    for (const size_t c : config) out.push_back(values[c]);
    return out;
  };
}

OutcomeParts divergence_outcome(const PreparedAttribution& attribution, const Samples& samples, const AttributionOptions& options) {
  const PreparedSweep& sweep = attribution.sweep;
  const Source& source = *sweep.denoiser->source();
  const auto values = divergence_values(samples.tokens, source.pair_law(), source.vocabulary());
  const size_t items = sweep.examples.size();
  OutcomeParts out{.name = "pair_divergence_nats", .unit = "nats", .higher_is_better = false, .control = std::nullopt,
                   .parts = take_apart(by_mixture(values, attribution.config), items, options.seed, options.draws)};
  const auto of_configs = values(std::vector<uint32_t>(items, 1));
  const auto controls = std::count_if(sweep.plan.configs.begin(), sweep.plan.configs.end(), [](const auto& config) { return config.control; });
  for (size_t c = 0; c < of_configs.size() && controls == 1; ++c)  // one per canvas length: with two there is no one yardstick
    if (sweep.plan.configs[c].control) out.control = of_configs[c];
  return out;
}

OutcomeParts mean_outcome(const PreparedAttribution& attribution, const std::vector<std::vector<double>>& by_config, const std::string& name, const std::string& unit, bool higher,
                          const AttributionOptions& options) {
  for (const size_t c : attribution.config)
    for (size_t i = 0; i < by_config[c].size(); ++i)
      if (!std::isfinite(by_config[c][i]))
        throw usage_error("item '{}' has the {} {} in some mixture, so differences of means mean nothing", attribution.sweep.examples[i].id, name, by_config[c][i]);
  return {.name = name, .unit = unit, .higher_is_better = higher, .control = std::nullopt,
          .parts = take_apart(by_mixture(mean_values(by_config), attribution.config), attribution.sweep.examples.size(), options.seed, options.draws)};
}

}  // namespace

PreparedAttribution prepare_attribution(const std::string& sweep_file, const std::vector<std::string>& overrides, const std::string& a, const std::string& b,
                                        const std::function<PromptEncoder(const std::string& model, const std::string& tokenizer)>& encoder) {
  SweepPlan plan = read_sweep(sweep_file, overrides);
  plan.name += "-attribution";
  plan.reference.reset();
  PreparedAttribution out;
  const PromptEncoder encode = encoder(plan.denoiser, plan.tokenizer);
  out.sweep = prepare_sweep(std::move(plan), encode, [&](const std::vector<SweepConfig>& listed, const Denoiser& denoiser) {
    const SweepConfig from = choose_config(listed, denoiser, sweep_file, a, "A"), to = choose_config(listed, denoiser, sweep_file, b, "B");
    out.mixtures = mix(from.request, to.request, denoiser);
    std::vector<SweepConfig> mixed;
    for (const auto& request : out.mixtures.requests) mixed.push_back({.request = request, .control = false, .where = ""});
    return mixed;
  });
  const auto& known = out.sweep.settings_text;
  for (const auto& request : out.mixtures.requests) {
    const std::string text = settings_line(resolve_plan(request, *out.sweep.denoiser), false);
    out.config.push_back(static_cast<size_t>(std::find(known.begin(), known.end(), text) - known.begin()));
  }
  return out;
}

std::vector<OutcomeParts> attribute_run(const PreparedAttribution& attribution, const std::string& results_path, const AttributionOptions& options) {
  const PreparedSweep& sweep = attribution.sweep;
  const Samples samples = read_samples(results_path, sweep.plan.configs.size(), sweep.examples.size());
  std::vector<OutcomeParts> out;
  if (sweep.dataset->wants_control()) out.push_back(divergence_outcome(attribution, samples, options));
  else out.push_back(mean_outcome(attribution, samples.score, samples.score_name, samples.score_unit, samples.higher_is_better, options));
  out.push_back(mean_outcome(attribution, samples.tokens_per_forward, "tokens_per_forward_report", "tokens per forward", true, options));
  return out;
}

}  // namespace canvaslab
