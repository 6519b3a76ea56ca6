#pragma once
// The non-dominated set of configurations that are judged by two numbers.
#include <cstdint>
#include <span>
#include <vector>

namespace canvaslab {

struct Judged {
  double x = 0, y = 0;
};

/// 1 for every point that no other one dominates: at least as good in both, better in one. Equal points stay together.
/// Points with a NaN take no part. O(n log n).
std::vector<uint8_t> non_dominated(std::span<const Judged> points, bool more_x_is_better, bool more_y_is_better);

}  // namespace canvaslab
