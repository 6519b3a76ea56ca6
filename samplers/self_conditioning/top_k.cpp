// top_k - only the k likeliest tokens of the prediction are fed back, renormalised.
#include <algorithm>
#include <cmath>
#include <functional>

#include "samplers/self_conditioning.h"

namespace canvaslab {
namespace {

/// Ties go to the lower id. A temperature, inside or around it, changes no order, so both ways give the same. Softmax
/// renormalises what is left. NaN logits never come this far: statistics refuse them.
class TopKFeedback final : public WrappingFeedback {
 public:
  explicit TopKFeedback(const Options& options) : WrappingFeedback(options), k_(static_cast<size_t>(options.integer("k"))) {}
  bool shapes() const override { return true; }
  void shape(std::span<float> logits) const override {
    inner_->shape(logits);
    if (k_ >= logits.size()) return;
    std::vector<float> order(logits.begin(), logits.end());
    const auto last = order.begin() + static_cast<ptrdiff_t>(k_) - 1;
    std::nth_element(order.begin(), last, order.end(), std::greater<>());
    const float least = *last;
    auto at_least = static_cast<size_t>(std::count(order.begin(), last + 1, least));  // of the tied ones, how many stay
    for (float& logit : logits)
      if (logit < least || (logit == least && (at_least == 0 || at_least-- == 0))) logit = -INFINITY;
  }

 private:
  size_t k_;
};

std::vector<ParamSpec> parameters() {
  ParamSpec k = int_param("k", 1, 1, 1e9, "tokens", "so many are fed back at each position; ties go to the lower id");
  k.required = true;
  return {k, inner_feedback_param()};
}

[[maybe_unused]] const bool registered = self_conditionings().add({
    .name = "top_k",
    .summary = "only the k likeliest tokens of the prediction are fed back, renormalised",
    .source = "ours",
    .aliases = {},
    .parameters = parameters(),
    .facts = {},
    .make = [](const Options& options) { return std::make_unique<TopKFeedback>(options); }});

}  // namespace
}  // namespace canvaslab
