#include "core/network/corruption.h"

#include <algorithm>
#include <numeric>

namespace canvaslab {
namespace {

/// A random order of 0 .. count - 1.
std::vector<size_t> shuffled(size_t count, const DrawKey& draw) {
  std::vector<double> key(count);
  for (size_t i = 0; i < count; ++i) key[i] = draw.uniform(Purpose::kTraining, static_cast<uint32_t>(i), kStratum);
  std::vector<size_t> order(count);
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return key[a] < key[b]; });
  return order;
}

}  // namespace

NoisyCanvases corrupt(std::span<const int64_t> clean, size_t length, size_t num_rows, size_t num_conditioned, int32_t vocabulary, double all_noise_share, DrawKey draw) {
  const size_t num_clean = clean.size() / length;
  const auto stratum = shuffled(num_rows, draw);
  NoisyCanvases out;
  for (size_t row = 0; row < num_rows; ++row) {
    draw.repeat = static_cast<uint32_t>(row + 1);
    const double place = (static_cast<double>(stratum[row]) + draw.uniform(Purpose::kTraining, 0, kWithin)) / static_cast<double>(num_rows);
    const double level = place >= 1 - all_noise_share ? 1 : place / (1 - all_noise_share);
    const double higher = level + draw.uniform(Purpose::kTraining, 0, kNoisier) * (1 - level);
    const auto from = clean.subspan(row % num_clean * length, length);
    const bool conditioned = row < num_conditioned;
    out.level.push_back(level);
    if (conditioned) out.temperature.push_back(static_cast<float>(0.4 + 0.4 * draw.uniform(Purpose::kTraining, 0, kTemperature)));
    for (size_t p = 0; p < length; ++p) {
      const auto position = static_cast<uint32_t>(p);
      const double threshold = draw.uniform(Purpose::kTraining, position, kReplaced);
      const auto token = static_cast<int64_t>(draw.below(static_cast<uint32_t>(vocabulary), Purpose::kTraining, position, kToken));
      out.canvas.push_back(threshold < level ? token : from[p]);
      if (conditioned) out.noisier.push_back(threshold < higher ? token : from[p]);
    }
  }
  return out;
}

}  // namespace canvaslab
