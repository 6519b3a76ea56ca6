#pragma once
// Inference on the CPU: both forwards on packed weights, without tensors between them.
#include <span>
#include <string>
#include <vector>

#include "core/network/cpu_layer.h"
#include "core/network/network.h"
#include "core/network/packed_layers.h"

namespace canvaslab {

/// A network that only infers. Single-thread maths; calls are thread-safe for distinct caches, and one sequence's results
/// depend on nothing but itself. Weights in f32 or bf16; with bf16 the factors of products are rounded, keys and values in the
/// cache among them, and all else is f32.
class CpuNetwork {
 public:
  /// Whether a network's weights are on the CPU in f32 or bf16.
  static bool serves(const Network& network);
  /// Lays out the weights of `network`, up to `most_packed` bytes of them, and gives back what it need not hold twice.
  explicit CpuNetwork(Network network, int64_t most_packed = PackedLayers::kMostBytes);

  const ModelConfig& config() const { return network_.config(); }
  const std::string& content_hash() const { return network_.content_hash(); }
  KvCache empty_cache(int64_t left_padding) const;
  /// Network::cut
  bool cut(KvCache& cache, const KvCache& after, int64_t count) const { return network_.cut(cache, after, count); }

  /// Network::encode; hidden [S, D] when not null. Works through the tokens in pieces, so that beside the cache memory does
  /// not grow with their number.
  void encode(std::span<const int32_t> ids, const std::vector<uint8_t>& token_types, KvCache& cache, float* hidden) const;
  /// One denoiser forward up to the final norm: hidden [L, D]. `soft`: what soft_embedding made of the step before [L, D], or
  /// null. `tables` is refilled when positions change. The cache is only read.
  void decode(std::span<const int32_t> canvas, const KvCache& cache, const float* soft, RopeTables& tables, float* hidden) const;
  /// hidden [rows, D] -> logits [rows, V] after the soft-cap.
  void head(const float* hidden, int64_t rows, float* logits) const;
  /// softmax(logits / temperature) of [rows, V] times the scaled embedding -> [rows, D]. Where few tokens hold all but 2^-24
  /// of a row's mass (2^-12 with bf16), the others are left out.
  void soft_embedding(const float* logits, int64_t rows, float temperature, float* soft) const;
  /// Rows whose logits are made at once: as many as a buffer of bounded size holds.
  int64_t head_rows() const;

 private:
  struct Piece {
    int64_t begin, end;
  };
  std::vector<GrowingKeys> growing_keys(const KvCache& cache, const std::vector<Piece>& pieces, int64_t num_tokens) const;
  void embed(int64_t id, float* x) const;
  void fill_tables(RopeTables& tables, int64_t first, int64_t count) const;

  Network network_;           // configuration, embedding and head; no layers
  PackedLayers layers_;
  PackedMlp conditioning_;    // of self-conditioning
  std::vector<float> final_norm_, sc_pre_norm_;
  float embedding_scale_ = 1;
  bool bf16_ = false;
};

}  // namespace canvaslab
