#include "schedules/random_count.h"

namespace canvaslab {

double due_share(CountBudget budget, int32_t step_idx, int32_t num_steps) {
  constexpr size_t kFine = 1 << 20;  // positions of a canvas so long that rounding to them does not show
  return static_cast<double>(count_target(budget, kFine, step_idx, num_steps)) / kFine;
}

double due_probability(CountBudget budget, int32_t step_idx, int32_t num_steps) {
  const double before = step_idx > 0 ? due_share(budget, step_idx - 1, num_steps) : 0;
  return before >= 1 ? 1 : (due_share(budget, step_idx, num_steps) - before) / (1 - before);
}

}  // namespace canvaslab
