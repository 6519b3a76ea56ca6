#pragma once
// A denoiser around a given Markov chain, for figures that were worked out on one particular source.
#include <cmath>

#include "core/denoiser.h"
#include "core/sources/hidden_markov.h"

namespace canvaslab::testing_support {

/// First-order chain of 4 tokens: transition logits 1.5 * Gumbel(0, 1) from numpy's default_rng(0), softmax by rows;
/// 0.72681 nats a token over 6 positions from a stationary start (samplers.md 14).
inline HiddenMarkov reference_chain() {
  return HiddenMarkov({0.0016665621157547304, 0.009641221483660057, 0.1986368936379069, 0.7900553227626783,       //
                       0.1839323297562974, 0.10496710613288447, 0.4436557290004195, 0.2674448351103986,           //
                       0.00020662855850514945, 3.174808156772118e-05, 6.522596869682794e-05, 0.9996963973912303,  //
                       0.002148992914203343, 0.9251392154771038, 0.0039047347831754507, 0.06880705682551755},
                      {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1}, 4);
}

/// Exact posterior of a source; the level is used when given and `use_level`, else marginalised by `nodes` midpoints.
class ChainDenoiser final : public LogitsDenoiser {
 public:
  ChainDenoiser(HiddenMarkov source, size_t length, bool use_level) : source_(std::move(source)) {
    facts_.vocabulary = source_.vocabulary();
    facts_.uses_level = use_level;
    facts_.defaults.canvas_length = static_cast<int32_t>(length);
    facts_.defaults.temperature = "constant(1)";
    facts_.defaults.pad_id = -1;
  }
  const DenoiserFacts& facts() const override { return facts_; }
  const Source* source() const override { return &source_; }
  std::string content_hash() const override { return "chain"; }
  std::unique_ptr<Sequence> prefill(const Prompt&) const override { return std::make_unique<Nothing>(); }
  std::vector<float> append(Sequence&, std::span<const int32_t>, bool) const override { return {}; }

 protected:
  std::vector<float> row_logits(Sequence&, const StepRequest& request) const override {
    std::vector<double> posterior(request.canvas.size() * static_cast<size_t>(facts_.vocabulary), 0.0);
    if (facts_.uses_level && request.noise_level) {
      posterior = source_.posterior(request.canvas, source_.stationary(), *request.noise_level);
    } else {
      constexpr int kNodes = 64;  // midpoint rule; the integrand is a polynomial of degree L in the level
      double total = 0;
      for (int k = 0; k < kNodes; ++k) {
        double log_evidence = 0;
        const auto part = source_.posterior(request.canvas, source_.stationary(), (k + 0.5) / kNodes, &log_evidence);
        total += std::exp(log_evidence);
        for (size_t i = 0; i < part.size(); ++i) posterior[i] += std::exp(log_evidence) * part[i];
      }
      for (double& p : posterior) p /= total;
    }
    std::vector<float> logits;
    for (double p : posterior) logits.push_back(static_cast<float>(std::log(p)));
    return logits;
  }

 private:
  struct Nothing final : Sequence {
    std::unique_ptr<Sequence> fork() const override { return std::make_unique<Nothing>(); }
  };
  HiddenMarkov source_;
  DenoiserFacts facts_;
};

}  // namespace canvaslab::testing_support
