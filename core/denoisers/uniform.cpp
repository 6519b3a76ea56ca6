// uniform - knows nothing: every token equally likely everywhere. A baseline and a test of everything around it.
#include "core/denoiser.h"

namespace canvaslab {
namespace {

struct Nothing final : Sequence {
  std::unique_ptr<Sequence> fork() const override { return std::make_unique<Nothing>(); }
};

class Uniform final : public LogitsDenoiser {
 public:
  explicit Uniform(const Options& options) : text_(options.canonical()) {
    facts_.vocabulary = static_cast<int32_t>(options.integer("alphabet"));
    facts_.defaults.canvas_length = static_cast<int32_t>(options.integer("length"));
    facts_.defaults.pad_id = -1;
  }
  const DenoiserFacts& facts() const override { return facts_; }
  std::string content_hash() const override { return text_; }
  std::unique_ptr<Sequence> prefill(const Prompt& prompt) const override {
    check_token_ids(prompt.ids, facts_.vocabulary, "prompt");
    return std::make_unique<Nothing>();
  }
  std::vector<float> append(Sequence&, std::span<const int32_t>, bool) const override { return {}; }

 protected:
  std::vector<float> row_logits(Sequence&, const StepRequest& request) const override {
    return std::vector<float>(request.canvas.size() * static_cast<size_t>(facts_.vocabulary), 0.0f);
  }

 private:
  std::string text_;
  DenoiserFacts facts_;
};

[[maybe_unused]] const bool registered = denoisers().add({
    .name = "uniform",
    .summary = "every token equally likely at every position",
    .source = "ours",
    .aliases = {},
    .parameters = {int_param("alphabet", 32, 2, 1 << 20, "tokens", "vocabulary"),
                   int_param("length", 32, 1, 65536, "tokens", "default canvas length")},
    .facts = {},
    .make = [](const Options& options) { return std::make_unique<Uniform>(options); }});

}  // namespace
}  // namespace canvaslab
