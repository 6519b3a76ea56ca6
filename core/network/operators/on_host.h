#pragma once
// The calls of core/kernels/cuda carried out on the processor, on host memory: what the CPU's operators are. The same structs mean the same; sums are at least as exact, so that the GPU is measured
// against these. Plain loops on one thread: they say what is right, the network's CPU path is the fast one. Preconditions are the launchers', and indices in memory are trusted as there.
// What no operator asks for is left out: products in pieces or with a soft-cap, routing of logits in pieces, temperatures that are known on the device alone.
#include "core/kernels/cuda/attention.h"
#include "core/kernels/cuda/call_rows.h"
#include "core/kernels/cuda/device_step.h"
#include "core/kernels/cuda/head_rows.h"
#include "core/kernels/cuda/matrix_product.h"
#include "core/kernels/cuda/routing.h"
#include "core/kernels/cuda/row_glue.h"
#include "core/kernels/cuda/soft_embedding.h"

namespace canvaslab::on_host {

void matrix_product(const cuda::ProductCall& call);
void row_glue(const cuda::RowGlueCall& call);
void embed_rows(const cuda::EmbedCall& call);
void gelu_times_rows(const cuda::GeluCall& call);
void soft_cap_rows(const cuda::SoftCapCall& call);
void head_rows(const cuda::HeadRowsCall& call);
/// Needs no workspace.
void attention(const cuda::AttentionCall& call);
void route(const cuda::RouteCall& call);
void group_by_expert(const cuda::GroupCall& call);
/// Needs no workspace.
void soft_embedding(const cuda::SoftEmbeddingCall& call);
/// Statistics of rows that are no distribution are left as they are.
void row_statistics(const cuda::StatisticsCall& call);
void entropy_bound_step(const cuda::AcceptCall& call);

template <typename Call>
void make_rows(const Call& call) {
  for (int32_t i = 0; i < call.size(); ++i) call.make(i);
}

}  // namespace canvaslab::on_host
