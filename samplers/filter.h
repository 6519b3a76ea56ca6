#pragma once
// Filters: samplers around another sampler that hold back some of what it takes.
#include "core/token_ids.h"
#include "samplers/rules.h"

namespace canvaslab {

/// Base of filters. Between the sampler inside and the engine it may hold positions back, at every step but the last, so
/// that promises about the last step hold. Positions held back are as if the rule had not taken them: open ones get fresh
/// noise, revealed ones and those of samplers that only edit keep their token.
/// Errors (usage): a sampler inside that follows a noise level, or remembers its own decisions beyond the revealed mask:
/// both would be told something else than what happened.
class FilterSampler : public Sampler {
 public:
  /// `num_knobs`: schedule parameters of the filter's own table.
  FilterSampler(const Options& options, size_t num_knobs);
  SamplerFacts refine(SamplerFacts declared) const override;
  void begin(CanvasState& state, size_t length, int32_t num_steps) const override;
  void step(const StepView& view, CanvasState& state, StepDecision& decision) const final;

 protected:
  /// A step of the sampler inside, to be changed.
  struct Taken {
    const StepView& view;
    std::span<const uint8_t> revealed_before;  // [L]
    CanvasState& state;
    StepDecision& decision;
    bool edits_only;

    /// The token that a position takes, or -1 when it takes none.
    int32_t token(size_t position) const;
    /// Its log-probability at the step's temperature.
    float log_prob(size_t position) const;
    /// Takes a token that the canvas does not show already: neighbours did not see it at this forward.
    bool changes(size_t position) const { return token(position) >= 0 && token(position) != view.canvas[position]; }
    void hold_back(size_t position) const;
  };
  virtual void filter(const Taken& taken) const = 0;
  /// What happens at the last step instead; nothing.
  virtual void filter_last(const Taken&) const {}
  const ConfiguredSampler& inner() const { return inner_; }

 private:
  void check_remembers_nothing(const CanvasState& state) const;

  std::string name_;
  ConfiguredSampler inner_;
  size_t num_knobs_;
};

/// The parameter that holds the sampler inside: entropy_bound unless given.
ParamSpec inner_sampler_param();

}  // namespace canvaslab
