// hold - linear to a plateau, along it, and linear to the end.
#include "core/error.h"
#include "schedules/schedule.h"

namespace canvaslab {
namespace {

/// 'from' at u = 0, 'level' on [begin, end], 'to' at u = 1. The linear-constant-linear profile of the loop variant of
/// remasking diffusion holds a level of 0.9 from time 0.55 to 0.05, which is u = 0.45 to 0.95.
class Hold final : public Schedule {
 public:
  explicit Hold(const Options& options) : ends_(options), level_(options.real("level")), begin_(options.real("begin")), end_(options.real("end")) {
    if (end_ < begin_) throw usage_error("schedule 'hold': end ({}) is before begin ({}); expected begin <= end", format_real(end_), format_real(begin_));
  }
  double value(const Progress& progress) const override {
    const double u = progress.fraction();
    if (u < begin_) return ends_.from + (level_ - ends_.from) * u / begin_;
    if (u <= end_) return level_;
    return level_ + (ends_.to - level_) * (u - end_) / (1 - end_);
  }
  std::pair<double, double> range() const override { return {std::min({ends_.from, ends_.to, level_}), std::max({ends_.from, ends_.to, level_})}; }

 private:
  Ends ends_;
  double level_, begin_, end_;
};

std::vector<ParamSpec> parameters() {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  auto table = ends_params(0, 1);
  table.push_back(real_param("level", 0.9, -kInfinity, kInfinity, "", "value of the plateau"));
  table.push_back(real_param("begin", 0.45, 0, 1, "", "progress at which the plateau begins"));
  table.push_back(real_param("end", 0.95, 0, 1, "", "progress at which it ends"));
  return table;
}

[[maybe_unused]] const bool registered = schedules().add({
    .name = "hold",
    .summary = "linear to a plateau, along it, and linear to the end",
    .source = "arXiv:2503.00307 (ReMDM loop); samplers.md 5.2",
    .aliases = {"linear_constant_linear"},
    .parameters = parameters(),
    .facts = {},
    .make = [](const Options& options) { return std::make_unique<Hold>(options); }});

}  // namespace
}  // namespace canvaslab
