// Checkpoints as denoisers, and the network's tensors as one: sequences are KV caches plus the last prediction.
#include "core/network/network_denoiser.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>

#include "core/error.h"
#include "core/model.h"
#include "core/network/cpu_denoiser.h"
#include "core/network/cuda_denoiser.h"
#include "core/network/network.h"

namespace canvaslab {
namespace {

struct NetworkSequence final : Sequence {
  KvCache cache;
  at::Tensor prediction;  // [L, V] tempered logits of the last step in the weights' dtype, or undefined
  std::unique_ptr<Sequence> fork() const override { return std::make_unique<NetworkSequence>(*this); }  // tensors are never written in place
};

class NetworkDenoiser final : public Denoiser {
 public:
  NetworkDenoiser(Network network, DenoiserFacts facts) : network_(std::move(network)), facts_(std::move(facts)) {}
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
    const auto hidden = network_.encode(to_tensor(canvas), {}, s.cache, want_causal_logits);
    return want_causal_logits ? to_floats(network_.logits(hidden)) : std::vector<float>{};
  }

  std::unique_ptr<Sequence> cut(const Sequence& before, const Sequence& after, std::span<const int32_t> kept) const override {
    const c10::NoGradGuard no_grad;
    auto out = std::make_unique<NetworkSequence>(dynamic_cast<const NetworkSequence&>(before));
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
    at::Tensor feedback;
    if (request.self_conditioning == SelfConditioning::kPrevious && request.step_idx > 0) feedback = s.prediction;
    if (request.self_conditioning == SelfConditioning::kGiven)
      feedback = at::from_blob(const_cast<float*>(request.given_logits.data()), {static_cast<int64_t>(request.canvas.size()), facts_.vocabulary}, at::kFloat).to(network_.device());
    const auto logits = network_.decode(to_tensor(request.canvas), s.cache, feedback);  // [L, V] f32
    if (!request.hold_prediction) s.prediction = (request.temperature > 0 ? logits.div(request.temperature) : logits).to(network_.dtype());
    const auto host = logits.to(at::kCPU).contiguous();
    const std::span<const float> flat(host.const_data_ptr<float>(), static_cast<size_t>(host.numel()));
    StepResult result;
    result.statistics.resize(request.canvas.size(), request.wanted);
    compute_row_statistics(flat, facts_.vocabulary, 0, request.canvas.size(), request.statistics_request(), result.statistics);
    if (request.want_logits) result.logits.assign(flat.begin(), flat.end());
    return result;
  }

  Network network_;
  DenoiserFacts facts_;
};

Network load_network(const std::string& folder, const ModelOptions& options, QuantisedWeights quantised) {
  if (options.dtype != "f32" && options.dtype != "bf16") throw usage_error("dtype '{}' is unknown; expected f32 or bf16", options.dtype);
  const at::Device device = device_named(options.device);
  // Parallelism is over sequences, each with single-thread maths: results never depend on the number of threads.
  at::set_num_threads(1);
  return Network::load(folder, options.dtype == "bf16" ? at::kBFloat16 : at::kFloat, device, options.adapter, quantised);
}

DenoiserFacts facts_of(const std::string& folder, const Network& network) {
  DenoiserFacts facts;
  facts.vocabulary = static_cast<int32_t>(network.config().vocab_size);
  facts.has_causal_mode = true;
  facts.self_conditioning = true;
  if (!network.device().is_cpu()) facts.runs_on = "cuda by LibTorch";
  facts.defaults = read_generation_config(folder, network.config());
  return facts;
}

/// The kernels on this machine's GPU; null, with the reason, where they cannot serve.
std::unique_ptr<Denoiser> by_kernels(const std::string& folder, const ModelOptions& options, std::string& why_not) {
#ifdef CANVASLAB_HAS_CUDA
  if (options.dtype != "bf16") {
    why_not = fmt::format("the kernels multiply in bf16 (--dtype bf16), not in {}", options.dtype);
    return nullptr;
  }
  if (const std::string why = CudaNetwork::unsuitable(ModelConfig::read(folder)); !why.empty()) {
    why_not = "the kernels cannot run this model: " + why;
    return nullptr;
  }
  std::shared_ptr<cuda::Device> device = cuda::open_device(why_not);
  if (!device) return nullptr;
  at::set_num_threads(1);
  Network network = Network::load(folder, at::kBFloat16, at::kCPU, options.adapter, QuantisedWeights::kForKernels);
  DenoiserFacts facts = facts_of(folder, network);
  facts.runs_on = "cuda";
  return cuda_denoiser(CudaNetwork(std::move(network), std::move(device)), std::move(facts));
#else
  (void)folder, (void)options;
  why_not = "this build holds no kernels: it was made without nvcc";
  return nullptr;
#endif
}

[[maybe_unused]] const bool registered = [] {
  checkpoint_loader() = [](const std::string& folder, const ModelOptions& options) -> std::unique_ptr<Denoiser> {
    if (options.device == "cuda") {
      std::string why_not;
      if (auto denoiser = by_kernels(folder, options, why_not)) return denoiser;
      if (!torch_has_gpu()) throw usage_error("device cuda: {}; and LibTorch finds no GPU, or has no CUDA operations (CANVASLAB_LIBTORCH names another one)\nuse cpu, or see to the above", why_not);
    }
    Network network = load_network(folder, options, QuantisedWeights::kPacked);
    DenoiserFacts facts = facts_of(folder, network);
    if (CpuNetwork::serves(network)) return cpu_denoiser(CpuNetwork(std::move(network)), std::move(facts));
    return std::make_unique<NetworkDenoiser>(std::move(network), std::move(facts));
  };
  return true;
}();

}  // namespace

std::unique_ptr<Denoiser> tensor_denoiser(const std::string& folder, const ModelOptions& options) {
  Network network = load_network(folder, options, QuantisedWeights::kUnpacked);
  DenoiserFacts facts = facts_of(folder, network);
  return std::make_unique<NetworkDenoiser>(std::move(network), std::move(facts));
}

}  // namespace canvaslab
