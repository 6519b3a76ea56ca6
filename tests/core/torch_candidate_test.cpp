// The fast draw of torch's race against the plain loop, and the generator's blocks against the standard library's.
#include "core/torch_candidate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

namespace canvaslab {
namespace {

TEST(TorchGenerator, IsMt19937WhateverTheSizesOfItsBlocks) {
  for (uint64_t seed : {0u, 1u, 5489u, 4294967295u}) {
    std::mt19937 expected(static_cast<uint32_t>(seed));
    TorchGenerator generator(seed);
    for (size_t count : {1u, 2u, 7u, 623u, 624u, 625u, 3u, 2000u, 1u}) {
      std::vector<uint32_t> words(count);
      generator.fill(words);
      for (size_t i = 0; i < count; ++i) ASSERT_EQ(words[i], expected()) << "seed " << seed << ", word " << i << " of a block of " << count;
    }
  }
}

TEST(TorchGenerator, EveryVersionOfItsBlocksGivesTheSameWords) {
  std::mt19937 engine(3);
  std::vector<uint32_t> start(kMtWords);
  for (auto& word : start) word = static_cast<uint32_t>(engine());
  const MtKernels& plain = all_mt_kernels().front();
  for (const MtKernels& version : all_mt_kernels()) {
    auto a = start, b = start;
    for (int round = 0; round < 5; ++round) {
      plain.twist(a.data());
      version.twist(b.data());
      ASSERT_EQ(a, b) << version.name;
      for (size_t n : {1u, 15u, 17u, 624u}) {
        std::vector<uint32_t> x(n), y(n);
        plain.temper(a.data(), n, x.data());
        version.temper(b.data(), n, y.data());
        ASSERT_EQ(x, y) << version.name;
      }
    }
  }
}

/// An element that the bound discards must lose: its exact ratio is below the one to beat. Every version agrees.
TEST(TorchCandidate, NoVersionDiscardsAnElementThatCouldWin) {
  std::mt19937 engine(4);
  std::normal_distribution<float> normal(0, 6);
  size_t discarded = 0, kept = 0;
  for (int round = 0; round < 20000; ++round) {
    const float temperature = 0.3f + static_cast<float>(round % 7) * 0.3f;
    std::vector<float> x(kRaceBlock);
    std::vector<uint32_t> words(2 * kRaceBlock);
    for (auto& v : x) v = normal(engine);
    if (round % 5 == 0) x[static_cast<size_t>(round) % kRaceBlock] = -INFINITY;
    for (auto& w : words) w = static_cast<uint32_t>(engine());
    const float top = *std::max_element(x.begin(), x.end()) / temperature;
    double best = 0;
    for (size_t i = 0; i < kRaceBlock; ++i)
      best = std::max(best, static_cast<double>(std::exp(x[i] / temperature - top)) / TorchGenerator::exponential_of(words[2 * i], words[2 * i + 1]));
    const double slack = (std::abs(top) + 128) * 0x1p-21, unit = 1.4426950408889634 * 0x1p23;
    RaceBounds bounds{.scale = static_cast<float>(unit / temperature), .shift = static_cast<float>((top - slack) * unit)};
    for (double factor : {0.5, 1.0, 1.0001, 1.5, 3.0}) {
      bounds.to_beat = static_cast<float>(best * factor);
      const bool any = all_mt_kernels().front().any_contender(x.data(), words.data(), bounds);
      EXPECT_TRUE(any || factor > 1) << "round " << round;
      ++(any ? kept : discarded);
      for (const MtKernels& version : all_mt_kernels()) EXPECT_EQ(version.any_contender(x.data(), words.data(), bounds), any) << version.name;
    }
  }
  EXPECT_GT(discarded, 20000u) << "a bound that discards nothing proves nothing";
  EXPECT_GT(kept, 40000u);
}

TEST(TorchCandidate, IsThePlainLoopsTokenInMillionsOfDraws) {
  const uint64_t seed = std::random_device{}();
  std::mt19937 engine(static_cast<uint32_t>(seed));
  size_t draws = 0;
  for (size_t V : {1u, 2u, 63u, 64u, 65u, 511u, 512u, 513u, 5000u, 70001u}) {
    for (float scale : {0.0f, 0.01f, 1.0f, 5.0f, 40.0f, 1e4f}) {
      for (float temperature : {0.4f, 1.0f, 1.7f}) {
        std::normal_distribution<float> normal(3, scale);
        std::vector<float> row(V);
        TorchGenerator fast(engine()), plain = fast;
        for (int repeat = 0; repeat < (V < 1000 ? 60 : 3); ++repeat) {
          for (auto& x : row) x = scale == 0 ? 3.0f : normal(engine);
          if (V > 10 && repeat % 3 == 0) row[V / 3] = -INFINITY;
          const float largest = *std::max_element(row.begin(), row.end());
          const int32_t token = draw_torch_candidate(row, temperature, largest, fast);
          ASSERT_EQ(token, draw_torch_candidate_plain(row, temperature, plain)) << "V " << V << ", scale " << scale << ", T " << temperature << ", seed " << seed;
          ASSERT_EQ(fast.next_raw(), plain.next_raw()) << "the streams must go on alike";
          draws += V;
        }
      }
    }
  }
  EXPECT_GT(draws, 4000000u);
}

TEST(TorchCandidate, ExtremeTemperaturesAndLogitsGoToThePlainLoop) {
  std::mt19937 engine(6);
  std::vector<float> row(300);
  for (float temperature : {1e-9f, 1e-6f, 1e6f}) {
    for (float offset : {0.0f, 1e7f, -1e7f}) {
      for (auto& x : row) x = offset + static_cast<float>(engine() % 64);
      TorchGenerator fast(9), plain(9);
      const float largest = *std::max_element(row.begin(), row.end());
      EXPECT_EQ(draw_torch_candidate(row, temperature, largest, fast), draw_torch_candidate_plain(row, temperature, plain)) << temperature << " " << offset;
      EXPECT_EQ(fast.next_raw(), plain.next_raw());
    }
  }
}

}  // namespace
}  // namespace canvaslab
