#pragma once
// Checks of the row-wise kernels: sums against f64, elementwise arithmetic against the CPU's, bit for bit. Whoever includes this has defined `run` for each call.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <random>

#include "core/kernels/cuda/head_rows.h"
#include "core/kernels/cuda/row_glue.h"
#include "core/kernels/row_ops.h"
#include "tests/support/kernels/check.h"

namespace canvaslab::cuda {
namespace {

constexpr float kEps = 1e-6f;
// A norm's factor: n / 256 + 12 additions of squares, none of which cancel, half of their relative error through the root; then four roundings. 2^-24 (700 / 256 + 12) / 2 + 2^-22 < 2^-20; the sum of
// two normed rows loses another factor where the two cancel over the whole row: 2^-17 leaves room for eight.
constexpr double kNormError = 0x1p-17;

double factor_of(const std::vector<double>& row) {
  double sum = 0;
  for (const double x : row) sum += x * x;
  return 1 / std::sqrt(sum / static_cast<double>(row.size()) + static_cast<double>(kEps));
}

std::vector<double> row_of(const KernelVector<float>& values, int r, int width) { return {values.begin() + r * width, values.begin() + (r + 1) * width}; }

struct GlueCase {
  int width;
  Storage branch, residual, out;
  bool has_branch, has_experts;
};

/// A call's arrays.
struct Glue {
  static constexpr int kRows = 3, kSlots = 2;
  Glue(const GlueCase& shape, uint64_t seed)
      : width(shape.width), has_branch(shape.has_branch), has_experts(shape.has_experts), random(seed), branch(normal_numbers(count(), random, 3), shape.branch), residual(normal_numbers(count(), random), shape.residual),
        parts(normal_numbers(count() * kSlots, random, 0.2f), shape.branch), out{StoredArray(count(), shape.out), StoredArray(count(), Storage::kF32)} {
    for (auto* gain : {&branch_gain, &experts_gain, &gain_of_all, &out_gain}) *gain = normal_numbers(static_cast<size_t>(width), random);
    weight = normal_numbers(kRows * kSlots, random);
    place.resize(kRows * kSlots);
    for (size_t i = 0; i < place.size(); ++i) place[i] = static_cast<int32_t>(place.size() - 1 - i);
  }
  size_t count() const { return kRows * static_cast<size_t>(width); }
  RowGlueCall call() {
    RowGlueCall c{.num_rows = kRows, .width = width, .eps = kEps, .branch = {}, .experts = {}, .branch_gain = branch_gain.data(), .experts_gain = experts_gain.data(), .gain = gain_of_all.data(), .scale = 0.7f,
                  .residual = residual.out(width), .outs = {{out[0].out(width), out_gain.data(), 0.3f}, {}, {out[1].out(width), nullptr, 1}}};
    if (has_branch) c.branch = branch.in(width);
    if (has_experts) c.experts = {parts.in(width), place.data(), weight.data(), kSlots};
    return c;
  }
  int width;
  bool has_branch, has_experts;
  std::mt19937_64 random;
  StoredArray branch, residual, parts, out[2];
  KernelVector<float> branch_gain, experts_gain, gain_of_all, out_gain, weight;
  KernelVector<int32_t> place;
};

/// The residual after the call, in f64.
std::vector<Expected> residual_after(const Glue& g) {
  const auto branch = g.branch.values(), residual = g.residual.values(), parts = g.parts.values();
  std::vector<Expected> out;
  for (int r = 0; r < Glue::kRows; ++r) {
    const auto old = row_of(residual, r, g.width);
    auto a = row_of(branch, r, g.width), size = a;
    for (double& s : size) s = std::abs(s);
    if (g.has_experts) {
      std::vector<double> sum(a.size(), 0.0);
      for (int slot = 0; slot < Glue::kSlots; ++slot) {
        const auto i = static_cast<size_t>(r * Glue::kSlots + slot);
        const auto part = row_of(parts, g.place[i], g.width);
        for (size_t c = 0; c < sum.size(); ++c) sum[c] += part[c] * static_cast<double>(g.weight[i]);
      }
      const double of_branch = factor_of(a), of_sum = factor_of(sum);
      for (size_t c = 0; c < a.size(); ++c) {
        const double first = a[c] * of_branch * static_cast<double>(g.branch_gain[c]), second = sum[c] * of_sum * static_cast<double>(g.experts_gain[c]);
        a[c] = first + second;
        size[c] = std::abs(first) + std::abs(second) + 1;  // an expert sum whose terms cancel
      }
    }
    const double factor = factor_of(a), scale = static_cast<double>(0.7f);
    for (size_t c = 0; c < a.size(); ++c) {
      const double gain = static_cast<double>(g.gain_of_all[c]), value = g.has_branch ? (old[c] + a[c] * factor * gain) * scale : old[c];
      out.push_back({value, kNormError * (std::abs(old[c]) + std::abs(gain) * factor * size[c]) * scale + rounding(g.residual.storage, value)});
    }
  }
  return out;
}

/// The norm of what stands in the residual.
std::vector<Expected> normed(const StoredArray& residual, int rows, int width, const KernelVector<float>* gain, float by, Storage storage) {
  const auto x = residual.values();
  std::vector<Expected> out;
  for (int r = 0; r < rows; ++r) {
    const auto row = row_of(x, r, width);
    const double factor = factor_of(row);
    for (size_t c = 0; c < row.size(); ++c) {
      const double value = row[c] * factor * (gain ? static_cast<double>((*gain)[c]) : 1.0) * static_cast<double>(by);
      out.push_back({value, kNormError * std::abs(value) + rounding(storage, value)});
    }
  }
  return out;
}

class RowGlue : public KernelTestWith<GlueCase> {};

TEST_P(RowGlue, IsWhatF64Says) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  Glue glue(GetParam(), seed);
  const Glue before = glue;
  const auto width = static_cast<size_t>(glue.width);
  run(glue.call(), false);
  auto expected = residual_after(before);
  EXPECT_EQ(worst_outside("residual", expected, glue.residual.values(), width), "");
  EXPECT_EQ(worst_outside("first out", normed(glue.residual, Glue::kRows, glue.width, &glue.out_gain, 0.3f, GetParam().out), glue.out[0].values(), width), "");
  EXPECT_EQ(worst_outside("last out", normed(glue.residual, Glue::kRows, glue.width, nullptr, 1, Storage::kF32), glue.out[1].values(), width), "");
  expected[width].value += 0.05 + std::abs(expected[width].value) * 0.05;
  EXPECT_NE(worst_outside("residual", expected, glue.residual.values(), width).find("[1, 0]"), std::string::npos) << "the comparison sees a wrong answer";
}

TEST_P(RowGlue, LooksAtOneRowAlone) {
  Glue together(GetParam(), 11), alone(GetParam(), 11);
  run(together.call(), false);
  for (int r = Glue::kRows - 1; r >= 0; --r) {
    RowGlueCall one = alone.call();
    const auto from = [&](auto rows) { return decltype(rows){static_cast<decltype(rows.data)>(static_cast<const char*>(rows.data) + r * rows.stride * (rows.storage == Storage::kF32 ? 4 : 2)), rows.stride, rows.storage}; };
    const auto to = [&](RowsOut rows) { return RowsOut{static_cast<char*>(rows.data) + r * rows.stride * (rows.storage == Storage::kF32 ? 4 : 2), rows.stride, rows.storage}; };
    one.num_rows = 1;
    if (one.branch.data) one.branch = from(one.branch);
    if (one.experts.parts.data) one.experts.place += r * Glue::kSlots, one.experts.weight += r * Glue::kSlots;
    one.residual = to(one.residual);
    one.outs[0].out = to(one.outs[0].out);
    one.outs[2].out = to(one.outs[2].out);
    run(one, true);
  }
  EXPECT_EQ(together.residual.values(), alone.residual.values());
  EXPECT_EQ(together.out[0].values(), alone.out[0].values());
  EXPECT_EQ(together.out[1].values(), alone.out[1].values());
}

constexpr auto kF = Storage::kF32, kB = Storage::kBf16;
INSTANTIATE_TEST_SUITE_P(Shapes, RowGlue,
                         ::testing::Values(GlueCase{1, kF, kF, kB, true, true}, GlueCase{31, kF, kF, kF, true, false}, GlueCase{256, kB, kF, kB, true, true}, GlueCase{257, kF, kB, kB, true, true},
                                           GlueCase{700, kB, kB, kF, true, true}, GlueCase{300, kF, kF, kB, false, false}, GlueCase{300, kF, kB, kB, false, false}));

class EmbedRows : public KernelTest {};

TEST_F(EmbedRows, AreNormedSumsOfEmbeddingAndSignal) {
  constexpr int kRows = 4, kWidth = 70, kVocabulary = 9;
  std::mt19937_64 random(3);
  for (const bool signal : {false, true})
    for (const int32_t is_normed : {1, 0}) {
      StoredArray table(normal_numbers(kVocabulary * kWidth, random), kB), conditioning(normal_numbers(kRows * kWidth, random), kF), residual(kRows * kWidth, kF), out(kRows * kWidth, kB);
      const KernelVector<int32_t> ids = {8, 0, 3, 3};
      const auto gain = normal_numbers(kWidth, random);
      const EmbedCall call{.num_rows = kRows, .width = kWidth, .eps = kEps, .ids = ids.data(), .table = table.in(kWidth), .scale = 53, .signal = signal ? conditioning.in(kWidth) : RowsIn{}, .normed = is_normed,
                           .residual = residual.out(kWidth), .outs = {{out.out(kWidth), gain.data(), 1}, {}, {}}};
      run(call, false);
      std::vector<Expected> expected;
      const auto embedded = table.values(), added = conditioning.values();
      for (int r = 0; r < kRows; ++r) {
        auto row = row_of(embedded, ids[static_cast<size_t>(r)], kWidth);
        for (size_t c = 0; c < row.size(); ++c) row[c] = row[c] * 53 + (signal ? static_cast<double>(added[static_cast<size_t>(r) * kWidth + c]) : 0.0);
        const double factor = is_normed ? factor_of(row) : 1;
        for (const double x : row) expected.push_back({x * factor, kNormError * std::abs(x * factor) + 1e-5 * factor});
      }
      EXPECT_EQ(worst_outside("residual", expected, residual.values(), kWidth), "");
      EXPECT_EQ(worst_outside("out", normed(residual, kRows, kWidth, &gain, 1, kB), out.values(), kWidth), "");
    }
}

class PointwiseRows : public KernelTest {};

TEST_F(PointwiseRows, HaveTheBitsOfTheCpu) {
  constexpr int kRows = 2, kWidth = 300;
  std::mt19937_64 random(5);
  StoredArray both(normal_numbers(kRows * 2 * kWidth, random, 4), kF), out(kRows * kWidth, kF), capped(kRows * kWidth, kF);
  both.floats[0] = 1e-30f, both.floats[1] = -60, both.floats[2] = 90, both.floats[3] = 0;
  run(GeluCall{.num_rows = kRows, .width = kWidth, .both = both.in(2 * kWidth), .out = out.out(kWidth)}, false);
  run(SoftCapCall{.num_rows = kRows, .width = kWidth, .cap = 3, .x = both.in(kWidth), .out = capped.out(kWidth)}, false);
  for (const RowOps& ops : all_row_ops()) {
    std::vector<float> cpu(kWidth);
    for (int r = 0; r < kRows; ++r) {
      const float* gate = both.floats.data() + r * 2 * kWidth;
      ops.gelu_times(gate, gate + kWidth, kWidth, cpu.data());
      for (int c = 0; c < kWidth; ++c) EXPECT_EQ(std::bit_cast<uint32_t>(cpu[static_cast<size_t>(c)]), std::bit_cast<uint32_t>(out.floats[static_cast<size_t>(r * kWidth + c)])) << ops.name << " gelu of " << gate[c];
      std::copy_n(both.floats.data() + r * kWidth, kWidth, cpu.data());
      ops.soft_cap(cpu.data(), kWidth, 3);
      for (int c = 0; c < kWidth; ++c) EXPECT_EQ(std::bit_cast<uint32_t>(cpu[static_cast<size_t>(c)]), std::bit_cast<uint32_t>(capped.floats[static_cast<size_t>(r * kWidth + c)])) << ops.name << " soft cap";
    }
  }
}

struct HeadCase {
  int width;
  bool has_values;
  Storage storage;
};
class HeadRows : public KernelTestWith<HeadCase> {};

TEST_P(HeadRows, NormRotateAndGoWhereTheyBelong) {
  const auto [width, has_values, storage] = GetParam();
  constexpr int kRows = 3, H = 6, Hkv = 2, kCapacity = 7, kFilled = 2;  // 30 heads: warps of the last block have none
  const int in_width = (H + (has_values ? 2 : 1) * Hkv) * width, half = width / 2;
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  std::mt19937_64 random(seed);
  StoredArray rows(normal_numbers(static_cast<size_t>(kRows * in_width), random), kF), q(static_cast<size_t>(kRows * H * width), storage);
  StoredArray k(static_cast<size_t>(Hkv * kCapacity * width), storage), v = k;
  const auto q_gain = normal_numbers(static_cast<size_t>(width), random), k_gain = normal_numbers(static_cast<size_t>(width), random), angles = normal_numbers(static_cast<size_t>(kRows * width), random, 3);
  KernelVector<float> cosine, sine;
  for (const float angle : angles) cosine.push_back(std::cos(angle)), sine.push_back(std::sin(angle));
  const int64_t offset = int64_t{kFilled} * width * (storage == kF ? 4 : 2);  // appended behind what the cache holds
  const HeadRowsCall call{.num_rows = kRows, .num_heads = H, .num_kv_heads = Hkv, .head_width = width, .has_values = has_values, .eps = kEps, .rows = rows.in(in_width), .q_gain = q_gain.data(), .k_gain = k_gain.data(),
                          .cos = cosine.data(), .sin = sine.data(), .table_stride = width, .q = q.out(int64_t{H} * width),
                          .keys = {static_cast<char*>(k.data()) + offset, static_cast<char*>(v.data()) + offset, width, int64_t{kCapacity} * width, storage}};
  run(call, seed % 2 == 1);
  const auto values = rows.values(), got_k = k.values(), got_v = v.values();
  std::vector<Expected> of_q, of_k, of_v;
  KernelVector<float> kernel_k, kernel_v;
  for (int r = 0; r < kRows; ++r)
    for (int head = 0; head < H + 2 * Hkv; ++head) {
      const bool is_value = head >= H + Hkv;
      const int source = is_value && !has_values ? head - Hkv : head;
      std::vector<double> x(values.begin() + r * in_width + source * width, values.begin() + r * in_width + (source + 1) * width), y = x;
      const double factor = factor_of(x);
      for (int c = 0; c < width; ++c) {
        const auto i = static_cast<size_t>(c);
        x[i] *= factor * (is_value ? 1.0 : static_cast<double>((head < H ? q_gain : k_gain)[i]));
      }
      for (int t = 0; t < half; ++t) {
        const auto a = static_cast<size_t>(t), b = static_cast<size_t>(t + half), at = static_cast<size_t>(r * width + t);
        y[a] = is_value ? x[a] : x[a] * static_cast<double>(cosine[at]) - x[b] * static_cast<double>(sine[at]);
        y[b] = is_value ? x[b] : x[b] * static_cast<double>(cosine[at]) + x[a] * static_cast<double>(sine[at]);
      }
      for (int c = 0; c < width; ++c) {
        const auto i = static_cast<size_t>(c);
        const double both = std::abs(x[i]) + std::abs(x[static_cast<size_t>((c + half) % width)]);
        (head < H ? of_q : is_value ? of_v : of_k).push_back({y[i], kNormError * both + rounding(storage, y[i])});
        if (head < H) continue;
        const int kv = is_value ? head - H - Hkv : head - H;
        (is_value ? kernel_v : kernel_k).push_back((is_value ? got_v : got_k)[static_cast<size_t>((kv * kCapacity + kFilled + r) * width + c)]);
      }
    }
  EXPECT_EQ(worst_outside("q", of_q, q.values(), static_cast<size_t>(H * width)), "");
  EXPECT_EQ(worst_outside("k", of_k, kernel_k, static_cast<size_t>(Hkv * width)), "");
  EXPECT_EQ(worst_outside("v", of_v, kernel_v, static_cast<size_t>(Hkv * width)), "");
  EXPECT_TRUE(std::isnan(got_k[0])) << "rows before are left alone";
  EXPECT_TRUE(std::isnan(got_v[static_cast<size_t>((kFilled + kRows) * width)])) << "rows behind are left alone";
  of_k.back().value += 1;
  EXPECT_NE(worst_outside("k", of_k, kernel_k, static_cast<size_t>(Hkv * width)), "") << "the comparison sees a wrong answer";
}

INSTANTIATE_TEST_SUITE_P(Widths, HeadRows,
                         ::testing::Values(HeadCase{2, true, kF}, HeadCase{6, false, kF}, HeadCase{16, true, kB}, HeadCase{64, true, kF}, HeadCase{256, true, kB}, HeadCase{512, false, kB}, HeadCase{512, false, kF}));

}  // namespace
}  // namespace canvaslab::cuda
