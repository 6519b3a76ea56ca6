#pragma once
// Schedules: pure functions of progress through a canvas.
#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "core/registry.h"

namespace canvaslab {

/// Where a canvas's denoising stands. Grid convention: a schedule sees u = step / num_steps ("start" grid), so that the
/// first step has u = 0 and no step of the ramp reaches u = 1; the reference's temperature uses the same grid. A canvas
/// that runs on after its ramp (anneal_over below the step limit) stays at u = 1.
struct Progress {
  int32_t step_idx = 0;   ///< counts up from 0
  int32_t num_steps = 1;  ///< length of the ramp, at least 1
  double fraction() const { return std::min(1.0, static_cast<double>(step_idx) / num_steps); }
};

class Schedule {
 public:
  virtual ~Schedule() = default;
  /// The value at a step; pure. Steps beyond the ramp have the value at its end, u = 1.
  virtual double value(const Progress& progress) const = 0;
  /// Smallest and largest value over all progress: what a knob's bounds are checked against.
  virtual std::pair<double, double> range() const = 0;
};

struct ScheduleFacts {};
using ScheduleRegistry = Registry<Schedule, ScheduleFacts>;
ScheduleRegistry& schedules();

/// A schedule from its expression; a bare number is constant(number).
std::unique_ptr<Schedule> make_schedule(const PluginExpr& expr);
/// The same with every parameter written out.
std::string canonical_schedule(const PluginExpr& expr);
/// Errors unless every value of the schedule lies in the parameter's bounds.
void check_schedule_range(const Schedule& schedule, const ParamSpec& spec, const std::string& where);

/// What the schedules of the linear family share: two end values.
struct Ends {
  double from, to;
  explicit Ends(const Options& options) : from(options.real("from")), to(options.real("to")) {}
  std::pair<double, double> range() const { return {std::min(from, to), std::max(from, to)}; }
};
std::vector<ParamSpec> ends_params(double from, double to);

}  // namespace canvaslab
