// Fused operations against the formulas written out in f64: values and every derivative.
#include "core/network/training_ops.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <functional>

namespace canvaslab {
namespace {

using Tensors = std::vector<at::Tensor>;
using Formula = std::function<at::Tensor(const Tensors&)>;

at::Tensor normed(const at::Tensor& x, const at::Tensor& w) {
  const auto y = x * (x.pow(2).mean(-1, true) + 1e-6).pow(-0.5);
  return w.defined() ? y * w : y;
}

/// One result and the derivatives of a fixed weighted sum of it by each floating input.
Tensors results(const Formula& formula, const Tensors& inputs, at::ScalarType type) {
  Tensors given, wanted;
  for (const auto& x : inputs) {
    given.push_back(x.is_floating_point() ? x.to(type).detach().requires_grad_(true) : x);
    if (x.is_floating_point()) wanted.push_back(given.back());
  }
  const auto y = formula(given);
  auto random = at::detail::createCPUGenerator(99);
  const auto weight = at::randn(y.sizes(), random, at::kDouble).to(type);
  auto out = torch::autograd::grad({(y * weight).sum()}, wanted);
  out.insert(out.begin(), y.detach());
  return out;
}

/// The worst difference as a share of the reference's largest number, with its place.
std::pair<double, std::string> worst_share(const at::Tensor& given, const at::Tensor& expected) {
  const auto difference = (given.to(at::kDouble) - expected.to(at::kDouble)).abs().flatten();
  const int64_t place = difference.argmax().item<int64_t>();
  const double scale = expected.abs().max().item<double>();
  return {difference[place].item<double>() / scale, fmt::format("element {}: {} instead of {}", place, given.flatten()[place].item<double>(), expected.flatten()[place].item<double>())};
}

void expect_same(const Formula& fused, const Formula& formula, const Tensors& inputs, double tolerance) {
  const auto given = results(fused, inputs, at::kFloat), expected = results(formula, inputs, at::kDouble);
  ASSERT_EQ(given.size(), expected.size());
  for (size_t i = 0; i < given.size(); ++i) {
    ASSERT_EQ(given[i].sizes(), expected[i].sizes()) << i;
    const auto [share, what] = worst_share(given[i], expected[i]);
    EXPECT_LE(share, tolerance) << (i == 0 ? "result" : fmt::format("derivative by input {}", i - 1)) << ": " << what;
  }
}

class TrainingOps : public testing::Test {
 protected:
  at::Generator random = at::detail::createCPUGenerator(7);
  at::Tensor numbers(std::vector<int64_t> shape, double scale = 1) { return (at::randn(shape, random, at::kDouble) * scale).to(at::kFloat); }
  at::Tensor below(int64_t high, std::vector<int64_t> shape) { return at::randint(high, shape, random, at::kLong); }
};

// Sums of at most some hundred terms in f32, each of relative error 2^-24, in lanes: a share of 1e-6 holds 10 of them in
// one direction at the largest element; derivatives of weights sum over rows too.
constexpr double kF32 = 4e-6;
// Factors rounded to bf16 (2^-9 each) in up to three products one behind the other, in random directions over the sums.
constexpr double kBf16 = 2e-2;

TEST_F(TrainingOps, Norms) {
  const Tensors inputs{numbers({3, 5, 37}), numbers({37})};
  expect_same([](const Tensors& t) { return training_ops::rms_norm(t[0], t[1], 1e-6); }, [](const Tensors& t) { return normed(t[0], t[1]); }, inputs, kF32);
  expect_same([](const Tensors& t) { return training_ops::rms_norm(t[0], {}, 1e-6); }, [](const Tensors& t) { return normed(t[0], {}); }, {inputs[0]}, kF32);
  const Tensors three{numbers({3, 5, 37}), numbers({3, 5, 37}), numbers({37})};
  expect_same([](const Tensors& t) { return training_ops::add_norm(t[0], t[1], t[2], 1e-6); }, [](const Tensors& t) { return t[0] + normed(t[1], t[2]); }, three, kF32);
}

TEST_F(TrainingOps, RotatedHeads) {
  const auto angle = numbers({6, 1, 4});
  const auto both = at::cat({angle, angle}, -1), cos = both.cos(), sin = both.sin();
  const auto formula = [&](const Tensors& t) {
    const auto y = normed(t[0], t[1]);
    const auto halves = y.chunk(2, -1);
    return y * cos.to(at::kDouble) + at::cat({-halves[1], halves[0]}, -1) * sin.to(at::kDouble);
  };
  const Tensors inputs{numbers({2, 6, 3, 8}), numbers({8})};
  expect_same([&](const Tensors& t) { return training_ops::norm_rotate(t[0], t[1], 1e-6, cos, sin); }, formula, inputs, kF32);
  // The transposed layout that attention hands back.
  expect_same([&](const Tensors& t) { return training_ops::norm_rotate(t[0].transpose(1, 2), t[1], 1e-6, cos, sin).transpose(1, 2); },
              [&](const Tensors& t) { return formula({t[0].transpose(1, 2), t[1]}).transpose(1, 2); }, {numbers({2, 3, 6, 8}), inputs[1]}, kF32);
}

TEST_F(TrainingOps, GeluTimes) {
  expect_same([](const Tensors& t) { return training_ops::gelu_times(t[0], t[1]); }, [](const Tensors& t) { return at::gelu(t[0], "tanh") * t[1]; },
              {numbers({5, 41}, 3), numbers({5, 41})}, kF32);
}

TEST_F(TrainingOps, ProductsInF32AndBf16) {
  const Tensors inputs{numbers({2, 9, 24}), numbers({16, 24}), numbers({7, 24})}, odd{numbers({9, 25}), numbers({16, 25}), numbers({7, 25})};
  const auto fused = [](bool bf16) {
    return [bf16](const Tensors& t) {
      const auto y = training_ops::products(t[0], {t[1], t[2]}, bf16);
      return at::cat({y[0], y[1]}, -1);
    };
  };
  const auto formula = [](const Tensors& t) { return at::cat({at::linear(t[0], t[1]), at::linear(t[0], t[2])}, -1); };
  expect_same(fused(false), formula, inputs, kF32);
  expect_same(fused(true), formula, inputs, kBf16);
  expect_same(fused(true), formula, odd, kBf16);
  // A result that nothing depends on has no gradient.
  expect_same([](const Tensors& t) { return training_ops::products(t[0], {t[1], t[2]}, false)[1] + t[1].sum(); },
              [](const Tensors& t) { return at::linear(t[0], t[2]) + t[1].sum(); }, inputs, kF32);
}

TEST_F(TrainingOps, Experts) {
  for (const int64_t k : {1, 2, 4}) {
    SCOPED_TRACE(fmt::format("{} of 4 experts", k));
    const int64_t T = 70, D = 24, F = 10, E = 4;  // odd counts of rows are among them; the last expert gets none when k < 4
    const auto expert = k == 4 ? at::arange(4).expand({T, 4}).contiguous() : std::get<1>(at::rand({T, E - 1}, random, at::kDouble).topk(k));
    const Tensors inputs{numbers({T, D}), numbers({T, k}), expert, numbers({E, 2 * F, D}, 0.3), numbers({E, D, F}, 0.3)};
    const auto formula = [&](const Tensors& t) {
      const auto halves = at::einsum("td,efd->tef", {t[0], t[3]}).chunk(2, -1);
      const auto all = at::einsum("tef,edf->ted", {at::gelu(halves[0], "tanh") * halves[1], t[4]});  // [T, E, D]
      return (all.gather(1, expert.unsqueeze(-1).expand({T, k, D})) * t[1].unsqueeze(-1)).sum(1);
    };
    for (const bool bf16 : {false, true})
      expect_same([&](const Tensors& t) { return training_ops::experts(t[0], t[1], t[2], t[3], t[4], bf16); }, formula, inputs, bf16 ? kBf16 : kF32);
  }
}

TEST_F(TrainingOps, CappedCrossEntropy) {
  const auto target = below(53, {19});
  const auto formula = [&](const Tensors& t) { return at::cross_entropy_loss(at::tanh(t[0] / 30) * 30, target); };
  expect_same([&](const Tensors& t) { return training_ops::capped_cross_entropy(t[0], target, 30); }, formula, {numbers({19, 53}, 12)}, kF32);
}

TEST_F(TrainingOps, TheComparisonSeesAWrongDerivative) {
  const Tensors inputs{numbers({5, 37}), numbers({37})};
  const auto wrong = results([](const Tensors& t) { return training_ops::rms_norm(t[0], t[1], 1e-6) + t[0] * 1e-4; }, inputs, at::kFloat);
  const auto expected = results([](const Tensors& t) { return normed(t[0], t[1]); }, inputs, at::kDouble);
  for (const size_t i : {0u, 1u}) EXPECT_GT(worst_share(wrong[i], expected[i]).first, 2 * kF32);
}

}  // namespace
}  // namespace canvaslab
