// hmm - a hidden Markov source with its Bayes-optimal denoiser (forward-backward) from a uniformly corrupted canvas.
#include <cmath>

#include "core/denoiser.h"
#include "core/sources/hidden_markov.h"

namespace canvaslab {
namespace {

/// Context: the exact law of the hidden state at the first position of the next canvas.
struct HmmSequence final : Sequence {
  std::vector<double> state_law;  // [S]
  std::unique_ptr<Sequence> fork() const override { return std::make_unique<HmmSequence>(*this); }
};

/// Gauss-Legendre nodes on (0, 1) for the level's uniform prior.
struct Quadrature {
  std::vector<double> node, weight;
  explicit Quadrature(int n) {
    for (int i = 0; i < n; ++i) {
      double x = std::cos(M_PI * (i + 0.75) / (n + 0.5)), slope = 0;
      for (int newton = 0; newton < 100; ++newton) {
        double p0 = 1, p1 = x;
        for (int k = 2; k <= n; ++k) {
          const double p2 = ((2 * k - 1) * x * p1 - (k - 1) * p0) / k;
          p0 = p1;
          p1 = p2;
        }
        slope = n * (x * p1 - p0) / (x * x - 1);
        const double step = p1 / slope;
        x -= step;
        if (std::abs(step) < 1e-15) break;
      }
      node.push_back(0.5 * (1 - x));
      weight.push_back(1.0 / ((1 - x * x) * slope * slope));
    }
  }
};

class HmmDenoiser final : public LogitsDenoiser {
 public:
  explicit HmmDenoiser(const Options& options)
      : source_(static_cast<int32_t>(options.integer("states")), static_cast<int32_t>(options.integer("alphabet")),
                options.real("sharpness"), static_cast<uint64_t>(options.integer("seed"))),
        quadrature_(static_cast<int>(options.integer("quadrature"))), text_(options.canonical()) {
    facts_.vocabulary = source_.vocabulary();
    facts_.uses_level = options.boolean("use_level");
    facts_.defaults.temperature = "constant(1)";
    facts_.defaults.emission = "canvas";
    facts_.defaults.num_steps = 32;
    facts_.defaults.canvas_length = static_cast<int32_t>(options.integer("length"));
    facts_.defaults.pad_id = -1;
  }
  const DenoiserFacts& facts() const override { return facts_; }
  const Source* source() const override { return &source_; }
  std::string content_hash() const override { return text_; }

  std::unique_ptr<Sequence> prefill(const Prompt& prompt) const override {
    check_token_ids(prompt.ids, facts_.vocabulary, "prompt");
    auto sequence = std::make_unique<HmmSequence>();
    sequence->state_law = source_.filter(source_.stationary(), prompt.ids);
    return sequence;
  }
  std::vector<float> append(Sequence& sequence, std::span<const int32_t> canvas, bool) const override {
    check_token_ids(canvas, facts_.vocabulary, "canvas to append");
    auto& law = dynamic_cast<HmmSequence&>(sequence).state_law;
    law = source_.filter(std::move(law), canvas);
    return {};
  }

 protected:
  std::vector<float> row_logits(Sequence& sequence, const StepRequest& request) const override {
    const auto& law = dynamic_cast<HmmSequence&>(sequence).state_law;
    std::vector<double> posterior;  // [L, V]
    if (request.noise_level && facts_.uses_level) posterior = source_.posterior(request.canvas, law, *request.noise_level);
    else posterior = marginal(request.canvas, law);
    std::vector<float> logits(posterior.size());
    for (size_t i = 0; i < logits.size(); ++i) logits[i] = static_cast<float>(std::log(posterior[i]));
    return logits;
  }

 private:
  /// Posterior averaged over the unknown level, uniform a priori: sum_k w_k P(canvas | a_k) posterior_k, normalised.
  std::vector<double> marginal(std::span<const int32_t> canvas, const std::vector<double>& law) const {
    const size_t nodes = quadrature_.node.size();
    std::vector<std::vector<double>> parts(nodes);
    std::vector<double> log_weight(nodes);
    double best = -INFINITY, sum = 0;
    for (size_t k = 0; k < nodes; ++k) {
      parts[k] = source_.posterior(canvas, law, quadrature_.node[k], &log_weight[k]);
      log_weight[k] += std::log(quadrature_.weight[k]);
      best = std::max(best, log_weight[k]);
    }
    for (double& w : log_weight) sum += w = std::exp(w - best);
    std::vector<double> out(parts[0].size(), 0.0);
    for (size_t k = 0; k < nodes; ++k)
      for (size_t i = 0; i < out.size(); ++i) out[i] += log_weight[k] / sum * parts[k][i];
    return out;
  }

  HiddenMarkov source_;
  Quadrature quadrature_;
  std::string text_;
  DenoiserFacts facts_;
};

[[maybe_unused]] const bool registered = denoisers().add({
    .name = "hmm",
    .summary = "hidden Markov source with its Bayes-optimal denoiser; the level is used when given, else marginalised",
    .source = "ours; forward-backward (Baum et al. 1970) under uniform corruption, samplers.md 0",
    .aliases = {"hidden_markov"},
    .parameters = {int_param("states", 16, 1, 4096, "states", "number of hidden states"),
                   int_param("alphabet", 32, 2, 65536, "tokens", "vocabulary of the source"),
                   int_param("length", 32, 1, 65536, "tokens", "default canvas length"),
                   real_param("sharpness", 2, 0, 100, "", "scale of the random log-weights: larger is less random"),
                   int_param("seed", 1, 0, 9007199254740991.0, "", "which source"),
                   int_param("quadrature", 16, 2, 256, "nodes", "Gauss-Legendre nodes when the level is unknown; exact from (length + 1) / 2 on"),
                   bool_param("use_level", true, "off: always marginalise the level, as a denoiser that is not told it")},
    .facts = {},
    .make = [](const Options& options) { return std::make_unique<HmmDenoiser>(options); }});

}  // namespace
}  // namespace canvaslab
