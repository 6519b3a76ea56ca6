// Launcher of the products by warpgroups, and the look at a device that has them.
#include "core/kernels/cuda/warpgroup_product.h"

#include <algorithm>
#include <atomic>
#include <iterator>
#include <random>
#include <utility>
#include <vector>

#include "core/kernels/cuda/launch.cuh"
#include "core/kernels/cuda/warpgroup_product.cuh"

namespace canvaslab::cuda {

namespace {

std::atomic<Warpgroups> in_use{Warpgroups{}};

template <typename Tile, bool kGated>
int launch(const ProductCall& call, int32_t blocks, void* stream) {
  if (blocks == 0) {
    int device = 0;
    if (const cudaError_t got = cudaGetDevice(&device); got != cudaSuccess) return got;
    if (const cudaError_t got = cudaDeviceGetAttribute(&blocks, cudaDevAttrMultiProcessorCount, device); got != cudaSuccess) return got;
  }
  // Group sizes lie in device memory: every group may end in a tile that is not full.
  const int64_t row_tiles = call.rows / Tile::kTokens + (call.begin ? std::min(call.num_groups, call.rows) : 1);
  const int64_t items = call.pieces * row_tiles * TileSchedule::row_tiles(call.n, kTileFeatures<Tile, kGated>);
  return launch_kernel(warpgroup_product_kernel<Tile, kGated>, std::min<int64_t>(items, blocks), Tile::kThreads, Tile::kBytes, stream, call);
}

template <typename Tile>
int launch_either(const ProductCall& call, int32_t blocks, void* stream) {
  return call.gated ? launch<Tile, true>(call, blocks, stream) : launch<Tile, false>(call, blocks, stream);
}

/// Memory of the device, freed at the end.
class DeviceBytes {
 public:
  explicit DeviceBytes(size_t bytes) {
    if (cudaMalloc(&data_, bytes) != cudaSuccess) data_ = nullptr;
  }
  template <typename T>
  explicit DeviceBytes(const std::vector<T>& values) : DeviceBytes(values.size() * sizeof(T)) {
    if (data_ && cudaMemcpy(data_, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice) != cudaSuccess) cudaFree(std::exchange(data_, nullptr));
  }
  ~DeviceBytes() { cudaFree(data_); }
  DeviceBytes(const DeviceBytes&) = delete;
  DeviceBytes& operator=(const DeviceBytes&) = delete;
  void* get() const { return data_; }

 private:
  void* data_ = nullptr;
};

/// bf16 numbers of all sizes from 2^-8 to 2^8: sums then lose bits, and differently where they are made differently.
std::vector<uint16_t> scattered_numbers(size_t count, std::mt19937& random) {
  std::vector<uint16_t> out(count);
  for (uint16_t& code : out) code = static_cast<uint16_t>((random() & 0x807Fu) | (119 + random() % 17) << 7);
  return out;
}

/// What one product by both kernels allows.
WarpgroupUse use_by(bool gated, bool grouped) {
  // Tiles that are not full on any side, a K longer than a ring that ends within a step, blocks with several tiles.
  constexpr int32_t kRows = 300, kFeatures = 150, kDepth = 600, kGroups = 3, kBlocks = 2;
  std::mt19937 random(1);
  const size_t weights = size_t{kGroups} * (gated ? 2 : 1) * kFeatures * kDepth, results = size_t{kRows} * kFeatures;
  const DeviceBytes x(scattered_numbers(size_t{kRows} * kDepth, random)), w(scattered_numbers(weights, random)), begin(std::vector<int32_t>{0, 7, 140, kRows}), out(results * sizeof(float));
  if (!x.get() || !w.get() || !begin.get() || !out.get()) return WarpgroupUse::kNever;
  ProductCall call{.rows = kRows, .n = kFeatures, .k = kDepth, .x = static_cast<const uint16_t*>(x.get()), .ldx = kDepth, .w = {.codes = w.get()}, .gated = gated, .out = {out.get(), kFeatures, Storage::kF32}};
  if (grouped) call.begin = static_cast<const int32_t*>(begin.get()), call.num_groups = kGroups;
  const auto results_of = [&](auto run) {
    std::vector<float> numbers(results);
    if (cudaMemset(out.get(), 0xFF, results * sizeof(float)) != cudaSuccess || run() != cudaSuccess || cudaMemcpy(numbers.data(), out.get(), results * sizeof(float), cudaMemcpyDeviceToHost) != cudaSuccess) numbers.clear();
    return numbers;
  };
  const std::vector<float> by_warps = results_of([&] { return matrix_product_by_warps(call, nullptr); });
  std::vector<std::vector<float>> by_tile;
  for (const int32_t tokens : kWarpgroupTokens) by_tile.push_back(results_of([&] { return warpgroup_product(call, tokens, kBlocks, nullptr); }));
  float largest = 0, apart = 0;
  for (size_t i = 0; i < by_warps.size() && i < by_tile[0].size(); ++i) {
    largest = std::max(largest, std::abs(by_warps[i]));
    const float difference = std::abs(by_warps[i] - by_tile[0][i]);
    if (!(difference <= apart)) apart = difference;  // NaN as well
  }
  // Sums of 600 products lose 600 roundings of the largest of them at most: 4e-5 of what the largest results are; wrong ones are as large as these.
  if (by_warps.empty() || by_tile[0].size() != by_warps.size() || !(apart <= 1e-3f * largest) || by_tile[1] != by_tile[0] || by_tile[2] != by_tile[0]) return WarpgroupUse::kNever;
  return by_tile[0] == by_warps ? WarpgroupUse::kManyRows : WarpgroupUse::kAlways;
}

}  // namespace

bool has_warpgroups() {
  int device = 0, major = 0, minor = 0;
  cudaFuncAttributes code{};
  const bool there = cudaGetDevice(&device) == cudaSuccess && cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) == cudaSuccess &&
                     cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device) == cudaSuccess && major == 9 && minor == 0 &&
                     cudaFuncGetAttributes(&code, warpgroup_product_kernel<WarpgroupTile<64>, false>) == cudaSuccess;
  if (!there) cudaGetLastError();  // else whoever asks next would be told
  return there;
}

int warpgroup_product(const ProductCall& call, int32_t tokens, int32_t blocks, void* stream) {
  if (!is_sound(call) || call.w.format != WeightFormat::kBf16 || blocks < 0 || std::find(std::begin(kWarpgroupTokens), std::end(kWarpgroupTokens), tokens) == std::end(kWarpgroupTokens)) return cudaErrorInvalidValue;
  if (call.rows == 0) return cudaSuccess;
  switch (tokens) {
    case 64: return launch_either<WarpgroupTile<64>>(call, blocks, stream);
    case 128: return launch_either<WarpgroupTile<128>>(call, blocks, stream);
    default: return launch_either<WarpgroupTile<256>>(call, blocks, stream);
  }
}

WarpgroupUse ask_warpgroups() {
  in_use = Warpgroups{};
  Warpgroups found{has_warpgroups() ? WarpgroupUse::kManyRows : WarpgroupUse::kNever, 0};
  for (const bool gated : {false, true})
    for (const bool grouped : {false, true})
      if (found.use != WarpgroupUse::kNever) found.use = std::min(found.use, use_by(gated, grouped));
  int32_t device = 0;
  if (cudaGetDevice(&device) != cudaSuccess || cudaDeviceGetAttribute(&found.processors, cudaDevAttrMultiProcessorCount, device) != cudaSuccess) found.use = WarpgroupUse::kNever;
  // Errors that stay, after which nothing runs in this process but behind a reset.
  switch (cudaDeviceSynchronize()) {
    case cudaErrorIllegalAddress:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidPc:
    case cudaErrorHardwareStackError:
    case cudaErrorLaunchFailure: cudaDeviceReset(); break;
    default: break;
  }
  cudaGetLastError();
  in_use = found;
  return found.use;
}
Warpgroups warpgroups_in_use() { return in_use; }

}  // namespace canvaslab::cuda
