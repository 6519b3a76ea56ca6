// constant - the same value at every step.
#include "schedules/schedule.h"

namespace canvaslab {
namespace {

class Constant final : public Schedule {
 public:
  explicit Constant(const Options& options) : value_(options.real("value")) {}
  double value(const Progress&) const override { return value_; }
  std::pair<double, double> range() const override { return {value_, value_}; }

 private:
  double value_;
};

[[maybe_unused]] const bool registered = schedules().add({
    .name = "constant",
    .summary = "the same value at every step",
    .source = "ours",
    .aliases = {},
    .parameters = {real_param("value", 1, -std::numeric_limits<double>::infinity(), std::numeric_limits<double>::infinity(), "", "the value")},
    .facts = {},
    .make = [](const Options& options) { return std::make_unique<Constant>(options); }});

}  // namespace
}  // namespace canvaslab
