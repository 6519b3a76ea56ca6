// Schedules against closed forms and the reference's bit patterns.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>

#include "schedules/schedule.h"

namespace canvaslab {
namespace {

std::unique_ptr<Schedule> schedule(const std::string& text) { return make_schedule(parse_plugin(text)); }
double at(const std::string& text, int32_t step, int32_t steps) {
  return schedule(text)->value({.step_idx = step, .num_steps = steps});
}

TEST(LinearRemaining, HasTheReferencesBits) {  // model.md 5.2: f32 bit patterns for N = 48, measured
  constexpr uint32_t kBits[48] = {0x3f4ccccd, 0x3f4aaaab, 0x3f488888, 0x3f466666, 0x3f444444, 0x3f422222, 0x3f400000,
                                  0x3f3dddde, 0x3f3bbbbc, 0x3f39999a, 0x3f377778, 0x3f355556, 0x3f333334, 0x3f311112,
                                  0x3f2eeeef, 0x3f2ccccd, 0x3f2aaaab, 0x3f288888, 0x3f266666, 0x3f244444, 0x3f222222,
                                  0x3f200000, 0x3f1dddde, 0x3f1bbbbc, 0x3f19999a, 0x3f177778, 0x3f155556, 0x3f133333,
                                  0x3f111111, 0x3f0eeeef, 0x3f0ccccd, 0x3f0aaaab, 0x3f088889, 0x3f066666, 0x3f044444,
                                  0x3f022222, 0x3f000000, 0x3efbbbbc, 0x3ef77778, 0x3ef33334, 0x3eeeeeef, 0x3eeaaaab,
                                  0x3ee66667, 0x3ee22222, 0x3eddddde, 0x3ed9999a, 0x3ed55556, 0x3ed11111};
  int narrowed_differs = 0;
  for (int32_t i = 0; i < 48; ++i) {
    EXPECT_EQ(std::bit_cast<uint32_t>(static_cast<float>(at("linear_remaining", i, 48))), kBits[i]) << "step " << i;
    narrowed_differs += std::bit_cast<uint32_t>(static_cast<float>(0.4 + (0.8 - 0.4) * (48 - i) / 48.0)) != kBits[i];
  }
  EXPECT_EQ(narrowed_differs, 12) << "computed in double and narrowed it must differ: the comparison can fail";
}

TEST(LinearRemaining, LastStepStopsShortOfTheEndWhichOnlyStepsBeyondTheRampReach) {
  for (int32_t n : {1, 2, 16, 48}) {
    EXPECT_NEAR(at("linear_remaining", n - 1, n), 0.4 + 0.4 / n, 1e-7);
    for (int32_t beyond : {0, 1, 100}) EXPECT_EQ(at("linear_remaining", n + beyond, n), static_cast<double>(0.4f));
  }
  EXPECT_NO_THROW(schedule("linear_remaining(t_min=0.5, t_max=0.5)"));
  EXPECT_THROW(schedule("linear_remaining(t_min=0.5, t_max=0.4)"), UserError);
}

TEST(Schedules, HaveTheirEndPointsAndRunMonotonously) {
  for (const char* name : {"linear(0.8, 0.4)", "cosine(0.8, 0.4)", "power(0.8, 0.4, 1)", "power(0.8, 0.4, 2.5)",
                           "power(0.8, 0.4, 0.3)", "linear_remaining(0.4, 0.8)"}) {
    for (int32_t n : {1, 2, 9, 48}) {
      EXPECT_NEAR(at(name, 0, n), 0.8, 1e-7) << name;
      EXPECT_NEAR(at(name, n, n), 0.4, 1e-7) << name;
      for (int32_t i = 0; i < n; ++i)
        EXPECT_LE(at(name, i + 1, n), at(name, i, n)) << name << " step " << i << " of " << n;
    }
  }
  EXPECT_EQ(at("constant(0.7)", 3, 4), 0.7);
  EXPECT_EQ(at("0.7", 3, 4), 0.7) << "a bare number is a constant";
}

TEST(Schedules, ClosedForms) {
  for (int32_t i = 0; i < 10; ++i) {
    const double u = i / 10.0;
    EXPECT_NEAR(at("linear(1, 3)", i, 10), 1 + 2 * u, 1e-15);
    EXPECT_NEAR(at("power(1, 3, 1)", i, 10), at("linear(1, 3)", i, 10), 1e-15) << "exponent 1 is linear";
    EXPECT_NEAR(at("power(1, 3, 2)", i, 10), 1 + 2 * u * u, 1e-15);
    EXPECT_NEAR(at("cosine(0.05, 0.3)", i, 10), 0.3 - 0.25 * (1 + std::cos(M_PI * u)) / 2, 1e-15);
  }
}

TEST(Schedules, LevelPathsHaveTheirClosedFormsAndEnds) {
  for (int32_t i = 0; i <= 10; ++i) {
    const double u = i / 10.0;
    EXPECT_NEAR(at("sine", i, 10), std::sin(M_PI * u / 2), 1e-15);
    EXPECT_NEAR(at("quarter_cosine", i, 10), 1 - std::cos(M_PI * u / 2), 1e-15);
    EXPECT_NEAR(at("cosine(0, 1)", i, 10), std::pow(std::sin(M_PI * u / 2), 2), 1e-15) << "the square-cosine path";
    EXPECT_NEAR(at("polynomial(0, 1, 3)", i, 10), 1 - std::pow(1 - u, 3), 1e-15);
    EXPECT_NEAR(at("polynomial(0.8, 0.4, 1)", i, 10), at("linear(0.8, 0.4)", i, 10), 1e-15);
    EXPECT_NEAR(at("geometric(0.01, 10)", i, 10), 0.01 * std::pow(1000.0, u), 1e-13);
    EXPECT_NEAR(at("geometric_level(0.001, 5)", i, 10), std::exp(-std::pow(0.001, u) * std::pow(5.0, 1 - u)), 1e-14);
  }
  for (const char* name : {"sine(0.1, 0.9)", "quarter_cosine(0.1, 0.9)", "polynomial(0.1, 0.9, 2)", "geometric(0.1, 0.9)", "hold(0.1, 0.9, 0.5, 0.2, 0.7)"})
    for (int32_t n : {1, 2, 9, 48}) {
      EXPECT_EQ(at(name, 0, n), 0.1) << name;
      EXPECT_NEAR(at(name, n, n), 0.9, 1e-15) << name;
      for (int32_t i = 0; i < n; ++i) EXPECT_GE(at(name, i + 1, n), at(name, i, n)) << name << " step " << i << " of " << n;
    }
  EXPECT_THROW(schedule("geometric(0, 1)"), UserError);
  EXPECT_THROW(schedule("geometric_level(2, 1)"), UserError);
}

TEST(Hold, StaysOnItsPlateau) {
  EXPECT_NEAR(at("hold", 9, 40), 0.45, 1e-15) << "half way up to 0.9 at u = 0.45";
  for (int32_t i = 18; i <= 38; ++i) EXPECT_EQ(at("hold", i, 40), 0.9) << i;
  EXPECT_NEAR(at("hold", 39, 40), 0.95, 1e-12);
  EXPECT_EQ(at("hold(begin=0, end=1)", 0, 4), 0.9) << "a plateau alone";
  EXPECT_EQ(at("hold(begin=0, end=1)", 4, 4), 0.9);
  EXPECT_THROW(schedule("hold(begin=0.6, end=0.5)"), UserError);
}

TEST(Table, IsReadByStepAndKeepsItsLastValue) {
  const std::string table = "table(\"0.8, 0.7 0.5\")";
  for (const auto& [step, value] : std::vector<std::pair<int32_t, double>>{{0, 0.8}, {1, 0.7}, {2, 0.5}, {3, 0.5}, {90, 0.5}}) EXPECT_EQ(at(table, step, 48), value);
  EXPECT_EQ(at(table, 5, 1), 0.7) << "beyond a ramp of one step the value at its end";
  EXPECT_EQ(schedule(table)->range(), (std::pair<double, double>{0.5, 0.8}));
  EXPECT_THROW(schedule("table(\"\")"), UserError);
  EXPECT_THROW(schedule("table(\"0.8 x\")"), UserError);
}

TEST(Grid, HasTheThreeConventions) {
  for (int32_t n : {1, 2, 5, 48})
    for (int32_t i = 0; i < n; ++i) {
      EXPECT_EQ(at("grid(linear(0, 1), start)", i, n), static_cast<double>(i) / n);
      EXPECT_EQ(at("grid(linear(0, 1), end)", i, n), static_cast<double>(i + 1) / n);
      EXPECT_EQ(at("grid(linear(0, 1), inclusive)", i, n), n == 1 ? 0 : static_cast<double>(i) / (n - 1));
    }
  EXPECT_EQ(at("grid(0.3)", 2, 5), 0.3) << "a bare number";
  EXPECT_EQ(canonical_schedule(parse_plugin("grid(0.3)")), "grid(inner=constant(value=0.3), convention=end)");
  EXPECT_EQ(at(canonical_schedule(parse_plugin("grid(cosine(1, 2))")), 2, 5), at("grid(cosine(1, 2))", 2, 5));
  EXPECT_THROW(schedule("grid(linear, middle)"), UserError);
}

TEST(Schedules, AreRefusedOutsideTheBoundsOfWhatTheyDrive) {
  ParamSpec spec = real_param("x", 1, 0, 1, "", "");
  EXPECT_NO_THROW(check_schedule_range(*schedule("linear(0, 1)"), spec, "x"));
  EXPECT_THROW(check_schedule_range(*schedule("linear(0, 1.1)"), spec, "x"), UserError);
  spec.above_min = true;
  EXPECT_THROW(check_schedule_range(*schedule("linear(1, 0)"), spec, "x"), UserError) << "reaches the excluded bound";
  EXPECT_THROW(schedule("power(1, 2, 0)"), UserError);
  EXPECT_THROW(schedule("cosin(1, 2)"), UserError);
}

}  // namespace
}  // namespace canvaslab
