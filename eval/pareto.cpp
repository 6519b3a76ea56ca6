#include "eval/pareto.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace canvaslab {

std::vector<uint8_t> non_dominated(std::span<const Judged> points, bool more_x_is_better, bool more_y_is_better) {
  std::vector<uint8_t> out(points.size(), 0);
  std::vector<size_t> order;
  for (size_t i = 0; i < points.size(); ++i)
    if (!std::isnan(points[i].x) && !std::isnan(points[i].y)) order.push_back(i);
  const auto x = [&](size_t i) { return more_x_is_better ? -points[i].x : points[i].x; };
  const auto y = [&](size_t i) { return more_y_is_better ? -points[i].y : points[i].y; };
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return x(a) != x(b) ? x(a) < x(b) : y(a) < y(b); });
  // From the best x on: a point stays when its y beats all before, or equals its own twin's.
  double best = std::numeric_limits<double>::infinity(), best_x = -best;
  for (const size_t i : order) {
    if (y(i) < best) best = y(i), best_x = x(i);
    else if (!(y(i) == best && x(i) == best_x)) continue;
    out[i] = 1;
  }
  return out;
}

}  // namespace canvaslab
