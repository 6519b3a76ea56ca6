#pragma once
// Attention of a canvas over a cache and itself, and of a prompt over what came before. Conventions: row_glue.h. Letters: H and Hkv query and key-value heads, Dh head width.
#include <cstdint>

#include "core/kernels/host_device.h"
#include "core/kernels/stored_rows.h"

namespace canvaslab::cuda {

/// Keys and values in bf16, [Hkv, count, Dh] by strides in elements; strides multiples of 8, data 16-byte aligned.
struct KeySpan {
  const uint16_t *k = nullptr, *v = nullptr;
  int64_t row_stride = 0, head_stride = 0;
  int32_t count = 0;
};

/// One sequence: its queries meet the keys of `cached`, then those of `fresh`, which stand where they were written: nothing is joined. Counts lie in device memory.
struct AttentionSequence {
  int32_t first_row = 0, num_rows = 0;  ///< of its queries in the call's rows
  KeySpan cached = {}, fresh = {};
};

/// out = softmax(q k) v, no factor on the scores, f32 sums, weights of v in bf16. The queries see all keys, or from[row] <= key < to[row], a key's number counting from the first cached one; a row that
/// sees none is zero. Keys are met in blocks of kKeyBlock; more than kKeysUnsplit are split evenly into at most kMaxSplits parts, whose results are merged in order: how many is decided by the sequence's
/// own number of keys, so that results do not depend on the rest of the batch.
struct AttentionCall {
  const AttentionSequence* sequences = nullptr;  ///< [num_sequences]
  int32_t num_sequences = 0, most_rows = 0, most_keys = 0;  ///< bounds over the sequences, for the size of the grid
  int32_t num_heads = 0, num_kv_heads = 0, head_width = 0;  ///< H a multiple of Hkv; Dh 16, 32, 64, 128, 256 or 512
  const uint16_t* q = nullptr;                   ///< bf16 [rows, H Dh], 16-byte aligned
  int64_t q_stride = 0;                          ///< elements, a multiple of 8
  const int32_t *from = nullptr, *to = nullptr;  ///< [rows], or null: all
  RowsOut out = {};                                   ///< [rows, H Dh]
  float* workspace = nullptr;                    ///< attention_workspace floats; may be null where that is 0
};
inline constexpr int32_t kKeyBlock = 32, kKeysUnsplit = 320, kMaxSplits = 8;

/// Parts that so many keys are split into.
constexpr int32_t attention_splits(int32_t keys) {
  const int32_t parts = (keys + kKeysUnsplit - 1) / kKeysUnsplit;
  return parts < 1 ? 1 : parts < kMaxSplits ? parts : kMaxSplits;
}
/// f32 numbers of workspace for `rows` rows in all: per row, head and part its gathered values, largest score and sum.
constexpr int64_t attention_workspace(const AttentionCall& call, int64_t rows) {
  const int32_t parts = attention_splits(call.most_keys);
  return parts == 1 ? 0 : rows * call.num_heads * parts * (call.head_width + 2);
}

int attention(const AttentionCall& call, void* stream) CANVASLAB_C_NAME(attention);

}  // namespace canvaslab::cuda
