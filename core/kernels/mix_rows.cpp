#include "core/kernels/mix_rows.h"

namespace canvaslab {

void mix_rows(std::span<const double> weights, const double* table, size_t width, double* __restrict out) {
  for (const double weight : weights) {
    for (size_t j = 0; j < width; ++j) out[j] += weight * table[j];
    table += width;
  }
}

void mix_rows(std::span<const double> first, std::span<const double> second, const double* table, size_t width, double* __restrict out) {
  for (size_t i = 0; i < first.size(); ++i) {
    const double a = first[i], b = second[i];
    for (size_t j = 0; j < width; ++j) out[j] += table[j] * a * b;
    table += width;
  }
}

}  // namespace canvaslab
