// Resolving what was asked for into a complete plan.
#include "core/error.h"
#include "samplers/engine.h"

namespace canvaslab {
namespace {

/// Adds the denoiser's suggested parameters to a plug-in of the same name, unless the user gave them.
PluginExpr with_defaults(PluginExpr expr, const std::string& plugin, const DenoiserDefaults& defaults, bool positional_free) {
  for (const auto& value : defaults.plugin_values) {
    if (value.plugin != plugin || !positional_free) continue;
    bool given = false;
    for (const auto& argument : expr.arguments) given = given || argument.key.empty() || canonical_name(argument.key) == value.key;
    if (!given) expr.arguments.push_back({value.key, std::make_shared<PluginExpr>(parse_plugin(value.value))});
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

}  // namespace

GenerationPlan resolve_plan(const PlanRequest& request, const Denoiser& denoiser) {
  const DenoiserFacts& facts = denoiser.facts();
  const DenoiserDefaults& defaults = facts.defaults;
  GenerationPlan plan;
  PluginExpr sampler = parse_plugin(request.sampler);
  plan.sampler = configure_sampler(with_defaults(sampler, samplers().find(sampler.name).name, defaults, true));
  PluginExpr stop = parse_plugin(request.stop.value_or(plan.sampler.facts.default_stop));
  plan.stop = configure_stop(with_defaults(stop, stop_rules().find(stop.name).name, defaults, true));
  const PluginExpr temperature = parse_plugin(request.temperature.value_or(defaults.temperature.value_or("linear_remaining(t_min=0.4, t_max=0.8)")));
  plan.temperature = make_schedule(temperature);
  plan.temperature_text = canonical_schedule(temperature);
  check_schedule_range(*plan.temperature, real_param("temperature", 1, 0, 1000, "", ""), "temperature");
  const std::string& own_emission = plan.sampler.facts.default_emission;
  plan.emission = parse_emission(request.emission.value_or(!own_emission.empty() ? own_emission : defaults.emission.value_or("argmax")));
  plan.canvas_length = positive(request.canvas_length, defaults.canvas_length.value_or(256), "canvas length");
  plan.num_steps = positive(request.num_steps, defaults.num_steps.value_or(48), "steps");
  plan.anneal_over = positive(request.anneal_over, plan.num_steps, "anneal-over");
  plan.max_new_tokens = positive(request.max_new_tokens, defaults.max_new_tokens.value_or(plan.canvas_length), "max-new-tokens");
  plan.self_conditioning = request.self_conditioning;
  plan.rng = request.rng;
  plan.end_ids = defaults.end_ids;
  plan.pad_id = defaults.pad_id;
  if (plan.rng == RngMode::kTorch && plan.sampler.facts.reference_order == ReferenceOrder::kNone)
    throw usage_error("sampler '{}' has no reference draw order, so it cannot run with --rng torch; use --rng counter", plan.sampler.name);
  if (plan.sampler.facts.needs_level && plan.stop.breaks_level)
    throw usage_error("sampler '{}' follows a noise level that reaches clean only at its last step; stop rule '{}' would end it earlier.\n"
                      "use --stop never and choose --steps", plan.sampler.name, plan.stop.canonical);
  return plan;
}

std::vector<std::pair<std::string, std::string>> GenerationPlan::settings() const {
  return {{"sampler", sampler.canonical},
          {"stop", stop.canonical},
          {"temperature", temperature_text},
          {"emission", emission == Emission::kArgmax ? "argmax" : "canvas"},
          {"self_conditioning", self_conditioning ? "on" : "off"},
          {"canvas_length", std::to_string(canvas_length)},
          {"num_steps", std::to_string(num_steps)},
          {"anneal_over", std::to_string(anneal_over)},
          {"max_new_tokens", std::to_string(max_new_tokens)},
          {"rng", rng == RngMode::kCounter ? "counter" : "torch"},
          {"end_ids", fmt::format("{}", fmt::join(end_ids, " "))},
          {"pad_id", std::to_string(pad_id)}};
}

}  // namespace canvaslab
