// cfg - classifier-free guidance: another denoiser asked with the prompt and without it, and drawn away from the second.
#include <cmath>

#include "core/denoiser.h"
#include "core/token_ids.h"

namespace canvaslab {
namespace {

struct GuidedSequence final : Sequence {
  std::unique_ptr<Sequence> with, without;  ///< the prompt; both hold the same canvases behind it
  std::unique_ptr<Sequence> fork() const override {
    auto copy = std::make_unique<GuidedSequence>();
    copy->with = with->fork();
    copy->without = without->fork();
    return copy;
  }
};

/// logits = u + scale * (c - u): c with the prompt, u behind unconditional_ids alone (none: an empty prompt). In laws
/// p ~ u^(1 - scale) c^scale, position by position: 1 is no guidance, 0 forgets the prompt. LLaDA's cfg_scale is scale - 1,
/// with the prompt masked out in place instead of left out. Each context keeps its own cache, and its own prediction for
/// self-conditioning (that of its own logits, not of the guided ones). Statistics are those of the guided logits. Every
/// forward is one of the inner denoiser more, counted as unconditional. Tokens that are impossible with the prompt stay
/// impossible; one that is impossible only without it has no weight below scale 1, and is an error above.
/// Source: arXiv:2207.12598; for masked diffusion arXiv:2502.09992 (LLaDA).
class Cfg final : public LogitsDenoiser {
 public:
  Cfg(std::unique_ptr<Denoiser> inner, double scale, std::vector<int32_t> unconditional_ids)
      : inner_(std::move(inner)), scale_(scale), unconditional_ids_(std::move(unconditional_ids)), facts_(inner_->facts()) {
    facts_.unconditional_forwards = 2 * facts_.unconditional_forwards + 1;
    facts_.unconditional_prefills = 2 * facts_.unconditional_prefills + (unconditional_ids_.empty() ? 0 : 1);
    // Networks have no law of the first token, and the engine would take it from the prompt, which one context must not see.
    facts_.has_causal_mode = facts_.has_causal_mode && !inner_->next_logits(*without_prompt()).empty();
  }
  const DenoiserFacts& facts() const override { return facts_; }
  const Source* source() const override { return inner_->source(); }
  std::string content_hash() const override {
    return fmt::format("cfg(inner={}, scale={}, unconditional_ids={})", inner_->content_hash(), format_real(scale_), fmt::join(unconditional_ids_, " "));
  }
  std::unique_ptr<Sequence> prefill(const Prompt& prompt) const override {
    auto sequence = std::make_unique<GuidedSequence>();
    sequence->with = inner_->prefill(prompt);
    sequence->without = without_prompt();
    return sequence;
  }
  std::vector<float> append(Sequence& sequence, std::span<const int32_t> canvas, bool want_causal_logits) const override {
    if (want_causal_logits && !facts_.has_causal_mode)
      throw usage_error("denoiser 'cfg' has no causal logits: its inner denoiser gives no law of the first token behind an empty prompt");
    auto& s = dynamic_cast<GuidedSequence&>(sequence);
    auto logits = inner_->append(*s.with, canvas, want_causal_logits);
    combine(logits, inner_->append(*s.without, canvas, want_causal_logits), "the causal logits of a canvas");
    return logits;
  }
  std::vector<float> next_logits(const Sequence& sequence) const override {
    if (!facts_.has_causal_mode) return {};
    const auto& s = dynamic_cast<const GuidedSequence&>(sequence);
    auto logits = inner_->next_logits(*s.with);
    combine(logits, inner_->next_logits(*s.without), "the causal logits of the next token");
    return logits;
  }

 protected:
  std::vector<float> row_logits(Sequence& sequence, const StepRequest& request) const override {
    auto& s = dynamic_cast<GuidedSequence&>(sequence);
    DenoiseRow calls[2] = {{.sequence = s.with.get(), .request = request}, {.sequence = s.without.get(), .request = request}};
    for (auto& call : calls) {
      call.request.wanted = {};
      call.request.want_logits = true;
    }
    auto results = inner_->denoise(calls);
    combine(results[0].logits, results[1].logits, fmt::format("canvas {}, step {}", request.canvas_idx, request.step_idx));
    return std::move(results[0].logits);
  }

 private:
  std::unique_ptr<Sequence> without_prompt() const {
    Prompt prompt;
    prompt.ids = unconditional_ids_;
    return inner_->prefill(prompt);
  }
  /// with [L, V] becomes the guided logits; in f64, rounded once.
  void combine(std::span<float> with, std::span<const float> without, const std::string& where) const {
    const auto V = static_cast<size_t>(facts_.vocabulary);
    for (size_t i = 0; i < with.size(); ++i) {
      const double c = with[i], u = without[i];
      if (scale_ == 0) with[i] = without[i];
      else if (c == -INFINITY) continue;
      else if (u == -INFINITY && scale_ > 1)
        throw UserError(ExitCode::kSomeFailed, fmt::format("cfg: {}, position {}: token {} is possible with the prompt and impossible without it, so that scale {} has "
                                                           "no law; use a scale of at most 1, or other unconditional_ids", where, i / V, i % V, format_real(scale_)));
      else with[i] = static_cast<float>(u + scale_ * (c - u));
    }
  }

  std::unique_ptr<Denoiser> inner_;
  double scale_;
  std::vector<int32_t> unconditional_ids_;
  DenoiserFacts facts_;
};

std::unique_ptr<Denoiser> make_guided(const Options& options) {
  auto inner = denoisers().make(options.inner("inner"));
  auto unconditional_ids = token_ids(options, "unconditional_ids");
  check_token_ids(unconditional_ids, inner->facts().vocabulary, "cfg, unconditional_ids");
  if (options.real("scale") == 1) return inner;  // the very same laws, at no further cost
  return std::make_unique<Cfg>(std::move(inner), options.real("scale"), std::move(unconditional_ids));
}

[[maybe_unused]] const bool registered = denoisers().add({
    .name = "cfg",
    .summary = "classifier-free guidance: another denoiser asked with the prompt and without it",
    .source = "arXiv:2207.12598; for masked diffusion arXiv:2502.09992 (LLaDA), whose cfg_scale is scale - 1",
    .aliases = {"guidance"},
    .parameters = {inner_denoiser_param("inner", "denoiser that is guided"),
                   real_param("scale", 1.5, 0, 1000, "", "logits = u + scale * (c - u), c with the prompt, u without: 1 is the inner denoiser itself, 0 forgets the prompt"),
                   token_ids_param("unconditional_ids", "prompt of the context without the prompt")},
    .facts = {},
    .make = make_guided});

}  // namespace
}  // namespace canvaslab
