// grid - another schedule on another grid of progress: the usual source of off-by-one differences between libraries.
#include "schedules/schedule.h"

namespace canvaslab {
namespace {

/// All schedules here see u = i / N at step i ("start": the first step has u = 0, none has u = 1). This one passes on
///   end        u = (i + 1) / N   the last step has u = 1
///   inclusive  u = i / (N - 1)   both ends are reached; with one step u = 0
///   start      u = i / N
class Grid final : public Schedule {
 public:
  explicit Grid(const Options& options) : inner_(make_schedule(options.inner("inner"))), convention_(options.text("convention")) {}
  double value(const Progress& progress) const override {
    if (convention_ == "end") return inner_->value({.step_idx = progress.step_idx + 1, .num_steps = progress.num_steps});
    if (convention_ == "inclusive") return inner_->value({.step_idx = progress.step_idx, .num_steps = std::max(1, progress.num_steps - 1)});
    return inner_->value(progress);
  }
  std::pair<double, double> range() const override { return inner_->range(); }

 private:
  std::unique_ptr<Schedule> inner_;
  std::string convention_;
};

std::vector<ParamSpec> parameters() {
  ParamSpec inner = plugin_param("inner", canonical_schedule, "the schedule that is put on the grid");
  inner.required = false;
  inner.default_text = "linear";
  return {inner, text_param("convention", "end", "end: u = (i + 1) / N; inclusive: u = i / (N - 1); start: u = i / N, as without this", {"start", "end", "inclusive"})};
}

[[maybe_unused]] const bool registered = schedules().add({
    .name = "grid",
    .summary = "another schedule on the end or inclusive grid of progress instead of the start grid",
    .source = "samplers.md 5",
    .aliases = {},
    .parameters = parameters(),
    .facts = {},
    .make = [](const Options& options) { return std::make_unique<Grid>(options); }});

}  // namespace
}  // namespace canvaslab
