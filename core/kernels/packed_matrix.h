#pragma once
// Matrices whose numbers are packed: read out into f32, and multiplied without ever standing unpacked as a whole.
#include <cstdint>
#include <span>

namespace canvaslab {

/// How a row's numbers are stored; the arithmetic of each is in dequantise.h.
enum class Packing : uint8_t { kF32, kBf16, kF16, kE4m3, kInt4, kNvfp4, kQ8_0, kQ5_0, kQ5_1, kIq4Nl, kQ4K, kQ5K, kQ6K };

/// Sizes of one packing. `block` numbers stand together in `block_bytes` bytes.
struct PackingFacts {
  const char* name;       ///< as tables and messages show it
  int64_t block, block_bytes;
  bool quantised;         ///< fewer bits than the number had
};
const PackingFacts& facts_of(Packing packing);

/// Row-major [rows, columns], a view of memory that belongs to somebody else. Columns are a multiple of the packing's block.
struct PackedMatrix {
  Packing packing = Packing::kF32;
  int64_t rows = 0, columns = 0;
  const uint8_t* codes = nullptr;          ///< of any alignment
  // Scales beside the codes: kE4m3, kInt4 and kNvfp4 have them.
  const uint8_t* scales = nullptr;         ///< [rows, scales_per_row] in scale_packing: kF32, kBf16, kF16 or kE4m3
  Packing scale_packing = Packing::kF32;
  int64_t scales_per_row = 0;              ///< 0: one for all rows
  float matrix_scale = 1;                  ///< kNvfp4: of all groups
  bool divides = false;                    ///< kNvfp4: group scales are divided by it, not multiplied

  int64_t row_bytes() const { return columns / facts_of(packing).block * facts_of(packing).block_bytes; }
  /// Bytes of codes and scales.
  int64_t bytes() const;
};

/// One instruction set's version; all give the same bits.
struct UnpackKernel {
  const char* name;
  /// out [count_rows, count_columns], rows ld apart = the matrix from (first_row, first_column) on in f32. first_column is a
  /// multiple of 256, count_columns as well unless it ends the row.
  void (*unpack)(const PackedMatrix& matrix, int64_t first_row, int64_t count_rows, int64_t first_column, int64_t count_columns, float* out, int64_t ld);
};
const UnpackKernel& unpack_kernel();
std::span<const UnpackKernel> all_unpack_kernels();

/// c [m, rows] = a [m, columns] times the matrix transposed; rows lda and ldc apart. Unpacks 32 rows by 256 columns at a time,
/// which stay in the first caches for all rows of a. The sums are gemm_kernel()'s, so that c has the bits of the product with
/// the unpacked matrix, and a row of c depends on its row of a alone.
void multiply_packed(const float* a, int64_t lda, int64_t m, const PackedMatrix& matrix, float* c, int64_t ldc);

}  // namespace canvaslab
