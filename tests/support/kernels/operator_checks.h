#pragma once
// Checks of the operators that stand for several kernels or make their own structs: self-conditioning, statistics, acceptance, attention of a batch. Included behind operator_calls.h.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <set>

#include "core/philox.h"
#include "tests/support/kernels/check.h"
#include "tests/support/kernels/operator_calls.h"

namespace canvaslab {
namespace {

/// Numbers on the operators' device.
template <typename Values>
at::Tensor on_device(const Values& values, at::ScalarType dtype, std::vector<int64_t> sizes) {
  return at::for_blob(const_cast<void*>(static_cast<const void*>(values.data())), sizes).options(at::TensorOptions(dtype)).make_tensor().to(operators_device(), false, true);
}
KernelVector<float> numbers_of(const at::Tensor& t) {
  const at::Tensor host = t.detach().to(at::kCPU).to(at::kFloat).contiguous();
  return {host.const_data_ptr<float>(), host.const_data_ptr<float>() + host.numel()};
}
std::vector<int64_t> ids_of(const at::Tensor& t) {
  const at::Tensor host = t.to(at::kCPU).to(at::kLong).contiguous();
  return {host.const_data_ptr<int64_t>(), host.const_data_ptr<int64_t>() + host.numel()};
}

/// Empty where they agree, and sees a number that is moved out of its bound, at its place.
void expect_near(const char* name, std::vector<Expected> expected, const at::Tensor& got, size_t width) {
  const auto numbers = numbers_of(got);
  EXPECT_EQ(worst_outside(name, expected, numbers, width), "");
  if (expected.empty()) return;
  const size_t at = expected.size() / 2;
  expected[at].value += 3 * expected[at].bound + 1;
  EXPECT_NE(worst_outside(name, expected, numbers, width).find(fmt::format("[{}, {}]", at / width, at % width)), std::string::npos) << name << ": the comparison sees a wrong answer";
}

struct SoftOperatorCase {
  int rows, vocabulary, width;
  double temperature, least;
};
class SoftEmbeddingOperator : public KernelTestWith<SoftOperatorCase> {};

TEST_P(SoftEmbeddingOperator, IsTheMeanOfTheTokensThatCount) {
  const auto [rows, V, D, temperature, least] = GetParam();
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  std::mt19937_64 random(seed);
  auto logits = normal_numbers(static_cast<size_t>(rows * V), random, 3);
  for (size_t i = 3; i < logits.size(); i += 7) logits[i] = -INFINITY;
  const auto table = normal_codes(static_cast<size_t>(V * D), random);
  std::vector<std::vector<double>> p(static_cast<size_t>(rows), std::vector<double>(static_cast<size_t>(V)));
  std::vector<double> most(static_cast<size_t>(V));
  for (int r = 0; r < rows; ++r) {
    auto& row = p[static_cast<size_t>(r)];
    for (size_t v = 0; v < row.size(); ++v) row[v] = std::exp(static_cast<double>(logits[static_cast<size_t>(r * V) + v]) / temperature);
    const double sum = std::accumulate(row.begin(), row.end(), 0.0);
    for (size_t v = 0; v < row.size(); ++v) most[v] = std::max(most[v], row[v] /= sum);
  }
  const auto [embedding, skipped, num_kept] = call_operator<std::tuple<at::Tensor, at::Tensor, at::Tensor>, const at::Tensor&, const at::Tensor&, double, double, double, std::optional<at::ScalarType>>(
      "soft_embedding", on_device(logits, at::kFloat, {rows, V}), on_device(table, at::kBFloat16, {V, D}), temperature, 3.0, least, at::kFloat);
  // Tokens whose largest probability is within rounding of the limit may be on either side of it.
  const auto kept = [&](size_t v) { return most[v] >= least; };
  double unsure = 0;
  int64_t sure_kept = 0, may_be_kept = 0;
  for (const double m : most) {
    const bool near = least > 0 && std::abs(m - least) < 1e-5 * least;
    unsure += near ? m : 0;
    sure_kept += m >= least && !near;
    may_be_kept += m >= least || near;
  }
  EXPECT_GE(ids_of(num_kept)[0], sure_kept);
  EXPECT_LE(ids_of(num_kept)[0], may_be_kept);
  std::vector<Expected> of_embedding, of_skipped;
  for (const auto& row : p) {
    double lost = 0;
    std::vector<double> value(static_cast<size_t>(D)), size(value);
    for (size_t v = 0; v < row.size(); ++v) {
      if (!kept(v)) lost += row[v];
      for (size_t c = 0; c < value.size() && kept(v); ++c) {
        const double term = 3 * row[v] * static_cast<double>(from_bf16(table[v * static_cast<size_t>(D) + c]));
        value[c] += term;
        size[c] += std::abs(term);
      }
    }
    // Probabilities round to bf16; exponentials, the temperature's inverse and their sum err by less than 2e-6; an f32 sum rounds as often as it has terms; embeddings are below 6.
    for (size_t c = 0; c < value.size(); ++c) of_embedding.push_back({value[c], (0x1p-8 + 2e-6 + V * 0x1p-24) * size[c] + 18 * unsure});
    of_skipped.push_back({lost, 2e-5 * lost + unsure});
  }
  expect_near("embedding", of_embedding, embedding, static_cast<size_t>(D));
  expect_near("skipped", of_skipped, skipped, 1);
}
INSTANTIATE_TEST_SUITE_P(Shapes, SoftEmbeddingOperator,
                         ::testing::Values(SoftOperatorCase{1, 1, 8, 1, 0}, SoftOperatorCase{3, 700, 24, 0.8, 0}, SoftOperatorCase{2, 2500, 136, 1, 1e-3}, SoftOperatorCase{130, 90, 16, 1.3, 1e-6},
                                           SoftOperatorCase{2, 1100, 16, 3, 0.5}));

using StatisticsTensors = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor>;
StatisticsTensors row_statistics(const at::Tensor& logits, const at::Tensor& canvas, const at::Tensor& draws, const at::Tensor& temperature) {
  return call_operator<StatisticsTensors, const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&>("row_statistics", logits, canvas, draws, temperature);
}
DrawKey key_of(const int64_t* n) {
  return {static_cast<uint64_t>(n[0]), static_cast<uint64_t>(n[1]), static_cast<uint32_t>(n[2]), static_cast<uint32_t>(n[3]), static_cast<uint32_t>(n[4]), static_cast<uint32_t>(n[5])};
}

class StatisticsOperator : public KernelTestWith<int> {};

TEST_P(StatisticsOperator, AreWhatF64SaysOfEveryCanvas) {
  const int V = GetParam();
  constexpr int B = 3, L = 5;
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  std::mt19937_64 random(seed);
  auto logits = normal_numbers(static_cast<size_t>(B * L * V), random, 3);
  for (size_t i = 1; i < logits.size(); i += 5) logits[i] = -INFINITY;
  for (size_t row = 0; row < B * L; ++row) logits[row * static_cast<size_t>(V)] = 0.5f;  // two at least are possible
  for (size_t row = 0; row < B * L; ++row) logits[row * static_cast<size_t>(V) + static_cast<size_t>(V) - 1] = 0.25f;
  const KernelVector<float> temperature = {0.7f, 0, 1.9f};
  KernelVector<int32_t> canvas;
  for (int i = 0; i < B * L; ++i) canvas.push_back(i * 7919 % V);
  KernelVector<int64_t> draws;
  for (int64_t b = 0; b < B; ++b)
    for (const int64_t n : {-static_cast<int64_t>(seed >> 8), 5 + b, int64_t{1}, 2 * b, 3 + b, 100 * b}) draws.push_back(n);
  const auto [argmax, argmax_logprob, second, second_logprob, entropy, candidate, candidate_logprob, current_logprob, argmax_logprob_t1, entropy_t1, bad_row] =
      row_statistics(on_device(logits, at::kFloat, {B, L, V}), on_device(canvas, at::kInt, {B, L}), on_device(draws, at::kLong, {B, 6}), on_device(temperature, at::kFloat, {B}));
  EXPECT_EQ(ids_of(bad_row)[0], std::numeric_limits<int32_t>::max());
  const auto got_argmax = ids_of(argmax), got_second = ids_of(second), got_candidate = ids_of(candidate);
  std::vector<Expected> of_argmax, of_second, of_entropy, of_candidate, of_current, of_argmax_t1, of_entropy_t1;
  for (int row = 0; row < B * L; ++row) {
    const int b = row / L, position = row % L;
    const auto first = logits.begin() + static_cast<int64_t>(row) * V;
    const auto i = static_cast<size_t>(row);
    std::vector<int64_t> order(static_cast<size_t>(V));
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int64_t x, int64_t y) { return first[x] > first[y]; });
    EXPECT_EQ(got_argmax[i], order[0]) << row;
    EXPECT_EQ(got_second[i], order[1]) << row;
    const auto law = [&](double t, double& h) {
      std::vector<double> log_p(order.size());
      double sum = 0;
      for (size_t v = 0; v < log_p.size(); ++v) sum += std::exp((static_cast<double>(first[static_cast<int64_t>(v)]) - static_cast<double>(first[order[0]])) / t);
      h = 0;
      for (size_t v = 0; v < log_p.size(); ++v) {
        log_p[v] = (static_cast<double>(first[static_cast<int64_t>(v)]) - static_cast<double>(first[order[0]])) / t - std::log(sum);
        if (log_p[v] > -INFINITY) h -= std::exp(log_p[v]) * log_p[v];
      }
      return log_p;
    };
    const auto t = static_cast<double>(temperature[static_cast<size_t>(b)]);
    double h = 0, h_plain = 0;
    const auto log_p = law(t > 0 ? t : 1, h), plain = law(1, h_plain);
    const auto drawn = static_cast<size_t>(got_candidate[i]);
    ASSERT_LT(drawn, order.size()) << row;
    if (t == 0) {
      EXPECT_EQ(got_candidate[i], order[0]) << "greedy row " << row;
      h = 0;
    } else {
      const double u = key_of(draws.data() + b * 6).uniform(Purpose::kCandidate, static_cast<uint32_t>(position));
      double before = 0;
      for (size_t v = 0; v < drawn; ++v) before += std::exp(log_p[v]);
      EXPECT_GT(u, before - 1e-5) << row;
      EXPECT_LT(u, before + std::exp(log_p[drawn]) + 1e-5) << row;
    }
    // core/row_statistics.h: entropy within 1e-5 (1 + H), log-sum-exp within 1e-6 relative.
    const auto number = [](double value) { return Expected{value, value == -INFINITY ? 0 : 1e-5 * (1 + std::abs(value))}; };
    of_argmax.push_back(number(log_p[static_cast<size_t>(order[0])]));
    of_second.push_back(number(log_p[static_cast<size_t>(order[1])]));
    of_entropy.push_back(number(h));
    of_candidate.push_back(number(log_p[drawn]));
    const double current = log_p[static_cast<size_t>(canvas[i])];
    of_current.push_back(number(std::max(current, -1e30)));  // impossible tokens: compared as a number below
    of_argmax_t1.push_back(number(plain[static_cast<size_t>(order[0])]));
    of_entropy_t1.push_back(number(h_plain));
  }
  expect_near("argmax_logprob", of_argmax, argmax_logprob, L);
  expect_near("second_logprob", of_second, second_logprob, L);
  expect_near("entropy_nats", of_entropy, entropy, L);
  expect_near("candidate_logprob", of_candidate, candidate_logprob, L);
  expect_near("current_logprob", of_current, current_logprob.clamp_min(-1e30), L);
  expect_near("argmax_logprob_t1", of_argmax_t1, argmax_logprob_t1, L);
  expect_near("entropy_t1_nats", of_entropy_t1, entropy_t1, L);
}
INSTANTIATE_TEST_SUITE_P(Vocabularies, StatisticsOperator, ::testing::Values(2, 33, 1025, 5000));

class StatisticsOperatorErrors : public KernelTest {};
TEST_F(StatisticsOperatorErrors, NameTheFirstRowThatIsNoDistribution) {
  KernelVector<float> logits(2 * 3 * 40, 1.0f);
  const KernelVector<int32_t> canvas(6, 0);
  const KernelVector<int64_t> draws(12, 1);
  const KernelVector<float> temperature(2, 1.0f);
  for (const float wrong : {NAN, INFINITY}) {
    logits[4 * 40 + 7] = logits[5 * 40] = wrong;
    const auto results = row_statistics(on_device(logits, at::kFloat, {2, 3, 40}), on_device(canvas, at::kInt, {2, 3}), on_device(draws, at::kLong, {2, 6}), on_device(temperature, at::kFloat, {2}));
    EXPECT_EQ(ids_of(std::get<10>(results))[0], 4) << wrong;
    EXPECT_EQ(ids_of(std::get<0>(results))[3], 0) << "rows beside them are whole";
  }
}

/// What an acceptance step leaves behind.
struct Accepted {
  std::vector<int64_t> canvas, last_argmax, equal_steps, accepted, stop;
  bool operator==(const Accepted&) const = default;
};

class EntropyBoundOperator : public KernelTestWith<int> {};

TEST_P(EntropyBoundOperator, TakesWhatStaysUnderTheBoundAndRenoisesTheRest) {
  const int L = GetParam();
  constexpr int B = 4, V = 11, kStability = 2;
  constexpr double kConfidence = 0.4;
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<float> uniform;
  const auto count = static_cast<size_t>(B * L);
  KernelVector<float> entropy(count), bound = {0, 0.5f, 3, 1e9f};
  KernelVector<int32_t> canvas(count), last(count), candidate(count), argmax(count), equal = {-1, 0, 1, 5}, banned = {0, 4, 9};
  KernelVector<uint8_t> allowed(count);
  for (size_t i = 0; i < count; ++i) {
    entropy[i] = uniform(random) < 0.3f ? 0.25f : uniform(random);  // ties
    canvas[i] = static_cast<int32_t>(random() % V);
    candidate[i] = static_cast<int32_t>(random() % V);
    argmax[i] = static_cast<int32_t>(random() % V);
    last[i] = i / static_cast<size_t>(L) < 3 ? argmax[i] : (argmax[i] + 1) % V;
    allowed[i] = uniform(random) < 0.8f;
  }
  KernelVector<int64_t> draws;
  for (int64_t b = 0; b < B; ++b)
    for (const int64_t n : {static_cast<int64_t>(seed), b, int64_t{0}, int64_t{1}, 2 + b, 50 * b}) draws.push_back(n);
  for (const int64_t mask_id : {-1, 3})
    for (const bool pins : {true, false}) {
      Accepted expected;
      for (int b = 0; b < B; ++b) {
        const DrawKey key = key_of(draws.data() + b * 6);
        double mean = 0;
        int64_t open = 0;
        bool changed = false;
        for (int p = 0; p < L; ++p) {
          const auto i = static_cast<size_t>(b * L + p);
          const bool is_open = !pins || allowed[i];
          // The sum of all that come before in rising order of (entropy, position), and its own, rounded once as the sampler does.
          std::vector<std::pair<float, int>> upto;
          for (int other = 0; other < L; ++other) {
            const auto j = static_cast<size_t>(b * L + other);
            if ((!pins || allowed[j]) && std::pair(entropy[j], other) <= std::pair(entropy[i], p)) upto.emplace_back(entropy[j], other);
          }
          std::sort(upto.begin(), upto.end());
          double sum = 0;
          for (const auto& [h, at] : upto) sum += static_cast<double>(h);
          const bool takes = is_open && !(static_cast<float>(sum) - entropy[i] > bound[static_cast<size_t>(b)]);
          int64_t token = mask_id;
          for (uint32_t lane = 0; token < 0; ++lane) {
            token = key.below(V, Purpose::kNoise, static_cast<uint32_t>(p), lane);
            if (std::count(banned.begin(), banned.end(), token) > 0) token = -1;
          }
          expected.accepted.push_back(takes);
          expected.canvas.push_back(!is_open ? canvas[i] : takes ? candidate[i] : token);
          expected.last_argmax.push_back(argmax[i]);
          if (!is_open) continue;
          mean += static_cast<double>(entropy[i]);
          ++open;
          changed = changed || argmax[i] != last[i];
        }
        const int64_t before = equal[static_cast<size_t>(b)], now = before < 0 || changed ? 0 : before + 1;
        expected.equal_steps.push_back(now);
        expected.stop.push_back((open == 0 ? 0.0f : static_cast<float>(mean / static_cast<double>(open))) < static_cast<float>(kConfidence) && now >= kStability);
      }
      const auto canvas_t = on_device(canvas, at::kInt, {B, L}), last_t = on_device(last, at::kInt, {B, L}), equal_t = on_device(equal, at::kInt, {B});
      OptionalTensor allowed_t;
      if (pins) allowed_t = on_device(allowed, at::kBool, {B, L});
      const auto [accepted, stop] = call_operator<std::tuple<at::Tensor, at::Tensor>, const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                                  int64_t, double, int64_t, const OptionalTensor&, const OptionalTensor&, int64_t>(
          "entropy_bound_step", canvas_t, last_t, equal_t, on_device(entropy, at::kFloat, {B, L}), on_device(candidate, at::kInt, {B, L}), on_device(argmax, at::kInt, {B, L}), on_device(draws, at::kLong, {B, 6}),
          on_device(bound, at::kFloat, {B}), V, kConfidence, kStability, allowed_t, on_device(banned, at::kInt, {3}), mask_id);
      const Accepted got{ids_of(canvas_t), ids_of(last_t), ids_of(equal_t), ids_of(accepted), ids_of(stop)};
      EXPECT_EQ(got.canvas, expected.canvas);
      EXPECT_EQ(got.last_argmax, expected.last_argmax);
      EXPECT_EQ(got.equal_steps, expected.equal_steps);
      EXPECT_EQ(got.accepted, expected.accepted);
      EXPECT_EQ(got.stop, expected.stop);
      expected.accepted.back() ^= 1;
      EXPECT_FALSE(got == expected) << "the comparison sees a wrong answer";
    }
}
INSTANTIATE_TEST_SUITE_P(Lengths, EntropyBoundOperator, ::testing::Values(1, 9, 257));

class AttentionOperator : public KernelTest {};

TEST_F(AttentionOperator, GivesEverySequenceOfABatchWhatItGetsAlone) {
  constexpr int64_t B = 3, L = 5, H = 4, Hkv = 2, width = 32, P = 400, kRoom = 403;
  std::mt19937_64 random(std::random_device{}());
  const auto halves = [&](std::vector<int64_t> sizes) {
    int64_t n = 1;
    for (const int64_t size : sizes) n *= size;
    return on_device(normal_codes(static_cast<size_t>(n), random), at::kBFloat16, sizes);
  };
  const auto q = halves({B, L, H, width}), k = halves({B, L, Hkv, width}), v = halves({B, L, Hkv, width}), room_k = halves({B, Hkv, kRoom, width}), room_v = halves({B, Hkv, kRoom, width});
  const auto cached_k = room_k.narrow(2, 0, P), cached_v = room_v.narrow(2, 0, P);
  const KernelVector<int32_t> lengths = {400, 7, 0};
  KernelVector<int32_t> first, end;
  for (int32_t b = 0; b < B; ++b)
    for (int32_t r = 0; r < L; ++r) {
      first.push_back(r);
      end.push_back(r == 2 ? r : lengths[static_cast<size_t>(b)] + r + 1);  // row 2 sees nothing
    }
  const auto attend = [&](int64_t from, int64_t count, bool limits, bool cut) {
    const auto part = [&](const at::Tensor& t) { return t.narrow(0, from, count); };
    const auto limit = [&](const KernelVector<int32_t>& values) -> OptionalTensor {
      if (!limits) return std::nullopt;
      return part(on_device(values, at::kInt, {B, L})).clone();
    };
    // Alone, a sequence's cache may be as long as it is, or longer with its length beside it: the same keys.
    const int64_t keys = cut ? lengths[static_cast<size_t>(from)] : P;
    OptionalTensor counts;
    if (!cut) counts = part(on_device(lengths, at::kInt, {B})).clone();
    return call_operator<at::Tensor, const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&, const OptionalTensor&, const OptionalTensor&, const OptionalTensor&, std::optional<at::ScalarType>>(
        "attention", part(q).clone(), part(cached_k).narrow(2, 0, keys), part(cached_v).narrow(2, 0, keys), part(k), part(v), counts, limit(first), limit(end), at::kFloat);
  };
  for (const bool limits : {false, true}) {
    const auto together = attend(0, B, limits, false);
    for (int64_t b = 0; b < B; ++b)
      for (const bool cut : {false, true}) EXPECT_EQ(numbers_of(together.narrow(0, b, 1)), numbers_of(attend(b, 1, limits, cut))) << "sequence " << b;
    EXPECT_EQ(at::count_nonzero(together.select(1, 2)).item<int64_t>() == 0, limits) << "a row that sees nothing is zero";
    EXPECT_NE(numbers_of(together.narrow(0, 0, 1)), numbers_of(together.narrow(0, 1, 1))) << "the comparison sees other numbers";
  }
}

}  // namespace
}  // namespace canvaslab
