#include "samplers/sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace canvaslab {
namespace {

bool takes(Action action) { return action == Action::kCandidate || action == Action::kArgmax || action == Action::kToken; }

}  // namespace

double noise_level(const Sampler& sampler, int32_t step_idx, int32_t num_steps) {
  if (step_idx <= 0 || step_idx >= num_steps) return step_idx <= 0 ? 0 : 1;
  return sampler.path(static_cast<double>(step_idx) / num_steps);
}

SamplerRegistry& samplers() {
  static SamplerRegistry registry("sampler");
  return registry;
}

size_t CanvasState::num_revealed() const { return static_cast<size_t>(std::count(revealed.begin(), revealed.end(), uint8_t{1})); }

size_t StepDecision::num_accepted() const {
  return static_cast<size_t>(std::count_if(action.begin(), action.end(), takes));
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

namespace {

void refuse_unusable(const StepView& view, StatisticSet declared) {
  const RowStatistics& s = *view.statistics;
  const auto check = [&](bool wanted, const std::vector<float>& values, const char* field, bool is_entropy) {
    for (size_t p = 0; wanted && p < view.length(); ++p) {
      const bool usable = is_entropy ? std::isfinite(values[p]) && values[p] >= 0 : values[p] <= 1e-3f;  // -inf: impossible token; above 0: rounding
      if (!usable) throw NonFiniteStatistics(field, p);
    }
  };
  const auto check_ids = [&](bool wanted, const std::vector<int32_t>& ids, const char* field) {
    for (size_t p = 0; wanted && p < view.length(); ++p)
      if (ids[p] < 0 || ids[p] >= view.vocabulary) throw NonFiniteStatistics(field, p);
  };
  check(declared.has(Statistic::kMax), s.argmax_logprob, "argmax_logprob", false);
  check(declared.has(Statistic::kTop2), s.second_logprob, "second_logprob", false);
  check(declared.has(Statistic::kEntropy), s.entropy_nats, "entropy_nats", true);
  check(declared.has(Statistic::kCandidate), s.candidate_logprob, "candidate_logprob", false);
  check(declared.has(Statistic::kCurrent), s.current_logprob, "current_logprob", false);
  check(declared.has(Statistic::kUntempered), s.argmax_logprob_t1, "argmax_logprob_t1", false);
  check(declared.has(Statistic::kUntempered), s.entropy_t1_nats, "entropy_t1_nats", true);
  check_ids(declared.has(Statistic::kMax), s.argmax, "argmax");
  check_ids(declared.has(Statistic::kTop2), s.second, "second");
  check_ids(declared.has(Statistic::kCandidate), s.candidate, "candidate");
  check_ids(declared.has(Statistic::kAlternative), s.alternative, "alternative");
  for (size_t p = 0; declared.has(Statistic::kDivergence) && p < view.length(); ++p)
    if (!(s.kl_nats[p] >= 0)) throw NonFiniteStatistics("kl_nats", p);  // inf: nothing to compare with
}

}  // namespace

void ConfiguredSampler::decide(const StepView& view, CanvasState& state, StepDecision& decision) const {
  refuse_unusable(view, facts.statistics);
  const size_t L = view.length();
  const std::vector<uint8_t> revealed = state.revealed;  // [L] before the step
  decision.action.clear();
  decision.token.clear();
  sampler->step(view, state, decision);
  const auto broken = [&](const std::string& what) { return std::logic_error(fmt::format("sampler '{}' breaks its contract: {}", name, what)); };
  if (decision.action.size() != L) throw broken(fmt::format("{} actions for {} positions", decision.action.size(), L));
  if (facts.product_law && !state.scratch.empty()) throw broken("it remembers something, though it declares a product law");
  if (state.revealed.size() != L) throw broken(fmt::format("its revealed mask has {} entries for {} positions", state.revealed.size(), L));
  size_t open = 0, taken = 0;
  for (size_t p = 0; p < L; ++p) {
    const Action action = decision.action[p];
    if (action > Action::kToken) throw broken(fmt::format("{} at position {} is no action", static_cast<int>(action), p));
    if (action == Action::kToken && (decision.token.size() != L || decision.token[p] < 0 || decision.token[p] >= view.vocabulary))
      throw broken(fmt::format("no token of the vocabulary for position {}", p));
    if (!view.is_allowed(p)) continue;
    if (facts.fixed_steps && view.is_last && action == Action::kNoise) throw broken(fmt::format("position {} is left as noise by the last step", p));
    if (!revealed[p]) ++open, taken += takes(action);
    if (!facts.locks && state.revealed[p]) throw broken(fmt::format("position {} is revealed, which its facts do not declare", p));
    if (state.revealed[p] && action == Action::kNoise) throw broken(fmt::format("revealed position {} loses its token to noise", p));
    if (!facts.revocable && revealed[p] && (!state.revealed[p] || action != Action::kKeep))
      throw broken(fmt::format("position {} changes after it was revealed", p));
  }
  const size_t due = std::min(open, static_cast<size_t>(facts.min_accepted));
  if (taken < due) throw broken(fmt::format("{} positions taken at step {}, at least {} are due", taken, view.step_idx, due));
}

void ConfiguredSampler::decide_again(const StepView& view, CanvasState& state, StepDecision& decision) const {
  refuse_unusable(view, facts.statistics);
  decision.action.clear();
  decision.token.clear();
  sampler->after_extra_forward(view, state, decision);
  const size_t L = view.length();
  if (decision.action.size() != L) throw std::logic_error(fmt::format("sampler '{}' decides on {} of {} positions after an extra forward", name, decision.action.size(), L));
  for (size_t p = 0; p < L; ++p)
    if (decision.action[p] > Action::kToken) throw std::logic_error(fmt::format("sampler '{}': {} at position {} is no action", name, static_cast<int>(decision.action[p]), p));
    else if (decision.action[p] == Action::kToken && (decision.token.size() != L || decision.token[p] < 0 || decision.token[p] >= view.vocabulary))
      throw std::logic_error(fmt::format("sampler '{}' gives no token of the vocabulary for position {} after an extra forward", name, p));
}

std::string canonical_sampler(const PluginExpr& expr) { return samplers().resolve(expr).canonical(); }

ParamSpec inner_sampler_param(const std::string& fallback, const std::string& doc) {
  ParamSpec spec = plugin_param("inner", canonical_sampler, doc);
  spec.required = false;
  spec.default_text = fallback;
  return spec;
}

ConfiguredSampler configure_sampler(const PluginExpr& expr) {
  const auto& entry = samplers().find(expr.name);
  const Options options = samplers().resolve(expr);
  ConfiguredSampler out{.name = entry.name, .canonical = options.canonical(), .facts = {}, .sampler = entry.make(options), .knobs = {}};
  out.facts = out.sampler->refine(entry.facts);
  for (const auto& spec : entry.parameters) {
    if (spec.type != ParamType::kSchedule) continue;
    out.knobs.push_back(make_schedule(options.schedule(spec.name)));
    check_schedule_range(*out.knobs.back(), spec, fmt::format("sampler '{}', parameter '{}'", entry.name, spec.name));
  }
  for (const auto& spec : entry.parameters) {  // a decorator: the knobs of the sampler inside follow its own
    if (spec.type != ParamType::kPlugin || !samplers().contains(options.inner(spec.name).name)) continue;  // a schedule takes no knobs
    for (auto& knob : configure_sampler(options.inner(spec.name)).knobs) out.knobs.push_back(std::move(knob));
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

size_t num_allowed(const StepView& view) {
  size_t count = 0;
  for (size_t p = 0; p < view.length(); ++p) count += view.is_allowed(p);
  return count;
}

std::vector<uint8_t> open_positions(const StepView& view, const CanvasState& state) {
  std::vector<uint8_t> open(view.length());
  for (size_t p = 0; p < open.size(); ++p) open[p] = !state.revealed[p] && view.is_allowed(p);
  return open;
}

}  // namespace canvaslab
