// table - one value per step, written down: for search and replay.
#include <algorithm>
#include <sstream>

#include "core/error.h"
#include "schedules/schedule.h"

namespace canvaslab {
namespace {

/// The i-th value at step i; the last value once the list or the ramp is over.
class Table final : public Schedule {
 public:
  explicit Table(const Options& options) {
    std::string text = options.text("values"), word;
    std::replace(text.begin(), text.end(), ',', ' ');
    for (std::istringstream words(text); words >> word;) values_.push_back(parse_real(word, "schedule 'table', parameter 'values'"));
    if (values_.empty()) throw usage_error("schedule 'table', parameter 'values' is empty; expected numbers, as table(\"0.8 0.7 0.6\")");
  }
  double value(const Progress& progress) const override {
    const size_t step = static_cast<size_t>(std::min(progress.step_idx, progress.num_steps));
    return values_[std::min(step, values_.size() - 1)];
  }
  std::pair<double, double> range() const override {
    const auto [low, high] = std::minmax_element(values_.begin(), values_.end());
    return {*low, *high};
  }

 private:
  std::vector<double> values_;
};

[[maybe_unused]] const bool registered = schedules().add({
    .name = "table",
    .summary = "one value per step, written down; the last one stays",
    .source = "samplers.md 5.1",
    .aliases = {},
    .parameters = {text_param("values", "1", "numbers separated by blanks or commas, in quotes")},
    .facts = {},
    .make = [](const Options& options) { return std::make_unique<Table>(options); }});

}  // namespace
}  // namespace canvaslab
