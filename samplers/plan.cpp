// Resolving what was asked for into a complete plan.
#include <algorithm>
#include <fmt/format.h>
#include <limits>

#include "core/error.h"
#include "samplers/engine.h"
#include "samplers/foreign_code.h"

namespace canvaslab {
namespace {

/// Adds the denoiser's suggested parameters to a plug-in of the same name, and to plug-ins inside it (the children of
/// all_of, the sampler in a decorator), unless the user gave them by key or by place.
template <typename AnyRegistry>
PluginExpr with_defaults(PluginExpr expr, const AnyRegistry& registry, const DenoiserDefaults& defaults) {
  const auto& entry = registry.find(expr.name);
  if (!entry.parameters.empty() && entry.parameters.front().type == ParamType::kPlugins) {
    for (auto& argument : expr.arguments)
      argument.value = std::make_shared<PluginExpr>(with_defaults(*argument.value, registry, defaults));
    return expr;
  }
  std::vector<std::string> given;
  size_t place = 0;
  for (const auto& argument : expr.arguments) {
    if (!argument.key.empty()) given.push_back(canonical_name(argument.key));
    else if (place < entry.parameters.size()) given.push_back(entry.parameters[place++].name);
  }
  for (const auto& spec : entry.parameters) {  // the plug-in inside a decorator, written or by default
    if (spec.type != ParamType::kPlugin) continue;
    auto at = std::find(given.begin(), given.end(), spec.name);
    if (at == given.end()) {
      if (spec.required) continue;  // refused later
      expr.arguments.push_back({spec.name, std::make_shared<PluginExpr>(parse_plugin(spec.default_text))});
      given.push_back(spec.name);
      at = given.end() - 1;
    }
    auto& inner = expr.arguments[static_cast<size_t>(at - given.begin())].value;
    if (!registry.contains(inner->name)) continue;  // a schedule; or a mistake, refused later
    inner = std::make_shared<PluginExpr>(with_defaults(*inner, registry, defaults));
  }
  for (const auto& value : defaults.plugin_values) {
    if (value.plugin != entry.name || std::find(given.begin(), given.end(), value.key) != given.end()) continue;
    expr.arguments.push_back({value.key, std::make_shared<PluginExpr>(parse_plugin(value.value))});
  }
  return expr;
}

Emission parse_emission(const std::string& text) {
  if (text == "argmax") return Emission::kArgmax;
  if (text == "canvas") return Emission::kCanvas;
  throw usage_error("emission '{}' is unknown; expected argmax or canvas", text);
}

int32_t positive(std::optional<int32_t> value, int32_t fallback, const char* what) {
  const int32_t out = value.value_or(fallback);
  if (out < 1) throw usage_error("{} is {}; expected at least 1", what, out);
  return out;
}

/// Noise that the denoiser cannot be given, or that the sampler's formulas do not describe.
void check_corruption(const GenerationPlan& plan, const DenoiserFacts& facts) {
  if (plan.sampler.facts.uniform_corruption_only && (facts.absorbing || !facts.banned_ids.empty()))
    throw usage_error("sampler '{}' is derived for noise that is uniform over the whole vocabulary; this denoiser {}", plan.sampler.name,
                      facts.absorbing ? "absorbs into a mask token" : "bans some ids from its noise");
  for (const int32_t id : facts.banned_ids) check_token_ids(std::span(&id, 1), facts.vocabulary, "banned ids of the denoiser");
  std::vector<int32_t> banned = facts.banned_ids;
  std::sort(banned.begin(), banned.end());
  banned.erase(std::unique(banned.begin(), banned.end()), banned.end());
  if (!facts.absorbing && banned.size() >= static_cast<size_t>(facts.vocabulary)) throw usage_error("the denoiser bans every id of its vocabulary, so there is no noise to draw");
  if (plan.rng != RngMode::kTorch) return;
  if (facts.absorbing || !banned.empty())
    throw usage_error("--rng torch draws noise from the whole vocabulary, as the reference; this denoiser {}; use --rng counter",
                      facts.absorbing ? "absorbs into a mask token" : "bans some ids from its noise");
  for (int32_t step = 0; step < plan.num_steps; ++step)
    if (plan.temperature->value({.step_idx = step, .num_steps = plan.anneal_over}) == 0)
      throw usage_error("temperature '{}' is 0 at step {}; --rng torch draws as the reference, which divides by it; use --rng counter for greedy candidates",
                        plan.temperature_text, step);
}

LogitFilters resolve_filters(const PlanRequest& request) {
  LogitFilters out;
  const auto fraction = [](double value, bool zero_allowed, const char* what) {
    if (!(value >= 0 && value <= 1) || (value == 0 && !zero_allowed))
      throw usage_error("{} is {}; expected a number in {}, 1]", what, format_real(value), zero_allowed ? "[0" : "(0");
    return value;
  };
  if (request.top_k && *request.top_k < 1) throw usage_error("top-k is {}; expected at least 1", *request.top_k);
  out.top_k = request.top_k.value_or(0);
  out.top_p = fraction(request.top_p.value_or(1), false, "top-p");
  out.min_p = fraction(request.min_p.value_or(0), true, "min-p");
  const std::string stats = request.stats_on.value_or("filtered");
  if (stats != "filtered" && stats != "unfiltered") throw usage_error("stats-on '{}' is unknown; expected filtered or unfiltered", stats);
  out.filtered_statistics = stats == "filtered";
  if (request.stats_on && !out.any()) throw usage_error("stats-on says what statistics see of top-k, top-p and min-p, but none of them is given");
  return out;
}

/// Whether the denoiser is told the noise level: as the sampler needs it, unless it is withheld.
bool resolve_level(const PlanRequest& request, const ConfiguredSampler& sampler) {
  const std::string asked = request.noise_level.value_or(sampler.facts.needs_level ? "told" : "withheld");
  if (asked != "told" && asked != "withheld") throw usage_error("noise level '{}' is unknown; expected told or withheld", asked);
  if (asked == "told" && !sampler.facts.needs_level) throw usage_error("sampler '{}' follows no noise level, so there is none to tell the denoiser; leave it out", sampler.name);
  return asked == "told";
}

/// Whether the sampler denoises nothing and writes from the causal mode alone.
bool drafts_nothing(const ConfiguredSampler& sampler) { return sampler.facts.causal_verify && sampler.sampler->num_decisions(1) == 0; }

/// What belongs to canvases has one value where there are none, whatever was asked for: in a grid the row is then there once.
/// plan_notes says so.
PlanRequest without_canvases(PlanRequest request, const DenoiserDefaults& defaults) {
  if (request.canvas_policy && !request.max_new_tokens && !defaults.max_new_tokens) request.max_new_tokens = configure_length(*request.canvas_policy).policy->longest();
  request.canvas_policy.reset();
  if (!request.max_new_tokens) request.max_new_tokens = defaults.max_new_tokens.value_or(request.canvas_length.value_or(defaults.canvas_length.value_or(256)));
  request.canvas_length = request.num_steps = request.anneal_over = 1;
  request.temperature = "constant(1)";
  request.stop = "never", request.emission = "canvas";
  request.feedback = "off";
  return request;
}

/// A noise path that is none, or that reaches an end too early for the formulas.
void check_path(const GenerationPlan& plan) {
  if (!plan.sampler.facts.needs_level) return;
  const int32_t steps = plan.num_decisions();
  for (int32_t step = 1; step < steps; ++step) {
    const double before = noise_level(*plan.sampler.sampler, step - 1, steps), level = noise_level(*plan.sampler.sampler, step, steps);
    if (!(level > 0 && level < 1) || level < before)
      throw usage_error("sampler '{}': its noise path is {} after step {} of {} and {} before; expected levels above 0 and below 1 that never fall", plan.sampler.name, format_real(level), step, steps,
                        format_real(before));
  }
}

/// Filters and forwards that the denoiser, or the reference's order of draws, cannot give.
void check_extras(const GenerationPlan& plan, const DenoiserFacts& facts) {
  if (plan.rng == RngMode::kTorch && plan.filters.any())
    throw usage_error("--rng torch draws from whole rows, as the reference; it cannot run with top-k, top-p or min-p; use --rng counter");
  if ((plan.sampler.facts.causal_verify || plan.sampler.facts.causal_checks) && !facts.has_causal_mode)
    throw usage_error("sampler '{}' checks canvases in the causal mode, which this denoiser does not have", plan.sampler.name);
  if (plan.sampler.facts.causal_checks && plan.filters.any())
    throw usage_error("sampler '{}' weighs candidates by the law they were drawn from; it cannot run with top-k, top-p or min-p", plan.sampler.name);
  if (plan.rng == RngMode::kTorch && plan.length.adaptive())
    throw usage_error("--rng torch draws for canvases of one length, as the reference; canvas length '{}' decides lengths on the way; use --rng counter", plan.length.canonical);
}

/// Predictions that the denoiser does not feed back, or not as one.
void check_feedback(const GenerationPlan& plan, const DenoiserFacts& facts) {
  if (plan.feedback.feedback->plain()) return;
  if (!facts.self_conditioning) throw usage_error("self-conditioning '{}': this denoiser feeds no prediction back, so there is nothing to change; use on or off", plan.feedback.canonical);
  if (plan.feedback.feedback->shapes() && facts.unconditional_forwards > 0)
    throw usage_error("self-conditioning '{}' is made from the logits that come out, but this denoiser asks several contexts and feeds each its own prediction; use on, off or stale alone",
                      plan.feedback.canonical);
}

}  // namespace

GenerationPlan resolve_plan(const PlanRequest& given, const Denoiser& denoiser) {
  const DenoiserFacts& facts = denoiser.facts();
  const DenoiserDefaults& defaults = facts.defaults;
  GenerationPlan plan;
  plan.sampler = configure_sampler(with_defaults(parse_plugin(given.sampler), samplers(), defaults));
  const PlanRequest request = drafts_nothing(plan.sampler) ? without_canvases(given, defaults) : given;
  plan.stop = configure_stop(with_defaults(parse_plugin(request.stop.value_or(plan.sampler.facts.default_stop)), stop_rules(), defaults));
  const PluginExpr temperature = parse_plugin(request.temperature.value_or(defaults.temperature.value_or("linear_remaining(t_min=0.4, t_max=0.8)")));
  plan.temperature = make_schedule(temperature);
  plan.temperature_text = canonical_schedule(temperature);
  check_schedule_range(*plan.temperature, real_param("temperature", 1, 0, 1000, "", ""), "temperature");
  const std::string& own_emission = plan.sampler.facts.default_emission;
  plan.emission = parse_emission(request.emission.value_or(!own_emission.empty() ? own_emission : defaults.emission.value_or("argmax")));
  if (request.canvas_length && request.canvas_policy) throw usage_error("canvas length is {} and '{}'; expected one of them", *request.canvas_length, *request.canvas_policy);
  plan.length = configure_length(request.canvas_policy.value_or(std::to_string(positive(request.canvas_length, defaults.canvas_length.value_or(256), "canvas length"))));
  plan.canvas_length = plan.length.policy->longest();
  plan.num_steps = positive(request.num_steps, defaults.num_steps.value_or(48), "steps");
  plan.anneal_over = positive(request.anneal_over, request.keep_ramp ? defaults.num_steps.value_or(48) : plan.num_decisions(), "anneal-over");
  plan.max_new_tokens = positive(request.max_new_tokens, defaults.max_new_tokens.value_or(plan.canvas_length), "max-new-tokens");
  plan.feedback = configure_feedback(request.feedback);
  plan.rng = request.rng;
  plan.filters = resolve_filters(request);
  plan.end_ids = defaults.end_ids;
  plan.pad_id = defaults.pad_id;
  if (plan.rng == RngMode::kTorch && plan.sampler.facts.reference_order == ReferenceOrder::kNone)
    throw usage_error("sampler '{}' has no reference draw order, so it cannot run with --rng torch; use --rng counter", plan.sampler.name);
  plan.tells_level = resolve_level(request, plan.sampler);
  check_corruption(plan, facts);
  check_extras(plan, facts);
  check_feedback(plan, facts);
  check_path(plan);
  if (plan.sampler.facts.needs_level && plan.stop.breaks_level)
    throw usage_error("sampler '{}' follows a noise level that reaches clean only at its last step; stop rule '{}' would end it earlier.\n"
                      "use --stop never and choose --steps", plan.sampler.name, plan.stop.canonical);
  return plan;
}

void set_canvas_length(PlanRequest& request, const std::string& text) {
  const ConfiguredLength length = configure_length(text);
  request.canvas_length.reset(), request.canvas_policy.reset();
  if (length.adaptive()) request.canvas_policy = length.canonical;
  else request.canvas_length = length.policy->longest();
}

std::vector<std::pair<std::string, std::string>> GenerationPlan::settings() const {
  std::vector<std::pair<std::string, std::string>> out = {{"sampler", sampler.canonical},
          {"stop", stop.canonical},
          {"temperature", temperature_text},
          {"emission", emission == Emission::kArgmax ? "argmax" : "canvas"},
          {"self_conditioning", feedback.canonical},
          {"canvas_length", length.canonical},
          {"num_steps", std::to_string(num_steps)},
          {"anneal_over", std::to_string(anneal_over)},
          {"max_new_tokens", std::to_string(max_new_tokens)},
          {"rng", rng == RngMode::kCounter ? "counter" : "torch"},
          {"end_ids", fmt::format("{}", fmt::join(end_ids, " "))},
          {"pad_id", std::to_string(pad_id)}};
  // Only when given: what was stored before there were filters keeps its meaning.
  if (filters.top_k > 0) out.emplace_back("top_k", std::to_string(filters.top_k));
  if (filters.top_p < 1) out.emplace_back("top_p", format_real(filters.top_p));
  if (filters.min_p > 0) out.emplace_back("min_p", format_real(filters.min_p));
  if (filters.any()) out.emplace_back("stats_on", filters.filtered_statistics ? "filtered" : "unfiltered");
  if (sampler.facts.needs_level && !tells_level) out.emplace_back("noise_level", "withheld");
  if (const std::string code = foreign_code({sampler.canonical, stop.canonical, temperature_text, feedback.canonical}); !code.empty()) out.emplace_back("code", code);
  return out;
}

PlanRequest request_of_settings(const std::vector<std::pair<std::string, std::string>>& settings, const std::string& where) {
  const auto has = [&](const std::string& key) { return std::any_of(settings.begin(), settings.end(), [&](const auto& entry) { return entry.first == key; }); };
  const auto text = [&](const std::string& key) {
    for (const auto& [name, value] : settings)
      if (name == key) return value;
    throw input_error("{}: there is no setting '{}'", where, key);
  };
  const auto number = [&](const std::string& key) {
    const int64_t value = parse_integer(text(key), fmt::format("{}: setting '{}'", where, key));
    if (value < 1 || value > std::numeric_limits<int32_t>::max()) throw input_error("{}: setting '{}' is {}; expected a whole number above 0", where, key, value);
    return static_cast<int32_t>(value);
  };
  const auto real = [&](const std::string& key) { return parse_real(text(key), fmt::format("{}: setting '{}'", where, key)); };
  PlanRequest out;
  out.sampler = text("sampler"), out.stop = text("stop"), out.temperature = text("temperature"), out.emission = text("emission");
  set_canvas_length(out, text("canvas_length"));
  out.num_steps = number("num_steps"), out.anneal_over = number("anneal_over"), out.max_new_tokens = number("max_new_tokens");
  out.feedback = text("self_conditioning");
  out.rng = text("rng") == "torch" ? RngMode::kTorch : RngMode::kCounter;
  // These stand there only when they were given.
  if (has("top_k")) out.top_k = number("top_k");
  if (has("top_p")) out.top_p = real("top_p");
  if (has("min_p")) out.min_p = real("min_p");
  if (has("stats_on")) out.stats_on = text("stats_on");
  if (has("noise_level")) out.noise_level = text("noise_level");
  return out;
}

}  // namespace canvaslab
