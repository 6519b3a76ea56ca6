#pragma once
// Attention over a cache and a canvas on the CPU, without joining them and without a matrix of all scores.
#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "core/kernels/buffer.h"

namespace canvaslab {

/// Some of the keys and values that queries meet: `count` rows of all key-value heads. Number: float, or uint16_t for the bits of bf16.
template <typename Number>
struct KeyRows {
  const Number *k = nullptr, *v = nullptr;
  int64_t row_stride = 0, head_stride = 0, count = 0;
};

/// Queries of one layer, what they see, and where the result goes. Letters: S queries, H and Hkv heads, Dh head width (even for bf16).
template <typename Number>
struct AttentionCall {
  int64_t num_queries = 0, num_heads = 0, num_kv_heads = 0, head_dim = 0;
  const Number* q = nullptr;               ///< [S, H * Dh], rows q_stride apart
  int64_t q_stride = 0;
  std::array<KeyRows<Number>, 2> keys = {};  ///< numbered one part after the other
  std::span<const int64_t> from, to;       ///< [S]: query s sees keys [from, to), at least one
  int64_t chunk = 256;                     ///< queries taken at once: the more, the more keys are met in vain where ranges differ
  float* out = nullptr;                    ///< [S, H * Dh]
};

/// One thread's memory, kept from call to call.
struct AttentionWorkspace {
  Buffer<float> scores, keys, values;  // keys and values of a block as products want them
  Buffer<uint16_t> weights;
  std::vector<float> top, sum;
};

/// out = softmax(q k^T) v for every head, without a scale (the model's is 1). Head h reads key-value head h * Hkv / H. With bf16 the
/// softmax's weights are rounded to bf16 and then summed, so that they sum to one as they are used; all sums are f32.
void attend(const AttentionCall<float>& call, AttentionWorkspace& ws);
void attend(const AttentionCall<uint16_t>& call, AttentionWorkspace& ws);

}  // namespace canvaslab
