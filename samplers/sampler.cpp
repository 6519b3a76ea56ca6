#include "samplers/sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace canvaslab {

SamplerRegistry& samplers() {
  static SamplerRegistry registry("sampler");
  return registry;
}

size_t CanvasState::num_revealed() const { return static_cast<size_t>(std::count(revealed.begin(), revealed.end(), uint8_t{1})); }

size_t StepDecision::num_accepted() const {
  return static_cast<size_t>(std::count_if(action.begin(), action.end(), [](Action a) {
    return a == Action::kCandidate || a == Action::kArgmax || a == Action::kToken;
  }));
}

void Sampler::begin(CanvasState& state, size_t length, int32_t) const {
  state.revealed.assign(length, 0);
  state.scratch.clear();
}

std::vector<double> ConfiguredSampler::knob_values(const Progress& progress) const {
  std::vector<double> values;
  for (const auto& knob : knobs) values.push_back(knob->value(progress));
  return values;
}

ConfiguredSampler configure_sampler(const PluginExpr& expr) {
  const auto& entry = samplers().find(expr.name);
  const Options options = samplers().resolve(expr);
  ConfiguredSampler out{.name = entry.name, .canonical = options.canonical(), .facts = entry.facts, .sampler = entry.make(options), .knobs = {}};
  for (const auto& spec : entry.parameters) {
    if (spec.type != ParamType::kSchedule) continue;
    out.knobs.push_back(make_schedule(options.schedule(spec.name)));
    check_schedule_range(*out.knobs.back(), spec, fmt::format("sampler '{}', parameter '{}'", entry.name, spec.name));
  }
  return out;
}

std::vector<uint32_t> order_by(std::span<const float> key, std::span<const uint8_t> use) {
  std::vector<uint32_t> order;
  for (size_t p = 0; p < key.size(); ++p) {
    if (!use.empty() && !use[p]) continue;
    if (std::isnan(key[p])) throw std::logic_error(fmt::format("a sampler's key is NaN at position {}", p));
    order.push_back(static_cast<uint32_t>(p));
  }
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return key[a] != key[b] ? key[a] < key[b] : a < b; });
  return order;
}

std::vector<uint32_t> order_by_falling(std::span<const float> key, std::span<const uint8_t> use) {
  std::vector<float> negated(key.size());
  std::transform(key.begin(), key.end(), negated.begin(), [](float k) { return -k; });
  return order_by(negated, use);
}

size_t even_quota_target(size_t length, int32_t step_idx, int32_t num_steps) {
  const size_t n = static_cast<size_t>(num_steps), done = static_cast<size_t>(step_idx) + 1;
  if (done >= n) return length;
  return (length / n) * done + std::min(done, length % n);
}

std::vector<uint8_t> open_positions(const StepView& view, const CanvasState& state) {
  std::vector<uint8_t> open(view.length());
  for (size_t p = 0; p < open.size(); ++p) open[p] = !state.revealed[p] && (view.allowed.empty() || view.allowed[p]);
  return open;
}

}  // namespace canvaslab
