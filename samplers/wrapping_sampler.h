#pragma once
// A sampler around another one: everything is passed through, and a subclass changes what it is about.
#include <utility>

#include "samplers/sampler.h"

namespace canvaslab {

/// Has no knobs of its own, so that the inner sampler finds its knobs at the start of StepView::knobs.
class WrappingSampler : public Sampler {
 public:
  explicit WrappingSampler(const PluginExpr& inner) : inner_(configure_sampler(inner)) {}
  void begin(CanvasState& state, size_t length, int32_t num_steps) const override { inner_.sampler->begin(state, length, num_steps); }
  void step(const StepView& view, CanvasState& state, StepDecision& decision) const override { inner_.sampler->step(view, state, decision); }
  double path(double u) const override { return inner_.sampler->path(u); }
  std::pair<size_t, size_t> causal_span(const StepView& view, const CanvasState& state) const override { return inner_.sampler->causal_span(view, state); }
  int32_t num_decisions(int32_t forwards) const override { return inner_.sampler->num_decisions(forwards); }
  int32_t extra_forwards(int32_t step_idx, int32_t forwards) const override { return inner_.sampler->extra_forwards(step_idx, forwards); }
  void after_extra_forward(const StepView& view, CanvasState& state, StepDecision& decision) const override {
    inner_.sampler->after_extra_forward(view, state, decision);
  }

 protected:
  /// The inner sampler's facts; no reference draws and no product law around another sampler.
  SamplerFacts inner_facts() const {
    SamplerFacts out = inner_.facts;
    out.reference_order = ReferenceOrder::kNone;
    out.product_law = false;
    return out;
  }
  ConfiguredSampler inner_;
};

}  // namespace canvaslab
