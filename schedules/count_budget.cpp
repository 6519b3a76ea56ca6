#include "schedules/count_budget.h"

#include <algorithm>
#include <cmath>

namespace canvaslab {
namespace {

// A function, because plug-ins of other files register before this file's globals exist.
const std::vector<std::string>& names() {
  static const std::vector<std::string> all = {"even", "cumulative", "ratio", "cosine", "square", "root"};
  return all;
}

size_t ratio_target(size_t length, size_t done, size_t steps) {
  constexpr double kEnd = 1e-3;  // where Dream's time grid ends
  const auto time = [&](size_t i) { return 1 - (1 - kEnd) * static_cast<double>(i) / static_cast<double>(steps); };
  size_t left = length;
  for (size_t i = 0; i < done; ++i) left -= static_cast<size_t>(static_cast<double>(left) * (1 - time(i + 1) / time(i)));
  return length - left;
}

}  // namespace

size_t count_target(CountBudget budget, size_t length, int32_t step_idx, int32_t num_steps) {
  const size_t n = static_cast<size_t>(num_steps), done = static_cast<size_t>(step_idx) + 1;
  if (done >= n) return length;
  const double u = static_cast<double>(done) / static_cast<double>(n);
  const auto rounded = [&](double share) { return std::min(length, static_cast<size_t>(std::llround(static_cast<double>(length) * share))); };
  switch (budget) {
    case CountBudget::kEven: return (length / n) * done + std::min(done, length % n);
    case CountBudget::kCumulative: return (done * length + n - 1) / n;
    case CountBudget::kRatio: return ratio_target(length, done, n);
    case CountBudget::kCosine: return rounded(1 - std::cos(M_PI / 2 * u));
    case CountBudget::kSquare: return rounded(u * u);
    case CountBudget::kRoot: return rounded(std::sqrt(u));
  }
  return length;
}

ParamSpec count_budget_param(const std::string& fallback) {
  return text_param("budget", fallback,
                    "positions that are due after each step: even, cumulative (rounded up), ratio (Dream), cosine or square (few at first), root (many at first)",
                    names());
}

CountBudget count_budget_of(const Options& options) {
  return static_cast<CountBudget>(std::find(names().begin(), names().end(), options.text("budget")) - names().begin());
}

}  // namespace canvaslab
