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

/// When matrix_product() takes these kernels. A result must not show how many rows there were, so either bits are the same by both kinds of instruction, or one kind makes all products.
enum class WarpgroupUse : int32_t {
  kNever,     ///< nothing is known of the device, or it is wrong there
  kAlways,    ///< right, and the same bits in every tile, but others than those of matrix_product.cuh
  kManyRows,  ///< the same bits as those, which are as fast for few rows
};
struct Warpgroups {
  WarpgroupUse use = WarpgroupUse::kNever;
  int32_t processors = 0;  ///< multiprocessors of the device that was asked
};

/// Multiplies odd-sized matrices by these kernels and by those of matrix_product.cuh, which every architecture has, and lets matrix_product() use what it found. Allocates and waits, so never while a graph is
/// captured. Should the kernels spoil the device's context, it is reset: call this before anything else is on the device.
WarpgroupUse ask_warpgroups();
/// What the last call of it found.
Warpgroups warpgroups_in_use();

/// The tile with which a product takes least time on so many multiprocessors, one block each: copying a step, 128 weight rows and so many of x, takes longer than multiplying it. 0: not by warpgroups.
constexpr int32_t warpgroup_tokens(const ProductCall& call, Warpgroups found) {
  const auto ceiling = [](int64_t a, int64_t b) { return (a + b - 1) / b; };
  const int64_t groups = call.begin && call.num_groups > 0 ? call.num_groups : 1, rows = ceiling(call.rows, groups);  // of a group, were they all alike
  if (found.use == WarpgroupUse::kNever || call.w.format != WeightFormat::kBf16 || (found.use == WarpgroupUse::kManyRows && rows <= 64)) return 0;  // up to 64 rows weights are what takes time, whoever multiplies
  int32_t best = 0;
  int64_t least = 0;
  for (const int32_t tokens : kWarpgroupTokens) {
    const int64_t tiles = call.pieces * groups * ceiling(rows, tokens) * ceiling(call.n, call.gated ? 64 : 128), cost = ceiling(tiles, found.processors) * (128 + tokens);
    if (best == 0 || cost <= least) best = tokens, least = cost;
  }
  return best;
}

}  // namespace canvaslab::cuda
