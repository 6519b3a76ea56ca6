// The operators on a GPU, called through torch's dispatcher on memory that both sides see: the checks of the kernels once more, the CPU's operators beside them, and what only a GPU shows. Skipped where
// there is no GPU or the LibTorch at hand has no CUDA.
#include <ATen/ATen.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <gtest/gtest.h>

#include "core/network/network.h"
#include "tests/support/kernels/device_memory.h"

namespace canvaslab {
inline std::string kernels_missing() {
  const std::string why = device_missing();
  return !why.empty() || torch_has_gpu() ? why : "LibTorch has no CUDA operations (CANVASLAB_LIBTORCH names another one)";
}
inline constexpr bool kFullSizes = false;  // the kernels' own tests have them
inline at::Device operators_device() { return {at::kCUDA, 0}; }
inline void operators_done() { expect_done(0); }
}  // namespace canvaslab

#include "tests/support/kernels/operator_calls.h"

#include "tests/support/kernels/attention_checks.h"
#include "tests/support/kernels/matrix_product_checks.h"
#include "tests/support/kernels/operator_checks.h"
#include "tests/support/kernels/row_glue_checks.h"

namespace canvaslab {
namespace {

class OperatorsOnGpu : public KernelTest {
 protected:
  c10::impl::VirtualGuardImpl torch() const { return c10::impl::VirtualGuardImpl(at::kCUDA); }
  at::Tensor normal(std::vector<int64_t> sizes, at::ScalarType dtype = at::kFloat) {
    int64_t n = 1;
    for (const int64_t size : sizes) n *= size;
    const auto values = normal_numbers(static_cast<size_t>(n), random);
    return at::for_blob(const_cast<float*>(values.data()), sizes).options(at::kFloat).make_tensor().to(dtype, false, true);
  }
  std::mt19937_64 random{std::random_device{}()};
};

at::Tensor product(const at::Tensor& x, const at::Tensor& weight) {
  return call_operator<at::Tensor, const at::Tensor&, const at::Tensor&, const OptionalTensor&, const OptionalTensor&, bool, std::optional<at::ScalarType>>("product", x, weight, std::nullopt, std::nullopt, false, std::nullopt);
}
at::Tensor gelu_times(const at::Tensor& both) { return call_operator<at::Tensor, const at::Tensor&, std::optional<at::ScalarType>>("gelu_times", both, at::kFloat); }
void soft_cap_(const at::Tensor& x, double cap) { call_operator<void, const at::Tensor&, double>("soft_cap_", x, cap); }
std::tuple<at::Tensor, at::Tensor> route(const at::Tensor& logits, const at::Tensor& scale, int64_t k) {
  return call_operator<std::tuple<at::Tensor, at::Tensor>, const at::Tensor&, const at::Tensor&, int64_t>("route", logits, scale, k);
}
std::vector<at::Tensor> norms(const at::Tensor& x, const at::Tensor& gain) {
  const c10::List<OptionalTensor> gains({OptionalTensor(gain)});
  const std::vector<double> factors = {1};
  return call_operator<std::vector<at::Tensor>, const at::Tensor&, const c10::List<OptionalTensor>&, at::ArrayRef<double>, double, std::optional<at::ScalarType>>("norms", x, gains, factors, 1e-6, at::kFloat);
}

TEST_F(OperatorsOnGpu, GiveWhatTheCpusGive) {
  const auto gpu = [](const at::Tensor& t) { return t.to(operators_device()); };
  // Elementwise arithmetic is the same operations in the same order.
  const auto both = normal({7, 300});
  EXPECT_TRUE(at::equal(gelu_times(gpu(both)).cpu(), gelu_times(both)));
  const auto capped = normal({7, 300}), capped_there = gpu(capped);
  soft_cap_(capped, 0.7);
  soft_cap_(capped_there, 0.7);
  EXPECT_TRUE(at::equal(capped_there.cpu(), capped));
  // Two f32 sums of K products each: K + 2 roundings of what is there.
  const auto x = normal({67, 72}, at::kBFloat16), w = normal({131, 72}, at::kBFloat16);
  const auto difference = (product(gpu(x), gpu(w)).cpu() - product(x, w)).abs(), size = at::mm(x.to(at::kFloat).abs(), w.to(at::kFloat).abs().t());
  EXPECT_TRUE((difference <= 2 * 74 * 0x1p-24 * size).all().item<bool>()) << "largest difference " << difference.max().item<float>();
  EXPECT_FALSE(((product(gpu(x), gpu(w)).cpu() - product(x, w) - 1).abs() <= 2 * 74 * 0x1p-24 * size).all().item<bool>()) << "the comparison sees a wrong answer";
  const auto logits = normal({40, 128}), scale = normal({128});
  const auto [expert, weight] = route(logits, scale, 8);
  const auto [expert_there, weight_there] = route(gpu(logits), gpu(scale), 8);
  // Neighbours may trade places where their probabilities round to the same f32: their logits are then equal to 1e-6.
  EXPECT_LE((logits.gather(1, expert.to(at::kLong)) - logits.gather(1, expert_there.cpu().to(at::kLong))).abs().max().item<float>(), 1e-6f);
  EXPECT_LE(((weight - weight_there.cpu()).abs() / weight.abs().clamp_min(1e-30)).median().item<float>(), 4e-6f);
  const auto row = normal({9, 700}), gain = normal({700});
  const auto here = norms(row, gain)[0], there = norms(gpu(row), gpu(gain))[0].cpu();
  EXPECT_TRUE(((here - there).abs() <= 0x1p-19 * here.abs()).all().item<bool>());
}

TEST_F(OperatorsOnGpu, FollowTheCurrentStream) {
  const auto stream = torch().getNewStream(operators_device());
  const c10::StreamGuard guard(stream);
  auto x = at::empty({int64_t{1} << 26}, at::TensorOptions(at::kFloat).device(operators_device()));
  for (int round = 1; round <= 20; ++round) {
    for (int i = 0; i < 8; ++i) x.fill_(-1);  // 2 GB of writes: on another stream the operator would come before them
    x.fill_(round);
    const auto rows = x.view({64, -1});
    soft_cap_(rows, 1e6);
    EXPECT_NEAR(x[-1].item<float>(), round, 1e-3 * round);
    EXPECT_NEAR(x[12345].item<float>(), round, 1e-3 * round);
  }
}

TEST_F(OperatorsOnGpu, CanBeCapturedInAGraph) {
  constexpr int64_t B = 2, L = 5, H = 4, Hkv = 2, width = 64, P = 700;
  const auto halves = [&](std::vector<int64_t> sizes) { return normal(std::move(sizes), at::kBFloat16).to(operators_device()); };
  const auto q = halves({B, L, H, width}), k = halves({B, L, Hkv, width}), v = halves({B, L, Hkv, width}), cached_k = halves({B, Hkv, P, width}), cached_v = halves({B, Hkv, P, width});
  const auto lengths = at::full({B}, P, at::TensorOptions(at::kInt).device(operators_device()));
  const auto logits = normal({B, L, 3000}).to(operators_device()), temperature = at::ones({B}, logits.options());
  const auto canvas = at::zeros({B, L}, lengths.options()), draws = at::zeros({B, 6}, lengths.options().dtype(at::kLong));
  at::Tensor attended, entropy;
  const auto work = [&] {
    attended = call_operator<at::Tensor, const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&, const OptionalTensor&, const OptionalTensor&, const OptionalTensor&, std::optional<at::ScalarType>>(
        "attention", q, cached_k, cached_v, k, v, lengths, std::nullopt, std::nullopt, at::kFloat);
    entropy = std::get<4>(row_statistics(logits, canvas, draws, temperature));
  };
  const auto stream = torch().getNewStream(operators_device());
  const c10::StreamGuard guard(stream);
  const auto native = static_cast<cudaStream_t>(torch().getStreamNativeHandle(stream));
  work();  // memory is there from now on
  ASSERT_EQ(cudaStreamSynchronize(native), cudaSuccess);
  const auto attended_before = attended.clone(), entropy_before = entropy.clone();
  attended = entropy = at::Tensor();
  cudaGraph_t graph{};
  cudaGraphExec_t executable{};
  ASSERT_EQ(cudaStreamBeginCapture(native, cudaStreamCaptureModeRelaxed), cudaSuccess);
  work();
  ASSERT_EQ(cudaStreamEndCapture(native, &graph), cudaSuccess) << "something waited, or copied from the host";
  ASSERT_EQ(cudaGraphInstantiate(&executable, graph, 0), cudaSuccess);
  attended.fill_(-1);
  entropy.fill_(-1);
  ASSERT_EQ(cudaGraphLaunch(executable, native), cudaSuccess);
  ASSERT_EQ(cudaStreamSynchronize(native), cudaSuccess);
  EXPECT_TRUE(at::equal(attended, attended_before));
  EXPECT_TRUE(at::equal(entropy, entropy_before));
  cudaGraphExecDestroy(executable);
  cudaGraphDestroy(graph);
}

TEST_F(OperatorsOnGpu, RefuseTensorsOfAnotherDevice) {
  try {
    product(normal({3, 40}, at::kBFloat16).to(operators_device()), normal({3, 40}, at::kBFloat16));
    FAIL() << "a weight of the CPU was taken";
  } catch (const c10::Error& error) {
    EXPECT_NE(std::string(error.what()).find("weight lies on cpu, the first argument on cuda:0"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace canvaslab
