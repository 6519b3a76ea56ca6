// source - unconditional samples judged against the exact law of the denoiser's own source.
#include "core/error.h"
#include "eval/dataset.h"

namespace canvaslab {
namespace {

/// Per sample: negative log-likelihood per token under the source. That is a cross-entropy, not a quality: samplers that
/// collapse onto likely text beat the source in it. The quality of a configuration is the divergence of its token pairs
/// from the exact law, computed over all its samples at aggregation.
class SourceSamples final : public Dataset {
 public:
  explicit SourceSamples(const Options& options) : items_(options.integer("items")), text_(options.canonical()) {}
  std::vector<Example> load() const override {
    std::vector<Example> out;
    for (int64_t i = 0; i < items_; ++i) {
      Example example;
      example.id = fmt::format("sample-{:06}", i);
      example.has_ids = true;
      out.push_back(std::move(example));
    }
    return out;
  }
  ScoreFacts score_facts() const override {
    return {.name = "negative_log_likelihood", .unit = "nats per token", .higher_is_better = false,
            .metrics = {{.name = "repeated_token_frac", .unit = "fraction of tokens that equal the one before", .higher_is_better = false}}};
  }
  Score score(const Example& example, std::span<const int32_t> tokens, const Denoiser& denoiser) const override {
    const Source* source = denoiser.source();
    if (!source) throw usage_error("data set 'source' needs a denoiser with an exact source, such as hmm(...)");
    for (size_t p = 0; p < tokens.size(); ++p)
      if (tokens[p] >= source->vocabulary())
        throw UserError(ExitCode::kSomeFailed, fmt::format("position {} of the sample holds the mask token {}: the sampler left noise behind; use emission argmax, or a "
                                                           "sampler that leaves none", p, tokens[p]));
    const double pairs = static_cast<double>(tokens.size()) - 1;
    double repeated = 0;
    for (size_t p = 1; p < tokens.size(); ++p) repeated += tokens[p] == tokens[p - 1];
    return {.value = -source->log_prob(tokens, example.prompt_ids) / static_cast<double>(std::max<size_t>(1, tokens.size())),
            .metrics = {pairs > 0 ? repeated / pairs : 0}};
  }
  std::string content_hash() const override { return text_; }
  bool wants_control() const override { return true; }

 private:
  int64_t items_;
  std::string text_;
};

[[maybe_unused]] const bool registered = datasets().add({
    .name = "source",
    .summary = "unconditional samples judged against the exact law of the denoiser's source",
    .source = "ours; samplers.md 14",
    .aliases = {},
    .parameters = {int_param("items", 500, 1, 1e9, "samples", "how many")},
    .facts = {.needs_source = true},
    .make = [](const Options& options) { return std::make_unique<SourceSamples>(options); }});

}  // namespace
}  // namespace canvaslab
