#pragma once
// A checkpoint folder with its layers' matrices in fewer bits, in the layouts that vLLM and transformers read.
#include <cstdint>
#include <functional>
#include <map>
#include <string>

namespace canvaslab {

enum class QuantisedFormat {
  kFp8,    ///< compressed-tensors float-quantized: e4m3 with a bf16 scale a row, activations per token at run time
  kInt4,   ///< compressed-tensors pack-quantized: symmetric 4-bit integers with a bf16 scale for 32 columns
  kNvfp4   ///< compressed-tensors nvfp4-pack-quantized, weights only: e2m1 with an e4m3 scale for 16 columns and one scale a matrix
};

/// What was lost, over the weights of one kind.
struct QuantisationError {
  uint64_t num_parameters = 0;
  double error_squares = 0, weight_squares = 0;
  /// |quantised - weight| over |weight|, Frobenius norms.
  double relative() const;
};

struct QuantisationReport {
  uint64_t bytes_before = 0, bytes_after = 0;            ///< of all tensors
  uint64_t num_matrices = 0;
  std::map<std::string, QuantisationError> by_kind;      ///< attention, dense, experts
};

/// Writes `to` from the checkpoint `from`: attention, dense feed-forward and experts (one by one) quantised by rounding to
/// nearest, all else as it stands, config.json with quantization_config, and the tokenizer's and other small files.
/// Matrices that are used as one (q, k, v; gate and up) share NVFP4's matrix scale. The folder appears whole or not at all; memory
/// holds one matrix's rows at a time. `progress` is called with bytes written and in all, and may throw to stop.
/// Errors: `to` exists; `from` is quantised already; a width that the format's groups do not divide; too little space; those of reading
/// and writing.
QuantisationReport quantise_checkpoint(const std::string& from, const std::string& to, QuantisedFormat format, const std::function<void(uint64_t done, uint64_t all)>& progress);

/// How far the logits of two checkpoints of one shape are apart, in f32 on the CPU: denoiser forwards on `num_canvases` random
/// canvases after random prompts of half their length, the later half of them with the first checkpoint's own prediction fed back.
struct LogitDifference {
  double relative = 0;        ///< root mean square of the difference over that of the first's logits about their row's mean
  double mean_divergence = 0; ///< nats a position: Kullback-Leibler divergence of the second's distribution from the first's
  double same_argmax = 0;     ///< share of positions
};
LogitDifference compare_logits(const std::string& first, const std::string& second, int num_canvases, uint64_t seed);

}  // namespace canvaslab
