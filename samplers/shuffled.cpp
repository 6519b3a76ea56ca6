// shuffled - a control: another sampler that sees every position's sureness at a wrong position.
#include <algorithm>

#include "samplers/wrapping_sampler.h"

namespace canvaslab {
namespace {

/// At every step the numbers of a position (probabilities, entropies, divergences; not its tokens) are dealt out anew among
/// the open positions before the sampler inside decides: it takes as many as it would, but not the ones it means. What the
/// order by sureness is worth is the difference to the sampler alone. Extra forwards are not shuffled. Source: ours;
/// samplers.md 14 (controls).
class Shuffled final : public WrappingSampler {
 public:
  explicit Shuffled(const Options& options) : WrappingSampler(options.inner("inner")) {}
  SamplerFacts refine(SamplerFacts) const override {
    SamplerFacts out = inner_facts();
    out.permutation_equivariant = false;
    return out;
  }
  void step(const StepView& view, CanvasState& state, StepDecision& decision) const override {
    const std::vector<uint8_t> open = open_positions(view, state);
    std::vector<float> key(view.length());
    std::vector<uint32_t> from;
    for (size_t p = 0; p < key.size(); ++p) {
      key[p] = static_cast<float>(view.uniform(Purpose::kSampler, p));
      if (open[p]) from.push_back(static_cast<uint32_t>(p));
    }
    const auto to = order_by(key, open);
    RowStatistics dealt = *view.statistics;
    for (auto values : {&RowStatistics::argmax_logprob, &RowStatistics::second_logprob, &RowStatistics::entropy_nats, &RowStatistics::candidate_logprob,
                        &RowStatistics::current_logprob, &RowStatistics::argmax_logprob_t1, &RowStatistics::entropy_t1_nats, &RowStatistics::kl_nats})
      for (size_t i = 0; i < to.size() && !(dealt.*values).empty(); ++i) (dealt.*values)[to[i]] = (view.statistics->*values)[from[i]];
    StepView inside = view;
    inside.statistics = &dealt;
    WrappingSampler::step(inside, state, decision);
  }
};

[[maybe_unused]] const bool registered = samplers().add({
    .name = "shuffled",
    .summary = "a control: another sampler that sees every open position's sureness at a wrong position",
    .source = "ours; samplers.md 14",
    .aliases = {},
    .parameters = {inner_sampler_param("entropy_bound", "the sampler that is misled")},
    .facts = {},
    .make = [](const Options& options) { return std::make_unique<Shuffled>(options); }});

}  // namespace
}  // namespace canvaslab
