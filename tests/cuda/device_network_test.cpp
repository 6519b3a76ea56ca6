// The kernels of the network's side on a GPU: the checks that tests/core runs on the processor, and the same at the checkpoint's sizes. Skipped where there is no GPU.
#include "tests/support/kernels/device.h"

#include "core/kernels/cuda/attention.h"
#include "core/kernels/cuda/decoder_layer.h"
#include "core/kernels/cuda/head_rows.h"
#include "core/kernels/cuda/matrix_product.h"
#include "core/kernels/cuda/overlap.h"
#include "core/kernels/cuda/routing.h"
#include "core/kernels/cuda/row_glue.h"
#include "core/kernels/cuda/soft_embedding.h"
#include "core/kernels/cuda/warpgroup_product.h"

namespace canvaslab::cuda {
namespace {

// The order of threads is the device's own.
void run(const RowGlueCall& call, bool) { expect_done(row_glue(call, nullptr)); }
void run(const EmbedCall& call, bool) { expect_done(embed_rows(call, nullptr)); }
void run(const GeluCall& call, bool) { expect_done(gelu_times_rows(call, nullptr)); }
void run(const SoftCapCall& call, bool) { expect_done(soft_cap_rows(call, nullptr)); }
void run(const HeadRowsCall& call, bool) { expect_done(head_rows(call, nullptr)); }
void run(const RouteCall& call, bool) { expect_done(route(call, nullptr)); }
void run(const GroupCall& call, bool) { expect_done(group_by_expert(call, nullptr)); }
void run(const AttentionCall& call, bool) { expect_done(attention(call, nullptr)); }
void run(const SoftEmbeddingCall& call, bool) { expect_done(soft_embedding(call, nullptr)); }
// By warps, whatever the device has: warpgroups have checks of their own.
void run(const ProductCall& call, unsigned, bool) { expect_done(matrix_product_by_warps(call, nullptr)); }
void run_wide(const ProductCall& call) { expect_done(matrix_product_by_warps(call, nullptr)); }
void run_warpgroups(const ProductCall& call, int32_t tokens, unsigned blocks, bool) { expect_done(warpgroup_product(call, tokens, static_cast<int32_t>(blocks), nullptr)); }
std::string warpgroups_missing() { return has_warpgroups() ? "" : "no warpgroup instructions: compute capability 9.0 has them"; }
void run(const LayerCall& call, const LayerWorkspace& work) { expect_done(decoder_layer(call, work, nullptr)); }

class OpenedDevice : public KernelTest {};

/// What open_device() asks: only then do layers and heads run by warpgroups. Where bits differ from those of warps, all bf16 products do.
TEST_F(OpenedDevice, UsesWarpgroupsWhereThereAre) {
  if (const std::string why = warpgroups_missing(); !why.empty()) GTEST_SKIP() << "left out: " << why;
  EXPECT_NE(ask_warpgroups(), WarpgroupUse::kNever);
  EXPECT_GT(warpgroups_in_use().processors, 0);
}

}  // namespace
}  // namespace canvaslab::cuda

#include "tests/support/kernels/attention_checks.h"
#include "tests/support/kernels/decoder_layer_checks.h"
#include "tests/support/kernels/product_ways_checks.h"
#include "tests/support/kernels/row_glue_checks.h"
#include "tests/support/kernels/soft_embedding_checks.h"

namespace canvaslab::cuda {
namespace {

/// Layer after layer without a stop: every kernel reads what the ones before it wrote, some of them two or three launches ago, and writes over what others read.
TEST_F(OpenedDevice, OverlapsKernelsWithoutATraceInTheBits) {
  if (!kernels_overlap()) GTEST_SKIP() << "left out: kernels do not overlap before compute capability 9.0";
  const auto residual_after = [](int layers) {
    WholeLayer layer({.hidden = 520, .num_heads = 8, .num_kv_heads = 2, .head_width = 64, .has_values = 1, .dense_width = 456, .num_experts = 6, .slots = 2, .expert_width = 24}, 5);
    LayerCall call = layer.call();
    call.next = {{layer.work.normed, layer.D, Storage::kBf16}, layer.input.data(), 1};
    int launched = cudaSuccess;
    for (int i = 0; i < layers && launched == cudaSuccess; ++i) launched = decoder_layer(call, layer.work, nullptr);
    expect_done(launched);
    return std::vector<float>(layer.x.begin(), layer.x.end());
  };
  const auto overlapping = residual_after(30);
  const WithoutOverlap one_by_one;
  EXPECT_FALSE(kernels_overlap());
  EXPECT_EQ(residual_after(30), overlapping);
  EXPECT_NE(residual_after(29), overlapping) << "the comparison sees other numbers";
}

}  // namespace
}  // namespace canvaslab::cuda
