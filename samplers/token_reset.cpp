// token_reset - a filter: tokens that a locking sampler revealed and that no longer hold go back to noise.
#include <algorithm>
#include <cmath>

#include "samplers/filter.h"

namespace canvaslab {
namespace {

/// Token-to-mask refinement with noise in place of the mask: a suspect token is reset instead of overwritten, so that it is
/// predicted anew from a context without it. A revealed token is suspect when
///   low_prob        p(token) < threshold                                    (authors' threshold 0.5)
///   contradiction   the candidate differs and p(candidate) > threshold      (0.9)
///   drop            p(token) fell by more than threshold since the last step (0.3)
/// Per step at most ceil(max_share * revealed) are reset, the worst first, and each position at most max_resets times, so
/// that the canvas cannot oscillate forever. Not at the last step. Only around samplers that lock.
/// Source: arXiv:2604.18738, synsis/remasked_DLM (T2M); uniform-state form newer.md 3.2 (derived).
class TokenReset final : public FilterSampler {
 public:
  explicit TokenReset(const Options& options)
      : FilterSampler(options, 1), detector_(options.text("detector")), max_share_(options.real("max_share")), max_resets_(static_cast<double>(options.integer("max_resets"))) {
    if (!inner().facts.locks)
      throw usage_error("sampler '{}': '{}' locks nothing, so there is nothing to reset; put it around a sampler that locks", options.plugin, inner().canonical);
  }
  SamplerFacts refine(SamplerFacts declared) const override {
    declared.min_accepted = inner().facts.min_accepted;
    SamplerFacts facts = FilterSampler::refine(declared);
    facts.revocable = true;
    return facts;
  }
  void begin(CanvasState& state, size_t length, int32_t num_steps) const override {
    FilterSampler::begin(state, length, num_steps);
    state.scratch.assign(2 * length, 0);  // resets of each position; then p(token) at the step before, 0: unknown
  }

 protected:
  void filter(const Taken& taken) const override {
    const RowStatistics& s = *taken.view.statistics;
    const size_t length = taken.view.length();
    const double threshold = taken.view.knobs[0];
    double *resets = taken.state.scratch.data(), *before = resets + length;
    std::vector<float> doubt(length);
    std::vector<uint8_t> suspect(length);
    size_t revealed = 0;
    for (size_t p = 0; p < length; ++p) {
      const double now = std::exp(static_cast<double>(s.current_logprob[p])), drop = before[p] - now;
      before[p] = taken.revealed_before[p] && taken.token(p) < 0 ? now : 0;  // of the token that stays
      if (!taken.revealed_before[p]) continue;
      ++revealed;
      if (resets[p] >= max_resets_ || taken.token(p) >= 0) continue;  // an edit of the sampler inside comes first
      const double candidate = std::exp(static_cast<double>(s.candidate_logprob[p]));
      if (detector_ == "low_prob") suspect[p] = now < threshold, doubt[p] = static_cast<float>(-now);
      else if (detector_ == "drop") suspect[p] = drop > threshold, doubt[p] = static_cast<float>(drop);
      else suspect[p] = s.candidate[p] != taken.view.canvas[p] && candidate > threshold, doubt[p] = static_cast<float>(candidate);
    }
    const auto order = order_by_falling(doubt, suspect);
    const size_t limit = static_cast<size_t>(std::ceil(max_share_ * static_cast<double>(revealed)));
    for (size_t i = 0; i < std::min(limit, order.size()); ++i) {
      taken.decision.action[order[i]] = Action::kNoise;
      taken.state.revealed[order[i]] = 0;
      before[order[i]] = 0;
      ++resets[order[i]];
    }
  }

 private:
  std::string detector_;
  double max_share_, max_resets_;
};

std::vector<ParamSpec> parameters() {
  ParamSpec inside = inner_sampler_param();
  inside.default_text = "confidence_threshold";
  return {inside,
          text_param("detector", "low_prob", "low_prob: its probability is below threshold; contradiction: another candidate is above; drop: it fell by more", {"low_prob", "contradiction", "drop"}),
          schedule_param("threshold", 0.5, 0, 1, "probability", "of the detector; the authors' are 0.5, 0.9 and 0.3"),
          real_param("max_share", 0.25, 0, 1, "", "share of the revealed tokens that may be reset at one step, rounded up"),
          int_param("max_resets", 5, 0, 1000000, "resets", "of one position within a canvas")};
}

[[maybe_unused]] const bool registered = samplers().add({
    .name = "token_reset",
    .summary = "filter: revealed tokens that no longer hold go back to noise, a few at a step and a few times each",
    .source = "arXiv:2604.18738 (T2M); synsis/remasked_DLM, uniform-state form",
    .aliases = {"t2m"},
    .parameters = parameters(),
    .facts = {.statistics = {Statistic::kMax, Statistic::kCandidate, Statistic::kCurrent}, .revocable = true, .default_emission = ""},
    .make = [](const Options& options) { return std::make_unique<TokenReset>(options); }});

}  // namespace
}  // namespace canvaslab
