// Launcher of the products with weights by what every architecture has.
#include "core/kernels/cuda/launch.cuh"
#include "core/kernels/cuda/matrix_product.cuh"

namespace canvaslab::cuda {

namespace {

template <typename Tile, bool kGated>
int launch(const ProductCall& call, void* stream) {
  int device = 0, processors = 0;
  if (const cudaError_t got = cudaGetDevice(&device); got != cudaSuccess) return got;
  if (const cudaError_t got = cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device); got != cudaSuccess) return got;
  // Group sizes lie in device memory: every group may end in a tile that is not full.
  const int64_t row_tiles = call.rows / Tile::kTokens + (call.begin ? (call.num_groups < call.rows ? call.num_groups : call.rows) : 1);
  const int64_t items = call.pieces * row_tiles * TileSchedule::row_tiles(call.n, kTileFeatures<Tile, kGated>), at_once = 2 * static_cast<int64_t>(processors);
  return launch_kernel(matrix_product_kernel<Tile, kGated>, items < at_once ? items : at_once, Tile::kThreads, Tile::kBytes, stream, call);
}

template <typename Tile>
int launch_either(const ProductCall& call, void* stream) {
  return call.gated ? launch<Tile, true>(call, stream) : launch<Tile, false>(call, stream);
}

}  // namespace

int matrix_product_by_warps(const ProductCall& call, void* stream) {
  if (!is_sound(call)) return cudaErrorInvalidValue;
  if (call.rows == 0) return cudaSuccess;
  switch (call.w.format) {
    case WeightFormat::kBf16:
      // Wide tiles halve the reading of weights from the second-level cache; groups of experts seldom fill even half of one, and gated ones would spill registers.
      if (!call.gated && !call.begin && call.rows > 64) return launch<ProductTile<128, WeightFormat::kBf16>, false>(call, stream);
      return launch_either<ProductTile<64, WeightFormat::kBf16>>(call, stream);
    case WeightFormat::kE4m3: return launch_either<ProductTile<64, WeightFormat::kE4m3>>(call, stream);
    case WeightFormat::kE2m1: return launch_either<ProductTile<64, WeightFormat::kE2m1>>(call, stream);
    case WeightFormat::kInt4: return launch_either<ProductTile<64, WeightFormat::kInt4>>(call, stream);
  }
  return cudaErrorInvalidValue;
}

}  // namespace canvaslab::cuda
