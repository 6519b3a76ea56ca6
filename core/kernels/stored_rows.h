#pragma once
// Rows of numbers that the GPU's kernels read and write, f32 or bf16: all arithmetic between is f32.
#include <cstdint>

#include "core/kernels/dequantise.h"

namespace canvaslab {

enum class Storage : int32_t { kF32, kBf16 };

/// The nearest bf16, ties to even; NaN stays NaN.
CANVASLAB_HOST_DEVICE uint16_t nearest_bf16(float x) {
  const uint32_t bits = bits_of_float(x), even = bits >> 16 & 1u;
  return x == x ? static_cast<uint16_t>((bits + 0x7FFFu + even) >> 16) : uint16_t{0x7FC0};
}

/// Rows to be read: row r begins r * stride elements behind `data`. Null: there are none.
/// Of several pieces, piece_stride elements apart, a number is the sum in rising order: what a product leaves whose K was split.
struct RowsIn {
  const void* data = nullptr;
  int64_t stride = 0;
  Storage storage = Storage::kF32;
  int32_t pieces = 1;
  int64_t piece_stride = 0;

  CANVASLAB_HOST_DEVICE float at(int64_t row, int64_t column) const {
    float sum = of_piece(0, row, column);
    for (int32_t piece = 1; piece < pieces; ++piece) sum = sum + of_piece(piece, row, column);
    return sum;
  }
  CANVASLAB_HOST_DEVICE float of_piece(int32_t piece, int64_t row, int64_t column) const { return stored(row * stride + column + piece * piece_stride); }
  CANVASLAB_HOST_DEVICE float stored(int64_t i) const { return storage == Storage::kF32 ? static_cast<const float*>(data)[i] : from_bf16(static_cast<const uint16_t*>(data)[i]); }
};

/// Rows to be written; rounds to the nearest where storage is bf16. Null: not wanted.
struct RowsOut {
  void* data = nullptr;
  int64_t stride = 0;
  Storage storage = Storage::kF32;

  CANVASLAB_HOST_DEVICE void put(int64_t row, int64_t column, float x) const {
    const int64_t i = row * stride + column;
    if (storage == Storage::kF32) static_cast<float*>(data)[i] = x;
    else static_cast<uint16_t*>(data)[i] = nearest_bf16(x);
  }
  CANVASLAB_HOST_DEVICE RowsIn in() const { return {data, stride, storage, 1, 0}; }
};

}  // namespace canvaslab
