#pragma once
// Self-conditioning: the last prediction of a canvas as embeddings. Conventions: row_glue.h. Letters: V vocabulary, D width.
#include <cstdint>

#include "core/kernels/host_device.h"
#include "core/kernels/stored_rows.h"

namespace canvaslab::cuda {

/// out = softmax(logits * inverse_temperature) times the table, times scale; probabilities in bf16, f32 sums in kSoftSplits pieces added in order. Rows are those of one canvas.
/// With least > 0, tokens to which no row gives at least that probability are left out, and their rows of the table are not read; what a row loses is reported. A row's error is at most that mass
/// times the largest embedding: keep it below the rounding of the probabilities, 2^-9, or take the dense way.
struct SoftEmbeddingCall {
  int32_t rows = 0, vocabulary = 0, width = 0;  ///< vocabulary <= kMaxSoftVocabulary; width a multiple of 8
  const float* logits = nullptr;       ///< [rows, V], finite or -inf; null: no prediction yet, and out is zero
  float inverse_temperature = 1;
  const float* inverse_temperature_at = nullptr;  ///< [1] on the device: instead of the number, where it is known there only
  const uint16_t* table = nullptr;     ///< bf16 [V, D], 16-byte aligned
  float scale = 1;
  float least = 0;
  RowsOut out = {};                         ///< [rows, D]
  float* skipped = nullptr;            ///< [rows] out, or null: probability left out
  int32_t* num_kept = nullptr;         ///< [1] out, or null: tokens that take part
  void* workspace = nullptr;           ///< soft_embedding_workspace bytes, 16-byte aligned
};
inline constexpr int32_t kMaxSoftVocabulary = 1 << 20, kSoftSplits = 8, kSoftBlockTokens = 1024;

/// The call's workspace: what stands where in it.
struct SoftWorkspace {
  static constexpr int64_t padded(int64_t bytes) { return (bytes + 15) / 16 * 16; }
  int64_t bytes = 0;
  float* row_scale;         // [rows, 2]: largest logit, one over the sum
  int32_t *counts, *place, *kept, *num_kept;  // [blocks], [V] or -1, [V], [1]
  uint8_t* needed;          // [V]
  uint16_t* probability;    // [rows, stride]
  float* pieces;            // [kSoftSplits, rows, D]
  int64_t stride;

  CANVASLAB_HOST_DEVICE SoftWorkspace(void* memory, int64_t rows, int64_t vocabulary, int64_t width) : stride((vocabulary + 63) / 64 * 64) {
    const auto take = [&](int64_t size) {
      void* at = static_cast<uint8_t*>(memory) + bytes;
      bytes += padded(size);
      return at;
    };
    row_scale = static_cast<float*>(take(rows * 8));
    counts = static_cast<int32_t*>(take((vocabulary + kSoftBlockTokens - 1) / kSoftBlockTokens * 4));
    place = static_cast<int32_t*>(take(vocabulary * 4));
    kept = static_cast<int32_t*>(take(vocabulary * 4));
    num_kept = static_cast<int32_t*>(take(4));
    needed = static_cast<uint8_t*>(take(vocabulary));
    probability = static_cast<uint16_t*>(take(rows * stride * 2));
    pieces = static_cast<float*>(take(kSoftSplits * rows * width * 4));
  }
  CANVASLAB_HOST_DEVICE explicit SoftWorkspace(const SoftEmbeddingCall& call) : SoftWorkspace(call.workspace, call.rows, call.vocabulary, call.width) {}
};

/// Bytes.
inline int64_t soft_embedding_workspace(int32_t rows, int32_t vocabulary, int32_t width) { return SoftWorkspace(nullptr, rows, vocabulary, width).bytes; }

int soft_embedding(const SoftEmbeddingCall& call, void* stream) CANVASLAB_C_NAME(soft_embedding);

}  // namespace canvaslab::cuda
