// The network as a denoiser: sequences are KV caches plus the last prediction.
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>

#include "core/error.h"
#include "core/model.h"
#include "core/network/network.h"

namespace canvaslab {
namespace {

struct NetworkSequence final : Sequence {
  KvCache cache;
  at::Tensor prediction;  // [L, V] tempered logits of the last step in the weights' dtype, or undefined
  // The CPU path keeps logits and temperature apart, and the memory of the step before.
  std::shared_ptr<std::vector<float>> last_logits, spare;
  float last_temperature = 1;
  RopeTables tables;
  std::unique_ptr<Sequence> fork() const override {  // tensors and shared logits are never written in place
    auto copy = std::make_unique<NetworkSequence>(*this);
    copy->spare.reset();
    return copy;
  }
};

class NetworkDenoiser final : public Denoiser {
 public:
  NetworkDenoiser(const std::string& folder, const ModelOptions& options)
      : network_(Network::load(folder, options.dtype == "bf16" ? at::kBFloat16 : at::kFloat, at::Device(options.device), options.adapter)) {
    const ModelConfig& config = network_.config();
    facts_.vocabulary = static_cast<int32_t>(config.vocab_size);
    facts_.has_causal_mode = true;
    facts_.self_conditioning = true;
    facts_.defaults = read_generation_config(folder, config);
  }
  const DenoiserFacts& facts() const override { return facts_; }
  std::string content_hash() const override { return network_.content_hash(); }

  std::unique_ptr<Sequence> prefill(const Prompt& prompt) const override {
    check_token_ids(prompt.ids, facts_.vocabulary, "prompt");
    const c10::NoGradGuard no_grad;
    auto sequence = std::make_unique<NetworkSequence>();
    sequence->cache = network_.empty_cache(prompt.left_padding);
    network_.encode(to_tensor(prompt.ids), prompt.token_types, sequence->cache, false);
    return sequence;
  }

  std::vector<StepResult> denoise(std::span<const DenoiseRow> rows) const override {
    const c10::NoGradGuard no_grad;
    std::vector<StepResult> results;
    for (const auto& row : rows) results.push_back(one(dynamic_cast<NetworkSequence&>(*row.sequence), row.request));
    return results;
  }

  std::vector<float> append(Sequence& sequence, std::span<const int32_t> canvas, bool want_causal_logits) const override {
    const c10::NoGradGuard no_grad;
    auto& s = dynamic_cast<NetworkSequence&>(sequence);
    s.prediction = at::Tensor();
    s.last_logits.reset();
    const auto hidden = network_.encode(to_tensor(canvas), {}, s.cache, want_causal_logits);
    return want_causal_logits ? to_floats(network_.logits(hidden)) : std::vector<float>{};
  }

  std::unique_ptr<Sequence> cut(const Sequence& before, const Sequence& after, std::span<const int32_t> kept) const override {
    const c10::NoGradGuard no_grad;
    auto out = std::make_unique<NetworkSequence>(dynamic_cast<const NetworkSequence&>(before));
    out->spare.reset(), out->last_logits.reset();
    out->prediction = at::Tensor();
    if (!network_.cut(out->cache, dynamic_cast<const NetworkSequence&>(after).cache, static_cast<int64_t>(kept.size()))) return nullptr;
    return out;
  }

 private:
  at::Tensor to_tensor(std::span<const int32_t> ids) const {
    std::vector<int64_t> wide(ids.begin(), ids.end());
    return at::tensor(wide, at::kLong).to(network_.device());
  }
  static std::vector<float> to_floats(const at::Tensor& tensor) {
    const auto flat = tensor.to(at::kCPU).contiguous();
    return {flat.const_data_ptr<float>(), flat.const_data_ptr<float>() + flat.numel()};
  }

  StepResult one(NetworkSequence& s, const StepRequest& request) const {
    if (network_.has_cpu_path()) return one_cpu(s, request);
    at::Tensor feedback;
    if (request.self_conditioning == SelfConditioning::kPrevious && request.step_idx > 0) feedback = s.prediction;
    if (request.self_conditioning == SelfConditioning::kGiven)
      feedback = at::from_blob(const_cast<float*>(request.given_logits.data()), {static_cast<int64_t>(request.canvas.size()), facts_.vocabulary}, at::kFloat).to(network_.device());
    const auto logits = network_.decode(to_tensor(request.canvas), s.cache, feedback);  // [L, V] f32
    if (!request.hold_prediction) s.prediction = (request.temperature > 0 ? logits.div(request.temperature) : logits).to(network_.dtype());
    const auto host = logits.to(at::kCPU).contiguous();
    return result_of({host.const_data_ptr<float>(), static_cast<size_t>(host.numel())}, request);
  }

  StepResult one_cpu(NetworkSequence& s, const StepRequest& request) const {
    const size_t size = request.canvas.size() * static_cast<size_t>(facts_.vocabulary);
    const float* feedback = nullptr;
    float feedback_temperature = 1;
    if (request.self_conditioning == SelfConditioning::kPrevious && request.step_idx > 0 && s.last_logits) {
      feedback = s.last_logits->data();
      feedback_temperature = s.last_temperature;
    }
    if (request.self_conditioning == SelfConditioning::kGiven) feedback = request.given_logits.data();
    auto logits = std::move(s.spare);
    if (!logits || logits.use_count() > 1) logits = std::make_shared<std::vector<float>>();
    logits->resize(size);
    network_.decode_cpu(request.canvas, s.cache, feedback, feedback_temperature, s.tables, logits->data());
    StepResult result = result_of(*logits, request);
    if (request.hold_prediction) {
      s.spare = std::move(logits);
    } else {
      s.spare = std::move(s.last_logits);
      s.last_logits = std::move(logits);
      s.last_temperature = request.temperature > 0 ? request.temperature : 1;
    }
    return result;
  }

  StepResult result_of(std::span<const float> flat, const StepRequest& request) const {
    StepResult result;
    result.statistics.resize(request.canvas.size(), request.wanted);
    compute_row_statistics(flat, facts_.vocabulary, 0, request.canvas.size(), request.statistics_request(), result.statistics);
    if (request.want_logits) result.logits.assign(flat.begin(), flat.end());
    return result;
  }

  Network network_;
  DenoiserFacts facts_;
};

[[maybe_unused]] const bool registered = [] {
  checkpoint_loader() = [](const std::string& folder, const ModelOptions& options) -> std::unique_ptr<Denoiser> {
    if (options.dtype != "f32" && options.dtype != "bf16") throw usage_error("dtype '{}' is unknown; expected f32 or bf16", options.dtype);
    if (options.device != "cpu" && options.device != "cuda") throw usage_error("device '{}' is unknown; expected cpu or cuda", options.device);
    if (options.device == "cuda" && !at::hasCUDA()) throw usage_error("--device cuda: this build holds no CUDA kernels, or there is no GPU; use --device cpu");
    // Parallelism is over sequences, each with single-thread maths: results never depend on the number of threads.
    at::set_num_threads(1);
    return std::make_unique<NetworkDenoiser>(folder, options);
  };
  return true;
}();

}  // namespace
}  // namespace canvaslab
