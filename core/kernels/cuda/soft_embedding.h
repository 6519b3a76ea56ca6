#pragma once
// Self-conditioning: the last prediction of a canvas as embeddings. Conventions: row_glue.h. Letters: V vocabulary, D width.
#include <cstdint>

#include "core/kernels/stored_rows.h"

namespace canvaslab::cuda {

/// out = softmax(logits * inverse_temperature) times the table, times scale; probabilities in bf16, f32 sums in kSoftSplits pieces added in order. Rows are those of one canvas.
/// With least > 0, tokens to which no row gives at least that probability are left out, and their rows of the table are not read; what a row loses is reported. A row's error is at most that mass
/// times the largest embedding: keep it below the rounding of the probabilities, 2^-9, or take the dense way.
struct SoftEmbeddingCall {
  int32_t rows = 0, vocabulary = 0, width = 0;  ///< vocabulary <= kMaxSoftVocabulary; width a multiple of 8
  const float* logits = nullptr;       ///< [rows, V], finite or -inf
  float inverse_temperature = 1;
  const uint16_t* table = nullptr;     ///< bf16 [V, D], 16-byte aligned
  float scale = 1;
  float least = 0;
  RowsOut out;                         ///< [rows, D]
  float* skipped = nullptr;            ///< [rows] out: probability left out
  int32_t* num_kept = nullptr;         ///< [1] out: tokens that take part
  void* workspace = nullptr;           ///< soft_embedding_workspace bytes, 16-byte aligned
};
inline constexpr int32_t kMaxSoftVocabulary = 1 << 20, kSoftSplits = 8;

int64_t soft_embedding_workspace(int32_t rows, int32_t vocabulary, int32_t width);
int soft_embedding(const SoftEmbeddingCall& call, void* stream);

}  // namespace canvaslab::cuda
