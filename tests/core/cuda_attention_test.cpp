// The GPU's attention, thread by thread on the processor.
#include "tests/support/kernels/simulated.h"

#include "core/kernels/cuda/attention.cuh"

namespace canvaslab::cuda {
namespace {

template <int kWidth>
void run_width(const AttentionCall& call, bool falling) {
  using Tile = AttentionTile<kWidth>;
  const int splits = attention_splits(call.most_keys), tiles = (call.most_rows + Tile::kQueries - 1) / Tile::kQueries, heads = call.num_sequences * call.num_heads;
  simt::launch(static_cast<unsigned>(heads * tiles * splits), Tile::kThreads, Tile::kBytes, [&] { attention_kernel<Tile>(call); }, falling);
  if (splits > 1) simt::launch(static_cast<unsigned>(heads * call.most_rows), MergeTile::kThreads, 0, [&] { merge_attention_kernel(call); }, falling);
}
void run(const AttentionCall& call, bool falling) {
  if (call.head_width == 16) run_width<16>(call, falling);
  if (call.head_width == 64) run_width<64>(call, falling);
  if (call.head_width == 256) run_width<256>(call, falling);
  if (call.head_width == 512) run_width<512>(call, falling);
}

}  // namespace
}  // namespace canvaslab::cuda

#include "tests/support/kernels/attention_checks.h"
