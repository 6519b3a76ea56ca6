// wino - draft wide, verify what was drafted, take back what does not hold: without an extra forward.
#include <algorithm>
#include <cmath>

#include "samplers/rules.h"

namespace canvaslab {
namespace {

/// Draft: open positions with p(candidate) > threshold, the best of them up to min(max(floor(0.7 open), 5), 20); at least
/// the surest. Verify: when more than one was drafted, revealed tokens that fail go back to noise, the worst first, and
/// strictly fewer than were drafted at the step before, so that more than are lost are won from step to step. The last step drafts
/// all and takes nothing back. Masked models verify through a shadow copy of the block; a uniform-state denoiser scores
/// the token it sees, so that copy is replaced by
///   verify=raw   p(token) < back_threshold, and the candidate differs
///   verify=loo   ln of the leave-one-out probability < loo_nats, the level estimated as revealed / free positions.
/// loo is an estimate: the canvas of a locking sampler follows no noise level. Its scale depends on the vocabulary: at
/// 262144 tokens and level 0.5 a p of 0.999 is -5.6 nats. back_threshold = 0 never takes back. min_accepted 1.
/// Source: arXiv:2507.18578, Feng-Hong/WINO-DLLM LLaDA/decoding.py; uniform form samplers.md 4.8 (derived).
class Wino final : public Sampler {
 public:
  explicit Wino(bool leave_one_out) : leave_one_out_(leave_one_out) {}
  void begin(CanvasState& state, size_t length, int32_t num_steps) const override {
    Sampler::begin(state, length, num_steps);
    state.scratch.assign(1, 30);  // drafted at the step before
  }
  void step(const StepView& view, CanvasState& state, StepDecision& decision) const override {
    const auto& log_prob = view.statistics->candidate_logprob;
    const auto threshold = static_cast<float>(std::log(view.knobs[0]));
    const auto order = order_by_falling(log_prob, open_positions(view, state));
    const auto suspects = view.is_last ? std::vector<uint32_t>{} : failing(view, state);  // of the mask before this step
    renoise_open(view, state, decision);
    const size_t cap = std::clamp<size_t>(order.size() * 7 / 10, 5, 20);
    size_t drafted = 0;
    for (; drafted < order.size(); ++drafted) {
      if (!view.is_last && drafted > 0 && (drafted >= cap || log_prob[order[drafted]] <= threshold)) break;
      take(order[drafted], Mode::kLocked, state, decision);
    }
    const size_t before = static_cast<size_t>(state.scratch[0]);
    for (size_t i = 0; drafted > 1 && i < suspects.size() && i + 1 < before; ++i) {
      decision.action[suspects[i]] = Action::kNoise;
      state.revealed[suspects[i]] = 0;
    }
    state.scratch[0] = static_cast<double>(drafted);
  }

 private:
  /// Revealed positions that do not hold, the worst first.
  std::vector<uint32_t> failing(const StepView& view, const CanvasState& state) const {
    const RowStatistics& s = *view.statistics;
    const double free = static_cast<double>(std::max<size_t>(1, num_allowed(view))), level = static_cast<double>(state.num_revealed()) / free;
    std::vector<float> key = s.current_logprob;
    std::vector<uint8_t> fails(view.length());
    for (size_t p = 0; p < key.size(); ++p) {
      if (!state.revealed[p]) continue;
      if (leave_one_out_) key[p] = static_cast<float>(leave_one_out_logprob(std::min(0.0f, s.current_logprob[p]), level, view.vocabulary));
      fails[p] = leave_one_out_ ? key[p] < view.knobs[2] : key[p] < std::log(view.knobs[1]) && s.candidate[p] != view.canvas[p];
    }
    return order_by(key, fails);
  }
  bool leave_one_out_;
};

[[maybe_unused]] const bool registered = samplers().add({
    .name = "wino",
    .summary = "draft wide, verify the tokens seen on the canvas, take back what does not hold; no extra forward",
    .source = "arXiv:2507.18578 (WINO); uniform-state form ours",
    .aliases = {"wide_in_narrow_out"},
    .parameters = {schedule_param("threshold", 0.6, 0, 1, "probability", "open positions strictly above are drafted"),
                   schedule_param("back_threshold", 0.9, 0, 1, "probability", "verify=raw: tokens below are taken back; 0: none"),
                   schedule_param("loo_nats", -5.6, -1000, 0, "nats", "verify=loo: tokens whose leave-one-out log-probability is below are taken back"),
                   text_param("verify", "raw", "raw: p of the token on the canvas; loo: its leave-one-out probability at the estimated level", {"raw", "loo"})},
    .facts = {.statistics = {Statistic::kCandidate, Statistic::kCurrent}, .revocable = true, .locks = true, .min_accepted = 1, .default_stop = "all_revealed", .default_emission = "canvas"},
    .make = [](const Options& options) { return std::make_unique<Wino>(options.text("verify") == "loo"); }});

}  // namespace
}  // namespace canvaslab
