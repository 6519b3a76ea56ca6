// checking - two denoisers on the same requests: gives the first one's answers and fails where the second disagrees.
#include <cmath>

#include "core/denoiser.h"

namespace canvaslab {
namespace {

struct Pair final : Sequence {
  std::unique_ptr<Sequence> a, b;
  std::unique_ptr<Sequence> fork() const override {
    auto copy = std::make_unique<Pair>();
    copy->a = a->fork();
    copy->b = b->fork();
    return copy;
  }
};

/// The largest excess of |x - y| over its allowance, and where.
struct Worst {
  double excess = 0, x = 0, y = 0;
  std::string field;
  size_t position = 0, token = 0;
  bool has_token = false;
};

/// Agreement means |a - b| <= tolerance * (1 + |b|) for every value compared; infinities must be equal, NaN never
/// agrees.
class Checking final : public Denoiser {
 public:
  explicit Checking(const Options& options)
      : a_(denoisers().make(options.inner("a"))),
        b_(denoisers().make(options.inner("b"))),
        tolerance_(options.real("tolerance")),
        compare_(options.text("compare")) {
    facts_ = a_->facts();
    if (facts_.vocabulary != b_->facts().vocabulary)
      throw usage_error(
          "denoiser 'checking': a has a vocabulary of {}, b of {}; only denoisers of one vocabulary can be compared",
          facts_.vocabulary, b_->facts().vocabulary);
    facts_.uses_level = facts_.uses_level || b_->facts().uses_level;
    facts_.carries_steps = facts_.carries_steps || b_->facts().carries_steps;
    facts_.has_causal_mode = facts_.has_causal_mode && b_->facts().has_causal_mode;
  }
  const DenoiserFacts& facts() const override { return facts_; }
  const Source* source() const override { return a_->source(); }
  std::string content_hash() const override {
    return fmt::format("checking(a={}, b={}, tolerance={}, compare={})", a_->content_hash(), b_->content_hash(),
                       format_real(tolerance_), compare_);
  }
  std::unique_ptr<Sequence> prefill(const Prompt& prompt) const override {
    auto pair = std::make_unique<Pair>();
    pair->a = a_->prefill(prompt);
    pair->b = b_->prefill(prompt);
    return pair;
  }
  std::vector<StepResult> denoise(std::span<const DenoiseRow> rows) const override {
    std::vector<DenoiseRow> for_a(rows.begin(), rows.end()), for_b(rows.begin(), rows.end());
    const bool logits = compare_ != "statistics";
    for (size_t i = 0; i < rows.size(); ++i) {
      auto& pair = dynamic_cast<Pair&>(*rows[i].sequence);
      for_a[i].sequence = pair.a.get();
      for_b[i].sequence = pair.b.get();
      for_a[i].request.want_logits = for_a[i].request.want_logits || logits;
      for_b[i].request.want_logits = logits;
    }
    auto results = a_->denoise(for_a);
    const auto others = b_->denoise(for_b);
    for (size_t i = 0; i < rows.size(); ++i) {
      const StepRequest& request = rows[i].request;
      Worst worst;
      if (logits)
        compare_logits(results[i].logits, others[i].logits, worst);
      else
        compare_statistics(results[i].statistics, others[i].statistics, worst);
      if (worst.excess > 0) fail(request, worst);
      if (!request.want_logits) results[i].logits = {};
    }
    return results;
  }
  std::vector<float> append(Sequence& sequence, std::span<const int32_t> canvas,
                            bool want_causal_logits) const override {
    auto& pair = dynamic_cast<Pair&>(sequence);
    auto logits = a_->append(*pair.a, canvas, want_causal_logits);
    b_->append(*pair.b, canvas, false);
    return logits;
  }
  std::vector<float> next_logits(const Sequence& sequence) const override { return a_->next_logits(*dynamic_cast<const Pair&>(sequence).a); }

 private:
  void note(double x, double y, const char* field, size_t position, std::optional<size_t> token, Worst& worst) const {
    double excess = 0;
    if (std::isfinite(x) && std::isfinite(y))
      excess = std::abs(x - y) - tolerance_ * (1 + std::abs(y));
    else if (x != y)
      excess = INFINITY;  // NaN, or only one infinite
    if (excess > worst.excess) worst = {excess, x, y, field, position, token.value_or(0), token.has_value()};
  }
  void compare_logits(std::span<const float> x, std::span<const float> y, Worst& worst) const {
    if (x.size() != y.size()) throw std::logic_error("checking: the two denoisers gave logits of different sizes");
    const auto V = static_cast<size_t>(facts_.vocabulary);
    const bool relative = compare_ == "log_probs";
    for (size_t p = 0; p * V < x.size(); ++p) {
      const double zx = relative ? log_sum(x.subspan(p * V, V)) : 0.0,
                   zy = relative ? log_sum(y.subspan(p * V, V)) : 0.0;
      for (size_t v = 0; v < V; ++v)
        note(x[p * V + v] - zx, y[p * V + v] - zy, relative ? "log-probability" : "logit", p, v, worst);
    }
  }
  static double log_sum(std::span<const float> row) {
    double best = -INFINITY, sum = 0;
    for (float l : row) best = std::max<double>(best, l);
    for (float l : row) sum += std::exp(l - best);
    return best + std::log(sum);
  }
  /// Ids are compared through their log-probabilities: an argmax or candidate that differs within the tolerance is a
  /// tie.
  void compare_statistics(const RowStatistics& x, const RowStatistics& y, Worst& worst) const {
    const auto all = [&](const std::vector<float>& s, const std::vector<float>& t, const char* field) {
      for (size_t p = 0; p < s.size(); ++p) note(s[p], t[p], field, p, std::nullopt, worst);
    };
    all(x.argmax_logprob, y.argmax_logprob, "argmax_logprob");
    all(x.second_logprob, y.second_logprob, "second_logprob");
    all(x.entropy_nats, y.entropy_nats, "entropy_nats");
    all(x.current_logprob, y.current_logprob, "current_logprob");
    all(x.argmax_logprob_t1, y.argmax_logprob_t1, "argmax_logprob_t1");
    all(x.entropy_t1_nats, y.entropy_t1_nats, "entropy_t1_nats");
    all(x.kl_nats, y.kl_nats, "kl_nats");
  }
  [[noreturn]] void fail(const StepRequest& request, const Worst& worst) const {
    throw UserError(ExitCode::kSomeFailed,
                    fmt::format("checking: the denoisers disagree at canvas {}, step {}: worst is the {} at position "
                                "{}{}: {} from a, {} from b, off by {}; allowed {} * (1 + |b|)",
                                request.canvas_idx, request.step_idx, worst.field, worst.position,
                                worst.has_token ? fmt::format(", token {}", worst.token) : "", worst.x, worst.y,
                                std::abs(worst.x - worst.y), tolerance_));
  }

  std::unique_ptr<Denoiser> a_, b_;
  double tolerance_;
  std::string compare_;
  DenoiserFacts facts_;
};

[[maybe_unused]] const bool registered = denoisers().add(
    {.name = "checking",
     .summary = "runs two denoisers on the same requests; answers as the first, fails the sample where they disagree",
     .source = "ours",
     .aliases = {},
     .parameters =
         {inner_denoiser_param("a", "denoiser whose answers are used"),
          inner_denoiser_param("b", "denoiser to compare with"),
          real_param("tolerance", 1e-4, 0, 1e6, "", "|a - b| <= tolerance * (1 + |b|) for every value"),
          text_param(
              "compare", "logits",
              "logits; log_probs (constants added to a position's logits do not matter); or the step's statistics",
              {"logits", "log_probs", "statistics"})},
     .facts = {},
     .make = [](const Options& options) { return std::make_unique<Checking>(options); }});

}  // namespace
}  // namespace canvaslab
