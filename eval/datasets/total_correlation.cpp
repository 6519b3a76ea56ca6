#include "eval/datasets/total_correlation.h"

#include <cmath>

namespace canvaslab {

double copy_total_correlation(size_t num_symbols, size_t span) { return static_cast<double>(span) * std::log(static_cast<double>(num_symbols)); }

double shuffle_total_correlation(size_t n) {
  const auto count = static_cast<double>(n);
  return count * std::log(count) - std::lgamma(count + 1);
}

double latin_total_correlation(size_t n, double num_squares) {
  const auto side = static_cast<double>(n);
  return side * side * std::log(side) - std::log(num_squares);
}

}  // namespace canvaslab
