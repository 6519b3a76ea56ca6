// Why few logarithms do: q = -ln(1 - u) >= u, so an element's ratio w / q is at most w / u. One that does not reach the
// best ratio so far even with an upper bound of w and a lower bound of u has lost; about ln V of V elements remain.
// Why the token is the plain loop's: the sum divides all ratios alike. The plain ratio is w / (sum q) but for two f32
// roundings, 2^-24 each, so the order of two ratios that differ by more than kClear is the plain loop's order. (Sums
// lie in [1, 2^31] and the best ratio is at least 1 / ln 2^53: where roundings are of subnormals nothing can win.)
#include "core/torch_candidate.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

namespace canvaslab {
namespace {

constexpr double kClear = 0x1p-20;
constexpr size_t kChunk = 512;  // elements whose outputs are made at once: 4 KiB of words

/// What has been seen of a row's race.
struct Race {
  float temperature, top;  // top: the largest x / T, as the plain loop computes it
  int32_t token = 0;
  double best = -1, second = -1;

  void enter(size_t v, float logit, uint32_t high, uint32_t low) {
    const float weight = std::exp(logit / temperature - top);
    const double ratio = static_cast<double>(weight) / static_cast<double>(TorchGenerator::exponential_of(high, low));
    if (ratio > best) {
      second = best;
      best = ratio;
      token = static_cast<int32_t>(v);
    } else if (ratio > second) {
      second = ratio;
    }
  }
  float to_beat() const { return static_cast<float>(best * (1 - kClear)); }
  bool clear() const { return second < best * (1 - kClear); }
};

/// Bounds for weights: (x / T - top) * log2 e with `slack` above every rounding of it, in units of 2^-23.
bool bounds_for(float temperature, float top, RaceBounds& out) {
  // Elements that matter lie within 90 of the top; x / T and its product form differ by three roundings of 2^-24.
  const double slack = (std::abs(static_cast<double>(top)) + 128) * 0x1p-21;
  if (!(slack < 0.25) || !(temperature > 0x1p-20f)) return false;
  const double unit = std::numbers::log2e * 0x1p23;
  out.scale = static_cast<float>(unit / static_cast<double>(temperature));
  out.shift = static_cast<float>((static_cast<double>(top) - slack) * unit);
  return true;
}

/// The kernel's test for one element.
bool may_win(float logit, uint32_t high, const RaceBounds& bounds) {
  const float exponent = std::max(logit * bounds.scale - bounds.shift, -kRaceFloor);
  const float weight = std::bit_cast<float>(static_cast<int32_t>(exponent) + kRaceBias);
  return !(static_cast<float>(high & 0x1fffffu) * 0x1p-21f * bounds.to_beat > weight);
}

}  // namespace

int32_t draw_torch_candidate_plain(std::span<const float> logits, float temperature, TorchGenerator& generator) {
  const size_t V = logits.size();
  std::vector<float> weight(V);
  float best = -std::numeric_limits<float>::infinity();
  for (size_t v = 0; v < V; ++v) best = std::max(best, weight[v] = logits[v] / temperature);
  double sum = 0;
  for (size_t v = 0; v < V; ++v) sum += weight[v] = std::exp(weight[v] - best);
  const float total = static_cast<float>(sum);
  float best_ratio = -1;
  int32_t token = 0;
  for (size_t v = 0; v < V; ++v) {
    const float ratio = (weight[v] / total) / generator.exponential();
    if (ratio > best_ratio) {
      best_ratio = ratio;
      token = static_cast<int32_t>(v);
    }
  }
  return token;
}

int32_t draw_torch_candidate(std::span<const float> logits, float temperature, float largest, TorchGenerator& generator) {
  Race race{.temperature = temperature, .top = largest / temperature};
  RaceBounds bounds;
  if (!bounds_for(temperature, race.top, bounds)) return draw_torch_candidate_plain(logits, temperature, generator);
  const MtKernels& kernels = mt_kernels();
  TorchGenerator before = generator;
  uint32_t words[2 * kChunk];
  for (size_t chunk = 0; chunk < logits.size(); chunk += kChunk) {
    const size_t end = std::min(logits.size(), chunk + kChunk);
    generator.fill(std::span(words, 2 * (end - chunk)));
    for (size_t block = chunk; block < end; block += kRaceBlock) {
      const size_t last = std::min(end, block + kRaceBlock);
      bounds.to_beat = race.to_beat();
      if (last - block == kRaceBlock && !kernels.any_contender(logits.data() + block, words + 2 * (block - chunk), bounds)) continue;
      for (size_t v = block; v < last; ++v) {
        const uint32_t high = words[2 * (v - chunk)], low = words[2 * (v - chunk) + 1];
        if (!may_win(logits[v], high, bounds)) continue;
        race.enter(v, logits[v], high, low);
        bounds.to_beat = race.to_beat();
      }
    }
  }
  if (race.clear()) return race.token;
  generator = before;
  return draw_torch_candidate_plain(logits, temperature, generator);
}

}  // namespace canvaslab
