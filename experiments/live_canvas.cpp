#include "experiments/live_canvas.h"

namespace canvaslab {

void LiveCanvas::on_step(const StepRecord& record) {
  const auto now = Clock::now();
  if (!begin_) begin_ = now - std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(record.forward_seconds));
  view_.on_step(record);
  if (drawn_ && now - *drawn_ < std::chrono::microseconds(1'000'000 / 60)) return;
  drawn_ = now;
  region_.draw(view_.lines(terminal_size(), std::chrono::duration<double>(now - *begin_).count()));
}

void LiveCanvas::on_canvas(size_t, int32_t, std::span<const int32_t> emitted) { view_.on_canvas(emitted); }

}  // namespace canvaslab
