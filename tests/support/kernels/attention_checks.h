#pragma once
// Checks of attention, against f64 on the numbers as they are stored. Whoever includes this has defined `run`.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "core/kernels/cuda/attention.h"
#include "tests/support/kernels/check.h"

namespace canvaslab::cuda {
namespace {

/// bf16 numbers.
struct Halves {
  Halves(size_t count, float scale, std::mt19937_64& random) : codes(normal_codes((count + 7) / 8 * 8, random, scale)) {}
  double at(int64_t i) const { return static_cast<double>(from_bf16(codes[static_cast<size_t>(i)])); }
  KernelVector<uint16_t> codes;
};

struct SequenceCase {
  int rows, cached, fresh;
};
struct AttentionCase {
  const char* name;
  int width, heads, kv_heads;
  bool causal;
  std::vector<SequenceCase> sequences;
};

struct Attention {
  Attention(const AttentionCase& shape, uint64_t seed) : c(shape), random(seed), rows(0), q(1, 1, random), out(0, Storage::kF32) {
    for (const auto& s : c.sequences) {
      spans.push_back(Halves(static_cast<size_t>(4 * c.kv_heads * (std::max(s.cached, s.fresh) + 1) * c.width), 1, random));
      rows += s.rows;
    }
    q = Halves(static_cast<size_t>(rows * c.heads * c.width), 2 / std::sqrt(static_cast<float>(c.width)), random);
    out = StoredArray(static_cast<size_t>(rows * c.heads * c.width), Storage::kF32);
    int row = 0;
    for (size_t i = 0; i < spans.size(); ++i) {
      const auto [n, cached, fresh] = c.sequences[i];
      // Caches [Hkv, count + 1, Dh]; fresh rows as a product leaves them: keys and values of all heads beside each other.
      const int64_t part = static_cast<int64_t>(spans[i].codes.size()) / 4;
      const uint16_t* data = spans[i].codes.data();
      sequences.push_back({.first_row = row, .num_rows = n, .cached = {data, data + part, c.width, int64_t{cached + 1} * c.width, cached},
                           .fresh = {data + 2 * part, data + 3 * part, int64_t{c.kv_heads} * c.width, c.width, fresh}});
      for (int r = 0; r < n; ++r) {
        from.push_back(std::max(0, cached + r - 40));
        to.push_back(c.causal && r == 2 ? from.back() : cached + r + 1);  // one row sees nothing
      }
      row += n;
    }
  }
  AttentionCall call(size_t first, size_t count) {
    AttentionCall a{.sequences = sequences.data() + first, .num_sequences = static_cast<int32_t>(count), .num_heads = c.heads, .num_kv_heads = c.kv_heads, .head_width = c.width, .q = q.codes.data(),
                    .q_stride = int64_t{c.heads} * c.width, .from = c.causal ? from.data() : nullptr, .to = c.causal ? to.data() : nullptr, .out = out.out(int64_t{c.heads} * c.width)};
    for (size_t i = first; i < first + count; ++i) {
      a.most_rows = std::max(a.most_rows, sequences[i].num_rows);
      a.most_keys = std::max(a.most_keys, sequences[i].cached.count + sequences[i].fresh.count);
    }
    workspace.assign(static_cast<size_t>(attention_workspace(a, rows)), NAN);
    a.workspace = workspace.data();
    return a;
  }
  std::vector<Expected> expected() const {
    std::vector<Expected> all(static_cast<size_t>(rows * c.heads * c.width));
    for (const auto& s : sequences)
      for (int r = s.first_row; r < s.first_row + s.num_rows; ++r)
        for (int head = 0; head < c.heads; ++head) {
          const auto query = [&](int d) { return q.at((static_cast<int64_t>(r) * c.heads + head) * c.width + d); };
          const int keys = s.cached.count + s.fresh.count, begin = c.causal ? from[static_cast<size_t>(r)] : 0, end = c.causal ? std::min(keys, to[static_cast<size_t>(r)]) : keys;
          const auto row_of = [&](int key, bool value) {
            const bool old = key < s.cached.count;
            const KeySpan& span = old ? s.cached : s.fresh;
            return (value ? span.v : span.k) + (head * c.kv_heads / c.heads) * span.head_stride + (old ? key : key - s.cached.count) * span.row_stride;
          };
          std::vector<double> weight;
          double top = -INFINITY, size = 0, sum = 0;
          for (int key = begin; key < end; ++key) {
            double score = 0, terms = 0;
            for (int d = 0; d < c.width; ++d) {
              const double term = query(d) * static_cast<double>(from_bf16(row_of(key, false)[d]));
              score += term;
              terms += std::abs(term);
            }
            weight.push_back(score);
            top = std::max(top, score);
            size = std::max(size, terms);
          }
          for (double& w : weight) sum += w = std::exp(w - top);
          // A weight errs by its score's f32 sum (Dh roundings) and the largest one's, by the exponential and by its own rounding to bf16; numerator and denominator both take part.
          const double error = 2 * (2 * c.width * 0x1p-24 * size + 0x1p-8 + 1e-6);
          for (int d = 0; d < c.width; ++d) {
            double value = 0, magnitude = 0;
            for (int key = begin; key < end; ++key) {
              const double term = weight[static_cast<size_t>(key - begin)] / sum * static_cast<double>(from_bf16(row_of(key, true)[d]));
              value += term;
              magnitude += std::abs(term);
            }
            all[static_cast<size_t>((r * c.heads + head) * c.width + d)] = {value, error * magnitude};
          }
        }
    return all;
  }

  AttentionCase c;
  std::mt19937_64 random;
  int rows;
  Halves q;
  StoredArray out;
  std::vector<Halves> spans;
  KernelVector<AttentionSequence> sequences;
  KernelVector<int32_t> from, to;
  KernelVector<float> workspace;
};

class AttentionKernel : public KernelTestWith<AttentionCase> {};

TEST_P(AttentionKernel, IsWhatF64Says) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  Attention attention(GetParam(), seed);
  run(attention.call(0, attention.sequences.size()), false);
  auto expected = attention.expected();
  const auto got = attention.out.values();
  const auto width = static_cast<size_t>(attention.c.width * attention.c.heads);
  EXPECT_EQ(worst_outside("attention", expected, got, width), "");
  double errors = 0, squares = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    errors += std::pow(static_cast<double>(got[i]) - expected[i].value, 2);
    squares += std::pow(expected[i].value, 2);
  }
  EXPECT_LT(std::sqrt(errors / squares), 5e-3);  // weights round by 2^-8 at most, independently
  auto& wrong = expected[expected.size() / 3];
  wrong.value += 3 * wrong.bound + 1;
  EXPECT_NE(worst_outside("attention", expected, got, width), "") << "the comparison sees a wrong answer";
}

TEST_P(AttentionKernel, HasTheSameBitsForASequenceAlone) {
  Attention together(GetParam(), 5), alone(GetParam(), 5);
  run(together.call(0, together.sequences.size()), false);
  for (size_t i = alone.sequences.size(); i-- > 0;) run(alone.call(i, 1), true);
  EXPECT_EQ(together.out.floats, alone.out.floats);
}

INSTANTIATE_TEST_SUITE_P(Shapes, AttentionKernel,
                         ::testing::Values(AttentionCase{"one_key", 16, 2, 1, false, {{1, 0, 1}}}, AttentionCase{"odd_counts", 64, 4, 2, false, {{67, 45, 67}, {3, 0, 3}}},
                                           AttentionCase{"nothing_cached_beside_much", 16, 2, 2, false, {{5, 0, 5}, {9, 700, 9}}}, AttentionCase{"as_many_splits_as_there_are", 16, 1, 1, false, {{4, 2900, 4}}},
                                           AttentionCase{"causal_window", 16, 2, 1, true, {{70, 90, 70}, {6, 400, 6}}}, AttentionCase{"head_256", 256, 2, 1, false, {{5, 40, 5}}},
                                           AttentionCase{"head_512", 512, 2, 1, false, {{5, 60, 5}}}, AttentionCase{"quarter_million_keys", 16, 1, 1, false, {{2, 262144, 2}}}),
                         [](const auto& shape) { return std::string(shape.param.name); });

// The checkpoint's heads; on the processor's simulator these would take hours.
INSTANTIATE_TEST_SUITE_P(FullSizes, AttentionKernel,
                         ::testing::ValuesIn(!kFullSizes ? std::vector<AttentionCase>{} : std::vector<AttentionCase>{
                             {"sliding", 256, 16, 8, false, {{256, 1023, 256}}}, {"full", 512, 16, 2, false, {{100, 1024, 100}}}, {"full_long", 512, 8, 1, false, {{16, 8192, 16}}},
                             {"two_canvases", 256, 4, 2, false, {{256, 1023, 256}, {100, 17, 100}}}}),
                         [](const auto& shape) { return std::string(shape.param.name); });

}  // namespace
}  // namespace canvaslab::cuda
