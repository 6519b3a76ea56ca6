#pragma once
// Self-conditioning: which prediction of a canvas's steps is fed back to the next one, and in what shape.
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/registry.h"
#include "schedules/schedule.h"

namespace canvaslab {

/// Holds configuration only. Pure.
class Feedback {
 public:
  virtual ~Feedback() = default;
  /// Whether anything is fed back.
  virtual bool feeds() const { return true; }
  /// Whether it is what denoisers do by themselves, at every step: then steps may be taken before they are asked for.
  virtual bool plain() const { return false; }
  /// Whether this step's prediction is the one fed back from the next step on; else the one before stays. True at step 0.
  virtual bool renews(int32_t /*step_idx*/) const { return true; }
  /// Whether the engine makes what is fed back from the step's logits, by the two below: [L, V] f32 kept for every sequence.
  virtual bool shapes() const { return false; }
  /// The temperature that the prediction is fed back at, above 0; nothing: the step's.
  virtual std::optional<double> temperature(const Progress& /*ramp*/) const { return std::nullopt; }
  /// Changes one position's tempered logits [V]; -inf leaves a token out.
  virtual void shape(std::span<float> /*logits*/) const {}
};

struct FeedbackFacts {};
using FeedbackRegistry = Registry<Feedback, FeedbackFacts>;
FeedbackRegistry& self_conditionings();

struct ConfiguredFeedback {
  std::string canonical = "on";
  std::shared_ptr<const Feedback> feedback;  ///< null where nothing is generated: imported runs
};

/// From a text such as on, off or stale(4, top_k(50)). Errors: usage.
ConfiguredFeedback configure_feedback(const std::string& text);

/// What denoisers make of a step's logits [L, V], divided by its temperature (0: by 1), with `feedback`'s own temperature
/// and shape: what StepRequest::given_logits takes. In place.
void shape_prediction(const Feedback& feedback, const Progress& ramp, float step_temperature, int32_t vocabulary, std::span<float> logits);

/// A feedback around another one: everything is passed through, and a subclass changes what it is about.
class WrappingFeedback : public Feedback {
 public:
  /// The feedback in `inner`. Errors: usage, when it feeds nothing back.
  explicit WrappingFeedback(const Options& options);
  bool renews(int32_t step_idx) const override { return inner_->renews(step_idx); }
  bool shapes() const override { return inner_->shapes(); }
  std::optional<double> temperature(const Progress& ramp) const override { return inner_->temperature(ramp); }
  void shape(std::span<float> logits) const override { inner_->shape(logits); }

 protected:
  std::unique_ptr<Feedback> inner_;
};

/// The parameter `inner` of these: by default on.
ParamSpec inner_feedback_param();

}  // namespace canvaslab
