// Derivatives of the row-wise arithmetic against f64, every version, lengths around the vector widths.
#include "core/kernels/row_gradients.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <random>
#include <vector>

namespace canvaslab {
namespace {

using Row = std::vector<float>;

/// Central difference of a smooth function in f64; its error is of the order h^2, far below what f32 loses.
double slope(const std::function<double(double)>& f, double x) {
  const double h = 1e-4;
  return (8 * (f(x + h) - f(x - h)) - (f(x + 2 * h) - f(x - 2 * h))) / (12 * h);
}

class GradientLengths : public ::testing::TestWithParam<size_t> {
 protected:
  std::mt19937 engine{static_cast<uint32_t>(GetParam())};
  size_t n = GetParam();
  Row normals(float scale) {
    std::normal_distribution<float> normal(0, scale);
    Row out(n);
    for (auto& x : out) x = normal(engine);
    return out;
  }
  /// got against want, as a share of the largest wanted, or of `size` where terms of that size cancel; one float past the
  /// end must stay as it was.
  static void expect_close(const Row& got, const std::function<double(size_t)>& want, double tolerance, const std::string& what, double size = 1e-30) {
    ASSERT_EQ(got.back(), 77.0f) << what << " wrote past the end";
    double scale = size, worst = 0;
    size_t at = 0;
    for (size_t i = 0; i + 1 < got.size(); ++i) scale = std::max(scale, std::abs(want(i)));
    for (size_t i = 0; i + 1 < got.size(); ++i)
      if (const double error = std::abs(static_cast<double>(got[i]) - want(i)) / scale; error > worst) worst = error, at = i;
    EXPECT_LE(worst, tolerance) << what << ", element " << at << ": " << got[at] << " instead of " << want(at);
  }
  static Row guarded(Row x) {
    x.push_back(77.0f);
    return x;
  }
};

// f32 sums of up to a thousand terms over at least four lanes: 250 roundings of 2^-24, in random directions some 1e-6.
constexpr double kTolerance = 3e-6;

TEST_P(GradientLengths, RmsNorm) {
  for (const RowGradients& ops : all_row_gradients()) {
    const Row x = normals(3), w = normals(1), dy = normals(1), before = normals(1);
    for (const bool weighted : {true, false}) {
      const auto weight = [&](size_t i) { return weighted ? static_cast<double>(w[i]) : 1.0; };
      double squares = 0, pull = 0;
      for (size_t i = 0; i < n; ++i) squares += static_cast<double>(x[i]) * x[i], pull += static_cast<double>(dy[i]) * weight(i) * x[i];
      const double N = static_cast<double>(n), r = 1 / std::sqrt(squares / N + 1e-6);
      Row dx = guarded(Row(n)), dw = guarded(before);
      ops.rms_norm(x.data(), weighted ? w.data() : nullptr, 1e-6f, dy.data(), n, dx.data(), weighted ? dw.data() : nullptr);
      expect_close(dx, [&](size_t i) { return r * dy[i] * weight(i) - r * r * r * pull / N * x[i]; }, kTolerance, ops.name, r * std::abs(dy[0] * weight(0)));
      expect_close(dw, [&](size_t i) { return before[i] + (weighted ? dy[i] * x[i] * r : 0); }, kTolerance, ops.name);
      Row in_place = guarded(dy);
      ops.rms_norm(x.data(), weighted ? w.data() : nullptr, 1e-6f, in_place.data(), n, in_place.data(), nullptr);
      EXPECT_EQ(in_place, dx) << ops.name;
    }
  }
}

TEST_P(GradientLengths, GeluTimes) {
  const auto gelu = [](double x) { return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))); };
  for (const RowGradients& ops : all_row_gradients()) {
    const Row gate = normals(3), up = normals(1), dout = normals(1);
    Row dgate = guarded(Row(n)), dup = guarded(Row(n));
    ops.gelu_times(gate.data(), up.data(), dout.data(), n, dgate.data(), dup.data());
    expect_close(dgate, [&](size_t i) { return dout[i] * up[i] * slope(gelu, gate[i]); }, kTolerance, ops.name);
    expect_close(dup, [&](size_t i) { return dout[i] * gelu(gate[i]); }, kTolerance, ops.name);
  }
}

TEST_P(GradientLengths, CappedCrossEntropy) {
  const double cap = 5;
  for (const RowGradients& ops : all_row_gradients()) {
    const Row raw = normals(4);
    const size_t target = n / 2;
    double sum = 0;
    for (const float v : raw) sum += std::exp(cap * std::tanh(v / cap));
    Row draw = guarded(Row(n));
    const float loss = ops.capped_cross_entropy(raw.data(), n, static_cast<float>(cap), target, 0.5f, draw.data());
    const double want = std::log(sum) - cap * std::tanh(raw[target] / cap);
    EXPECT_NEAR(loss, want, 1e-6 * std::max(want, cap)) << ops.name;
    expect_close(draw, [&](size_t i) {
      const double t = std::tanh(raw[i] / cap);
      return 0.5 * (std::exp(cap * t) / sum - (i == target ? 1 : 0)) * (1 - t * t);
    }, kTolerance, ops.name, 0.5);
  }
}

TEST_P(GradientLengths, Dot) {
  for (const RowGradients& ops : all_row_gradients()) {
    const Row a = normals(1), b = normals(1);
    double want = 0, size = 0;
    for (size_t i = 0; i < n; ++i) want += static_cast<double>(a[i]) * b[i], size += std::abs(static_cast<double>(a[i]) * b[i]);
    EXPECT_NEAR(ops.dot(a.data(), b.data(), n), want, 1e-6 * size) << ops.name;
  }
}

INSTANTIATE_TEST_SUITE_P(RowGradients, GradientLengths, ::testing::Values(1, 3, 4, 8, 15, 16, 17, 32, 33, 64, 100, 384, 1000));

}  // namespace
}  // namespace canvaslab
