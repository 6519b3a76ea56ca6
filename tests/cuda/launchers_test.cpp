// What launchers refuse before they look for a device: runs anywhere.
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <vector>

#include "core/kernels/cuda/attention.h"
#include "core/kernels/cuda/head_rows.h"
#include "core/kernels/cuda/matrix_product.h"
#include "core/kernels/cuda/routing.h"
#include "core/kernels/cuda/row_glue.h"
#include "core/kernels/cuda/soft_embedding.h"
#include "core/kernels/cuda/warpgroup_product.h"

namespace canvaslab::cuda {
namespace {

alignas(16) uint16_t memory[64];
float numbers[64];
int32_t places[64];

/// The call with one thing changed is refused; unchanged and without rows it is done at once.
template <typename Call, typename Launch>
void expect_refused(const Call& sound, Launch launch, const std::vector<void (*)(Call&)>& changes) {
  EXPECT_EQ(launch(sound, nullptr), cudaSuccess);
  for (size_t i = 0; i < changes.size(); ++i) {
    Call call = sound;
    changes[i](call);
    EXPECT_EQ(launch(call, nullptr), cudaErrorInvalidValue) << "change " << i;
  }
}

TEST(Launchers, RefuseProductsWhoseRowsDoNotAlign) {
  const ProductCall sound{.rows = 0, .n = 8, .k = 32, .x = memory, .ldx = 32, .w = {.codes = memory}, .out = {numbers, 8, Storage::kF32}};
  const std::vector<void (*)(ProductCall&)> changes = {
      [](ProductCall& c) { c.k = 12; }, [](ProductCall& c) { c.ldx = 36; }, [](ProductCall& c) { c.ldx = 24; }, [](ProductCall& c) { c.x = memory + 1; }, [](ProductCall& c) { c.n = 0; },
      [](ProductCall& c) { c.rows = -1; }, [](ProductCall& c) { c.num_groups = 2; }, [](ProductCall& c) { c.begin = places, c.num_groups = kMaxGroups + 1; }, [](ProductCall& c) { c.out.data = nullptr; },
      [](ProductCall& c) { c.w.format = WeightFormat::kE2m1; }, [](ProductCall& c) { c.w.format = WeightFormat::kInt4; }};
  expect_refused<ProductCall>(sound, matrix_product, changes);
  expect_refused<ProductCall>(sound, matrix_product_by_warps, changes);
  expect_refused<ProductCall>(sound, [](const ProductCall& call, void* stream) { return warpgroup_product(call, 128, 0, stream); }, changes);
  EXPECT_EQ(warpgroup_product(sound, 96, 0, nullptr), cudaErrorInvalidValue);
}

TEST(Launchers, RefuseAttentionOfOtherHeads) {
  const AttentionCall sound{.num_sequences = 0, .most_rows = 1, .most_keys = 1, .num_heads = 4, .num_kv_heads = 2, .head_width = 64, .q = memory, .q_stride = 256, .out = {numbers, 256, Storage::kF32}};
  expect_refused<AttentionCall>(sound, attention,
                                {[](AttentionCall& c) { c.num_kv_heads = 3; }, [](AttentionCall& c) { c.q = memory + 1; }, [](AttentionCall& c) { c.q_stride = 12; }, [](AttentionCall& c) { c.from = places; },
                                 [](AttentionCall& c) { c.most_keys = kKeysUnsplit + 1; }, [](AttentionCall& c) { c.num_sequences = c.most_rows = 1, c.head_width = 48; }});
}

TEST(Launchers, RefuseRowsThatDoNotFit) {
  const RowGlueCall sound{.num_rows = 0, .width = 8, .branch = {numbers, 8, Storage::kF32}, .gain = numbers, .residual = {numbers, 8, Storage::kF32}};
  expect_refused<RowGlueCall>(sound, row_glue,
                              {[](RowGlueCall& c) { c.width = kMaxWidth + 1; }, [](RowGlueCall& c) { c.gain = nullptr; }, [](RowGlueCall& c) { c.residual.data = nullptr; },
                               [](RowGlueCall& c) { c.experts.parts = {numbers, 8, Storage::kF32}; }});
  const HeadRowsCall heads{.num_rows = 0, .num_heads = 2, .num_kv_heads = 1, .head_width = 8, .rows = {numbers, 32, Storage::kF32}, .q_gain = numbers, .k_gain = numbers, .cos = numbers, .sin = numbers,
                           .q = {numbers, 16, Storage::kF32}, .keys = {numbers, numbers, 8, 8, Storage::kF32}};
  expect_refused<HeadRowsCall>(heads, head_rows, {[](HeadRowsCall& c) { c.head_width = 7; }, [](HeadRowsCall& c) { c.head_width = kMaxHeadWidth + 2; }, [](HeadRowsCall& c) { c.keys.v = nullptr; }});
  const RouteCall routes{.num_rows = 0, .num_experts = 8, .slots = 2, .logits = numbers, .per_expert_scale = numbers, .expert = places, .weight = numbers};
  expect_refused<RouteCall>(routes, route, {[](RouteCall& c) { c.slots = 9; }, [](RouteCall& c) { c.num_experts = kMaxExperts + 1; }, [](RouteCall& c) { c.slots = 0; }});
  const SoftEmbeddingCall soft{.rows = 0, .vocabulary = 8, .width = 8, .logits = numbers, .table = memory, .out = {numbers, 8, Storage::kF32}, .workspace = memory};
  expect_refused<SoftEmbeddingCall>(soft, soft_embedding,
                                    {[](SoftEmbeddingCall& c) { c.width = 12; }, [](SoftEmbeddingCall& c) { c.vocabulary = kMaxSoftVocabulary + 1; }, [](SoftEmbeddingCall& c) { c.inverse_temperature = 0; },
                                     [](SoftEmbeddingCall& c) { c.least = -1; }, [](SoftEmbeddingCall& c) { c.workspace = nullptr; }});
}

}  // namespace
}  // namespace canvaslab::cuda
