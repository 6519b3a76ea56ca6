// Launcher of attention.
#include "core/kernels/cuda/attention.cuh"
#include "core/kernels/cuda/launch.cuh"

namespace canvaslab::cuda {

namespace {

template <int kWidth>
int launch(const AttentionCall& call, void* stream) {
  using Tile = AttentionTile<kWidth>;
  const int64_t tiles = (call.most_rows + Tile::kQueries - 1) / Tile::kQueries, splits = attention_splits(call.most_keys), heads = static_cast<int64_t>(call.num_sequences) * call.num_heads;
  if (const int e = launch_kernel(attention_kernel<Tile>, heads * tiles * splits, Tile::kThreads, Tile::kBytes, stream, call)) return e;
  return splits > 1 ? launch_kernel(merge_attention_kernel, heads * call.most_rows, MergeTile::kThreads, 0, stream, call) : cudaSuccess;
}

}  // namespace

int attention(const AttentionCall& call, void* stream) {
  if (call.num_sequences < 0 || call.most_rows < 0 || call.most_keys < 0 || call.num_heads < 1 || call.num_kv_heads < 1 || call.num_heads % call.num_kv_heads != 0) return cudaErrorInvalidValue;
  if (!call.q || reinterpret_cast<uintptr_t>(call.q) % 16 != 0 || call.q_stride % 8 != 0 || !call.out.data || (call.from == nullptr) != (call.to == nullptr)) return cudaErrorInvalidValue;
  if (attention_splits(call.most_keys) > 1 && !call.workspace) return cudaErrorInvalidValue;
  if (call.num_sequences == 0 || call.most_rows == 0) return cudaSuccess;
  switch (call.head_width) {
    case 16: return launch<16>(call, stream);
    case 32: return launch<32>(call, stream);
    case 64: return launch<64>(call, stream);
    case 128: return launch<128>(call, stream);
    case 256: return launch<256>(call, stream);
    case 512: return launch<512>(call, stream);
    default: return cudaErrorInvalidValue;
  }
}

}  // namespace canvaslab::cuda
