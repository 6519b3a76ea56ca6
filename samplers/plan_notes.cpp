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

/// The expression and every plug-in inside it.
template <typename Visit>
void each_plugin(const PluginExpr& expr, const Visit& visit) {
  visit(expr);
  for (const auto& argument : expr.arguments) each_plugin(*argument.value, visit);
}

std::string value_of(const PluginExpr& plugin, const std::string& key) {
  for (const auto& argument : plugin.arguments)
    if (argument.key == key) return argument.value->text();
  return "";
}

/// Plug-ins that look for end tokens and are given none, though the model has some.
void note_missing_ends(const GenerationPlan& plan, const std::vector<int32_t>& ends, std::vector<std::string>& out) {
  const auto visit = [&](const PluginExpr& plugin) {
    if (ends.empty() || value_of(plugin, "end_ids") != "\"\"") return;
    out.push_back(fmt::format("'{}' is given no end tokens, so it never meets one; this model's are end_ids=\"{}\"", plugin.name, fmt::join(ends, " ")));
  };
  each_plugin(parse_plugin(plan.stop.canonical), visit);
  each_plugin(parse_plugin(plan.sampler.canonical), visit);
}

/// Stop rules whose default bars are gaps of another model's logits.
void note_borrowed_bars(const PluginExpr& stop, std::vector<std::string>& out) {
  each_plugin(stop, [&](const PluginExpr& plugin) {
    for (const char* rule : {"prophet", "sched"})
      if (plugin.name == rule && plugin.text() == configure_stop(parse_plugin(rule)).canonical)
        out.push_back(fmt::format("'{}' stops by gaps between logits, whose scale is each model's own; its default bars were measured on LLaDA: tune them", rule));
  });
}

/// A bound on a sum over the canvas, made for canvases of another length.
void note_bound_of_other_length(const GenerationPlan& plan, const DenoiserDefaults& defaults, std::vector<std::string>& out) {
  if (!defaults.canvas_length || plan.canvas_length == *defaults.canvas_length) return;
  for (const auto& own : defaults.plugin_values)
    each_plugin(parse_plugin(plan.sampler.canonical), [&](const PluginExpr& plugin) {
      if (plugin.name == own.plugin && own.plugin == "entropy_bound" && value_of(plugin, own.key) == own.value)
        out.push_back(fmt::format("the model's entropy bound of {} is for a sum over its own canvas of {} positions; one of {} takes another share of them under it", own.value,
                                  *defaults.canvas_length, plan.length.canonical));
    });
}

/// Whether some step of a canvas runs at temperature 0.
bool has_greedy_steps(const GenerationPlan& plan) {
  for (int32_t step = 0; step < plan.num_steps; ++step)
    if (plan.temperature->value({.step_idx = step, .num_steps = plan.anneal_over}) == 0) return true;
  return false;
}

/// What self-conditioning costs that denoisers do not do by themselves.
void note_feedback(const GenerationPlan& plan, const DenoiserFacts& facts, std::vector<std::string>& out) {
  const Feedback& feedback = *plan.feedback.feedback;
  if (feedback.plain()) return;
  if (feedback.shapes())
    out.push_back(fmt::format("self-conditioning '{}' takes every position's logits from the denoiser and keeps them: {:.1f} MB a sequence", plan.feedback.canonical,
                              4e-6 * plan.canvas_length * facts.vocabulary));
  if (facts.runs_ahead) out.push_back(fmt::format("self-conditioning '{}': the GPU feeds back every step's prediction when it runs a canvas by itself, so steps are asked for one by one", plan.feedback.canonical));
  if (plan.rng == RngMode::kTorch) out.push_back(fmt::format("self-conditioning '{}': draws are in the reference's order, but the reference feeds back every step's whole prediction", plan.feedback.canonical));
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
  if (plan.num_decisions() > 0 && (facts.statistics.has(Statistic::kEntropy) || plan.stop.statistics.has(Statistic::kEntropy)) && has_greedy_steps(plan))
    out.push_back(fmt::format("at temperature 0 every entropy is 0: what '{}' and stop rule '{}' decide by entropy they then take for certain", plan.sampler.name, plan.stop.canonical));
  note_feedback(plan, denoiser.facts(), out);
  note_missing_ends(plan, denoiser.facts().defaults.end_ids, out);
  note_borrowed_bars(stop, out);
  note_bound_of_other_length(plan, denoiser.facts().defaults, out);
  if (facts.needs_level && denoiser.facts().uses_level && varies(plan))
    out.push_back(fmt::format("'{}' is derived for temperature 1; at others it does not keep the law of its noise level", plan.sampler.name));
  if (facts.needs_level && denoiser.source() && !denoiser.facts().uses_level)
    out.push_back(fmt::format("'{}' follows a noise level that this denoiser is not told (it averages over it): more steps stop helping", plan.sampler.name));
  if (facts.causal_verify && facts.coupled_draws && plan.emission == Emission::kArgmax)
    out.push_back("coupled draws of 'causal_verify' help drafts that emit their candidates; with emission argmax the draft and the causal mode no longer share draws");
  return out;
}

}  // namespace canvaslab
