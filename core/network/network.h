#pragma once
// The DiffusionGemma text network: one definition for training and inference, CPU or CUDA, f32 or bf16.
#include <ATen/core/Tensor.h>

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/network/model_config.h"

namespace canvaslab {

/// Keys and values of one sequence, or of B sequences of one length. Letters: P cached tokens, Hkv key-value heads, Dh head width.
struct KvCache {
  struct Layer {
    at::Tensor k, v;        // [Hkv, P, Dh] or [B, Hkv, P, Dh]; sliding layers hold the last window - 1 tokens only
  };
  std::vector<Layer> layers;
  int64_t length = 0;       ///< tokens seen, left padding included: the position of the next one
  int64_t padding = 0;      ///< of those, pads in front: never encoded, they only shift positions
};

/// Rotary tables of the positions [first, first + count), made once per canvas. [count, 1, Dh] each.
struct RopeTables {
  int64_t first = -1, count = 0;
  at::Tensor sliding_cos, sliding_sin, full_cos, full_sin;
};

/// Weights by checkpoint name, without the prefix model.decoder. where it applies.
struct LayerWeights {
  at::Tensor q_proj, k_proj, v_proj, o_proj, q_norm, k_norm;                 // [H*Dh, D], [Hkv*Dh, D], same or undefined, [D, H*Dh], [Dh], [Dh]
  at::Tensor input_norm, post_attention_norm, pre_ffn_norm, post_ffn_norm_1; // [D] each
  at::Tensor pre_ffn_norm_2, post_ffn_norm_2, post_ffn_norm;                 // [D] each
  at::Tensor gate_proj, up_proj, down_proj;                                  // [F, D], [F, D], [D, F] shared MLP
  at::Tensor router_proj, router_scale, per_expert_scale;                    // [E, D], [D], [E]
  at::Tensor experts_gate_up, experts_down;                                  // [E, 2F, D], [E, D, F]
  at::Tensor decoder_scalar, encoder_scalar;                                 // [1]
};

/// Whether LibTorch's own CUDA operations can run: looks for their library beside LibTorch's at the first call.
bool torch_has_gpu();

/// "cpu" or "cuda". Errors: usage for other names, and where this build or machine has no GPU.
at::Device device_named(const std::string& name);

/// Numbers runs of image or video tokens; -1 elsewhere. Empty when there are none.
std::vector<int64_t> vision_blocks(const std::vector<uint8_t>& token_types);

/// Where a piece of at most `most` tokens that begins at `begin` ends, of `count` in all: the tokens of one image stay together. `block`: vision_blocks.
int64_t piece_end(std::span<const int64_t> block, int64_t begin, int64_t count, int64_t most);

/// Which of a layer's keys the tokens being encoded see, [from, to) each, where `before` keys stand in front of their own: those up to themselves, the last `window` at most
/// (0: all), and those of the same image. `block`: vision_blocks of these tokens, or empty.
void seen_keys(std::span<const int64_t> block, int64_t before, int64_t window, std::span<int64_t> from, std::span<int64_t> to);

/// One quantised weight as its files hold it; core/network/packed_weights.h.
struct PackedWeight;

/// What becomes of a checkpoint's quantised weights on loading.
enum class QuantisedWeights {
  kUnpacked,  ///< tensors in the run's dtype
  kPacked,    ///< stay as the files hold them where the CPU path multiplies with them: f32 on the CPU, no adapter
  kForKernels ///< the same for the GPU's kernels: whatever the dtype, no adapter
};

/// What training asks of a forward besides its result.
struct TrainingPass {
  bool bf16_products = false;  ///< matrix products of weights in bf16, the rest in the weights' dtype
  bool fused = false;          ///< by training_ops; weights in f32 on the CPU
  at::Tensor balance;          ///< out, []: sum over layers of E * sum_e(share of choices * mean probability); 1 a layer when even (Fedus et al. 2021, eq. 4)
};

/// Differentiable in every weight. Calls are thread-safe for distinct caches; run them under at::NoGradGuard to infer.
/// Tensors of tokens may carry an axis B in front (sequences of one length), then so do cache and results. CpuNetwork
/// (cpu_network.h) infers on the CPU several times as fast.
class Network {
 public:
  /// Loads a checkpoint folder, quantised or not. Weights in `dtype` already stay views of the memory map; quantised ones are
  /// read out one after the other, rounded once to `dtype`, unless they stay packed. `adapter`: an adapter's folder
  /// (core/network/lora.h), merged in f32 before weights are rounded to `dtype`; or empty.
  /// Errors: input errors naming missing, surplus or misshapen tensors.
  static Network load(const std::string& folder, at::ScalarType dtype, at::Device device, const std::string& adapter = "", QuantisedWeights quantised = QuantisedWeights::kUnpacked);

  /// Random weights in f32 for DIR/config.json, a pure function of it and the seed.
  static Network fresh(const std::string& folder, uint64_t seed, at::Device device = at::kCPU);

  const ModelConfig& config() const { return config_; }
  const std::string& content_hash() const { return content_hash_; }
  /// batch > 0: an axis B in front.
  KvCache empty_cache(int64_t left_padding, int64_t batch = 0) const;

  /// Runs tokens causally (sliding layers within their window; runs of token types 1 or 2 see each other) and appends
  /// their keys and values to the cache. ids [S] i64; token_types [S] or empty. Returns hidden states [S, D] after the
  /// final norm when wanted, else an undefined tensor.
  at::Tensor encode(const at::Tensor& ids, const std::vector<uint8_t>& token_types, KvCache& cache, bool want_hidden, TrainingPass* training = nullptr) const;
  /// Makes `cache`, which `after` continues, hold its own tokens and the first `count` of those appended since. False, and
  /// nothing happens, when a sliding layer of `after` has dropped some of these already.
  bool cut(KvCache& cache, const KvCache& after, int64_t count) const;
  /// One denoiser forward. canvas [L] i64; feedback: the previous step's tempered logits [L, V] or undefined; with an
  /// axis B it may cover the first rows only, the others then have none. Returns logits [L, V] f32 after the soft-cap.
  /// The cache is only read.
  at::Tensor decode(const at::Tensor& canvas, const KvCache& cache, const at::Tensor& feedback, TrainingPass* training = nullptr) const;
  /// decode up to the states after the final norm: [L, D].
  at::Tensor decode_hidden(const at::Tensor& canvas, const KvCache& cache, const at::Tensor& feedback, TrainingPass* training = nullptr) const;
  /// Whether some weights stayed packed: CpuNetwork alone runs on them.
  bool is_packed() const { return !packed_.empty(); }
  /// hidden [S, D] after the final norm -> logits [S, V] f32 after the soft-cap.
  at::Tensor logits(const at::Tensor& hidden, const TrainingPass* training = nullptr) const;
  /// Mean cross-entropy in nats of logits(hidden [S, D]) to targets [S] i64; each row's into `each` [S] when not null.
  at::Tensor cross_entropy(const at::Tensor& hidden, const at::Tensor& targets, const TrainingPass& training, std::vector<float>* each = nullptr) const;

  at::ScalarType dtype() const { return embedding_.scalar_type(); }
  at::Device device() const { return embedding_.device(); }
  /// Gives every parameter memory of its own in f32 and asks for its gradient.
  void make_trainable();
  /// Every trainable tensor by checkpoint name.
  std::map<std::string, at::Tensor>& parameters() { return parameters_; }
  const std::map<std::string, at::Tensor>& parameters() const { return parameters_; }

 private:
  friend class CpuNetwork;
  friend class CudaNetwork;
  using TakeWeight = std::function<at::Tensor(const std::string& name, std::vector<int64_t> shape)>;
  void bind_weights(const TakeWeight& take);
  std::vector<LayerWeights> bind_layers(const TakeWeight& take) const;
  const LayerWeights& encoder_layer(size_t index) const { return encoder_layers_.empty() ? layers_[index] : encoder_layers_[index]; }
  at::Tensor embed(const at::Tensor& ids) const;
  at::Tensor layer(size_t index, at::Tensor x, const at::Tensor& cos, const at::Tensor& sin, const KvCache& cache, KvCache* append, const std::vector<int64_t>& block,
                   TrainingPass* training) const;
  at::Tensor attention(const LayerConfig& shape, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, int64_t first_key, int64_t first_query, bool causal,
                       const std::vector<int64_t>& block) const;
  at::Tensor experts(const LayerWeights& w, const at::Tensor& x, const at::Tensor& raw, TrainingPass* training) const;
  std::pair<at::Tensor, at::Tensor> rope_tables(bool sliding, int64_t first, int64_t count, at::ScalarType dtype) const;
  /// Keeps a weight packed; the tensor stands for it in its place and has its shape, but no data.
  at::Tensor keep_packed(std::shared_ptr<const PackedWeight> weight, const std::vector<int64_t>& shape);
  void check_unpacked(const char* what) const;

  ModelConfig config_;
  std::string content_hash_;
  at::Tensor embedding_, lm_head_, final_norm_;                        // [V, D], [V, D], [D]
  at::Tensor sc_pre_norm_, sc_gate_, sc_up_, sc_down_;                 // self-conditioning: [D], [F, D], [F, D], [D, F]
  at::Tensor embedding_scale_;                                         // [] in the weights' dtype
  std::vector<LayerWeights> layers_;
  std::vector<LayerWeights> encoder_layers_;                           // empty: the decoder's; they differ under some adapters only
  std::map<std::string, at::Tensor> parameters_;
  std::map<const void*, std::shared_ptr<const PackedWeight>> packed_;  // by the tensor that stands for it
};

}  // namespace canvaslab
