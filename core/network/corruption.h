#pragma once
// Noisy canvases for training.
#include <cstdint>
#include <span>
#include <vector>

#include "core/philox.h"

namespace canvaslab {

/// What a training draw is for, beside its purpose.
enum TrainingLane : uint32_t { kReplaced, kToken, kStratum, kWithin, kNoisier, kTemperature, kTargetCanvas };

/// N noisy versions of clean canvases, row r of clean canvas r % B, and for the first rows a noisier version.
struct NoisyCanvases {
  std::vector<double> level;         ///< [N] share of positions replaced, in expectation
  std::vector<int64_t> canvas;       ///< [N, L]
  std::vector<int64_t> noisier;      ///< [F, L]: positions replaced in `canvas` are replaced there, alike
  std::vector<float> temperature;    ///< [F] by which the first prediction is divided, uniform in (0.4, 0.8)
};

/// clean [B, L]. Levels are stratified: a random one of N equal parts of (0, 1) a row, of which the upper all_noise_share
/// means level 1. A position is replaced by a token uniform over the vocabulary with probability level; for the noisier
/// version with level + u (1 - level), u uniform. `draw` names the step and batch; rows take its repeat.
NoisyCanvases corrupt(std::span<const int64_t> clean, size_t length, size_t num_rows, size_t num_conditioned, int32_t vocabulary, double all_noise_share, DrawKey draw);

}  // namespace canvaslab
