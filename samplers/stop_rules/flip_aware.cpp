// flip_aware - patience that grows with how often the answer changed its mind.
#include <algorithm>
#include <cmath>

#include "core/token_ids.h"
#include "samplers/stop_rule.h"

namespace canvaslab {
namespace {

/// The answer of a step is its argmax canvas up to the first end token. Stops when it stood for at least
/// max(patience, ceil(flip_weight * flips)) steps, this one included, where flips counts the changes so far, and the mean
/// probability of its tokens is at least `confidence`. The constants are those published for the extracted answer span of
/// masked models; here the whole text is the answer, which needs no task parser (the authors' run pauses where no answer
/// can be extracted; a canvas always has one). Pinned positions do not count.
/// Source: arXiv:2607.28166 (LATCH/C4 global stop); uniform form newer.md 4.1 (derived).
class FlipAware final : public StopRule {
 public:
  explicit FlipAware(const Options& options)
      : ends_(token_ids(options, "end_ids")), patience_(static_cast<double>(options.integer("patience"))), weight_(options.real("flip_weight")), confidence_(options.real("confidence")) {}
  std::optional<std::string> check(const StepView& view, const CanvasState&, const StepDecision&, const StopHistory& history) const override {
    const RowStatistics& s = *view.statistics;
    const size_t length = end_of(s.argmax);
    double sum = 0, count = 0;
    for (size_t p = 0; p < length; ++p)
      if (view.is_allowed(p)) sum += std::exp(static_cast<double>(s.argmax_logprob[p])), ++count;
    if (count > 0 && sum / count < confidence_) return std::nullopt;
    double run = 1, flips = 0;
    std::span<const int32_t> later = s.argmax;
    for (size_t i = history.argmax.size(); i-- > 0; later = history.argmax[i]) {
      const bool same = equal(view, history.argmax[i], later);
      flips += !same;
      run += same && flips == 0;
    }
    if (run >= std::max(patience_, std::ceil(weight_ * flips))) return "flip_aware";
    return std::nullopt;
  }

 private:
  size_t end_of(std::span<const int32_t> tokens) const {
    const auto at = std::find_if(tokens.begin(), tokens.end(), [&](int32_t token) { return contains(ends_, token); });
    return at == tokens.end() ? tokens.size() : static_cast<size_t>(at - tokens.begin()) + 1;
  }
  bool equal(const StepView& view, std::span<const int32_t> a, std::span<const int32_t> b) const {
    const size_t length = end_of(a);
    if (length != end_of(b)) return false;
    for (size_t p = 0; p < length; ++p)
      if (view.is_allowed(p) && a[p] != b[p]) return false;
    return true;
  }
  std::vector<int32_t> ends_;
  double patience_, weight_, confidence_;
};

[[maybe_unused]] const bool registered = stop_rules().add({
    .name = "flip_aware",
    .summary = "stop when the text up to its end stood still for longer, the more often it changed before",
    .source = "arXiv:2607.28166 (LATCH); uniform-state form ours",
    .aliases = {"latch"},
    .parameters = {token_ids_param("end_ids", "end tokens"), int_param("patience", 3, 1, 1000000, "steps", "shortest time to stand still"),
                   real_param("flip_weight", 2, 0, 1000, "steps", "further steps of patience per change so far"), real_param("confidence", 0.7, 0, 1, "probability", "mean probability of the text's tokens, at least")},
    .facts = {.statistics = {Statistic::kMax}, .breaks_level = true},
    .make = [](const Options& options) { return std::make_unique<FlipAware>(options); }});

}  // namespace
}  // namespace canvaslab
