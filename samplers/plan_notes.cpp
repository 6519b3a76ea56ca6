#include "samplers/plan_notes.h"

#include <fmt/format.h>

#include <algorithm>

namespace canvaslab {
namespace {

/// Whether the rule can fire only when one of `rules` does: it is one of them, any_of such rules, or all_of with one of them.
bool waits_for(const PluginExpr& stop, const std::vector<std::string>& rules) {
  const std::string name = stop_rules().find(stop.name).name;
  const auto waits = [&](const PluginExpr::Argument& child) { return waits_for(*child.value, rules); };
  if (name == "all_of") return std::any_of(stop.arguments.begin(), stop.arguments.end(), waits);
  if (name == "any_of") return std::all_of(stop.arguments.begin(), stop.arguments.end(), waits);
  return std::find(rules.begin(), rules.end(), name) != rules.end();
}

bool varies(const GenerationPlan& plan) {
  const auto [low, high] = plan.temperature->range();
  return low != 1 || high != 1;
}

}  // namespace

std::vector<std::string> plan_notes(const GenerationPlan& plan, const Denoiser& denoiser) {
  const SamplerFacts& facts = plan.sampler.facts;
  const PluginExpr stop = parse_plugin(plan.stop.canonical);
  std::vector<std::string> out;
  if (plan.num_decisions() == 0) out.push_back(fmt::format("'{}' denoises no canvas: canvas length and steps are 1, and stop rule, emission, self-conditioning and the run's temperature have no part in it", plan.sampler.name));
  if (plan.emission == Emission::kCanvas && plan.stop.breaks_level && !facts.locks && !facts.edits_only && !facts.causal_verify)
    out.push_back(fmt::format("emission canvas: '{}' may end a canvas, by '{}' or at the step limit, with positions that hold fresh noise, and they are emitted; emission argmax leaves none",
                              plan.sampler.name, plan.stop.canonical));
  if (!facts.locks && waits_for(stop, {"all_revealed", "left_complete"}))
    out.push_back(fmt::format("stop rule '{}' waits for final positions, but '{}' holds none for final: every canvas runs to its step limit", plan.stop.canonical, plan.sampler.name));
  if (facts.locks && waits_for(stop, {"accepted_all"}))
    out.push_back(fmt::format("stop rule '{}' waits for a step that takes every position, but '{}' keeps what it took before; all_revealed is its end", plan.stop.canonical, plan.sampler.name));
  if (!facts.locks && facts.min_accepted > 0 && waits_for(stop, {"stall"}) && plan.stop.canonical.find("progress=any") != std::string::npos)
    out.push_back(fmt::format("stop rule '{}' waits for steps that take nothing, but '{}' takes a position at every step; with progress=more it waits for steps that take no more than before",
                              plan.stop.canonical, plan.sampler.name));
  if (plan.filters.any() && plan.filters.filtered_statistics && plan.num_decisions() > 0)
    out.push_back("top-k, top-p and min-p make the filtered law surer than the whole one, so thresholds and entropy bounds take more; statistics on unfiltered judge the whole law");
  if (facts.needs_level && denoiser.facts().uses_level && varies(plan))
    out.push_back(fmt::format("'{}' is derived for temperature 1; at others it does not keep the law of its noise level", plan.sampler.name));
  if (facts.needs_level && denoiser.source() && !denoiser.facts().uses_level)
    out.push_back(fmt::format("'{}' follows a noise level that this denoiser is not told (it averages over it): more steps stop helping", plan.sampler.name));
  if (facts.causal_verify && facts.coupled_draws && plan.emission == Emission::kArgmax)
    out.push_back("coupled draws of 'causal_verify' help drafts that emit their candidates; with emission argmax the draft and the causal mode no longer share draws");
  return out;
}

}  // namespace canvaslab
