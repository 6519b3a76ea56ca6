#include "samplers/self_conditioning.h"

#include <algorithm>

namespace canvaslab {
namespace {

std::string canonical_feedback(const PluginExpr& expr) { return self_conditionings().resolve(expr).canonical(); }

/// Twice the same is a contradiction: which of two temperatures?
void check_chain(const PluginExpr& expr, std::vector<std::string>& seen) {
  const auto& entry = self_conditionings().find(expr.name);
  if (std::find(seen.begin(), seen.end(), entry.name) != seen.end())
    throw usage_error("self-conditioning '{}' stands around another '{}'; give each once, for example stale(4, top_k(50, temperature(0.7)))", entry.name, entry.name);
  seen.push_back(entry.name);
  const Options options = self_conditionings().resolve(expr);
  for (const auto& spec : entry.parameters)
    if (spec.type == ParamType::kPlugin) check_chain(options.inner(spec.name), seen);
}

}  // namespace

FeedbackRegistry& self_conditionings() {
  static FeedbackRegistry registry("self-conditioning");
  return registry;
}

ConfiguredFeedback configure_feedback(const std::string& text) {
  const PluginExpr expr = parse_plugin(text);
  std::vector<std::string> seen;
  check_chain(expr, seen);
  return {.canonical = canonical_feedback(expr), .feedback = self_conditionings().make(expr)};
}

void shape_prediction(const Feedback& feedback, const Progress& ramp, float step_temperature, int32_t vocabulary, std::span<float> logits) {
  const std::optional<double> own = feedback.temperature(ramp);
  if (const float temperature = own ? static_cast<float>(*own) : step_temperature; temperature > 0)
    for (float& logit : logits) logit /= temperature;
  const auto V = static_cast<size_t>(vocabulary);
  for (size_t first = 0; first < logits.size(); first += V) feedback.shape(logits.subspan(first, V));
}

WrappingFeedback::WrappingFeedback(const Options& options) : inner_(self_conditionings().make(options.inner("inner"))) {
  if (!inner_->feeds()) throw usage_error("self-conditioning '{}' around '{}', which feeds nothing back; write off alone", options.plugin, options.inner("inner").text());
}

ParamSpec inner_feedback_param() {
  ParamSpec spec = plugin_param("inner", canonical_feedback, "what it is applied to: another of these, or on");
  spec.required = false;
  spec.default_text = "on";
  return spec;
}

}  // namespace canvaslab
