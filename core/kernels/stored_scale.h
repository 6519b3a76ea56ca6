#pragma once
// Scales that stand beside a packed matrix's codes.
#include <cstdint>

#include "core/kernels/dequantise.h"
#include "core/kernels/packed_matrix.h"

namespace canvaslab {

/// Scale number `index` of the matrix's list, as it is stored.
inline float stored_scale(const PackedMatrix& m, int64_t index) {
  switch (m.scale_packing) {
    case Packing::kBf16: return from_bf16(gguf::half_at(m.scales + 2 * index));
    case Packing::kF16: return from_f16(gguf::half_at(m.scales + 2 * index));
    case Packing::kE4m3: return from_e4m3(m.scales[index]);
    default: {
      float x;
      __builtin_memcpy(&x, m.scales + 4 * index, sizeof x);
      return x;
    }
  }
}

}  // namespace canvaslab
