#pragma once
// Row statistics, the kernel. One block reads one row:
//
//   warp w takes tiles w, w + kWarps, ... of kTile logits:   lane l holds elements l, l + 32, ..., l + 992 of the tile in registers (a load is 128 bytes in a row)
//     maximum, then the softmax sums in units of it: per lane in f32 over kTileBlock elements, then lanes in rising order in f64  -> shared memory, 32 bytes a tile
//   the block merges tiles in rising order, finds argmax and second, draws the candidate: a tile by its share of the sum, a token in it from weights made anew
//
// The order of every sum is that of core/row_statistics.cpp and tile_sums_body.inc, so results agree bit for bit as far as exp and log of f64 do.
// 256 threads: 32 registers hold a lane's share of a tile; 8 warps keep 8 x 4 KiB in flight, and two blocks fit a multiprocessor at the canvas size of 256 on 132 of them.
// Serial parts are some microseconds of one thread (256 tiles, then 1024 tokens at a vocabulary of 262144), hidden behind the other block's reading.
#include <cmath>

#include "core/kernels/cuda/device_step.h"
#include "core/kernels/cuda/block_sums.cuh"
#include "core/kernels/cuda/overlap.cuh"
#include "core/kernels/tile_arithmetic.h"
#include "core/kernels/tile_sums.h"

namespace canvaslab::cuda {

struct StatisticsTile {
  static constexpr int kThreads = 256, kWarps = kThreads / kWarp;
  static constexpr int kPerLane = static_cast<int>(kTile) / kWarp;   // elements of a tile that a lane holds
  static constexpr int kPerBlock = static_cast<int>(kTileBlock) / kWarp;  // of them in one f32 partial sum
  static_assert(kLanes == kWarp, "a lane of the CPU's sums is a lane of a warp");
  static_assert(kTile % kTileBlock == 0);
  static constexpr int kDoubles = 5;                                 // a tile's z, share of z, share of s; at temperature 1 shares of z and s
  /// Bytes of dynamic shared memory for a row of `tiles` tiles: kDoubles f64, maximum and first place of it.
  static constexpr size_t bytes(int tiles) { return static_cast<size_t>(tiles) * (kDoubles * sizeof(double) + sizeof(float) + sizeof(int32_t)); }
};

/// A tile's maximum with the lowest place that has it, over the lanes of a warp; on return the same in all of them. False in `fine` when any element is NaN or +inf.
__device__ inline void warp_maximum(const float (&v)[StatisticsTile::kPerLane], int lane, float& top, int& place, bool& fine) {
  top = -INFINITY;
  place = 0;
  fine = true;
  for (int i = 0; i < StatisticsTile::kPerLane; ++i) {
    fine = fine && v[i] < INFINITY;  // false for NaN
    if (v[i] > top) top = v[i], place = i * kWarp + lane;
  }
  for (int step = kWarp / 2; step > 0; step /= 2) {
    const float other = __shfl_xor_sync(kWholeWarp, top, step);
    const int other_place = __shfl_xor_sync(kWholeWarp, place, step);
    if (other > top || (other == top && other_place < place)) top = other, place = other_place;
  }
  fine = __ballot_sync(kWholeWarp, !fine) == 0;
}

/// TileKernels::sums of the tile in the lanes' registers; the same in all lanes.
__device__ inline void warp_sums(const float (&v)[StatisticsTile::kPerLane], int lane, float top, double inverse_t, double& z, double& s) {
  const TileScale scale(inverse_t);
  double z_total = 0, s_total = 0;  // of lanes congruent modulo 4
  for (int block = 0; block < StatisticsTile::kPerLane; block += StatisticsTile::kPerBlock) {
    float lane_z = 0, lane_s = 0;
    for (int i = 0; i < StatisticsTile::kPerBlock; ++i) {
      const float y = tile_exponent(v[block + i], top, scale.to_base_2);
      const float e = tile_power_of_two(y);
      lane_z = lane_z + e;
      lane_s = lane_s + y * e;
    }
    for (int from = lane % 4; from < kWarp; from += 4) {
      z_total += static_cast<double>(__shfl_sync(kWholeWarp, lane_z, from));
      s_total += static_cast<double>(__shfl_sync(kWholeWarp, lane_s, from));
    }
  }
  const auto joined = [](double total) {
    const double a = __shfl_sync(kWholeWarp, total, 0), b = __shfl_sync(kWholeWarp, total, 1), c = __shfl_sync(kWholeWarp, total, 2), d = __shfl_sync(kWholeWarp, total, 3);
    return (a + b) + (c + d);
  };
  z = joined(z_total);
  s = joined(s_total);
  scale.correct(z, s);
}

/// The row's tiles in shared memory.
struct RowTiles {
  int count;
  double *z, *weight, *share_s, *plain_z, *plain_s;
  float* top;
  int32_t* place;

  __device__ RowTiles(double* memory, int tiles)
      : count(tiles), z(memory), weight(z + tiles), share_s(weight + tiles), plain_z(share_s + tiles), plain_s(plain_z + tiles), top(reinterpret_cast<float*>(plain_s + tiles)),
        place(reinterpret_cast<int32_t*>(top + tiles)) {}
};

/// Shares of a tile's sums in units of the row's maximum, in place.
__device__ inline void to_row_units(float top, float row_top, double inverse_t, double z, double s, double& share_z, double& share_s) {
  share_z = share_s = 0;
  if (z == 0) return;
  const double shift = (static_cast<double>(top) - static_cast<double>(row_top)) * inverse_t;
  const double factor = shift == 0 ? 1.0 : exp(shift);
  if (factor == 0) return;  // 0 times an infinite shift would be NaN
  share_z = factor * z;
  share_s = factor * (s + shift * z);
}

/// Reads the row, tile by tile; false in every thread when the row is no distribution.
__device__ inline bool read_tiles(const float* logits, int vocabulary, double inverse_t, bool want_plain, const RowTiles& tiles, int32_t* bad) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  for (int tile = static_cast<int>(threadIdx.x) / kWarp; tile < tiles.count; tile += StatisticsTile::kWarps) {
    float v[StatisticsTile::kPerLane];
    for (int i = 0; i < StatisticsTile::kPerLane; ++i) {
      const int at = tile * static_cast<int>(kTile) + i * kWarp + lane;
      v[i] = at < vocabulary ? logits[at] : -INFINITY;
    }
    float top;
    int place;
    bool fine;
    warp_maximum(v, lane, top, place, fine);
    double z = 0, s = 0, plain_z = 0, plain_s = 0;
    if (fine && top > -INFINITY) {
      warp_sums(v, lane, top, inverse_t, z, s);
      if (want_plain && inverse_t != 1) warp_sums(v, lane, top, 1.0, plain_z, plain_s);
      else plain_z = z, plain_s = s;
    }
    if (lane == 0) {
      if (!fine) *bad = 1;
      tiles.top[tile] = top, tiles.place[tile] = place;
      tiles.z[tile] = z, tiles.share_s[tile] = s, tiles.plain_z[tile] = plain_z, tiles.plain_s[tile] = plain_s;
    }
  }
  __syncthreads();
  return *bad == 0;
}

/// One thread: the tile at `target` of the shares, and what is left of the target in it.
__device__ inline int tile_at(const RowTiles& tiles, double& target) {
  int last = 0;
  for (int i = 0; i < tiles.count; ++i) {
    if (tiles.weight[i] == 0) continue;
    last = i;
    if (target < tiles.weight[i]) return i;
    target -= tiles.weight[i];
  }
  return last;
}

/// The best token other than `best`, by one warp; -1 when all others have probability zero.
__device__ inline int second_token(const float* logits, int vocabulary, const RowTiles& tiles, int best, int lane) {
  constexpr int kSize = static_cast<int>(kTile);
  const int own = best / kSize, other = warp_best(lane, tiles.count, [&](int i) { return i == own ? -INFINITY : tiles.top[i]; });
  const int in_own = warp_best(lane, min(kSize, vocabulary - own * kSize), [&](int i) { return own * kSize + i == best ? -INFINITY : logits[own * kSize + i]; });
  const int a = in_own < 0 ? -1 : own * kSize + in_own, b = other < 0 ? -1 : other * kSize + tiles.place[other];
  if (a < 0 || b < 0) return a < 0 ? b : a;
  return logits[a] != logits[b] ? (logits[a] > logits[b] ? a : b) : min(a, b);
}

/// The row's results so far, shared by the block.
struct RowState {
  double z, s, plain_z, plain_s, target;
  float top;
  int32_t best, second, tile, bad;
};

__device__ inline void merge_tiles(const RowTiles& tiles, double inverse_t, RowState& row) {
  for (int i = static_cast<int>(threadIdx.x); i < tiles.count; i += StatisticsTile::kThreads) {
    double share = 0;
    to_row_units(tiles.top[i], row.top, 1.0, tiles.plain_z[i], tiles.plain_s[i], share, tiles.plain_s[i]);
    tiles.plain_z[i] = share;
    to_row_units(tiles.top[i], row.top, inverse_t, tiles.z[i], tiles.share_s[i], tiles.weight[i], tiles.share_s[i]);
  }
  __syncthreads();
  // In rising order, each sum by a warp of its own.
  const auto sum = [&](const double* shares) {
    double total = 0;
    for (int i = 0; i < tiles.count; ++i) total += shares[i];
    return total;
  };
  if (threadIdx.x == 0) row.z = sum(tiles.weight);
  if (threadIdx.x == kWarp) row.s = sum(tiles.share_s);
  if (threadIdx.x == 2 * kWarp) row.plain_z = sum(tiles.plain_z);
  if (threadIdx.x == 3 * kWarp) row.plain_s = sum(tiles.plain_s);
  __syncthreads();
}

/// The token at a uniform number of the cumulative distribution, by the whole block; the answer is thread 0's.
__device__ inline int draw(const StatisticsCall& call, const float* logits, const StatisticsRow& request, const RowTiles& tiles, RowState& row) {
  static_assert(kTile * sizeof(float) <= 8192);
  __shared__ float terms[kTile];
  if (threadIdx.x == 0) {
    double target = request.draws.uniform(Purpose::kCandidate, request.position) * row.z;
    row.tile = tile_at(tiles, target);
    row.target = target * (tiles.z[row.tile] / tiles.weight[row.tile]);  // in units of the tile's own maximum
  }
  __syncthreads();
  const int first = row.tile * static_cast<int>(kTile), count = min(static_cast<int>(kTile), call.vocabulary - first);
  const TileScale scale(request.inverse_temperature);
  for (int i = static_cast<int>(threadIdx.x); i < count; i += StatisticsTile::kThreads) terms[i] = tile_power_of_two(tile_exponent(logits[first + i], tiles.top[row.tile], scale.to_base_2));
  __syncthreads();
  int token = row.best;
  if (threadIdx.x == 0) {
    double target = row.target;
    for (int i = 0; i < count; ++i) {
      if (terms[i] == 0) continue;
      token = first + i;
      if (target < static_cast<double>(terms[i])) break;
      target -= static_cast<double>(terms[i]);
    }
  }
  return token;
}

/// One thread writes what is wanted.
__device__ inline void write_row(const StatisticsCall& call, const float* logits, int r, const StatisticsRow& request, const RowState& row, int candidate) {
  const double log_z = log(row.z);
  const auto log_prob = [&](float logit) { return static_cast<float>((static_cast<double>(logit) - static_cast<double>(row.top)) * request.inverse_temperature - log_z); };
  const auto entropy = [](double z, double s) {
    const double value = log(z) - s / z;
    return static_cast<float>(value > 0 ? value : 0);
  };
  const StatisticsArrays& out = call.out;
  if (out.argmax) out.argmax[r] = row.best;
  if (out.argmax_logprob) out.argmax_logprob[r] = log_prob(row.top);
  if (out.second) out.second[r] = row.second >= 0 ? row.second : row.best == 0 && call.vocabulary > 1 ? 1 : 0;
  if (out.second_logprob) out.second_logprob[r] = log_prob(row.second >= 0 ? logits[row.second] : -INFINITY);
  if (out.entropy_nats) out.entropy_nats[r] = request.greedy ? 0.0f : entropy(row.z, row.s);
  if (out.candidate) out.candidate[r] = candidate;
  if (out.candidate_logprob) out.candidate_logprob[r] = log_prob(logits[candidate]);
  if (out.current_logprob) out.current_logprob[r] = log_prob(logits[request.current]);
  if (out.argmax_logprob_t1) out.argmax_logprob_t1[r] = static_cast<float>(-log(row.plain_z));
  if (out.entropy_t1_nats) out.entropy_t1_nats[r] = entropy(row.plain_z, row.plain_s);
}

__global__ void __launch_bounds__(StatisticsTile::kThreads, 2) row_statistics_kernel(StatisticsCall call) {
  wait_for_earlier_kernels();
  let_later_kernels_begin();
  CANVASLAB_DYNAMIC_SHARED(memory);
  __shared__ RowState row;
  const int r = static_cast<int>(blockIdx.x), lane = static_cast<int>(threadIdx.x) % kWarp;
  const StatisticsRow request = call.rows[r];
  const float* logits = call.logits + static_cast<int64_t>(r) * call.vocabulary;
  const RowTiles tiles(memory, (call.vocabulary + static_cast<int>(kTile) - 1) / static_cast<int>(kTile));
  if (threadIdx.x == 0) row.bad = 0, row.second = -1;
  __syncthreads();
  const StatisticsArrays& out = call.out;
  const double inverse_t = request.greedy ? 1.0 : request.inverse_temperature;
  bool fine = read_tiles(logits, call.vocabulary, inverse_t, out.argmax_logprob_t1 || out.entropy_t1_nats, tiles, &row.bad);
  if (threadIdx.x < kWarp) {
    const int tile = warp_best(lane, tiles.count, [&](int i) { return tiles.top[i]; });
    if (lane == 0) row.bad = row.bad || tile < 0;
    if (lane == 0 && tile >= 0) row.best = tile * static_cast<int>(kTile) + tiles.place[tile], row.top = tiles.top[tile];
  }
  __syncthreads();
  fine = fine && row.bad == 0;
  if (!fine) {
    if (threadIdx.x == 0) atomicMin(call.bad_row, r);
    return;
  }
  merge_tiles(tiles, inverse_t, row);
  if (threadIdx.x < kWarp && (out.second || out.second_logprob)) {
    const int second = second_token(logits, call.vocabulary, tiles, row.best, lane);
    if (lane == 0) row.second = second;
  }
  StatisticsRow as_drawn = request;
  as_drawn.inverse_temperature = inverse_t;
  const bool draws = (out.candidate || out.candidate_logprob) && !request.greedy;
  const int candidate = draws ? draw(call, logits, as_drawn, tiles, row) : row.best;
  if (threadIdx.x == 0) write_row(call, logits, r, as_drawn, row, candidate);
}

}  // namespace canvaslab::cuda
