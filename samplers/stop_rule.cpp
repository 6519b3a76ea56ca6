#include "samplers/stop_rule.h"

#include <numeric>

namespace canvaslab {
namespace {

void collect_facts(const PluginExpr& expr, ConfiguredStop& out) {
  const auto& entry = stop_rules().find(expr.name);
  out.statistics = out.statistics | entry.facts.statistics;
  out.breaks_level = out.breaks_level || entry.facts.breaks_level;
  if (entry.parameters.empty() || entry.parameters.front().type != ParamType::kPlugins) return;
  for (const auto& argument : expr.arguments) collect_facts(*argument.value, out);
}

std::string canonical_stop(const PluginExpr& expr) {
  const auto& entry = stop_rules().find(expr.name);
  if (entry.parameters.empty() || entry.parameters.front().type != ParamType::kPlugins) return stop_rules().resolve(expr).canonical();
  std::vector<std::string> children;
  for (const auto& argument : expr.arguments) children.push_back(canonical_stop(*argument.value));
  return fmt::format("{}({})", entry.name, fmt::join(children, ", "));
}

}  // namespace

StopRegistry& stop_rules() {
  static StopRegistry registry("stop rule");
  return registry;
}

ConfiguredStop configure_stop(const PluginExpr& expr) {
  ConfiguredStop out;
  out.rule = stop_rules().make(expr);
  out.canonical = canonical_stop(expr);
  collect_facts(expr, out);
  return out;
}

double mean_entropy(const RowStatistics& statistics) {
  return std::accumulate(statistics.entropy_nats.begin(), statistics.entropy_nats.end(), 0.0) /
         static_cast<double>(statistics.entropy_nats.size());
}

bool argmax_stable(const RowStatistics& statistics, const StopHistory& history, int64_t count) {
  if (static_cast<int64_t>(history.argmax.size()) < count) return false;
  for (size_t i = history.argmax.size() - static_cast<size_t>(count); i < history.argmax.size(); ++i)
    if (history.argmax[i] != statistics.argmax) return false;
  return true;
}

}  // namespace canvaslab
