// The non-dominated set against its definition, pair by pair.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "eval/pareto.h"

namespace canvaslab {
namespace {

bool better(double a, double b, bool more) { return more ? a > b : a < b; }

/// The definition itself: no other point is at least as good in both and better in one.
std::vector<uint8_t> by_definition(const std::vector<Judged>& points, bool more_x, bool more_y) {
  std::vector<uint8_t> out;
  for (const auto& p : points) {
    const bool dominated = std::any_of(points.begin(), points.end(), [&](const Judged& q) {
      return !better(p.x, q.x, more_x) && !better(p.y, q.y, more_y) && (better(q.x, p.x, more_x) || better(q.y, p.y, more_y));
    });
    out.push_back(!dominated && !std::isnan(p.x) && !std::isnan(p.y));
  }
  return out;
}

TEST(Pareto, EqualsTheDefinitionInEveryDirectionWithTies) {
  const uint32_t seed = 20261124;
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 400; ++round) {
    std::vector<Judged> points(random() % 30);
    const uint32_t grid = 2 + random() % 12;  // few values: many ties and twins
    for (auto& p : points) p = {static_cast<double>(random() % grid), static_cast<double>(random() % grid)};
    for (const bool more_x : {false, true})
      for (const bool more_y : {false, true}) EXPECT_EQ(non_dominated(points, more_x, more_y), by_definition(points, more_x, more_y)) << round;
  }
}

TEST(Pareto, TwinsStayTogetherAndUndefinedPointsTakeNoPart) {
  const std::vector<Judged> points = {{1, 2}, {1, 2}, {NAN, 0}, {0, NAN}, {2, 1}, {2, 2}};
  EXPECT_EQ(non_dominated(points, false, false), (std::vector<uint8_t>{1, 1, 0, 0, 1, 0}));
  EXPECT_TRUE(non_dominated({}, true, true).empty());
}

TEST(Pareto, TheDefinitionTellsAWrongDirection) {
  const std::vector<Judged> points = {{1, 1}, {2, 2}};
  EXPECT_EQ(by_definition(points, true, false), (std::vector<uint8_t>{1, 1}));
  EXPECT_NE(non_dominated(points, true, true), by_definition(points, false, false));
}

}  // namespace
}  // namespace canvaslab
