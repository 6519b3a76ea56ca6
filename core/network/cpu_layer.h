#pragma once
// One layer of a forward on the CPU, without tensors.
#include <cstdint>
#include <span>
#include <vector>

#include "core/kernels/buffer.h"
#include "core/network/cpu_attention.h"
#include "core/network/packed_layers.h"

namespace canvaslab {

struct ModelConfig;
struct LayerConfig;

/// One thread's memory, kept from call to call: after the first step of a shape nothing is allocated.
struct CpuWorkspace {
  Buffer<float> x, normed, qkv, attended, projected, both, inner, dense, sparse, router, grouped, parts, probabilities;
  Buffer<uint16_t> rounded;
  std::vector<int32_t> expert, order, place, begin, picked;
  std::vector<int64_t> from, to;
  std::vector<float> weight;
  AttentionWorkspace attention;
};

/// y [rows, w.n], rows ldy apart = x [rows, w.k] times matrix `index` of w transposed. Rounds x to bf16 where w is.
void multiply(const float* x, int64_t rows, const LaidMatrix& w, int64_t index, float* y, int64_t ldy, CpuWorkspace& ws);

/// x [rows, k], the rows of a bf16 product's left side, rounded; rows `ld` apart, as Bf16Product::a wants them.
const uint16_t* round_rows(const float* x, int64_t rows, int64_t k, int64_t& ld, CpuWorkspace& ws);

/// Keys and values of one layer while tokens are appended: [Hkv, capacity, Dh], of which `filled` rows are there.
struct GrowingKeys {
  at::Tensor k, v;
  int64_t filled = 0;
};

/// What all layers of one forward share. Letters: S tokens, D hidden width, H and Hkv heads, Dh head width.
struct CpuForward {
  const ModelConfig& config;
  int64_t num_tokens;             // S
  float* x;                       // [S, D] residual, updated layer by layer
  CpuWorkspace& ws;
  std::span<const int64_t> block = {};  // [S]: which run of image tokens each belongs to, -1: none; or empty
};

/// A decoder layer: every token sees the cache [Hkv, P, Dh] and all tokens. cos, sin [S, Dh].
void decoder_layer(const CpuForward& forward, const PackedLayer& w, const LayerConfig& shape, const KeyRows& cached, const float* cos, const float* sin);

/// An encoder layer: causal, within the window where the layer slides; appends keys and values.
void encoder_layer(const CpuForward& forward, const PackedLayer& w, const LayerConfig& shape, GrowingKeys& keys, const float* cos, const float* sin);

/// out [rows, D] = down(gelu(gate x) * up x) for x [rows, D].
void gated_mlp(const float* x, int64_t rows, const LaidMatrix& gate_up, const LaidMatrix& down, float* out, CpuWorkspace& ws);

}  // namespace canvaslab
