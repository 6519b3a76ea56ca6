#pragma once
// A batch for trainers of tests/network/goldens/base.
#include "core/network/trainer.h"
#include "core/philox.h"

namespace canvaslab {

inline constexpr int32_t kVocabulary = 96;
inline constexpr size_t kLength = 16;

/// Rows of prompt and answer that differ; answers end after different numbers of tokens and fill two canvases.
inline TrainingBatch some_batch(size_t rows, size_t canvases = 2) {
  TrainingBatch out;
  out.rows = rows;
  const DrawKey draw{.seed = 5};
  for (size_t r = 0; r < rows; ++r) {
    const auto length = static_cast<int32_t>(canvases * kLength - 3 - r);
    for (uint32_t p = 0; p < 9; ++p) out.prompts.push_back(static_cast<int32_t>(draw.below(90, Purpose::kPrompt, p, static_cast<uint32_t>(r))));
    for (uint32_t p = 0; p < canvases * kLength; ++p)
      out.answers.push_back(static_cast<int32_t>(p) < length ? 2 + static_cast<int32_t>(draw.below(80, Purpose::kPrompt, 100 + p, static_cast<uint32_t>(r))) : 0);
    out.answer_lengths.push_back(length);
  }
  return out;
}

}  // namespace canvaslab
