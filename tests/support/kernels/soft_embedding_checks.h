#pragma once
// Checks of self-conditioning, against f64. Whoever includes this has defined `run`.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <random>

#include "core/kernels/cuda/soft_embedding.h"
#include "tests/support/kernels/check.h"

namespace canvaslab::cuda {
namespace {

struct SoftCase {
  const char* name;
  int rows, vocabulary, width;
  float sharpness, least;
};

struct Soft {
  Soft(const SoftCase& shape, uint64_t seed) : c(shape), random(seed), logits(normal_numbers(static_cast<size_t>(c.rows) * static_cast<size_t>(c.vocabulary), random, c.sharpness)), table(normal_codes(static_cast<size_t>(c.vocabulary) * static_cast<size_t>(c.width), random)) {
    for (size_t i = 0; i < logits.size(); i += 7) logits[i] = -INFINITY;
    logits[0] = 1;
    skipped.assign(static_cast<size_t>(c.rows), NAN);
    out.assign(static_cast<size_t>(c.rows * c.width), NAN);
  }
  SoftEmbeddingCall call() {
    work.assign(static_cast<size_t>(soft_embedding_workspace(c.rows, c.vocabulary, c.width)), 0xFF);
    return {.rows = c.rows, .vocabulary = c.vocabulary, .width = c.width, .logits = logits.data(), .inverse_temperature = 1.25f, .table = table.data(), .scale = 3,
            .least = c.least, .out = {out.data(), c.width, Storage::kF32}, .skipped = skipped.data(), .num_kept = num_kept.data(), .workspace = work.data()};
  }
  double embedding(int token, int column) const {
    return static_cast<double>(from_bf16(table[static_cast<size_t>(token) * static_cast<size_t>(c.width) + static_cast<size_t>(column)]));
  }
  std::vector<double> probabilities(int r) const {
    const auto first = logits.begin() + static_cast<int64_t>(r) * c.vocabulary;
    const float top = *std::max_element(first, first + c.vocabulary);
    std::vector<double> p(static_cast<size_t>(c.vocabulary));
    for (size_t v = 0; v < p.size(); ++v) p[v] = std::exp((static_cast<double>(first[static_cast<int64_t>(v)]) - static_cast<double>(top)) * 1.25);
    const double sum = std::accumulate(p.begin(), p.end(), 0.0);
    for (double& x : p) x /= sum;
    return p;
  }

  SoftCase c;
  std::mt19937_64 random;
  KernelVector<float> logits, out, skipped;
  KernelVector<uint16_t> table;
  KernelVector<uint8_t> work;
  KernelVector<int32_t> num_kept = KernelVector<int32_t>(1, -1);
};

class SoftEmbedding : public KernelTestWith<SoftCase> {};

TEST_P(SoftEmbedding, IsTheMeanOfTheTokensThatCount) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  Soft soft(GetParam(), seed);
  const SoftEmbeddingCall call = soft.call();
  run(call, false);
  const auto& c = soft.c;
  std::vector<bool> counts(static_cast<size_t>(c.vocabulary), c.least == 0);
  if (c.least > 0) {
    ASSERT_LE(soft.num_kept[0], c.vocabulary);
    const int32_t* first = SoftWorkspace(call).kept;
    const std::vector<int32_t> kept(first, first + soft.num_kept[0]);
    EXPECT_TRUE(std::is_sorted(kept.begin(), kept.end()));
    for (const int32_t token : kept) counts[static_cast<size_t>(token)] = true;
    EXPECT_EQ(std::count(counts.begin(), counts.end(), true), soft.num_kept[0]) << "none is kept twice";
    std::vector<double> most(counts.size());
    for (int r = 0; r < c.rows; ++r) {
      const auto p = soft.probabilities(r);
      for (size_t v = 0; v < p.size(); ++v) most[v] = std::max(most[v], p[v]);
    }
    const double least = static_cast<double>(c.least);
    for (size_t v = 0; v < most.size(); ++v) EXPECT_TRUE(counts[v] ? most[v] > least * (1 - 1e-5) : most[v] < least * (1 + 1e-5)) << v << " has " << most[v];
  } else {
    EXPECT_EQ(soft.num_kept[0], c.vocabulary);
  }
  std::vector<Expected> expected;
  for (int r = 0; r < c.rows; ++r) {
    const auto p = soft.probabilities(r);
    double lost = 0;
    for (size_t v = 0; v < p.size(); ++v) lost += counts[v] ? 0 : p[v];
    EXPECT_NEAR(soft.skipped[static_cast<size_t>(r)], lost, 1e-5 * lost) << r;
    std::vector<double> value(static_cast<size_t>(c.width)), size = value;
    for (int v = 0; v < c.vocabulary; ++v) {
      if (!counts[static_cast<size_t>(v)]) continue;
      for (int column = 0; column < c.width; ++column) {
        const double term = 3 * p[static_cast<size_t>(v)] * soft.embedding(v, column);
        value[static_cast<size_t>(column)] += term;
        size[static_cast<size_t>(column)] += std::abs(term);
      }
    }
    // Probabilities round to bf16; exponentials and their sum err by less than 1e-6; an f32 sum rounds as often as it has terms in a piece, and pieces are added.
    for (size_t column = 0; column < value.size(); ++column) expected.push_back({value[column], (0x1p-8 + 1e-6 + (c.vocabulary / kSoftSplits + 72) * 0x1p-24) * size[column]});
  }
  EXPECT_EQ(worst_outside("soft embedding", expected, soft.out, static_cast<size_t>(c.width)), "");
  expected.back().value += 0.1 + expected.back().bound * 2;
  EXPECT_NE(worst_outside("soft embedding", expected, soft.out, static_cast<size_t>(c.width)), "") << "the comparison sees a wrong answer";
  const auto once = soft.out;
  run(soft.call(), true);
  EXPECT_EQ(once, soft.out) << "the same bits whichever thread comes first";
}

INSTANTIATE_TEST_SUITE_P(Shapes, SoftEmbedding,
                         ::testing::Values(SoftCase{"one_token", 1, 1, 8, 1, 0}, SoftCase{"dense", 3, 700, 24, 2, 0}, SoftCase{"kept_beyond_a_block", 2, 2500, 136, 2, 1e-3f},
                                           SoftCase{"few_kept", 3, 3000, 16, 6, 1e-2f}, SoftCase{"none_kept", 2, 1100, 16, 0.1f, 0.5f}, SoftCase{"many_rows", 130, 90, 16, 3, 1e-6f}),
                         [](const auto& shape) { return std::string(shape.param.name); });

// The checkpoint's vocabulary; on the processor's simulator this would take hours.
INSTANTIATE_TEST_SUITE_P(FullSizes, SoftEmbedding,
                         ::testing::ValuesIn(!kFullSizes ? std::vector<SoftCase>{} : std::vector<SoftCase>{{"flat", 2, 262144, 2816, 1, 0}, {"peaked", 2, 262144, 2816, 8, 6e-8f}, {"whole_canvas", 256, 4096, 256, 4, 1e-6f}}),
                         [](const auto& shape) { return std::string(shape.param.name); });

}  // namespace
}  // namespace canvaslab::cuda
