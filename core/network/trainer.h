#pragma once
// Training of the text network: uniform corruption of canvases, and causal cross-entropy on the same weights.
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace canvaslab {

/// B sequences of one shape. Letters: P prompt tokens, C canvases of L tokens.
struct TrainingBatch {
  size_t rows = 0;                       ///< B
  size_t canvas_length = 0;              ///< L; 0: the model's
  std::vector<int32_t> prompts;          ///< [B, P]
  std::vector<int32_t> answers;          ///< [B, C * L]: after the end token filled with the pad id
  std::vector<int32_t> answer_lengths;   ///< [B] tokens up to and with the end token
};

/// Which weights get LoRA adapters, and how large. The others are then frozen.
struct LoraOptions {
  int64_t rank = 0;                        ///< 0: no adapters, all weights are trained
  double alpha = 0;                        ///< a weight is W + (alpha / rank) B A
  bool attention = true, experts = true;   ///< q_proj, k_proj, v_proj, o_proj of every layer; gate_up_proj and down_proj of the experts
};

/// Everything that shapes the course of a training. Rates are per step.
struct TrainerOptions {
  uint64_t seed = 0;
  int64_t num_steps = 10000;             ///< length of the learning-rate schedule
  int64_t warmup_steps = 100;            ///< the rate rises linearly to learning_rate
  double constant_until = 0.5;           ///< share of num_steps after which it falls linearly ...
  double final_rate = 0.02;              ///< ... to this share of learning_rate
  double learning_rate = 3e-3, beta1 = 0.9, beta2 = 0.98, epsilon = 1e-8;
  double weight_decay = 0.01;            ///< on matrices
  double clip_norm = 1;                  ///< largest norm of the gradient
  double average_decay = 0.998;          ///< of the weights' exponential average, which is what save_model writes
  int64_t canvases_per_sequence = 2;     ///< noisy versions of one clean canvas
  double all_noise_share = 0.1;          ///< canvases at noise level exactly 1; the others' are stratified uniform in (0, 1)
  double self_conditioning_share = 0.5;  ///< canvases that see a first prediction, made from a noisier canvas
  double causal_weight = 0.5, balance_weight = 0.01;
  bool bf16_products = false, fused = true;  ///< see TrainingPass; what is fused is so on the CPU only
  std::string device = "cpu";            ///< or "cuda": the same network by LibTorch's operations
  LoraOptions lora = {};
  bool fine_tunes = false;               ///< the folder must hold weights, and a state goes on beside the same ones only; always so with adapters
};

/// One batch's measurements. Losses in nats per token.
struct BatchLosses {
  double diffusion = 0;                  ///< clean token given the noisy canvas, all positions
  double noisiest = 0;                   ///< the same over canvases of noise level 0.9 and more; NaN without any
  double causal = 0, balance = 0;
  int64_t tokens = 0;
};

/// One step's measurements, means over its batches. Losses in nats per token.
struct StepLosses {
  double diffusion = 0;                  ///< clean token given the noisy canvas, all positions
  double causal = 0;                     ///< next token of the answer, up to and with the end token
  double balance = 0;                    ///< mean over layers and passes, 1 when experts are chosen evenly
  double gradient_norm = 0, learning_rate = 0;
  int64_t tokens = 0;                    ///< tokens with forward and backward
  std::vector<BatchLosses> batches = {};
};

/// Holds weights, their average, and AdamW's moments. On the CPU the course is a pure function of weights, options and batches, on one
/// thread; resumed from a state it goes on bit for bit.
class Trainer {
 public:
  /// Starts from a checkpoint folder; without model*.safetensors in it from random weights. Errors: input when it has none
  /// and the options ask for them; usage for a device that is not there.
  Trainer(const std::string& folder, const TrainerOptions& options);
  ~Trainer();
  /// One optimiser step on the mean gradient of `batches`. Errors: usage for batches of another shape or vocabulary; an input error when a loss or the gradient is not
  /// finite, naming step and batch; weights and moments are then still those before the step.
  StepLosses step(std::span<const TrainingBatch> batches);
  /// Steps taken.
  int64_t num_done() const;
  /// Numbers that are trained.
  int64_t num_parameters() const;
  /// Writes all that a resume needs. `settings`: text that load_state must find again.
  /// kRounded: AdamW's moments are rounded to bf16, in memory too, so that a run that stops after it and one that goes on
  /// stay the same: 12 bytes a weight. kExact changes nothing, for stops at any step: 16 bytes.
  enum class Moments { kRounded, kExact };
  void save_state(const std::string& path, const std::string& settings, Moments moments);
  /// Errors: input errors for a damaged file, other settings, another network, other weights that a fine-tuning started from.
  void load_state(const std::string& path, const std::string& settings);
  /// Writes the averaged weights, adapters merged, as OUT/model.safetensors ("F32" or "BF16") beside copies of the folder's other files.
  void save_model(const std::string& out, const std::string& dtype) const;
  /// Writes the averaged adapters as a folder that PEFT reads: see core/network/lora.h. Only with options.lora.
  void save_adapter(const std::string& out) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The learning rate of step `step` (from 0).
double scheduled_rate(const TrainerOptions& options, int64_t step);

}  // namespace canvaslab
