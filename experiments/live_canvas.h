#pragma once
// The canvas of one generation on the terminal, drawn at every step.
#include <chrono>
#include <optional>

#include "experiments/terminal.h"

namespace canvaslab {

/// Draws one frame a step, at most 60 a second: more would not be seen, and a slow line must not slow the generation down.
/// The frame goes away with the object.
class LiveCanvas final : public Observer {
 public:
  LiveCanvas(const GenerationPlan& plan, std::map<int64_t, int32_t> pins, TokenTexts texts) : view_(plan, std::move(pins), std::move(texts)) {}
  bool watches() const override { return true; }
  void on_step(const StepRecord& record) override;
  void on_canvas(size_t row, int32_t canvas_idx, std::span<const int32_t> emitted) override;

 private:
  using Clock = std::chrono::steady_clock;
  CanvasView view_;
  LiveRegion region_;
  std::optional<Clock::time_point> begin_, drawn_;
};

}  // namespace canvaslab
