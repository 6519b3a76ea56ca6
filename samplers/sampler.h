#pragma once
// Samplers: which positions keep, take or lose their tokens at a denoising step.
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/philox.h"
#include "core/registry.h"
#include "core/row_statistics.h"
#include "schedules/count_budget.h"
#include "schedules/schedule.h"

namespace canvaslab {

/// What happens to one position. The engine applies it: samplers never touch tokens, noise or generators.
enum class Action : uint8_t {
  kKeep,       ///< the canvas token stays
  kCandidate,  ///< takes this step's candidate
  kArgmax,     ///< takes this step's argmax
  kNoise,      ///< takes fresh noise (uniform, or the mask of an absorbing denoiser)
  kToken,      ///< takes StepDecision::token
};

/// What the causal mode made of a span of a draft, from the left: the first num_accepted candidates stand; where one did not,
/// `replacement` is the token to put at position begin + num_accepted.
struct CausalCheck {
  size_t begin = 0, num_accepted = 0;
  std::optional<int32_t> replacement;
};

/// Read-only view of one step of one canvas of L positions.
struct StepView {
  int32_t step_idx = 0;
  int32_t num_steps = 1;               ///< step limit
  bool is_last = false;                ///< no step follows this one
  float temperature = 1;
  int32_t vocabulary = 0;
  std::span<const int32_t> canvas;     // [L] tokens that were fed in
  const RowStatistics* statistics = nullptr;
  std::span<const uint8_t> allowed;    // [L] 0: pinned, will not change whatever is decided
  /// Knobs written as schedules, evaluated for this step, in the order of the sampler's parameter table; then those of
  /// the sampler inside it, if it takes one.
  std::span<const double> knobs;
  double level_now = 0;                ///< survival probability of a clean token in the canvas fed in
  double level_next = 0;               ///< ... after this step
  /// Uniform in (0, 1), a pure function of (row, canvas, step, purpose, position); or, in torch mode, unavailable.
  const DrawKey* draws = nullptr;
  double uniform(Purpose purpose, size_t position) const {
    return given_uniform ? *given_uniform : draws->uniform(purpose, static_cast<uint32_t>(position));
  }
  /// Instead of `draws`: the value of every uniform (exact propagation of a sampler's law integrates over it).
  std::optional<double> given_uniform = std::nullopt;
  /// Of the span that Sampler::causal_span gave for this step; null where it gave none.
  const CausalCheck* check = nullptr;
  bool is_allowed(size_t position) const { return allowed.empty() || allowed[position] != 0; }
  size_t length() const { return canvas.size(); }
};

/// Per-canvas state, owned by the engine and cleared by Sampler::begin.
struct CanvasState {
  std::vector<uint8_t> revealed;       // [L] positions the sampler holds for final
  std::vector<double> scratch;
  size_t num_revealed() const;
};

struct StepDecision {
  std::vector<Action> action;          // [L]
  std::vector<int32_t> token;          // [L] or empty; read where action is kToken
  /// Positions taken this step: kCandidate, kArgmax or kToken.
  size_t num_accepted() const;
};

enum class ReferenceOrder { kNone, kCandidateThenNoise };

struct SamplerFacts {
  StatisticSet statistics;
  bool needs_level = false;            ///< the engine tells the denoiser the noise level of a linear path
  bool revocable = false;              ///< a taken position may change again
  bool locks = false;                  ///< keeps CanvasState::revealed
  bool edits_only = false;             ///< makes no noise: what it does not take keeps its token
  bool fixed_steps = false;            ///< runs exactly num_steps steps; the last one leaves no noise
  bool permutation_equivariant = true; ///< decisions do not depend on where a position lies
  /// Given the canvas, what happens at a position depends on no other position's candidate or draw, and nothing is
  /// remembered between steps, so that the law of a step is a product over positions (eval/exact_law).
  bool product_law = false;
  bool uniform_corruption_only = false; ///< its formulas hold for uniform corruption over the whole vocabulary only
  int32_t min_accepted = 0;            ///< progress contract: at least this many open positions are taken at a step, while
                                       ///< there are as many
  bool extra_canvas = false;           ///< asks for canvas forwards beside its one per step: Sampler::extra_forwards
  /// Present: a finished canvas is checked in the denoiser's causal mode at this temperature, and cut behind the first token
  /// that the causal mode would not have written (it is replaced by the one that it writes).
  std::optional<double> causal_verify = std::nullopt;
  /// With causal_verify: one uniform per place in the text makes the draft's candidates, at every step, and the causal
  /// mode's token alike. Drafts then agree as often as their laws do, and the text is the same for any draft.
  bool coupled_draws = false;
  /// With causal_verify: the token where a draft was cut is not appended by itself, but stands, pinned, at the start of the
  /// next canvas, whose verification appends it.
  bool anchored = false;
  /// Present: the sampler may ask for causal checks of its candidates between its steps (Sampler::causal_span). A candidate
  /// of draft probability p and causal probability q, at `temperature`, stands with probability min(1, (q / p)^exponent);
  /// the first that does not is replaced by a draw from the positive part of q - p.
  struct CausalChecks {
    double temperature = 1, exponent = 1;
  };
  std::optional<CausalChecks> causal_checks = std::nullopt;
  ReferenceOrder reference_order = ReferenceOrder::kNone;
  std::string default_stop = "never";
  std::string default_emission;        ///< "argmax", "canvas", or empty: whatever the denoiser prefers
};

struct ConfiguredSampler;

/// Holds configuration only; per-canvas state is an argument, so one object serves any number of canvases at once.
class Sampler {
 public:
  virtual ~Sampler() = default;
  /// The facts of this object, from those of its registry entry: what depends on parameters is settled here.
  virtual SamplerFacts refine(SamplerFacts declared) const { return declared; }
  /// The noise path of samplers that need the level: survival probability of a clean token at progress u in (0, 1). It must
  /// not fall. At 0 it is 0 and at 1 it is 1, whatever this says.
  virtual double path(double u) const { return u; }
  /// Clears the state for a new canvas.
  virtual void begin(CanvasState& state, size_t length, int32_t num_steps) const;
  /// Decides every position: writes decision.action [L].
  virtual void step(const StepView& view, CanvasState& state, StepDecision& decision) const = 0;

  /// The joint bound in nats, of a sampler whose every step accepts candidates in rising order of entropy while the sum of those before stays under it, and makes noise elsewhere (Outlook): its steps can
  /// then be taken where the network runs. Nothing for all others.
  virtual std::optional<double> joint_entropy_bound(std::span<const double> /*knobs*/) const { return std::nullopt; }

  // --- samplers that ask for extra canvas forwards

  /// Steps of a canvas on which `forwards` canvas forwards may be spent.
  virtual int32_t num_decisions(int32_t forwards) const { return forwards; }
  /// Extra canvas forwards after this step, of a canvas on which `forwards` may be spent.
  virtual int32_t extra_forwards(int32_t /*step_idx*/, int32_t /*forwards*/) const { return 0; }
  /// Decides on the canvas that the step, or the extra forward before, left: statistics are of that canvas, level_now and
  /// level_next are both its level.
  virtual void after_extra_forward(const StepView& /*view*/, CanvasState& /*state*/, StepDecision& /*decision*/) const {}

  // --- samplers that ask for causal checks of their candidates

  /// Positions [begin, end) whose candidates the causal mode is to check before the step is decided; empty: no check. Every
  /// position before `begin` must hold its final token.
  virtual std::pair<size_t, size_t> causal_span(const StepView& /*view*/, const CanvasState& /*state*/) const { return {0, 0}; }
};

/// Survival probability of a clean token before step `step_idx` of `num_steps` on the sampler's path.
double noise_level(const Sampler& sampler, int32_t step_idx, int32_t num_steps);

using SamplerRegistry = Registry<Sampler, SamplerFacts>;
SamplerRegistry& samplers();

/// A sampler with its facts, canonical text and the schedules of its knobs.
struct ConfiguredSampler {
  std::string name, canonical;
  SamplerFacts facts;
  std::unique_ptr<Sampler> sampler;
  std::vector<std::unique_ptr<Schedule>> knobs;
  /// Values of the knobs at a step.
  std::vector<double> knob_values(const Progress& progress) const;
  /// One step with its contract enforced, as the engine runs it: refuses statistics that are no numbers before the sampler
  /// sees them (NonFiniteStatistics), then checks what the facts promise: an action for every position, tokens inside the
  /// vocabulary, progress, revealed positions that stay revealed and keep their tokens. A broken promise is a logic error
  /// that names the sampler and the position.
  void decide(const StepView& view, CanvasState& state, StepDecision& decision) const;
  /// The same for an extra forward, which promises less: an action for every position and tokens inside the vocabulary.
  void decide_again(const StepView& view, CanvasState& state, StepDecision& decision) const;
};
/// A statistic that no sampler can decide on: NaN, +inf, or an entropy or token that cannot be.
class NonFiniteStatistics : public std::runtime_error {
 public:
  NonFiniteStatistics(const std::string& field, size_t position)
      : std::runtime_error(fmt::format("the statistic {} is no usable number at position {}", field, position)), position_(position) {}
  size_t position() const { return position_; }

 private:
  size_t position_;
};

/// Checks an inner sampler's expression and writes out its parameters, for plugin_param.
std::string canonical_sampler(const PluginExpr& expr);
/// The parameter that names an inner sampler.
ParamSpec inner_sampler_param(const std::string& fallback, const std::string& doc);

/// Builds a sampler; knobs are range-checked as schedules.
ConfiguredSampler configure_sampler(const PluginExpr& expr);

// --- helpers shared by samplers

/// Positions p with use[p] != 0, by rising key; ties by position. NaN keys are a logic error.
std::vector<uint32_t> order_by(std::span<const float> key, std::span<const uint8_t> use);
/// The same by falling key.
std::vector<uint32_t> order_by_falling(std::span<const float> key, std::span<const uint8_t> use);
/// Number of positions that are not pinned.
size_t num_allowed(const StepView& view);
/// 1 where a position is neither revealed nor pinned.
std::vector<uint8_t> open_positions(const StepView& view, const CanvasState& state);

}  // namespace canvaslab
