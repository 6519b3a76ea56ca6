// fixed_plan - reveal positions in rounds that are written down: the order is the user's, not the denoiser's.
#include <algorithm>
#include <set>
#include <sstream>

#include "core/error.h"
#include "samplers/rules.h"

namespace canvaslab {
namespace {

/// One round a step, e.g. "0 8 / 4 12 / ...": the open positions of the first round that has any are taken for good, the
/// others renoised; positions that no round names come after all rounds. The last step takes everything. On an absorbing
/// source this is exactly a fixed plan that commits once (eval/commit_once); on noise the denoiser does not know which
/// tokens are final. As a control: an order from outside (an oracle's), against orders by confidence. Source: ours;
/// samplers.md 14.
class FixedPlan final : public Sampler {
 public:
  explicit FixedPlan(const Options& options) {
    std::set<size_t> seen;
    std::istringstream words(options.text("plan"));
    rounds_.emplace_back();
    for (std::string word; words >> word;) {
      if (word == "/") {
        rounds_.emplace_back();
        continue;
      }
      const int64_t position = parse_integer(word, "'fixed_plan', parameter 'plan'");
      if (position < 0) throw usage_error("'fixed_plan', parameter 'plan': {} is no position; expected 0 or more, rounds separated by ' / '", position);
      if (!seen.insert(static_cast<size_t>(position)).second) throw usage_error("'fixed_plan', parameter 'plan': position {} is listed twice", position);
      rounds_.back().push_back(static_cast<size_t>(position));
    }
    farthest_ = seen.empty() ? 0 : *seen.rbegin();
  }
  void begin(CanvasState& state, size_t length, int32_t num_steps) const override {
    Sampler::begin(state, length, num_steps);
    if (farthest_ >= length && farthest_ > 0) throw usage_error("'fixed_plan', parameter 'plan': position {} is outside a canvas of {} positions", farthest_, length);
  }
  void step(const StepView& view, CanvasState& state, StepDecision& decision) const override {
    renoise_open(view, state, decision);
    bool any = false;
    for (size_t round = 0; round < rounds_.size() && !view.is_last && !any; ++round)
      for (const size_t p : rounds_[round]) any = take_open(p, state, decision) || any;
    for (size_t p = 0; p < view.length() && !any; ++p) take_open(p, state, decision);
  }

 private:
  static bool take_open(size_t p, CanvasState& state, StepDecision& decision) {
    if (decision.action[p] != Action::kNoise) return false;
    take(p, Mode::kLocked, state, decision);
    return true;
  }
  std::vector<std::vector<size_t>> rounds_;
  size_t farthest_ = 0;
};

[[maybe_unused]] const bool registered = samplers().add({
    .name = "fixed_plan",
    .summary = "reveal positions in rounds that are written down, whatever the denoiser thinks: a control, or an oracle's order",
    .source = "ours; samplers.md 14",
    .aliases = {},
    .parameters = {text_param("plan", "", "positions from 0 separated by blanks, rounds by ' / '; positions not named come last, all at once")},
    .facts = {.statistics = {Statistic::kCandidate}, .locks = true, .permutation_equivariant = false, .min_accepted = 1, .default_stop = "all_revealed", .default_emission = "canvas"},
    .make = [](const Options& options) { return std::make_unique<FixedPlan>(options); }});

}  // namespace
}  // namespace canvaslab
