#pragma once
// Total correlation of answers that are uniform over a set: how much joint structure independent positions miss.
#include <cstddef>

namespace canvaslab {

/// Sum of the positions' entropies less the joint entropy, in nats. All positions are uniform over the symbols in each of these laws.
/// A sequence of `span` independent symbols, said twice: span * ln(num_symbols).
double copy_total_correlation(size_t num_symbols, size_t span);
/// A uniform permutation of n symbols: n ln n - ln n!.
double shuffle_total_correlation(size_t n);
/// A uniform Latin square of order n, which has num_squares: n^2 ln n - ln num_squares.
double latin_total_correlation(size_t n, double num_squares);

}  // namespace canvaslab
