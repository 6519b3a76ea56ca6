// delimiter - a canvas ends where the model expects a delimiter.
#include <algorithm>
#include <cmath>

#include "core/token_ids.h"
#include "samplers/length_policy.h"

namespace canvaslab {
namespace {

/// One forward looks at `window` positions of fresh noise; among those whose argmax is a delimiter the most probable one, if
/// it reaches `threshold`, ends the canvas (it is its last token); else the canvas has `length` tokens. The authors look at
/// the masks of the rest of the text, where the forward is the canvas's own first step; here it is a forward more, and on a
/// uniform denoiser it sees noise, so that only positions near the context know much. Probabilities are those of the
/// first step's temperature (the authors': temperature 1).
/// Source: arXiv:2509.26432 (AdaBlock), lgxi24/AdaBlock-dLLM: window a quarter of the text, threshold 0.3, length 32.
class Delimiter final : public LengthPolicy {
 public:
  explicit Delimiter(const Options& options)
      : ids_(token_ids(options, "ids")), window_(static_cast<int32_t>(options.integer("window"))), length_(static_cast<int32_t>(options.integer("length"))),
        log_threshold_(static_cast<float>(std::log(options.real("threshold")))) {
    if (ids_.empty()) throw usage_error("canvas length policy 'delimiter', parameter 'ids' is empty; expected token ids, as delimiter(\"198\")");
  }
  int32_t shortest() const override { return 1; }
  int32_t longest() const override { return std::max(window_, length_); }
  int32_t preview() const override { return window_; }
  int32_t next(const LengthView& view) const override {
    int32_t best = -1;
    const auto& s = *view.preview;
    for (size_t p = 0; p < s.argmax.size(); ++p)
      if (contains(ids_, s.argmax[p]) && (best < 0 || s.argmax_logprob[p] > s.argmax_logprob[static_cast<size_t>(best)])) best = static_cast<int32_t>(p);
    return best >= 0 && s.argmax_logprob[static_cast<size_t>(best)] >= log_threshold_ ? best + 1 : length_;
  }

 private:
  std::vector<int32_t> ids_;
  int32_t window_, length_;
  float log_threshold_;
};

[[maybe_unused]] const bool registered = length_policies().add({
    .name = "delimiter",
    .summary = "a canvas ends where a forward on fresh noise expects a delimiter; costs that forward before every canvas",
    .source = "arXiv:2509.26432 (AdaBlock); lgxi24/AdaBlock-dLLM",
    .aliases = {"adablock"},
    .parameters = {required_text_param("ids", "delimiter tokens, separated by blanks"), int_param("window", 64, 1, 1 << 20, "tokens", "how far ahead a delimiter is looked for"),
                   real_param("threshold", 0.3, 0, 1, "probability", "of the delimiter, at least"), int_param("length", 32, 1, 1 << 20, "tokens", "of a canvas without one")},
    .facts = {},
    .make = [](const Options& options) { return std::make_unique<Delimiter>(options); }});

}  // namespace
}  // namespace canvaslab
