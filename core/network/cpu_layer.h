#pragma once
// One layer of a forward on the CPU, without tensors.
#include <cstdint>
#include <span>
#include <vector>

#include "core/kernels/buffer.h"
#include "core/network/cpu_attention.h"
#include "core/network/network.h"
#include "core/network/packed_layers.h"

namespace canvaslab {

/// Memory of rows that a product multiplies; one of the two is used.
struct FactorMemory {
  Buffer<float> f32;
  Buffer<uint16_t> bf16;
};

/// One thread's memory, kept from call to call: after the first step of a shape nothing is allocated.
struct CpuWorkspace {
  FactorMemory normed, inner, grouped;
  Buffer<float> x, qkv, attended, projected, both, dense, sparse, router, parts, probabilities;
  Buffer<uint16_t> rounded, qkv_bf16;
  std::vector<int32_t> expert, order, place, begin, picked;
  std::vector<int64_t> from, to;
  std::vector<float> weight;
  AttentionWorkspace attention;
};

/// The left side of a product: rows in bf16 where the matrix is, so that nothing is rounded twice, else in f32.
struct FactorRows {
  float* f32 = nullptr;
  uint16_t* bf16 = nullptr;  ///< as Bf16Product::a wants them
  int64_t stride = 0;        ///< from row to row

  FactorRows from(int64_t row) const { return {f32 ? f32 + row * stride : nullptr, bf16 ? bf16 + row * stride : nullptr, stride}; }
  /// Row r = x / sqrt(mean(x^2) + eps) * gain
  void norm(int64_t r, const float* x, const float* gain, float eps, size_t n) const;
  /// Row r = gelu(gate) * up
  void gelu_times(int64_t r, const float* gate, const float* up, size_t n) const;
};
/// Room for `rows` of them; each has w.k numbers to be written.
FactorRows factor_rows(const LaidMatrix& w, int64_t rows, FactorMemory& memory);

/// y [rows, w.n], rows ldy apart = x [rows, w.k] times matrix `index` of w transposed.
void multiply(const FactorRows& x, int64_t rows, const LaidMatrix& w, int64_t index, float* y, int64_t ldy);

/// x [rows, k], the rows of a bf16 product's left side, rounded; rows `ld` apart, as Bf16Product::a wants them.
uint16_t* round_rows(const float* x, int64_t rows, int64_t k, int64_t& ld, CpuWorkspace& ws);

/// Keys and values of one layer while tokens are appended: [Hkv, capacity, Dh] in f32 or bf16, of which `filled` rows are there.
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

/// A decoder layer: every token sees the cache [Hkv, P, Dh] and all tokens. cos, sin [S, Dh]. Attention multiplies what the cache holds, f32 or bf16.
void decoder_layer(const CpuForward& forward, const PackedLayer& w, const LayerConfig& shape, const KvCache::Layer& cached, const float* cos, const float* sin);

/// An encoder layer: causal, within the window where the layer slides; appends keys and values.
void encoder_layer(const CpuForward& forward, const PackedLayer& w, const LayerConfig& shape, GrowingKeys& keys, const float* cos, const float* sin);

/// out [rows, D] = down(gelu(gate x) * up x) for x [rows, D].
void gated_mlp(const FactorRows& x, int64_t rows, const LaidMatrix& gate_up, const LaidMatrix& down, float* out, CpuWorkspace& ws);

}  // namespace canvaslab
