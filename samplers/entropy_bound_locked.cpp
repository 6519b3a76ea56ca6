// entropy_bound_locked - entropy bound as first published: permanent commits, and an order of its own.
#include "samplers/rules.h"

namespace canvaslab {
namespace {

/// Sorts the open positions by a proxy of their error (entropy, confidence or margin) and reveals the largest prefix whose
/// entropies sum, without the largest of them, to at most the bound; at least one. With the entropy as proxy that is
/// entropy_bound's rule over the open positions. SGLang's eb_sampling uses a bound of 0.15 and argmax tokens.
/// Source: arXiv:2505.24857 (EB-Sampler, masked); samplers.md 4.6.
class EntropyBoundLocked final : public RankedSampler {
 public:
  explicit EntropyBoundLocked(Score proxy) : RankedSampler(Mode::kLocked), proxy_(proxy) {}
  SamplerFacts refine(SamplerFacts declared) const override {
    declared.statistics = declared.statistics | score_statistics(proxy_);
    return declared;
  }

 protected:
  std::vector<float> keys(const StepView& view) const override { return scores(view, proxy_); }
  size_t count(const StepView& view, const CanvasState&, std::span<const uint32_t> order) const override {
    double sum = 0, largest = 0;
    size_t n = 0;
    for (; n < order.size(); ++n) {
      const double h = view.statistics->entropy_nats[order[n]];
      sum += h;
      largest = std::max(largest, h);
      if (n > 0 && sum - largest > view.knobs[0]) break;
    }
    return n;
  }

 private:
  Score proxy_;
};

std::vector<ParamSpec> parameters() {
  ParamSpec proxy = score_param("entropy");
  proxy.choices = {"entropy", "confidence", "margin"};
  proxy.doc = "order in which positions are tried: entropy (lowest first), confidence or margin (highest first)";
  return {schedule_param("entropy_bound", 0.1, 0, std::numeric_limits<double>::infinity(), "nats", "larger reveals more per step; inf reveals everything"), proxy};
}

[[maybe_unused]] const bool registered = samplers().add({
    .name = "entropy_bound_locked",
    .summary = "reveal the surest positions under a joint entropy bound, for good",
    .source = "arXiv:2505.24857 (EB-Sampler), uniform-state form",
    .aliases = {"eb_sampling"},
    .parameters = parameters(),
    .facts = {.statistics = {Statistic::kEntropy, Statistic::kCandidate}, .locks = true, .min_accepted = 1, .default_stop = "all_revealed", .default_emission = "canvas"},
    .make = [](const Options& options) { return std::make_unique<EntropyBoundLocked>(score_of(options)); }});

}  // namespace
}  // namespace canvaslab
