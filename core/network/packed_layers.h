#pragma once
// The layers' weights laid out for the matrix products of the CPU path.
#include <ATen/core/Tensor.h>

#include <map>
#include <memory>
#include <vector>

#include "core/kernels/buffer.h"
#include "core/kernels/packed_matrix.h"

namespace canvaslab {

struct LayerWeights;
struct PackedWeight;

/// Quantised weights that stay as their files hold them, by the tensor that stands for each (Network::keep_packed).
using QuantisedByPlace = std::map<const void*, std::shared_ptr<const PackedWeight>>;

/// The right-hand sides [n, k] of products x w^T, packed by gemm_kernel or bf16_gemm_kernel, the experts' `stride` apart; or
/// the tensors themselves, columns one after another; or quantised matrices of the checkpoint's files, `parts` of which, one below
/// the other, make one right-hand side. All three give the same bits.
struct LaidMatrix {
  const float* data = nullptr;      ///< null: in place
  int64_t n = 0, k = 0, stride = 0;
  bool bf16 = false;
  std::vector<at::Tensor> in_place = {};
  std::vector<PackedMatrix> quantised = {};
  size_t parts = 0;
};

/// One layer. Vectors in f32 whatever the weights are.
struct PackedLayer {
  bool has_v = true;                             ///< else values are the normed keys
  LaidMatrix qkv, o;                           // [(H + Hkv [+ Hkv]) * Dh, D], [D, H * Dh]
  LaidMatrix gate_up, down;                    // [2F, D], [D, F] shared MLP
  LaidMatrix router;                           // [E, D], always f32: a choice turns on it
  LaidMatrix experts_gate_up, experts_down;    // E of [2M, D], E of [D, M]
  std::vector<float> q_norm, k_norm;             // [Dh]
  std::vector<float> input_norm, post_attention_norm, pre_ffn_norm, post_ffn_norm_1, pre_ffn_norm_2, post_ffn_norm_2, post_ffn_norm;  // [D]
  std::vector<float> router_scale, per_expert_scale;  // [D], [E]
  float decoder_scalar = 1, encoder_scalar = 1;
};

/// A gated MLP by itself.
struct PackedMlp {
  PackedMlp() = default;
  PackedMlp(const at::Tensor& gate, const at::Tensor& up, const at::Tensor& down);
  LaidMatrix gate_up, down;   // [2F, D], [D, F]
  Buffer<float> memory;
};

/// All layers, in one piece of memory or in place.
class PackedLayers {
 public:
  PackedLayers() = default;
  /// What is laid out at most. A copy of larger weights costs more at the start than a canvas gains by it.
  static constexpr int64_t kMostBytes = int64_t{512} << 20;
  /// Lays weights (CPU, f32 or bf16) out and lets go of each tensor when done with it; where they exceed `most_bytes` they are
  /// used where they are, all pages read. `encoder` is empty or what the encoder uses instead; tensors that it shares with
  /// `decoder` are laid out once.
  PackedLayers(std::vector<LayerWeights> decoder, std::vector<LayerWeights> encoder, QuantisedByPlace quantised = {}, int64_t most_bytes = kMostBytes);

  const PackedLayer& decoder(size_t i) const { return decoder_[i]; }
  const PackedLayer& encoder(size_t i) const { return encoder_.empty() ? decoder_[i] : encoder_[i]; }
  size_t size() const { return decoder_.size(); }

 private:
  PackedLayer pack(const LayerWeights& w);
  /// Matrices [n, k] one below another, or, from one tensor [E, n, k], each for itself.
  LaidMatrix place(const std::vector<at::Tensor>& parts, bool in_f32 = false);
  LaidMatrix view(const std::vector<at::Tensor>& parts);

  Buffer<float> memory_;
  QuantisedByPlace quantised_;
  std::vector<at::Tensor> kept_;  // that share a right-hand side with quantised ones
  bool counting_ = true, in_place_ = false;
  int64_t floats_ = 0;
  std::map<std::vector<const void*>, LaidMatrix> placed_;
  std::vector<PackedLayer> decoder_, encoder_;
};

std::vector<float> to_f32_vector(const at::Tensor& tensor);

}  // namespace canvaslab
