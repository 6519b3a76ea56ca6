// perturbed - another denoiser with the errors of a learned one: noise on its logits, overconfidence, a misjudged level.
#include <cmath>
#include <numbers>

#include "core/denoiser.h"

namespace canvaslab {
namespace {

struct PerturbedSequence final : Sequence {
  std::unique_ptr<Sequence> inner;
  uint64_t context = 0;  ///< digest of the tokens so far
  std::unique_ptr<Sequence> fork() const override {
    auto copy = std::make_unique<PerturbedSequence>();
    copy->inner = inner->fork();
    copy->context = context;
    return copy;
  }
};
PerturbedSequence& own(Sequence& sequence) { return dynamic_cast<PerturbedSequence&>(sequence); }

uint64_t digest(uint64_t before, std::span<const int32_t> tokens) {
  for (int32_t token : tokens) {
    const auto word = philox4x32({static_cast<uint32_t>(token), 0, 0, 1}, {static_cast<uint32_t>(before), static_cast<uint32_t>(before >> 32)});
    before = uint64_t{word[0]} << 32 | word[1];
  }
  return before;
}

/// logits' = (1 + overconfidence) * (logits + noise * N(0, 1)), the normal draws a fixed function of (seed, context,
/// canvas, position, token): like a trained model, the same question always gets the same wrong answer. The level is told
/// to the inner denoiser with its log-odds moved by level_error. Impossible tokens stay impossible. Self-conditioning that denoisers do
/// themselves (on, stale) feeds the inner one its own prediction, shapes of it (top_k, temperature) the disturbed one. Source: samplers.md 14.4.
class Perturbed final : public LogitsDenoiser {
 public:
  explicit Perturbed(const Options& options)
      : inner_(denoisers().make(options.inner("inner"))), noise_(options.real("noise")), overconfidence_(options.real("overconfidence")),
        level_error_(options.real("level_error")), seed_(static_cast<uint64_t>(options.integer("seed"))) {
    if (level_error_ != 0 && !inner_->facts().uses_level)
      throw usage_error("denoiser 'perturbed': level_error is {}, but its inner denoiser does not read the noise level", format_real(level_error_));
    text_ = fmt::format("perturbed(inner={}, noise={}, overconfidence={}, level_error={}, seed={})", inner_->content_hash(), format_real(noise_),
                        format_real(overconfidence_), format_real(level_error_), seed_);
  }
  const DenoiserFacts& facts() const override { return inner_->facts(); }
  const Source* source() const override { return inner_->source(); }
  std::string content_hash() const override { return text_; }
  std::unique_ptr<Sequence> prefill(const Prompt& prompt) const override {
    auto sequence = std::make_unique<PerturbedSequence>();
    sequence->inner = inner_->prefill(prompt);
    sequence->context = digest(0, prompt.ids);
    return sequence;
  }
  std::vector<float> append(Sequence& sequence, std::span<const int32_t> canvas, bool want_causal_logits) const override {
    auto& s = own(sequence);
    auto logits = inner_->append(*s.inner, canvas, want_causal_logits);
    const size_t V = logits.size() / std::max<size_t>(1, canvas.size());
    for (size_t p = 0; p < canvas.size(); ++p) {
      s.context = digest(s.context, canvas.subspan(p, 1));
      if (want_causal_logits) disturb(std::span(logits).subspan(p * V, V), s.context, 0);
    }
    return logits;
  }
  std::vector<float> next_logits(const Sequence& sequence) const override {
    const auto& s = dynamic_cast<const PerturbedSequence&>(sequence);
    auto logits = inner_->next_logits(*s.inner);
    disturb(logits, s.context, 0);
    return logits;
  }

 protected:
  std::vector<float> row_logits(Sequence& sequence, const StepRequest& request) const override {
    auto& s = own(sequence);
    DenoiseRow call{.sequence = s.inner.get(), .request = request};
    call.request.wanted = {};
    call.request.want_logits = true;
    if (request.noise_level && *request.noise_level > 0 && *request.noise_level < 1)
      call.request.noise_level = 1 / (1 + std::exp(-level_error_) * (1 / *request.noise_level - 1));
    auto logits = std::move(inner_->denoise(std::span(&call, 1)).front().logits);
    const uint64_t canvas = digest(s.context, request.canvas);
    const size_t V = logits.size() / request.canvas.size();
    for (size_t p = 0; p < request.canvas.size(); ++p) disturb(std::span(logits).subspan(p * V, V), canvas, static_cast<uint32_t>(p) + 1);
    return logits;
  }

 private:
  void disturb(std::span<float> row, uint64_t question, uint32_t position) const {
    const DrawKey key{.seed = seed_, .item = question};
    for (size_t v = 0; v < row.size(); ++v) {
      double noise = 0;
      if (noise_ > 0) {  // Box and Muller
        const auto word = key.bits(Purpose::kPerturbation, position, static_cast<uint32_t>(v));
        noise = noise_ * std::sqrt(-2 * std::log((word[0] + 0.5) * 0x1p-32)) * std::cos(2 * std::numbers::pi * word[1] * 0x1p-32);
      }
      row[v] = static_cast<float>((row[v] + noise) * (1 + overconfidence_));
    }
  }

  std::unique_ptr<Denoiser> inner_;
  double noise_, overconfidence_, level_error_;
  uint64_t seed_;
  std::string text_;
};

std::vector<ParamSpec> parameters() {
  ParamSpec overconfidence = real_param("overconfidence", 0, -1, 100, "", "logits times 1 + this: larger is more certain than the truth");
  overconfidence.above_min = true;
  return {inner_denoiser_param("inner", "denoiser that is disturbed"),
          real_param("noise", 0, 0, 100, "nats", "standard deviation of normal noise on every logit"), overconfidence,
          real_param("level_error", 0, -100, 100, "log-odds", "added to the noise level that the inner denoiser is told: above 0 it takes canvases for cleaner"),
          int_param("seed", 1, 0, 9007199254740991.0, "", "which noise")};
}

[[maybe_unused]] const bool registered = denoisers().add({
    .name = "perturbed",
    .summary = "another denoiser with the errors of a learned one: fixed noise, overconfidence, a misjudged noise level",
    .source = "ours; samplers.md 14.4",
    .aliases = {},
    .parameters = parameters(),
    .facts = {},
    .make = [](const Options& options) { return std::make_unique<Perturbed>(options); }});

}  // namespace
}  // namespace canvaslab
