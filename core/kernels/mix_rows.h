#pragma once
// The sum of weighted rows in f64: the inner loop of the exact sources' recursions.
#include <cstddef>
#include <span>

namespace canvaslab {

/// out += sum over i of weights[i] * table[i, :], rows of `width` values; every sum runs in the order of i, so the bits
/// are those of the plain double loop.
void mix_rows(std::span<const double> weights, const double* table, size_t width, double* out);
/// The same with a product of two weights: out += sum over i of (table[i, :] * first[i]) * second[i].
void mix_rows(std::span<const double> first, std::span<const double> second, const double* table, size_t width, double* out);

}  // namespace canvaslab
