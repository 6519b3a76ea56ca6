#pragma once
// Comparing a generation with a recorded one of the reference, step by step.
#include <string>
#include <vector>

#include "core/h5.h"
#include "samplers/engine.h"

namespace canvaslab::parity {

/// Folder of the recorded models, and their names in order.
inline const std::string kGoldens = std::string(CANVASLAB_SOURCE_DIR) + "/tests/network/goldens/";
std::vector<std::string> golden_names();

/// A generation of transformers 5.17 as reference.py recorded it. S steps, B rows, L positions, V tokens.
struct Recording {
  explicit Recording(const std::string& path);
  int64_t seed = 0, next_draw = 0;
  double self_deviation = 0;                        ///< default against eager back ends, over the step's largest |logit|
  size_t batch = 1, num_steps = 0, length = 0, vocabulary = 0;
  std::vector<std::vector<int32_t>> prompts;        // [B][P]
  std::vector<int32_t> tokens;                      // [B, n] whole canvases
  std::vector<float> tokens_per_forward;            // [B]
  std::vector<int32_t> canvas_idx, step_idx;        // [S]
  std::vector<float> temperature;                   // [S]
  std::vector<int32_t> canvas_in, candidate, argmax, canvas_out;  // [S, B, L]
  std::vector<uint8_t> accepted;                    // [S, B, L]
  std::vector<float> entropy_nats;                  // [S, B, L]
  std::vector<float> gap;                           // [S, B] distance of the nearest decision, logits over the largest |logit|
  std::vector<float> logits;                        // [S, B, L, V] after the soft-cap, before the temperature
  std::vector<float> bf16_error;                    // [S0] of the reference's bf16 run, first canvas, row 0
};

/// How far to compare. Logits are held to `logit_tolerance` of the step's largest |logit|.
struct Tolerances {
  double logit_tolerance = 2e-5, entropy_nats = 1e-4;
  /// Tokens are compared up to the first step with a decision closer than this (0: all steps).
  double least_gap = 0;
};

struct Comparison {
  size_t steps_compared = 0, steps_total = 0;   ///< rows times steps
  double worst_logit = 0;                       ///< |difference| / largest |logit| of its step
  std::string worst_logit_at;
  double worst_entropy = 0;
  std::vector<std::string> mistakes;            ///< empty: equal
  bool cut_short() const { return steps_compared < steps_total; }
};

/// Generates with the reference's draws from the same prompts and seed, and compares every step.
Comparison compare_generation(const Denoiser& denoiser, const Recording& recording, const Tolerances& tolerances);

/// A denoiser in bf16 with canvas and feedback forced, per step of the first canvas: the median over positions of the root mean square over the
/// vocabulary, against the reference's f32 logits.
std::vector<double> bf16_errors(const Denoiser& denoiser, const Recording& recording);

}  // namespace canvaslab::parity
