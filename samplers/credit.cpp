// credit - reveal positions that are sure enough, where a token that has been the best one for a while counts as surer.
#include <cmath>
#include <vector>

#include "samplers/rules.h"

namespace canvaslab {
namespace {

/// Every step multiplies all credit by `decay`, then an open position's best token gains its probability^boost, all at temperature 1.
/// Probabilities are those of logits + alpha ln(1 + credit); a position is revealed with the best token of these when it is
/// at least `threshold` likely, as is the single surest of all (ties: lowest position); the last step reveals all. Tokens are
/// argmax tokens, so the run's temperature plays no part.
/// Credit only reaches tokens that were the best at some step, so instead of the authors' [L, V] matrix the last two such tokens
/// of a position are kept, and only the two best tokens of a step are lifted: exact while the credited tokens are these, else a
/// rival's credit is missed and the confidence comes out a little too high. Credit lasts for one canvas, as theirs for a block.
/// Uniform-state form: open positions get fresh noise, so best tokens change more often than under masks.
/// Source: inclusionAI/dInfer CreditThresholdParallelDecoder, parallel_strategy.py (alpha 0.7, boost 0.2, decay 0.8); samplers.md 4.14.
class Credit final : public Sampler {
 public:
  explicit Credit(const Options& options) : alpha_(options.real("alpha")), boost_(options.real("boost")), decay_(options.real("decay")) {}
  void begin(CanvasState& state, size_t length, int32_t num_steps) const override {
    Sampler::begin(state, length, num_steps);
    state.scratch.assign(kWidth * length, kNobody);
  }
  void step(const StepView& view, CanvasState& state, StepDecision& decision) const override {
    const auto open = open_positions(view, state);
    std::vector<Best> best(view.length());
    std::vector<float> key(view.length());
    for (size_t p = 0; p < view.length(); ++p) {
      double* account = state.scratch.data() + kWidth * p;
      for (const size_t slot : {0, 1}) account[2 * slot + 1] *= decay_;
      if (!open[p]) continue;
      const double probability = std::exp(static_cast<double>(view.statistics->argmax_logprob_t1[p]));
      pay(account, view.statistics->argmax[p], std::pow(probability, boost_));
      best[p] = fused(view, p, account, probability);
      key[p] = static_cast<float>(best[p].probability);
    }
    renoise_open(view, state, decision);
    decision.token.assign(view.length(), 0);
    const auto threshold = static_cast<float>(view.knobs[0]);
    const auto order = order_by_falling(key, open);
    for (size_t i = 0; i < order.size() && (i == 0 || view.is_last || key[order[i]] >= threshold); ++i) {
      decision.action[order[i]] = Action::kToken;
      decision.token[order[i]] = best[order[i]].token;
      state.revealed[order[i]] = 1;
    }
  }

 private:
  struct Best {
    int32_t token = 0;
    double probability = 0;
  };
  static constexpr size_t kWidth = 4;      // per position: token, credit, token, credit
  static constexpr double kNobody = -1;    // no token; its credit never counts

  static double credit(const double* account, int32_t token) { return account[0] == token ? account[1] : account[2] == token ? account[3] : 0; }
  /// Adds to the token's credit; a token without any takes the slot of the one that has less.
  static void pay(double* account, int32_t token, double amount) {
    const size_t slot = account[0] == token ? 0 : account[2] == token ? 1 : account[1] <= account[3] ? 0 : 1;
    if (account[2 * slot] != token) account[2 * slot] = token, account[2 * slot + 1] = 0;
    account[2 * slot + 1] += amount;
  }
  /// The best token under logits + alpha ln(1 + credit): odds (1 + credit)^alpha p of the two best against the rest.
  Best fused(const StepView& view, size_t p, const double* account, double probability) const {
    const RowStatistics& s = *view.statistics;
    const double temperature = view.temperature == 0 ? 1 : view.temperature;  // statistics at temperature 0 are those at 1
    const double rival = probability * std::exp(temperature * static_cast<double>(s.second_logprob[p] - s.argmax_logprob[p]));
    const double first = probability * std::pow(1 + credit(account, s.argmax[p]), alpha_), second = rival * std::pow(1 + credit(account, s.second[p]), alpha_);
    const double all = first + second + std::max(0.0, 1 - probability - rival);
    return first >= second ? Best{s.argmax[p], first / all} : Best{s.second[p], second / all};
  }
  double alpha_, boost_, decay_;
};

std::vector<ParamSpec> parameters() {
  ParamSpec threshold = schedule_param("threshold", 0.9, 0, 1, "probability", "tokens at least this likely, their credit counted, are revealed");
  threshold.above_min = true;
  return {threshold, real_param("alpha", 0.7, 0, 100, "", "how much credit lifts a logit: alpha ln(1 + credit); 0: not at all"),
          real_param("boost", 0.2, 0, 100, "", "a best token of probability p gains p to this power; 0: always 1"),
          real_param("decay", 0.8, 0, 1, "", "what is left of all credit after a step")};
}

[[maybe_unused]] const bool registered = samplers().add({
    .name = "credit",
    .summary = "reveal positions that are sure enough, where a token that has been the best one for a while counts as surer",
    .source = "inclusionAI/dInfer CreditThresholdParallelDecoder, uniform-state form",
    .aliases = {"credit_threshold"},
    .parameters = parameters(),
    .facts = {.statistics = {Statistic::kMax, Statistic::kTop2, Statistic::kUntempered}, .locks = true, .min_accepted = 1, .default_stop = "all_revealed", .default_emission = "canvas"},
    .make = [](const Options& options) { return std::make_unique<Credit>(options); }});

}  // namespace
}  // namespace canvaslab
