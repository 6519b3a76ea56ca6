#pragma once
// The products of matrix_product.h by sm_90a's warpgroup instructions. matrix_product() takes them by itself once they are known to agree; the rest is for tests and measurements.
#include "core/kernels/cuda/matrix_product.h"

namespace canvaslab::cuda {

/// Rows of x in a tile, of which there are these.
inline constexpr int32_t kWarpgroupTokens[] = {64, 128, 256};

/// Whether the current device has the instructions (compute capability 9.0) and this program code for it.
bool has_warpgroups();

/// As matrix_product() of bf16 weights, by tiles of `tokens` rows; blocks: of the grid, 0: as many as the device runs at once. Precondition: has_warpgroups().
int warpgroup_product(const ProductCall& call, int32_t tokens, int32_t blocks, void* stream) CANVASLAB_C_NAME(warpgroup_product);

/// Multiplies odd-sized matrices by these kernels and by those of matrix_product.cuh, which every architecture has. From when on all results were the same to the bit, matrix_product() takes these kernels
/// where there are many rows: equal bits, because a result must not show how many rows there were. Allocates and waits, so never while a graph is captured. Should the kernels spoil the device's context,
/// it is reset: call this before anything else is on the device. False as well where there are no warpgroups.
bool warpgroup_products_agree();
/// Multiprocessors of the device that the last call of it found to agree; 0: none did, or there was no call.
int32_t warpgroup_processors();

/// The tile with which a product takes least time on so many multiprocessors, one block each: copying a step, 128 weight rows and so many of x, takes longer than multiplying it. 0: not by warpgroups.
constexpr int32_t warpgroup_tokens(const ProductCall& call, int32_t processors) {
  const auto ceiling = [](int64_t a, int64_t b) { return (a + b - 1) / b; };
  const int64_t groups = call.begin && call.num_groups > 0 ? call.num_groups : 1, rows = ceiling(call.rows, groups);  // of a group, were they all alike
  if (processors == 0 || call.w.format != WeightFormat::kBf16 || rows <= 64) return 0;  // up to 64 rows weights are what takes time, whoever multiplies
  int32_t best = 0;
  int64_t least = 0;
  for (const int32_t tokens : kWarpgroupTokens) {
    const int64_t tiles = call.pieces * groups * ceiling(rows, tokens) * ceiling(call.n, call.gated ? 64 : 128), cost = ceiling(tiles, processors) * (128 + tokens);
    if (best == 0 || cost <= least) best = tokens, least = cost;
  }
  return best;
}

}  // namespace canvaslab::cuda
