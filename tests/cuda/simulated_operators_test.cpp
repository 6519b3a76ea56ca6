// The operators' CUDA implementations without a GPU: dispatched by torch as on one, with the kernels run thread by thread on the processor. The checks are the kernels' own.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <csignal>

#include "tests/support/kernels/simulated_torch.h"

namespace canvaslab {
inline at::Device operators_device() { return {at::kCUDA, 0}; }
inline void operators_done() {}
}  // namespace canvaslab

#include "tests/support/kernels/operator_calls.h"

#include "tests/support/kernels/attention_checks.h"
#include "tests/support/kernels/matrix_product_checks.h"
#include "tests/support/kernels/operator_checks.h"
#include "tests/support/kernels/row_glue_checks.h"

namespace canvaslab {
namespace {

using simulated_torch::Guard;

/// Whose device an operator's kernels are for: the kernels' runtime, torch while they are launched, torch afterwards.
std::array<int, 3> devices_of_a_call(at::DeviceIndex index) {
  const auto both = at::ones({2, 6}, at::TensorOptions(at::kFloat).device(at::kCUDA, index));
  int at_launch = -1;
  const auto before = cuda::around_launches;
  cuda::around_launches = [&](bool begins) {
    if (begins) at_launch = Guard::current;
    before(begins);
  };
  const auto out = call_operator<at::Tensor, const at::Tensor&, std::optional<at::ScalarType>>("gelu_times", both, at::kFloat);
  cuda::around_launches = before;
  EXPECT_EQ(out.device(), both.device());
  EXPECT_EQ(cuda::simulated_stream, Guard::native_stream(index));
  return {cuda::simulated_device_index, at_launch, Guard::current};
}

TEST(SimulatedOperators, RunOnTheirTensorsDevice) {
  EXPECT_EQ(devices_of_a_call(1), (std::array{1, 1, 0})) << "and leave the current device as it was";
  Guard::current = 1;
  EXPECT_EQ(devices_of_a_call(0), (std::array{0, 0, 1}));
  Guard::current = 0;
}

TEST(SimulatedOperatorsDeathTest, HostCodeThatReadsATensorIsSeen) {
  const auto x = at::ones({3}, at::TensorOptions(at::kFloat).device(operators_device()));
  EXPECT_EQ(numbers_of(x)[1], 1.0f);
  EXPECT_EXIT(std::exit(x.const_data_ptr<float>()[1] > 0), ::testing::KilledBySignal(SIGSEGV), ".*");
}

TEST(SimulatedOperators, TakeNoTensorsOfAnotherDevice) {
  const auto x = at::ones({2, 8}, at::TensorOptions(at::kBFloat16).device(at::kCUDA, 0));
  for (const at::Device other : {at::Device(at::kCPU), at::Device(at::kCUDA, 1)}) try {
      call_operator<at::Tensor, const at::Tensor&, const at::Tensor&, const OptionalTensor&, const OptionalTensor&, bool, std::optional<at::ScalarType>>("product", x, at::ones({3, 8}, x.options().device(other)), std::nullopt,
                                                                                                                                                 std::nullopt, false, std::nullopt);
      ADD_FAILURE() << "a weight on " << other << " was taken";
    } catch (const c10::Error& error) {
      EXPECT_NE(std::string(error.what()).find("the first argument on cuda:0"), std::string::npos) << error.what();
    }
}

TEST(SimulatedOperators, GiveNothingForNothing) {
  const at::TensorOptions options = at::TensorOptions(at::kInt).device(operators_device());
  const auto [begin, place, source] = call_operator<std::tuple<at::Tensor, at::Tensor, at::Tensor>, const at::Tensor&, int64_t>("group_by_expert", at::empty({0, 2}, options), 5);
  EXPECT_EQ(ids_of(begin), std::vector<int64_t>(6, 0));
  EXPECT_EQ(source.numel(), 0);
  const auto none = at::empty({0, 16}, options.dtype(at::kBFloat16));
  const auto product = call_operator<at::Tensor, const at::Tensor&, const at::Tensor&, const OptionalTensor&, const OptionalTensor&, bool, std::optional<at::ScalarType>>(
      "product", none, at::ones({3, 16}, none.options()), std::nullopt, std::nullopt, false, std::nullopt);
  EXPECT_EQ(product.sizes(), (at::IntArrayRef{0, 3}));
}

}  // namespace
}  // namespace canvaslab
