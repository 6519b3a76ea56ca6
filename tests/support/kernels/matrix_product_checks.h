#pragma once
// Checks of the products with weights and of the routing, against f64 on the numbers as they are stored. Whoever includes this has defined `run` for each call; run(product, blocks, falling) may take
// `blocks` as the size of the grid. Also run_wide(product).
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <random>
#include <utility>

#include "core/kernels/cuda/matrix_product.h"
#include "core/kernels/cuda/routing.h"
#include "core/kernels/tile_schedule.h"
#include "tests/support/kernels/check.h"

namespace canvaslab::cuda {
namespace {

/// Weights [matrices * rows, k] as they lie in memory and as numbers.
struct RandomWeights {
  RandomWeights(WeightFormat as, int64_t rows, int64_t depth, std::mt19937_64& random)
      : format(as), k(static_cast<size_t>(depth)), codes(static_cast<size_t>(rows * depth) * (as == WeightFormat::kBf16 ? 2 : 1)), group_scales(as == WeightFormat::kE2m1 || as == WeightFormat::kInt4 ? static_cast<size_t>(rows * depth / 16) : 0),
        row_scales(static_cast<size_t>(rows), 1.0f) {
    if (format == WeightFormat::kBf16) {
      const auto numbers = normal_codes(codes.size() / 2, random);
      std::memcpy(codes.data(), numbers.data(), codes.size());
      return;
    }
    for (uint8_t& code : codes) code = static_cast<uint8_t>(random());
    std::uniform_real_distribution<float> scale(0.01f, 0.1f);
    for (float& s : row_scales) s = scale(random);
    for (uint8_t& s : group_scales) s = static_cast<uint8_t>(random() % 0x78);  // positive, from the subnormals up, no NaN
    if (format == WeightFormat::kInt4)
      for (size_t i = 0; i < group_scales.size(); i += 2) reinterpret_cast<uint16_t*>(group_scales.data())[i / 2] = nearest_bf16(scale(random));
    if (format == WeightFormat::kE4m3)
      for (uint8_t& code : codes) code = (code & 0x7F) == 0x7F ? 0 : code;
  }
  double number(size_t i) const {
    if (format == WeightFormat::kBf16) return static_cast<double>(from_bf16(reinterpret_cast<const uint16_t*>(codes.data())[i]));
    const double scale = static_cast<double>(row_scales[i / k]);
    if (format == WeightFormat::kE4m3) return static_cast<double>(from_e4m3(codes[i])) * scale;
    if (format == WeightFormat::kInt4)  // as the kernel rounds it
      return static_cast<double>(from_bf16(nearest_bf16(from_int4(static_cast<uint8_t>(codes[i / 2] >> i % 2 * 4 & 15)) * from_bf16(reinterpret_cast<const uint16_t*>(group_scales.data())[i / 32])))) * scale;
    return static_cast<double>(from_e2m1(static_cast<uint8_t>(codes[i / 2] >> i % 2 * 4 & 15))) * static_cast<double>(from_e4m3(group_scales[i / 16])) * scale;
  }
  Weights get() { return {format, codes.data(), group_scales.empty() ? nullptr : group_scales.data(), format == WeightFormat::kBf16 ? nullptr : row_scales.data()}; }

  WeightFormat format;
  size_t k;
  KernelVector<uint8_t> codes, group_scales;
  KernelVector<float> row_scales;
};

struct ProductCase {
  const char* name;
  WeightFormat format;
  int n, k;
  bool gated;
  std::vector<int> groups;   ///< their rows
  int slots = 0;             ///< above 0: rows of x are found through `source`
  int pieces = 1;
};

struct Product {
  Product(const ProductCase& shape, uint64_t seed)
      : c(shape), random(seed), rows(std::accumulate(c.groups.begin(), c.groups.end(), 0)), w(c.format, static_cast<int64_t>(c.groups.size()) * c.n * (c.gated ? 2 : 1), c.k, random),
        out(static_cast<size_t>(c.pieces * rows * c.n), Storage::kF32) {
    begin.push_back(0);
    for (const int size : c.groups) begin.push_back(begin.back() + size);
    const int x_rows = c.slots > 0 ? (rows + c.slots - 1) / c.slots : rows;
    ldx = c.k + 8;
    x = normal_codes(static_cast<size_t>(x_rows * ldx) + 1, random);
    source.resize(static_cast<size_t>(rows));
    std::iota(source.begin(), source.end(), 0);
    std::shuffle(source.begin(), source.end(), random);
  }
  ProductCall call() {
    return {.rows = rows, .n = c.n, .k = c.k, .x = x.data(), .ldx = ldx, .w = w.get(), .gated = c.gated, .out = out.out(c.n), .begin = c.groups.size() > 1 ? begin.data() : nullptr,
            .num_groups = static_cast<int32_t>(c.groups.size()), .source = c.slots > 0 ? source.data() : nullptr, .slots_per_row = std::max(1, c.slots), .pieces = c.pieces, .piece_stride = int64_t{rows} * c.n};
  }
  /// Piece by piece.
  std::vector<Expected> expected() const {
    std::vector<Expected> all;
    for (int piece = 0; piece < c.pieces; ++piece) {
      const std::vector<Expected> one = expected_of(std::min(64 * first_step_of_piece(c.k, c.pieces, piece), c.k), std::min(64 * first_step_of_piece(c.k, c.pieces, piece + 1), c.k));
      all.insert(all.end(), one.begin(), one.end());
    }
    return all;
  }
  std::vector<Expected> expected_of(int first_k, int end_k) const {
    std::vector<Expected> all;
    const auto features = static_cast<int64_t>(c.n) * (c.gated ? 2 : 1);
    for (size_t g = 0; g + 1 < begin.size(); ++g)
      for (int r = begin[g]; r < begin[g + 1]; ++r)
        for (int j = 0; j < c.n; ++j) {
          const int64_t x_row = c.slots > 0 ? source[static_cast<size_t>(r)] / c.slots : r;
          // An f32 sum of k products: at most k roundings of what is there, one more for the row's scale.
          const auto sum = [&](int64_t feature) {
            double value = 0, size = 0;
            for (int64_t k = first_k; k < end_k; ++k) {
              const auto at = static_cast<size_t>(x_row * ldx + k);
              const double term = static_cast<double>(from_bf16(x[at])) * w.number(static_cast<size_t>((static_cast<int64_t>(g) * features + feature) * c.k + k));
              value += term;
              size += std::abs(term);
            }
            return Expected{value, (c.k + 2) * 0x1p-24 * size};
          };
          const Expected gate = sum(j);
          if (!c.gated) {
            all.push_back(gate);
            continue;
          }
          const Expected up = sum(c.n + j);
          const double z = std::sqrt(2 / M_PI) * (gate.value + 0.044715 * std::pow(gate.value, 3)), gelu = gate.value * (1 + std::tanh(z)) / 2;
          all.push_back({gelu * up.value, 1.13 * gate.bound * (std::abs(up.value) + up.bound) + std::abs(gelu) * up.bound + 0x1p-20 * std::abs(gelu * up.value) + 1e-30});  // gelu's slope is below 1.13
        }
    return all;
  }

  ProductCase c;
  std::mt19937_64 random;
  int rows;
  RandomWeights w;
  StoredArray out;
  KernelVector<int32_t> begin, source;
  int64_t ldx = 0;
  KernelVector<uint16_t> x;
};

/// by(call, falling) runs the product.
template <typename By>
void expect_what_f64_says(const ProductCase& shape, By by) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  Product product(shape, seed);
  by(product.call(), false);
  const auto rising = std::exchange(product.out, StoredArray(product.out.floats.size(), Storage::kF32));
  by(product.call(), true);
  EXPECT_TRUE(std::equal(rising.floats.begin(), rising.floats.end(), product.out.floats.begin())) << "the same whichever thread comes first";
  auto expected = product.expected();
  const auto width = static_cast<size_t>(product.c.n);
  EXPECT_EQ(worst_outside("product", expected, product.out.values(), width), "");
  if (expected.empty()) return;
  auto& wrong = expected[expected.size() / 2];
  wrong.value += 4 * wrong.bound + 0.01 * (1 + std::abs(wrong.value));
  EXPECT_NE(worst_outside("product", expected, product.out.values(), width).find(fmt::format("[{}, {}]", expected.size() / 2 / width, expected.size() / 2 % width)), std::string::npos) << "the comparison sees a wrong answer";
}

class MatrixProduct : public KernelTestWith<ProductCase> {};

TEST_P(MatrixProduct, IsWhatF64Says) {
  expect_what_f64_says(GetParam(), [](const ProductCall& call, bool falling) { run(call, 3, falling); });
}

INSTANTIATE_TEST_SUITE_P(Shapes, MatrixProduct,
                         ::testing::Values(ProductCase{"one_number", WeightFormat::kBf16, 1, 8, false, {1}}, ProductCase{"odd", WeightFormat::kBf16, 131, 72, false, {67}},
                                           ProductCase{"deep", WeightFormat::kBf16, 20, 400, false, {5}}, ProductCase{"gated", WeightFormat::kBf16, 70, 136, true, {33}},
                                           ProductCase{"no_rows", WeightFormat::kBf16, 20, 64, false, {0}}, ProductCase{"groups", WeightFormat::kBf16, 24, 72, false, {0, 70, 0, 3, 1, 0}},
                                           ProductCase{"gated_groups", WeightFormat::kBf16, 40, 64, true, {9, 0, 66}, 8}, ProductCase{"all_in_one", WeightFormat::kBf16, 24, 64, false, {0, 0, 90}, 2},
                                           ProductCase{"e4m3", WeightFormat::kE4m3, 130, 80, false, {10}}, ProductCase{"e4m3_groups", WeightFormat::kE4m3, 40, 144, true, {3, 0, 20}, 4},
                                           ProductCase{"e4m3_both_halves", WeightFormat::kE4m3, 128, 144, false, {41}},
                                           ProductCase{"e2m1", WeightFormat::kE2m1, 130, 96, false, {10}}, ProductCase{"e2m1_groups", WeightFormat::kE2m1, 40, 160, true, {3, 0, 20}, 4},
                                           ProductCase{"int4", WeightFormat::kInt4, 130, 96, false, {10}}, ProductCase{"int4_groups", WeightFormat::kInt4, 40, 160, true, {3, 0, 20}, 4}),
                         [](const auto& shape) { return std::string(shape.param.name); });

// The checkpoint's sizes, of which the processor's simulator would make hours.
INSTANTIATE_TEST_SUITE_P(FullSizes, MatrixProduct,
                         ::testing::ValuesIn(!kFullSizes ? std::vector<ProductCase>{} : std::vector<ProductCase>{
                             {"qkv", WeightFormat::kBf16, 8192, 2816, false, {100}}, {"o", WeightFormat::kBf16, 2816, 8192, false, {65}}, {"gate_up", WeightFormat::kBf16, 2112, 2816, true, {100}},
                             {"head", WeightFormat::kBf16, 262144, 2816, false, {3}}, {"experts", WeightFormat::kBf16, 704, 2816, true, {16, 0, 300, 8, 1, 21, 64, 65}, 8},
                             {"experts_down", WeightFormat::kBf16, 2816, 704, false, {16, 0, 300, 8, 1, 21, 64, 65}}, {"experts_e4m3", WeightFormat::kE4m3, 704, 2816, true, {16, 0, 300, 8, 1, 21, 64, 65}, 8},
                             {"experts_e2m1", WeightFormat::kE2m1, 704, 2816, true, {16, 0, 300, 8, 1, 21, 64, 65}, 8}}),
                         [](const auto& shape) { return std::string(shape.param.name); });

class MatrixProductBits : public KernelTest {};

TEST_F(MatrixProductBits, DependNeitherOnTheGridNorOnTheTileNorOnOtherRows) {
  const ProductCase shape{"", WeightFormat::kBf16, 40, 72, false, {70}};
  Product few(shape, 5), many(shape, 5), wide(shape, 5), alone(shape, 5);
  run(few.call(), 1, false);
  run(many.call(), 7, true);
  run_wide(wide.call());
  EXPECT_EQ(few.out.floats, many.out.floats);
  EXPECT_EQ(few.out.floats, wide.out.floats);
  ProductCall one = alone.call();
  one.rows = 1;
  one.x += 69 * one.ldx;
  run(one, 1, false);
  EXPECT_TRUE(std::equal(alone.out.floats.begin(), alone.out.floats.begin() + 40, few.out.floats.begin() + 69 * 40));
}

TEST(TileSchedule, CoversEveryTileOnce) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  std::mt19937_64 random(seed);
  for (int round = 0; round < 200; ++round) {
    const auto groups = static_cast<size_t>(1 + random() % 130);
    const int32_t feature_tiles = 1 + static_cast<int32_t>(random() % 30);
    std::vector<int32_t> before = {0};
    for (size_t g = 0; g < groups; ++g) {
      const auto kind = random() % 4;  // empty, few, one tile's worth, overloaded
      const auto rows = kind == 0 ? 0 : kind == 1 ? static_cast<int32_t>(random() % 64) : kind == 2 ? 64 : static_cast<int32_t>(random() % 2048);
      before.push_back(before.back() + TileSchedule::row_tiles(rows, 64));
    }
    const TileSchedule schedule{before.data(), static_cast<int32_t>(groups), feature_tiles};
    std::vector<int> seen(static_cast<size_t>(schedule.count()));
    for (int64_t item = 0; item < schedule.count(); ++item) {
      const auto [group, row_tile, feature_tile] = schedule.at(item);
      const auto g = static_cast<size_t>(group);
      ASSERT_LT(g, groups);
      ASSERT_LT(row_tile, before[g + 1] - before[g]);
      ASSERT_LT(feature_tile, feature_tiles);
      ++seen[static_cast<size_t>((before[g] + row_tile) * feature_tiles + feature_tile)];
    }
    ASSERT_EQ(std::count(seen.begin(), seen.end(), 1), schedule.count());
  }
}

/// Where rows grouped by the kernel are not as a stable sort has them; empty when they are. `skewed`: what is compared is off by one.
std::string wrong_grouping(const KernelVector<int32_t>& expert, int32_t experts, bool falling, bool skewed = false, size_t unaligned = 0) {
  const size_t routed = expert.size();
  KernelVector<int32_t> ids, begin(static_cast<size_t>(experts) + 1, -7), place(routed + 1, -7), source(routed + 1, -7);
  ids.reserve(unaligned + routed + 1);  // an empty vector has no address, which launchers refuse
  ids.assign(unaligned, 0);
  ids.insert(ids.end(), expert.begin(), expert.end());
  run(GroupCall{.num_routed = static_cast<int32_t>(routed), .num_experts = experts, .expert = ids.data() + unaligned, .begin = begin.data(), .place = place.data(), .source = source.data()}, falling);
  std::vector<int32_t> order(routed);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return expert[static_cast<size_t>(a)] < expert[static_cast<size_t>(b)]; });
  if (skewed && routed > 0) order.back() ^= 1;
  for (size_t i = 0; i < routed; ++i) {
    if (source[i] != order[i]) return fmt::format("source[{}] is {}, expected {}", i, source[i], order[i]);
    if (place[static_cast<size_t>(order[i])] != static_cast<int32_t>(i)) return fmt::format("place[{}] is {}, expected {}", order[i], place[static_cast<size_t>(order[i])], i);
  }
  for (int32_t e = 0; e <= experts; ++e) {
    const auto before = std::count_if(expert.begin(), expert.end(), [&](int32_t id) { return id < e; }) + (skewed && e == experts);
    if (begin[static_cast<size_t>(e)] != before) return fmt::format("begin[{}] is {}, expected {}", e, begin[static_cast<size_t>(e)], before);
  }
  if (place.back() != -7 || source.back() != -7) return "something is written behind the end";
  return "";
}

struct RouteCase {
  int rows, experts, slots;
};
class Routing : public KernelTestWith<RouteCase> {};

TEST_P(Routing, TakesTheLikeliestAndGroupsThemInOrder) {
  const auto [rows, experts, slots] = GetParam();
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  std::mt19937_64 random(seed);
  const auto E = static_cast<size_t>(experts), k = static_cast<size_t>(slots), routed = static_cast<size_t>(rows * slots);
  auto logits = normal_numbers(static_cast<size_t>(rows) * E, random, 2);
  if (rows > 1) std::fill(logits.begin() + experts, logits.begin() + 2 * experts, 0.5f);  // a row of ties
  const auto scale = normal_numbers(E, random);
  KernelVector<int32_t> expert(routed, -7);
  KernelVector<float> weight(routed, NAN);
  for (auto* some : {&logits, &weight}) some->reserve(1);  // an address even where there are no rows: launchers refuse null
  expert.reserve(1);
  const RouteCall call{.num_rows = rows, .num_experts = experts, .slots = slots, .logits = logits.data(), .per_expert_scale = scale.data(), .expert = expert.data(), .weight = weight.data()};
  run(call, seed % 2 == 1);
  for (size_t r = 0; r < static_cast<size_t>(rows); ++r) {
    const std::vector<float> row(logits.begin() + static_cast<int64_t>(r * E), logits.begin() + static_cast<int64_t>((r + 1) * E));
    std::vector<int32_t> order(E);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return row[static_cast<size_t>(a)] > row[static_cast<size_t>(b)]; });
    double sum = 0;
    for (size_t slot = 0; slot < k; ++slot) sum += std::exp(static_cast<double>(row[static_cast<size_t>(order[slot])]));
    for (size_t slot = 0; slot < k; ++slot) {
      const auto got = static_cast<size_t>(expert[r * k + slot]);
      // Neighbours in the order may trade places where their probabilities round to the same f32.
      EXPECT_NEAR(row[got], row[static_cast<size_t>(order[slot])], 1e-6) << r << " " << slot;
      const double expected = std::exp(static_cast<double>(row[got])) / sum * static_cast<double>(scale[got]);
      EXPECT_NEAR(weight[r * k + slot], expected, 2e-6 * std::abs(expected)) << r << " " << slot;  // exponentials within 2e-7, E + k + 4 roundings of sums of like sign
    }
    const bool in_order = std::equal(order.begin(), order.begin() + slots, expert.begin() + static_cast<int64_t>(r * k));
    EXPECT_TRUE(in_order || r != 1) << "ties go to the lower expert";
  }
  EXPECT_EQ(wrong_grouping(expert, experts, seed % 2 == 1), "");
}

/// Of ids first + random() % count.
struct GroupCase {
  const char* name;
  int routed, experts, first, count;
  size_t unaligned = 0;
};
class Grouping : public KernelTestWith<GroupCase> {};

TEST_P(Grouping, IsAStableSort) {
  const GroupCase& c = GetParam();
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  std::mt19937_64 random(seed);
  KernelVector<int32_t> expert(static_cast<size_t>(c.routed));
  for (int32_t& id : expert) id = c.first + static_cast<int32_t>(random() % static_cast<uint64_t>(c.count));
  for (const bool falling : {false, true}) EXPECT_EQ(wrong_grouping(expert, c.experts, falling, false, c.unaligned), "") << (falling ? "threads in falling order" : "threads in rising order");
  EXPECT_NE(wrong_grouping(expert, c.experts, false, true, c.unaligned), "") << "the comparison sees a wrong answer";
}

// A block takes 8192 ids at once, 32 a thread; of fewer a thread takes fewer, in fours.
INSTANTIATE_TEST_SUITE_P(Shapes, Grouping,
                         ::testing::Values(GroupCase{"none", 0, 5, 0, 5}, GroupCase{"one", 1, 3, 2, 1}, GroupCase{"three", 3, 2, 0, 2}, GroupCase{"no_multiple_of_four", 1031, 7, 0, 7}, GroupCase{"canvas", 2048, 128, 0, 128},
                                           GroupCase{"one_short", 8191, 3, 0, 3}, GroupCase{"chunk", 8192, 3, 0, 3}, GroupCase{"one_more", 8193, 3, 0, 3}, GroupCase{"chunks", 20001, 6, 0, 6}, GroupCase{"one_has_all", 8200, 4, 2, 1},
                                           GroupCase{"empty_at_both_ends", 700, 40, 9, 20}, GroupCase{"one_expert", 8200, 1, 0, 1}, GroupCase{"most_experts", 3000, kMaxExperts, 0, kMaxExperts}, GroupCase{"unaligned", 2047, 5, 0, 5, 1},
                                           GroupCase{"unaligned_chunks", 16400, 3, 0, 3, 2}),
                         [](const auto& shape) { return std::string(shape.param.name); });

INSTANTIATE_TEST_SUITE_P(Shapes, Routing, ::testing::Values(RouteCase{5, 128, 8}, RouteCase{40, 6, 1}, RouteCase{3, 33, 33}, RouteCase{0, 5, 2}, RouteCase{1, 1, 1}, RouteCase{17, 7, 3}));

}  // namespace
}  // namespace canvaslab::cuda
