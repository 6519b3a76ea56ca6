#include "samplers/stop_rule.h"

#include <algorithm>

namespace canvaslab {
namespace {

void collect_facts(const PluginExpr& expr, ConfiguredStop& out) {
  const auto& entry = stop_rules().find(expr.name);
  const StopFacts facts = stop_rules().make(expr)->refine(entry.facts);
  out.statistics = out.statistics | facts.statistics;
  out.breaks_level = out.breaks_level || facts.breaks_level;
  if (entry.parameters.empty() || entry.parameters.front().type != ParamType::kPlugins) return;
  for (const auto& argument : expr.arguments) collect_facts(*argument.value, out);
}

}  // namespace

StopRegistry& stop_rules() {
  static StopRegistry registry("stop rule");
  return registry;
}

ConfiguredStop configure_stop(const PluginExpr& expr) {
  ConfiguredStop out;
  out.rule = stop_rules().make(expr);
  out.canonical = stop_rules().resolve(expr).canonical();
  collect_facts(expr, out);
  return out;
}

size_t num_taken(const StepView& view, const StepDecision& decision) {
  size_t out = 0;
  for (size_t p = 0; p < decision.action.size(); ++p) out += view.is_allowed(p) && decision.action[p] != Action::kNoise && decision.action[p] != Action::kKeep;
  return out;
}

size_t num_at_argmax(const StepView& view, const StepDecision& decision) {
  const RowStatistics& s = *view.statistics;
  size_t out = 0;
  for (size_t p = 0; p < decision.action.size(); ++p) {
    if (!view.is_allowed(p)) continue;
    switch (decision.action[p]) {
      case Action::kKeep: out += view.canvas[p] == s.argmax[p]; break;
      case Action::kCandidate: out += s.candidate[p] == s.argmax[p]; break;
      case Action::kArgmax: ++out; break;
      case Action::kToken: out += decision.token[p] == s.argmax[p]; break;
      case Action::kNoise: break;
    }
  }
  return out;
}

float mean_entropy(const StepView& view) {
  double sum = 0;
  size_t count = 0;
  for (size_t p = 0; p < view.length(); ++p) {
    if (!view.is_allowed(p)) continue;
    sum += view.statistics->entropy_nats[p];
    ++count;
  }
  return count == 0 ? 0.0f : static_cast<float>(sum / static_cast<double>(count));
}

bool argmax_equals(const StepView& view, std::span<const int32_t> canvas) {
  for (size_t p = 0; p < view.length(); ++p)
    if (view.is_allowed(p) && view.statistics->argmax[p] != canvas[p]) return false;
  return true;
}

bool argmax_stable(const StepView& view, const StopHistory& history, int64_t count) {
  if (static_cast<int64_t>(history.argmax.size()) < count) return false;
  return std::all_of(history.argmax.end() - static_cast<ptrdiff_t>(count), history.argmax.end(),
                     [&](const auto& earlier) { return argmax_equals(view, earlier); });
}

}  // namespace canvaslab
