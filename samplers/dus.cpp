// dus - dilated unmasking: a fixed order in rounds of shrinking stride, so that what is revealed together lies far apart.
#include <algorithm>
#include <cmath>

#include "samplers/rules.h"

namespace canvaslab {
namespace {

/// Round t of ceil(log_base L) reveals the open positions p with p mod max(1, floor(L / base^t)) = 0: 2, 2, 4, 8, ... 128
/// positions for L = 256, base 2. One round a step; rounds with nothing open are skipped; the last step reveals all. The
/// denoiser's confidence plays no part. At least one position a step. Spacing as a filter over any rule: spacing.
/// Source: arXiv:2506.19037; samplers.md 4.13.
class Dus final : public Sampler {
 public:
  explicit Dus(int64_t base) : base_(static_cast<size_t>(base)) {}
  void step(const StepView& view, CanvasState& state, StepDecision& decision) const override {
    renoise_open(view, state, decision);
    size_t divisor = view.length();
    while (divisor > 1) {
      divisor /= base_;
      const size_t stride = view.is_last ? 1 : std::max<size_t>(1, divisor);
      bool any = false;
      for (size_t p = 0; p < view.length(); p += stride) {
        if (decision.action[p] != Action::kNoise) continue;
        take(p, Mode::kLocked, state, decision);
        any = true;
      }
      if (any) return;
    }
    for (size_t p = 0; p < view.length(); ++p)  // a canvas of one position
      if (decision.action[p] == Action::kNoise) take(p, Mode::kLocked, state, decision);
  }

 private:
  size_t base_;
};

[[maybe_unused]] const bool registered = samplers().add({
    .name = "dus",
    .summary = "dilated unmasking: a fixed order in rounds of shrinking stride, log L steps",
    .source = "arXiv:2506.19037 (DUS), uniform-state form",
    .aliases = {"dilated"},
    .parameters = {int_param("base", 2, 2, 1000000, "", "the stride shrinks by this factor from round to round")},
    .facts = {.statistics = {Statistic::kCandidate}, .locks = true, .permutation_equivariant = false, .min_accepted = 1, .default_stop = "all_revealed", .default_emission = "canvas"},
    .make = [](const Options& options) { return std::make_unique<Dus>(options.integer("base")); }});

}  // namespace
}  // namespace canvaslab
