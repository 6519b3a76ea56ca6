#include "eval/exact_law.h"

#include <algorithm>
#include <cmath>
#include <map>

namespace canvaslab {
namespace {

/// Where the decision changes as the uniform runs from 0 to 1: kept over canvases, because most share their cuts.
using Cuts = std::vector<double>;

/// Propagates one plan. L positions, V tokens, C = V^L canvases.
class Propagation {
 public:
  Propagation(const Denoiser& denoiser, const GenerationPlan& plan, const Prompt& prompt)
      : denoiser_(denoiser),
        plan_(plan),
        V_(static_cast<size_t>(denoiser.facts().vocabulary)),
        L_(static_cast<size_t>(plan.canvas_length)) {
    check();
    sequence_ = denoiser.prefill(prompt);
  }

  std::vector<double> run() {
    std::vector<double> law(count_, 1.0 / static_cast<double>(count_)), next(count_), emitted;
    for (int32_t step = 0; step < plan_.num_steps; ++step) {
      std::fill(next.begin(), next.end(), 0.0);
      const bool last = step + 1 == plan_.num_steps;
      emitted.assign(last ? count_ : 0, 0.0);
      for (size_t index = 0; index < count_; ++index) {
        if (law[index] == 0) continue;
        const auto canvas = canvas_of_index(index, L_, static_cast<int32_t>(V_));
        const RowStatistics statistics = look(index, canvas, step);
        if (last && plan_.emission == Emission::kArgmax) {
          size_t target = 0;
          for (int32_t token : statistics.argmax) target = target * V_ + static_cast<size_t>(token);
          emitted[target] += law[index];
        } else {
          spread(step_law(canvas, statistics, logits_.at(index), step), law[index], 0, 0, next);
        }
      }
      law = last && plan_.emission == Emission::kArgmax ? emitted : next;
      if (looks_at_level()) logits_.clear();
      cuts_.clear();
      integrated_ = 0;
    }
    return law;
  }

 private:
  void check() {
    const auto& facts = plan_.sampler.facts;
    count_ = 1;
    for (size_t p = 0; p < L_; ++p) {
      count_ *= V_;
      if (count_ > kMaxExactCanvases)
        throw usage_error(
            "exact propagation: {} tokens at {} positions are more than {} canvases; use a smaller alphabet or canvas",
            V_, L_, kMaxExactCanvases);
    }
    if (plan_.stop.canonical != "never")
      throw usage_error("exact propagation: the stop rule is '{}'; expected never", plan_.stop.canonical);
    if (plan_.length.adaptive()) throw usage_error("exact propagation: canvas length '{}' is decided on the way; give a number", plan_.length.canonical);
    if (facts.extra_canvas || facts.causal_verify || facts.causal_checks)
      throw usage_error("exact propagation: sampler '{}' asks for extra forwards; only one forward a step can be propagated", plan_.sampler.name);
    if (plan_.filters.any()) throw usage_error("exact propagation: filters are not propagated; leave top_k, top_p and min_p out");
    if (!facts.product_law)
      throw usage_error(
          "exact propagation: sampler '{}' remembers earlier steps or looks at other positions' candidates; only samplers "
          "that declare a product law can be propagated",
          plan_.sampler.canonical);
    if (plan_.rng == RngMode::kTorch)
      throw usage_error(
          "exact propagation: integrates over draws, so a reference draw order has no meaning; use rng counter");
    if (denoiser_.facts().carries_steps)
      throw usage_error("exact propagation: the denoiser's answers depend on earlier steps; only denoisers that look at the canvas alone can be propagated");
    if (denoiser_.facts().self_conditioning && plan_.feedback.feedback->feeds())
      throw usage_error("exact propagation: self-conditioning carries state between steps; switch it off");
    if (denoiser_.facts().absorbing || !denoiser_.facts().banned_ids.empty())
      throw usage_error("exact propagation: only for noise that is uniform over the vocabulary");
  }
  bool looks_at_level() const { return denoiser_.facts().uses_level && plan_.tells_level; }
  Progress ramp(int32_t step) const { return {.step_idx = step, .num_steps = plan_.anneal_over}; }
  float temperature(int32_t step) const { return static_cast<float>(plan_.temperature->value(ramp(step))); }

  RowStatistics look(size_t index, const std::vector<int32_t>& canvas, int32_t step) {
    auto found = logits_.find(index);
    if (found == logits_.end()) {
      DenoiseRow row{.sequence = sequence_.get(), .request = {}};
      row.request.canvas = canvas;
      row.request.step_idx = step;
      row.request.want_logits = true;
      row.request.self_conditioning = SelfConditioning::kNone;
      if (plan_.tells_level) row.request.noise_level = noise_level(*plan_.sampler.sampler, step, plan_.num_steps);
      found = logits_.emplace(index, denoiser_.denoise(std::span(&row, 1)).front().logits).first;
    }
    RowStatistics statistics;
    statistics.resize(L_, StatisticSet::all());
    compute_row_statistics(
        found->second, static_cast<int32_t>(V_), 0, L_,
        {.temperature = temperature(step), .wanted = StatisticSet::all(), .canvas = canvas, .draw_key = std::nullopt},
        statistics);
    return statistics;
  }

  /// Log-probability of every candidate [L, V], as the fused pass would report it, in f64.
  std::vector<double> candidate_logprobs(std::span<const float> logits, int32_t step) const {
    const double t = temperature(step) == 0 ? 1.0 : static_cast<double>(temperature(step));
    std::vector<double> out(L_ * V_);
    for (size_t p = 0; p < L_; ++p) {
      double best = -INFINITY, sum = 0;
      for (size_t v = 0; v < V_; ++v) best = std::max<double>(best, logits[p * V_ + v]);
      for (size_t v = 0; v < V_; ++v) sum += std::exp((logits[p * V_ + v] - best) / t);
      for (size_t v = 0; v < V_; ++v) out[p * V_ + v] = (logits[p * V_ + v] - best) / t - std::log(sum);
    }
    return out;
  }

  /// Law of the next token at each position, [L, V].
  std::vector<double> step_law(const std::vector<int32_t>& canvas, RowStatistics statistics,
                               std::span<const float> logits, int32_t step) {
    const auto log_prob = candidate_logprobs(logits, step);
    const bool greedy = temperature(step) == 0;
    const auto knobs = plan_.sampler.knob_values(ramp(step));
    std::vector<double> law(L_ * V_, 0.0);
    for (size_t v = 0; v < V_; ++v) {
      std::vector<double> weight(L_);  // of candidate v at each position
      for (size_t p = 0; p < L_; ++p) {
        statistics.candidate[p] = static_cast<int32_t>(v);
        statistics.candidate_logprob[p] = static_cast<float>(log_prob[p * V_ + v]);
        weight[p] = greedy ? static_cast<double>(statistics.argmax[p] == statistics.candidate[p])
                           : std::exp(log_prob[p * V_ + v]);
      }
      const auto decide = [&](double u) {
        StepView view{.step_idx = step,
                      .num_steps = plan_.num_steps,
                      .is_last = step + 1 == plan_.num_steps,
                      .temperature = temperature(step),
                      .vocabulary = static_cast<int32_t>(V_),
                      .canvas = canvas,
                      .statistics = &statistics,
                      .allowed = {},
                      .knobs = knobs,
                      .level_now = noise_level(*plan_.sampler.sampler, step, plan_.num_steps),
                      .level_next = noise_level(*plan_.sampler.sampler, step + 1, plan_.num_steps),
                      .draws = nullptr,
                      .given_uniform = u};
        CanvasState state;
        plan_.sampler.sampler->begin(state, L_, plan_.num_steps);
        StepDecision decision;
        plan_.sampler.decide(view, state, decision);
        return decision;
      };
      integrate(decide, [&](const StepDecision& decision, double width) {
        for (size_t p = 0; p < L_; ++p) put(decision, p, canvas, statistics, weight[p] * width, law);
      });
    }
    return law;
  }
  void put(const StepDecision& decision, size_t p, const std::vector<int32_t>& canvas, const RowStatistics& statistics,
           double mass, std::vector<double>& law) const {
    double* row = law.data() + p * V_;
    switch (decision.action[p]) {
      case Action::kKeep:
        row[canvas[p]] += mass;
        break;
      case Action::kCandidate:
        row[statistics.candidate[p]] += mass;
        break;
      case Action::kArgmax:
        row[statistics.argmax[p]] += mass;
        break;
      case Action::kToken:
        row[decision.token[p]] += mass;
        break;
      case Action::kNoise:
        for (size_t u = 0; u < V_; ++u) row[u] += mass / static_cast<double>(V_);
        break;
    }
  }

  /// Splits (0, 1) into the pieces on which the decision is constant. Known cuts are tried first; between them the
  /// piece is probed at its ends (at the first canvases of a step also at interior points) and halved down to a few
  /// 1e-15 where the probes differ.
  template <typename Decide, typename Emit>
  void integrate(const Decide& decide, const Emit& emit) {
    constexpr double kEdge = 4e-15;  // beyond the width of a cut
    constexpr size_t kProbedCalls = 256;
    const bool probe = integrated_++ < kProbedCalls;
    Cuts edges = {0.0};
    edges.insert(edges.end(), cuts_.begin(), cuts_.end());
    edges.push_back(1.0);
    for (size_t i = 0; i + 1 < edges.size(); ++i) {
      const double low = edges[i] + kEdge, high = edges[i + 1] - kEdge;
      if (low >= high) continue;
      split(decide, emit, edges[i], decide(low), edges[i + 1], decide(high), probe);
    }
  }
  template <typename Decide, typename Emit>
  void split(const Decide& decide, const Emit& emit, double low, const StepDecision& at_low, double high,
             const StepDecision& at_high, bool probe) {
    const auto same = [](const StepDecision& a, const StepDecision& b) {
      return a.action == b.action && a.token == b.token;
    };
    if (same(at_low, at_high)) {
      bool constant = true;
      for (double share : {0.21, 0.5, 0.83})
        if (probe && constant) constant = same(decide(low + share * (high - low)), at_low);
      if (constant) return emit(at_low, high - low);
    }
    const double middle = 0.5 * (low + high);
    if (high - low < 4e-15) {
      const auto at = std::lower_bound(cuts_.begin(), cuts_.end(), middle);
      cuts_.insert(at, middle);
      emit(at_low, middle - low);
      return emit(at_high, high - middle);
    }
    const StepDecision at_middle = decide(middle);
    split(decide, emit, low, at_low, middle, at_middle, probe && high - low > 0.1);
    split(decide, emit, middle, at_middle, high, at_high, probe && high - low > 0.1);
  }

  /// Adds mass * product over positions of row laws to `next`.
  void spread(const std::vector<double>& row_law, double mass, size_t position, size_t prefix,
              std::vector<double>& next) const {
    for (size_t v = 0; v < V_; ++v) {
      const double here = row_law[position * V_ + v];
      if (position + 1 == L_) next[prefix * V_ + v] += mass * here;
      else if (here > 0) spread(row_law, mass * here, position + 1, prefix * V_ + v, next);
    }
  }

  const Denoiser& denoiser_;
  const GenerationPlan& plan_;
  size_t V_, L_, count_ = 1;
  std::unique_ptr<Sequence> sequence_;
  std::map<size_t, std::vector<float>>
      logits_;  // by canvas, of this step (of all steps when the level is not looked at)
  Cuts cuts_;
  size_t integrated_ = 0;  // calls of integrate at this step
};

}  // namespace

std::vector<double> exact_law(const Denoiser& denoiser, const GenerationPlan& plan, const Prompt& prompt) {
  return Propagation(denoiser, plan, prompt).run();
}

std::vector<int32_t> canvas_of_index(size_t index, size_t length, int32_t vocabulary) {
  std::vector<int32_t> canvas(length);
  for (size_t p = length; p-- > 0; index /= static_cast<size_t>(vocabulary))
    canvas[p] = static_cast<int32_t>(index % static_cast<size_t>(vocabulary));
  return canvas;
}

std::vector<double> source_law(const Source& source, size_t length, std::span<const int32_t> context) {
  size_t count = 1;
  for (size_t p = 0; p < length; ++p) count *= static_cast<size_t>(source.vocabulary());
  if (count > kMaxExactCanvases)
    throw usage_error("source law: {} sequences are more than {}", count, kMaxExactCanvases);
  std::vector<double> law(count);
  for (size_t i = 0; i < count; ++i)
    law[i] = std::exp(source.log_prob(canvas_of_index(i, length, source.vocabulary()), context));
  return law;
}

double total_variation(std::span<const double> p, std::span<const double> q) {
  double sum = 0;
  for (size_t i = 0; i < p.size(); ++i) sum += std::abs(p[i] - q[i]);
  return 0.5 * sum;
}

double cross_entropy(std::span<const double> p, std::span<const double> q) {
  double sum = 0;
  for (size_t i = 0; i < p.size(); ++i)
    if (p[i] > 0) sum -= p[i] * std::log(q[i]);
  return sum;
}

double law_entropy(std::span<const double> p) { return cross_entropy(p, p); }
double kl_divergence(std::span<const double> p, std::span<const double> q) {
  return cross_entropy(p, q) - law_entropy(p);
}

}  // namespace canvaslab
