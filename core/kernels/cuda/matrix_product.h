#pragma once
// Products with weights on the tensor cores: projections, MLPs, logits, and the experts' grouped products. Conventions: row_glue.h. Letters: K summed over, n features of the result.
#include <cstdint>

#include "core/kernels/host_device.h"
#include "core/kernels/stored_rows.h"

namespace canvaslab::cuda {

/// How weights [n, K] lie in memory, row-major, rows packed; the arithmetic of the codes is in dequantise.h.
enum class WeightFormat : int32_t {
  kBf16,
  kE4m3,  ///< a byte each, times the row's scale
  kE2m1,  ///< two in a byte, even columns in the low nibble, times the e4m3 scale of their group of 16, times the row's scale
  kInt4,  ///< two in a byte as well, 8 above the value, times the bf16 scale of their group of 32: the product is rounded to bf16, the others are exact in it
};

/// One or several matrices of the same shape, one behind the other. 16-byte aligned.
struct Weights {
  WeightFormat format = WeightFormat::kBf16;
  const void* codes = nullptr;            ///< [matrices, rows, K]
  const void* group_scales = nullptr;     ///< kE2m1: [matrices, rows, K / 16] e4m3 codes; kInt4: [matrices, rows, K / 32] bf16
  const float* row_scales = nullptr;      ///< [matrices, rows] f32, or null: 1. kE2m1: the matrix's own scale, as a factor, for all its rows
};

/// out [rows, n] = x [rows, K] times the weights transposed; x in bf16, f32 sums; a result is the same bits whatever the other rows are.
/// gated: the weights have 2n rows, gates first, and out = gelu(gate) * up.
/// soft_cap: results are soft_cap * tanh(result / soft_cap), bit for bit soft_cap_rows of them; ungated.
/// In pieces: K is split into so many parts of nearly as many steps of 64, and piece p of the result, p * piece_stride elements on, is the p-th part's sum; for few features and a deep K, whose tiles would leave
/// multiprocessors without work. Only f32, ungrouped and ungated.
/// Grouped: rows [begin[g], begin[g + 1]) are multiplied by matrix g; then row r of x is source[r] / slots_per_row where source is given.
struct ProductCall {
  int32_t rows = 0, n = 0, k = 0;      ///< k a multiple of 8, of 16 for kE4m3, of 32 for kE2m1 and kInt4
  const uint16_t* x = nullptr;         ///< bf16, 16-byte aligned; rows ldx apart, a multiple of 8
  int64_t ldx = 0;
  Weights w = {};
  int32_t gated = 0;
  float soft_cap = 0;                  ///< 0: none
  RowsOut out = {};
  const int32_t* begin = nullptr;      ///< [num_groups + 1], or null: one group of all rows
  int32_t num_groups = 1;              ///< <= kMaxGroups
  const int32_t* source = nullptr;     ///< [rows] or null
  int32_t slots_per_row = 1;
  int32_t pieces = 1;
  int64_t piece_stride = 0;
};
inline constexpr int32_t kMaxGroups = 512, kMaxPieces = 8;

/// Pieces with which a canvas of 256 rows, two tiles of 128, fills the 132 multiprocessors of an H200 or comes near, four steps of K at least in each. By the weights' sizes alone: results must not show
/// how many rows there were.
constexpr int32_t product_pieces(int32_t n, int32_t k) {
  const int32_t tiles = 2 * ((n + 127) / 128), steps = (k + 63) / 64;
  int32_t pieces = 132 / tiles < kMaxPieces ? 132 / tiles : kMaxPieces;
  pieces = pieces < steps / 4 ? pieces : steps / 4;
  return pieces < 1 ? 1 : pieces;
}
/// Steps of K before piece p.
constexpr int32_t first_step_of_piece(int32_t k, int32_t pieces, int32_t p) { return static_cast<int32_t>(int64_t{(k + 63) / 64} * p / pieces); }

/// Columns that k has to be a multiple of.
constexpr int32_t depth_step(WeightFormat format) { return format == WeightFormat::kBf16 ? 8 : format == WeightFormat::kE4m3 ? 16 : 32; }

int matrix_product(const ProductCall& call, void* stream) CANVASLAB_C_NAME(matrix_product);
/// The same by the instructions that every architecture has: matrix_product() may take others (warpgroup_product.h).
int matrix_product_by_warps(const ProductCall& call, void* stream) CANVASLAB_C_NAME(matrix_product_by_warps);

}  // namespace canvaslab::cuda
