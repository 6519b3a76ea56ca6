#include <cstddef>

#include "core/kernels/packed_matrix.h"

namespace canvaslab {

const PackingFacts& facts_of(Packing packing) {
  static constexpr PackingFacts kFacts[] = {{"F32", 1, 4, false},   {"BF16", 1, 2, false},  {"F16", 1, 2, false},    {"FP8", 1, 1, true},    {"INT4", 2, 1, true},
                                            {"NVFP4", 2, 1, true},  {"Q8_0", 32, 34, true}, {"Q5_0", 32, 22, true},  {"Q5_1", 32, 24, true}, {"IQ4_NL", 32, 18, true},
                                            {"Q4_K", 256, 144, true}, {"Q5_K", 256, 176, true}, {"Q6_K", 256, 210, true}};
  return kFacts[static_cast<size_t>(packing)];
}

int64_t PackedMatrix::bytes() const {
  const int64_t count = scales ? (scales_per_row ? rows * scales_per_row : 1) : 0;
  return rows * row_bytes() + count * facts_of(scale_packing).block_bytes;
}

}  // namespace canvaslab
