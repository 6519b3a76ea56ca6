#pragma once
// What the catalogue of samplers shares: locking or not, scores, revealing by rank, the routes of the uniform chain.
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "samplers/sampler.h"

namespace canvaslab {

// --- two ways to carry a rule for masks to a canvas of noise

enum class Mode {
  kLocked,      ///< taken positions are final (a shadow mask the denoiser is not told of); open ones hold fresh noise
  kMemoryless,  ///< every position competes anew at every step; what is not taken is renoised, so anything can be revised
};
ParamSpec mode_param();
Mode mode_of(const Options& options);
/// Facts of a rule in this mode, from those declared for the locked one.
SamplerFacts with_mode(SamplerFacts declared, Mode mode);

/// Keeps what is revealed or pinned, renoises the rest.
void renoise_open(const StepView& view, const CanvasState& state, StepDecision& decision);
/// Takes the candidate at a position; locked: for good.
void take(size_t position, Mode mode, CanvasState& state, StepDecision& decision);

/// A rule that ranks the open positions and takes the first few. With locking the last step takes all.
class RankedSampler : public Sampler {
 public:
  explicit RankedSampler(Mode mode) : mode_(mode) {}
  SamplerFacts refine(SamplerFacts declared) const override { return with_mode(declared, mode_); }
  void step(const StepView& view, CanvasState& state, StepDecision& decision) const final;

 protected:
  /// [L], the highest first; ties by position.
  virtual std::vector<float> keys(const StepView& view) const = 0;
  /// How many of `order` (open positions by falling key, not empty) are taken.
  virtual size_t count(const StepView& view, const CanvasState& state, std::span<const uint32_t> order) const = 0;
  Mode mode_;
};

// --- scores: what "sure" means

enum class Score {
  kConfidence,   ///< log-probability of the candidate at the step's temperature
  kEntropy,      ///< minus the entropy, nats
  kMargin,       ///< probability of the best token minus that of the second
  kProbability,  ///< log-probability of the candidate at temperature 1 (LLaDA)
  kRandom,       ///< a uniform draw
  kPosition,     ///< the first position first
};
/// A parameter that names one of the first five, and its value.
ParamSpec score_param(const std::string& fallback);
Score score_of(const Options& options);
StatisticSet score_statistics(Score score);
/// [L], higher is surer.
std::vector<float> scores(const StepView& view, Score score);

/// Takes the best-scored positions by a count budget.
class QuotaSampler final : public RankedSampler {
 public:
  /// choice_temperature > 0 draws the positions from softmax(score / choice_temperature), without replacement; random_count draws
  /// how many (schedules/random_count.h).
  QuotaSampler(Score score, CountBudget budget, Mode mode, bool has_choice_temperature = false, bool random_count = false)
      : RankedSampler(mode), score_(score), budget_(budget), has_choice_temperature_(has_choice_temperature), random_count_(random_count) {}
  SamplerFacts refine(SamplerFacts declared) const override;

 protected:
  std::vector<float> keys(const StepView& view) const override;
  size_t count(const StepView& view, const CanvasState& state, std::span<const uint32_t> order) const override;

 private:
  Score score_;
  CountBudget budget_;
  bool has_choice_temperature_, random_count_;
};

// --- the uniform chain

/// A sampler that follows a noise level; its table ends with path_param.
class LevelSampler : public Sampler {
 public:
  explicit LevelSampler(const Options& options);
  double path(double u) const override;

 protected:
  std::unique_ptr<Schedule> path_;  // null: linear
};
/// The noise path: survival probability of a clean token as a schedule of progress. It must not fall and lie between 0 and 1,
/// both excluded; the ends are 0 and 1 whatever it says. A denoiser that is told the level is told this one.
ParamSpec path_param();

/// Weights of three routes; they need not sum to 1.
struct Routes {
  double clean, stay, noise;
  double sum() const { return clean + stay + noise; }
};
/// q(x_s | x_t, x_0 = candidate) of the uniform chain from level `now` to level `next`, times V (samplers.md 3.4): with
/// r = now / next, clean = next (1-r) + V r next [agree], stay = r (1-next), noise = (1-r) (1-next).
Routes posterior_routes(double now, double next, bool agree, int32_t vocabulary);
/// Candidate, keep or noise, for a uniform u.
Action route(const Routes& routes, double u);
/// The mixture of arXiv:2602.21185: with probability kappa the posterior, else "predict, then corrupt": the candidate
/// with probability `level_next`, else noise. One uniform serves both choices. At the last step the candidate.
Action psi_action(const StepView& view, size_t position, double kappa);

/// ln of the probability that the denoiser gives to the observed token without having seen it, from ln p(x) with it:
/// p / (p + (1 - p) R), R = 1 + V a / (1 - a) at level a in [0, 1] (samplers.md 1). R grows with V: at V = 262144 and
/// a = 0.5 a p of 0.999 becomes 0.0038.
double leave_one_out_logprob(double log_p, double level, int32_t vocabulary);

}  // namespace canvaslab
