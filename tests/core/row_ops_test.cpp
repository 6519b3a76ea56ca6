// The network's row-wise arithmetic against f64, every version, lengths around the vector widths.
#include "core/kernels/row_ops.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <random>
#include <vector>

namespace canvaslab {
namespace {

using Row = std::vector<float>;

Row normals(size_t n, float scale, std::mt19937& engine) {
  std::normal_distribution<float> normal(0, scale);
  Row out(n);
  for (auto& x : out) x = normal(engine);
  return out;
}

/// Worst |got - want| / (floor + |want|); one float past the end must stay as it was.
double worst(const Row& got, const std::function<double(size_t)>& want, double floor) {
  double out = got.back() == 77.0f ? 0 : INFINITY;
  for (size_t i = 0; i + 1 < got.size(); ++i) out = std::max(out, std::abs(static_cast<double>(got[i]) - want(i)) / (floor + std::abs(want(i))));
  return out;
}
Row guarded(Row x) {
  x.push_back(77.0f);
  return x;
}

double inverse_rms(const Row& x, double eps) {
  double sum = 0;
  for (float v : x) sum += static_cast<double>(v) * v;
  return 1 / std::sqrt(sum / static_cast<double>(x.size()) + eps);
}

class Lengths : public ::testing::TestWithParam<size_t> {
 protected:
  std::mt19937 engine{static_cast<uint32_t>(GetParam())};
  size_t n = GetParam();
};

TEST_P(Lengths, NormsAgreeWithF64) {
  for (const RowOps& ops : all_row_ops()) {
    const Row x = normals(n, 3, engine), w = normals(n, 1, engine), base = normals(n, 1, engine);
    const double r = inverse_rms(x, 1e-6);
    Row y = guarded(Row(n));
    ops.rms_norm(x.data(), w.data(), 1e-6f, n, y.data());
    EXPECT_LT(worst(y, [&](size_t i) { return x[i] * r * w[i]; }, 1e-30), 1e-6) << ops.name;
    y = guarded(x);
    ops.rms_norm(y.data(), nullptr, 1e-6f, n, y.data());
    EXPECT_LT(worst(y, [&](size_t i) { return x[i] * r; }, 1e-30), 1e-6) << ops.name;
    y = guarded(base);
    ops.add_norm(x.data(), w.data(), 1e-6f, n, y.data());
    EXPECT_LT(worst(y, [&](size_t i) { return base[i] + x[i] * r * w[i]; }, 3), 1e-6) << ops.name;
    y = guarded(base);
    ops.add_scaled(0.3f, x.data(), n, y.data());
    EXPECT_LT(worst(y, [&](size_t i) { return base[i] + static_cast<double>(0.3f) * x[i]; }, 3), 1e-6) << ops.name;
  }
}

TEST_P(Lengths, ExponentialsScalesAndPicksAgreeWithPlainLoops) {
  for (const RowOps& ops : all_row_ops()) {
    const Row x = normals(n, 5, engine);
    const float top = *std::max_element(x.begin(), x.end());
    EXPECT_EQ(ops.largest(x.data(), n), top) << ops.name;
    Row y = guarded(x);
    const float sum = ops.exponentials(y.data(), n, top + 1);
    double expected = 0;
    for (float v : x) expected += std::exp(static_cast<double>(v) - (static_cast<double>(top) + 1));
    EXPECT_NEAR(sum, expected, 2e-6 * expected) << ops.name;
    EXPECT_LT(worst(y, [&](size_t i) { return std::exp(static_cast<double>(x[i]) - (static_cast<double>(top) + 1)); }, 1e-12), 3e-6) << ops.name;
    // Rounded to 2^-8, by more where the exponential stands near a tie; the sum is of what is stored.
    std::vector<uint16_t> half(n + 1, 0x1234);
    const float half_sum = ops.exponentials_bf16(x.data(), n, top, half.data());
    EXPECT_EQ(half[n], 0x1234) << ops.name;
    double half_expected = 0;
    for (size_t i = 0; i < n; ++i) {
      const double exact = std::exp(static_cast<double>(x[i]) - static_cast<double>(top)), got = static_cast<double>(std::bit_cast<float>(static_cast<uint32_t>(half[i]) << 16));
      EXPECT_LE(std::abs(got - exact), (0x1p-8 + 1.2e-5) * exact) << ops.name << " of " << x[i] - top;
      if (x[i] == top) {
        EXPECT_EQ(got, 1) << ops.name;
      }
      half_expected += got;
    }
    EXPECT_NEAR(half_sum, half_expected, static_cast<double>(n) * 0x1p-24 * half_expected) << ops.name;
    y = guarded(x);
    ops.scale(0.7f, n, y.data());
    EXPECT_LT(worst(y, [&](size_t i) { return static_cast<double>(x[i]) * static_cast<double>(0.7f); }, 1e-30), 1e-7) << ops.name;
    for (float least : {-2.0f, 4.0f, top, top + 1}) {
      std::vector<int32_t> all, got(n + 1, -7);
      for (size_t i = 0; i < n; ++i)
        if (x[i] >= least) all.push_back(static_cast<int32_t>(i));
      ASSERT_EQ(ops.pick(x.data(), n, least, n, got.data()), all.size()) << ops.name;
      EXPECT_TRUE(std::equal(all.begin(), all.end(), got.begin())) << ops.name;
      EXPECT_EQ(got[n], -7) << ops.name;
      if (!all.empty()) {
        EXPECT_EQ(ops.pick(x.data(), n, least, all.size() - 1, got.data()), all.size()) << ops.name << ": one more than asked for";
      }
    }
  }
}

/// Nearest, ties to even, by the distance to both neighbours; subnormals, infinities and NaN included.
TEST_P(Lengths, RoundingToBf16IsToNearest) {
  const auto wide = [](uint16_t bits) { return static_cast<double>(std::bit_cast<float>(static_cast<uint32_t>(bits) << 16)); };
  for (const RowOps& ops : all_row_ops()) {
    Row x(n);
    for (size_t i = 0; i < n; ++i) {
      uint32_t bits = static_cast<uint32_t>(engine());
      if (i % 3 == 0) bits = (bits & 0xffff0000u) | 0x8000u;  // a tie
      x[i] = std::bit_cast<float>(bits);
    }
    std::vector<uint16_t> y(n + 1, 0x1234);
    ops.to_bf16(x.data(), n, y.data());
    EXPECT_EQ(y[n], 0x1234) << ops.name;
    for (size_t i = 0; i < n; ++i) {
      if (std::isnan(x[i])) {
        EXPECT_TRUE(std::isnan(wide(y[i]))) << ops.name;
        continue;
      }
      const uint32_t bits = std::bit_cast<uint32_t>(x[i]);
      const auto below = static_cast<uint16_t>(bits >> 16);  // towards zero
      const uint32_t rest = bits & 0xffffu;
      const auto expected = static_cast<uint16_t>(rest > 0x8000u || (rest == 0x8000u && (below & 1u)) ? below + 1 : below);
      EXPECT_EQ(y[i], expected) << ops.name << " of " << x[i];
    }
    const Row values = normals(n, 1, engine), base = normals(n, 1, engine);
    ops.to_bf16(values.data(), n, y.data());
    Row out = guarded(Row(n));
    ops.scaled_bf16(0.3f, y.data(), n, out.data());
    EXPECT_LT(worst(out, [&](size_t i) { return wide(y[i]) * static_cast<double>(0.3f); }, 1e-30), 1e-7) << ops.name;
    out = guarded(base);
    ops.add_scaled_bf16(0.3f, y.data(), n, out.data());
    EXPECT_LT(worst(out, [&](size_t i) { return static_cast<double>(base[i]) + wide(y[i]) * static_cast<double>(0.3f); }, 3), 1e-6) << ops.name;
  }
}

/// What goes into a bf16 product at once is what the two steps would give.
TEST_P(Lengths, RoundedResultsAreTheResultsRounded) {
  for (const RowOps& ops : all_row_ops()) {
    const Row x = normals(n, 3, engine), w = normals(n, 1, engine);
    Row wide(n);
    std::vector<uint16_t> expected(n), got(n + 1, 0x1234);
    const auto compare = [&](const char* what) {
      ops.to_bf16(wide.data(), n, expected.data());
      EXPECT_TRUE(std::equal(expected.begin(), expected.end(), got.begin())) << ops.name << " " << what;
      EXPECT_EQ(got[n], 0x1234) << ops.name << " " << what;
    };
    for (const float* gain : {w.data(), static_cast<const float*>(nullptr)}) {
      ops.rms_norm(x.data(), gain, 1e-6f, n, wide.data());
      ops.rms_norm_bf16(x.data(), gain, 1e-6f, n, got.data());
      compare("rms_norm");
    }
    ops.gelu_times(x.data(), w.data(), n, wide.data());
    ops.gelu_times_bf16(x.data(), w.data(), n, got.data());
    compare("gelu_times");
  }
}

TEST_P(Lengths, GeluAndSoftCapAgreeWithF64) {
  for (const RowOps& ops : all_row_ops()) {
    for (float scale : {1e-3f, 1.0f, 20.0f, 300.0f}) {
      const Row x = normals(n, scale, engine), up = normals(n, 1, engine);
      Row y = guarded(Row(n));
      ops.gelu_times(x.data(), up.data(), n, y.data());
      const auto gelu = [&](size_t i) { return 0.5 * x[i] * (1 + std::tanh(std::sqrt(2 / M_PI) * (x[i] + 0.044715 * std::pow(static_cast<double>(x[i]), 3)))) * up[i]; };
      // Far below 0, e^z with z of up to 80 keeps 2^-23 |z| of relative error on values that are themselves below 1e-5.
      EXPECT_LT(worst(y, gelu, 1e-5), 2e-6) << ops.name << " scale " << scale;
      y = guarded(x);
      ops.soft_cap(y.data(), n, 30);
      EXPECT_LT(worst(y, [&](size_t i) { return 30 * std::tanh(x[i] / 30.0); }, 1e-30), 1e-6) << ops.name << " scale " << scale;
    }
  }
}

TEST_P(Lengths, SoftmaxAgreesWithF64) {
  for (const RowOps& ops : all_row_ops()) {
    for (float scale : {0.1f, 5.0f, 100.0f}) {
      Row x = normals(n, scale, engine);
      if (n > 3) x[2] = -INFINITY;
      const double top = *std::max_element(x.begin(), x.end());
      double sum = 0;
      for (float v : x) sum += std::exp((v - top) * 0.7);
      Row y = guarded(x);
      ops.softmax(y.data(), n, 0.7f, y.data());
      // d = (x - top) * factor rounds by 2^-23 |d|, and e^d weighs it: at most 87 * 2^-23 for what is not 0.
      EXPECT_LT(worst(y, [&](size_t i) { return std::exp((x[i] - top) * static_cast<double>(0.7f)) / sum; }, 1e-6), 1e-5) << ops.name << " scale " << scale;
      EXPECT_TRUE(n <= 3 || y[2] == 0.0f);
    }
  }
}

TEST_P(Lengths, RotationAgreesWithF64) {
  for (const RowOps& ops : all_row_ops()) {
    const Row x = normals(2 * n, 1, engine), angle = normals(n, 3, engine);
    Row c(n), s(n), y = guarded(x);
    for (size_t i = 0; i < n; ++i) c[i] = std::cos(angle[i]), s[i] = std::sin(angle[i]);
    ops.rotate(y.data(), c.data(), s.data(), n);
    EXPECT_LT(worst(y, [&](size_t i) { return i < n ? x[i] * static_cast<double>(c[i]) - x[i + n] * static_cast<double>(s[i]) : x[i] * static_cast<double>(c[i - n]) + x[i - n] * static_cast<double>(s[i - n]); }, 1), 1e-6) << ops.name;
  }
}

/// No row may depend on where it lies.
TEST_P(Lengths, AlignmentChangesNoBit) {
  for (const RowOps& ops : all_row_ops()) {
    const Row x = normals(n, 3, engine);
    Row shifted(n + 3);
    std::copy(x.begin(), x.end(), shifted.begin() + 3);
    Row a(n), b(n);
    ops.rms_norm(x.data(), nullptr, 1e-6f, n, a.data());
    ops.rms_norm(shifted.data() + 3, nullptr, 1e-6f, n, b.data());
    EXPECT_EQ(a, b);
    a = x;
    ops.softmax(a.data(), n, 1, a.data());
    ops.softmax(shifted.data() + 3, n, 1, shifted.data() + 3);
    EXPECT_TRUE(std::equal(a.begin(), a.end(), shifted.begin() + 3));
  }
}

INSTANTIATE_TEST_SUITE_P(RowOps, Lengths, ::testing::Values(1, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 100, 384, 1000));

}  // namespace
}  // namespace canvaslab
