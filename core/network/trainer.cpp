#include "core/network/trainer.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <optional>

#include "core/error.h"
#include "core/network/adamw.h"
#include "core/network/corruption.h"
#include "core/network/lora_training.h"
#include "core/network/network.h"
#include "core/safetensors_header.h"
#include "core/safetensors_writer.h"

namespace canvaslab {
namespace {

at::Tensor to_ids(std::span<const int32_t> ids, int64_t rows) {
  std::vector<int64_t> wide(ids.begin(), ids.end());
  return at::tensor(wide, at::kLong).view({rows, -1});
}

std::string_view bytes_of(const at::Tensor& tensor) { return {static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes()}; }

KvCache repeated(const KvCache& cache, int64_t times) {
  KvCache out = cache;
  for (auto& layer : out.layers) {
    layer.k = layer.k.repeat({times, 1, 1, 1});
    layer.v = layer.v.repeat({times, 1, 1, 1});
  }
  return out;
}

bool has_weights(const std::string& folder) {
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.path().extension() == ".safetensors") return true;
  return false;
}

Network starting_network(const std::string& folder, const TrainerOptions& options) {
  const at::Device device = device_named(options.device);
  if (has_weights(folder)) return Network::load(folder, at::kFloat, device);
  if (options.fine_tunes || options.lora.rank > 0) throw input_error("{}: holds no weights to start from (model*.safetensors); fine-tuning needs a trained model's folder", folder);
  return Network::fresh(folder, options.seed, device);
}

}  // namespace

double scheduled_rate(const TrainerOptions& options, int64_t step) {
  const double done = static_cast<double>(step) / static_cast<double>(options.num_steps);
  if (step < options.warmup_steps) return options.learning_rate * static_cast<double>(step + 1) / static_cast<double>(options.warmup_steps);
  if (done <= options.constant_until) return options.learning_rate;
  const double left = std::max(0.0, (1 - done) / (1 - options.constant_until));
  return options.learning_rate * (options.final_rate + (1 - options.final_rate) * left);
}

struct Trainer::State {
  std::string folder;
  TrainerOptions options;
  Network network;
  std::optional<LoraTargets> lora;
  int64_t num_done = 0;
  int64_t num_decayed = 0;                                    ///< the first elements of the flat buffers belong to matrices
  at::Tensor weights, gradient, average, moment1, moment2;    // [n] f32 each; trained parameters and their gradients are views
  std::vector<std::pair<std::string, int64_t>> places;        ///< parameter name and first element, in the buffers' order

  State(const std::string& from, const TrainerOptions& chosen)
      : folder(from), options(chosen), network(starting_network(from, chosen)) {
    at::set_num_threads(1);
    options.fused = options.fused && network.device().is_cpu();
    network.make_trainable();
    if (options.lora.rank > 0) lora.emplace(network, options.lora, options.seed);
    int64_t total = 0;
    for (const bool matrices : {true, false}) {
      for (const auto& [name, parameter] : trained()) {
        if ((parameter.dim() > 1) != matrices) continue;
        places.emplace_back(name, total);
        total += parameter.numel();
      }
      if (matrices) num_decayed = total;
    }
    weights = at::zeros({total}, at::TensorOptions().dtype(at::kFloat).device(network.device()));
    gradient = at::zeros_like(weights);
    moment1 = at::zeros_like(weights);
    moment2 = at::zeros_like(weights);
    for (const auto& [name, first] : places) {
      at::Tensor& parameter = trained().at(name);
      const auto view = weights.narrow(0, first, parameter.numel()).view(parameter.sizes());
      view.copy_(parameter.detach());
      parameter.set_data(view);
      parameter.mutable_grad() = gradient.narrow(0, first, parameter.numel()).view(parameter.sizes());
    }
    average = weights.clone();
  }

  std::map<std::string, at::Tensor>& trained() { return lora ? lora->parameters() : network.parameters(); }

  /// The average of every trained parameter, by name.
  std::map<std::string, at::Tensor> averages() {
    std::map<std::string, at::Tensor> out;
    for (const auto& [name, first] : places) {
      const at::Tensor& parameter = trained().at(name);
      out[name] = average.narrow(0, first, parameter.numel()).view(parameter.sizes());
    }
    return out;
  }

  std::map<std::string, LoraFactors> averaged_factors() {
    const auto values = averages();
    return lora->factors([&](const std::string& name) { return values.at(name); });
  }

  /// The weights to write, by checkpoint name.
  std::map<std::string, at::Tensor> averaged_weights() {
    if (!lora) return averages();
    const c10::NoGradGuard no_grad;
    auto out = network.parameters();
    for (const auto& [name, factors] : averaged_factors()) out[name] = adapted(lora->base(name), factors);
    return out;
  }

  /// What a state is bound to.
  std::string bound(const std::string& settings) const {
    return lora || options.fine_tunes ? fmt::format("{}started from weights {}\n", settings, network.content_hash()) : settings;
  }

  at::Tensor on_device(const at::Tensor& t) const { return t.to(network.device()); }

  DrawKey draw(size_t batch) const {
    return {.seed = options.seed, .item = static_cast<uint64_t>(num_done), .canvas_idx = static_cast<uint32_t>(batch)};
  }

  size_t length_of(const TrainingBatch& batch) const { return batch.canvas_length ? batch.canvas_length : static_cast<size_t>(network.config().canvas_length); }

  void check(const TrainingBatch& batch, size_t index) const {
    const auto V = static_cast<int32_t>(network.config().vocab_size);
    const size_t B = batch.rows, L = length_of(batch);
    const auto refuse = [&](const std::string& what) { throw usage_error("training batch {}: {}", index, what); };
    if (B == 0 || batch.prompts.empty() || batch.prompts.size() % B != 0) refuse(fmt::format("{} prompt tokens for {} rows; expected the same number for each, at least 1", batch.prompts.size(), B));
    if (batch.answers.empty() || batch.answers.size() % (B * L) != 0) refuse(fmt::format("{} answer tokens for {} rows; expected whole canvases of {}", batch.answers.size(), B, L));
    if (batch.answer_lengths.size() != B) refuse(fmt::format("{} answer lengths for {} rows", batch.answer_lengths.size(), B));
    for (const int32_t length : batch.answer_lengths)
      if (length < 1 || static_cast<size_t>(length) > batch.answers.size() / B) refuse(fmt::format("an answer of {} tokens; expected 1 to {}", length, batch.answers.size() / B));
    for (const auto* tokens : {&batch.prompts, &batch.answers})
      for (const int32_t token : *tokens)
        if (token < 0 || token >= V) refuse(fmt::format("token {} is outside the vocabulary of {}", token, V));
  }

  /// Adds the gradient of one batch, divided by num_batches.
  BatchLosses accumulate(const TrainingBatch& batch, size_t index, size_t num_batches) {
    const auto B = static_cast<int64_t>(batch.rows), L = static_cast<int64_t>(length_of(batch));
    const auto clean = to_ids(batch.answers, B);
    const auto prompts = on_device(to_ids(batch.prompts, B)), answers = on_device(clean);
    const int64_t P = prompts.size(1), C = answers.size(1) / L;
    DrawKey key = draw(index);
    const auto c = static_cast<int64_t>(key.below(static_cast<uint32_t>(C), Purpose::kTraining, 0, kTargetCanvas));
    TrainingPass pass{.bf16_products = options.bf16_products, .fused = options.fused, .balance = {}};
    // The clean text in two pieces, so that the canvases see the cache as it is when canvas c is written.
    KvCache before = network.empty_cache(0, B);
    const auto context = at::cat({prompts, answers.narrow(1, 0, c * L)}, 1);
    const auto context_hidden = network.encode(context, {}, before, true, &pass);
    KvCache rest = before;
    const auto rest_hidden = network.encode(answers.narrow(1, c * L, (C - c) * L), {}, rest, true, &pass);
    const auto causal = causal_loss(at::cat({context_hidden, rest_hidden}, 1).narrow(1, P - 1, C * L), answers, batch.answer_lengths, pass);
    BatchLosses out;
    const auto diffusion = diffusion_loss(clean.narrow(1, c * L, L).contiguous(), before, key, pass, out.noisiest);
    const auto balance = pass.balance / static_cast<double>(3 * network.config().num_layers);
    const auto loss = diffusion + options.causal_weight * causal + options.balance_weight * balance;
    out.diffusion = diffusion.item<double>();
    out.causal = causal.item<double>();
    out.balance = balance.item<double>();
    out.tokens = B * (P + C * L) + B * options.canvases_per_sequence * L;
    if (!std::isfinite(loss.item<double>()))
      throw input_error("training: step {}, batch {}: the loss is not finite (diffusion {}, causal {}); the step was not taken\nlower the learning rate, or look at the batch", num_done, index,
                        out.diffusion, out.causal);
    (loss / static_cast<double>(num_batches)).backward();
    return out;
  }

  /// hidden [B, C * L, D]: the state in front of each answer token.
  at::Tensor causal_loss(const at::Tensor& hidden, const at::Tensor& answers, const std::vector<int32_t>& lengths, TrainingPass& pass) const {
    std::vector<int64_t> counted;
    for (size_t b = 0; b < lengths.size(); ++b)
      for (int64_t j = 0; j < lengths[b]; ++j) counted.push_back(static_cast<int64_t>(b) * answers.size(1) + j);
    const auto rows = on_device(at::tensor(counted, at::kLong));
    return network.cross_entropy(hidden.flatten(0, 1).index_select(0, rows), answers.flatten().index_select(0, rows), pass);
  }

  /// clean [B, L] on the CPU; the cache holds what stands before it. noisiest: see BatchLosses.
  at::Tensor diffusion_loss(const at::Tensor& clean, const KvCache& before, const DrawKey& key, TrainingPass& pass, double& noisiest) const {
    const int64_t B = clean.size(0), L = clean.size(1), n = options.canvases_per_sequence, N = n * B;
    const auto F = static_cast<int64_t>(std::floor(options.self_conditioning_share * static_cast<double>(N)));
    const std::span<const int64_t> tokens(clean.const_data_ptr<int64_t>(), static_cast<size_t>(B * L));
    const auto noisy = corrupt(tokens, static_cast<size_t>(L), static_cast<size_t>(N), static_cast<size_t>(F), static_cast<int32_t>(network.config().vocab_size), options.all_noise_share, key);
    const KvCache cache = repeated(before, n);
    at::Tensor feedback;  // [F, L, V]
    if (F > 0) {
      const c10::NoGradGuard no_grad;
      KvCache first = cache;
      for (auto& layer : first.layers) {
        layer.k = layer.k.narrow(0, 0, F);
        layer.v = layer.v.narrow(0, 0, F);
      }
      TrainingPass unrecorded{.bf16_products = options.bf16_products, .fused = options.fused, .balance = {}};
      feedback = network.decode(on_device(at::tensor(noisy.noisier, at::kLong)).view({F, L}), first, {}, &unrecorded) / on_device(at::tensor(noisy.temperature)).view({F, 1, 1});
    }
    const auto hidden = network.decode_hidden(on_device(at::tensor(noisy.canvas, at::kLong)).view({N, L}), cache, feedback, &pass);
    std::vector<float> each;  // [N * L]
    auto loss = network.cross_entropy(hidden.flatten(0, 1), on_device(clean.repeat({n, 1}).flatten()), pass, &each);
    double sum = 0, count = 0;
    for (size_t i = 0; i < each.size(); ++i)
      if (noisy.level[i / static_cast<size_t>(L)] >= 0.9) sum += static_cast<double>(each[i]), ++count;
    noisiest = sum / count;
    return loss;
  }

  void update(StepLosses& losses) {
    losses.gradient_norm = gradient.norm().item<double>();
    if (!std::isfinite(losses.gradient_norm)) throw input_error("training: step {}: the gradient is not finite; the step was not taken\nlower the learning rate", num_done);
    losses.learning_rate = scheduled_rate(options, num_done);
    const auto t = static_cast<double>(num_done + 1);
    AdamWStep adamw{.learning_rate = static_cast<float>(losses.learning_rate),
                    .beta1 = static_cast<float>(options.beta1),
                    .beta2 = static_cast<float>(options.beta2),
                    .epsilon = static_cast<float>(options.epsilon),
                    .weight_decay = static_cast<float>(options.weight_decay),
                    .correction1 = static_cast<float>(1 - std::pow(options.beta1, t)),
                    .correction2 = static_cast<float>(1 - std::pow(options.beta2, t)),
                    .gradient_scale = static_cast<float>(std::min(1.0, options.clip_norm / std::max(losses.gradient_norm, 1e-30))),
                    .average_decay = static_cast<float>(options.average_decay)};
    const auto run = [&](int64_t first, int64_t last) {
      const auto part = [&](const at::Tensor& buffer) { return buffer.narrow(0, first, last - first); };
      adamw_step(adamw, part(gradient), {.weights = part(weights), .moment1 = part(moment1), .moment2 = part(moment2), .average = part(average)});
    };
    run(0, num_decayed);
    adamw.weight_decay = 0;
    run(num_decayed, weights.numel());
    ++num_done;
  }
};

Trainer::Trainer(const std::string& folder, const TrainerOptions& options) : state_(std::make_unique<State>(folder, options)) {}
Trainer::~Trainer() = default;

StepLosses Trainer::step(std::span<const TrainingBatch> batches) {
  State& s = *state_;
  if (batches.empty()) throw usage_error("a training step needs at least one batch");
  for (size_t i = 0; i < batches.size(); ++i) s.check(batches[i], i);
  if (s.lora) s.lora->begin_step();
  s.gradient.zero_();
  StepLosses out;
  const auto count = static_cast<double>(batches.size());
  for (size_t i = 0; i < batches.size(); ++i) {
    const BatchLosses one = s.accumulate(batches[i], i, batches.size());
    out.batches.push_back(one);
    out.diffusion += one.diffusion / count;
    out.causal += one.causal / count;
    out.balance += one.balance / count;
    out.tokens += one.tokens;
  }
  if (s.lora) s.lora->finish_step();
  s.update(out);
  return out;
}

int64_t Trainer::num_done() const { return state_->num_done; }
int64_t Trainer::num_parameters() const { return state_->weights.numel(); }

void Trainer::save_state(const std::string& path, const std::string& given_settings, Moments moments) {
  State& s = *state_;
  const std::string settings = s.bound(given_settings);
  const bool rounded = moments == Moments::kRounded;
  const auto type = rounded ? at::kBFloat16 : at::kFloat;
  const std::string dtype = rounded ? "BF16" : "F32";
  const auto weights = s.weights.cpu(), average = s.average.cpu(), moment1 = s.moment1.to(type).cpu(), moment2 = s.moment2.to(type).cpu();
  s.moment1.copy_(moment1);
  s.moment2.copy_(moment2);
  const int64_t n = s.weights.numel(), length = static_cast<int64_t>(settings.size());
  const std::string_view done(reinterpret_cast<const char*>(&s.num_done), sizeof s.num_done);
  const std::vector<TensorToWrite> tensors{{"weights", "F32", {n}, bytes_of(weights)},  {"average", "F32", {n}, bytes_of(average)},
                                           {"moment1", dtype, {n}, bytes_of(moment1)},   {"moment2", dtype, {n}, bytes_of(moment2)},
                                           {"num_done", "I64", {1}, done},               {"settings", "U8", {length}, settings}};
  write_safetensors(path, tensors);
}

namespace {

/// One tensor of a state file, checked.
at::Tensor read_tensor(const std::string& path, const std::string& name, const std::vector<std::string>& dtypes, std::optional<int64_t> size) {
  for (const auto& header : read_safetensors_header(path)) {
    if (header.name != name) continue;
    if (std::find(dtypes.begin(), dtypes.end(), header.dtype) == dtypes.end() || header.shape.size() != 1)
      throw input_error("{}: tensor '{}' is {} with {} axes; a training state holds {} with one", path, name, header.dtype, header.shape.size(), fmt::join(dtypes, " or "));
    if (size && header.shape[0] != *size) throw input_error("{}: tensor '{}' holds {} numbers; this network has {} weights\nthe state belongs to another model; give another --out", path, name, header.shape[0], *size);
    const auto type = header.dtype == "F32" ? at::kFloat : header.dtype == "BF16" ? at::kBFloat16 : header.dtype == "I64" ? at::kLong : at::kByte;
    at::Tensor out = at::empty(header.shape, type);
    std::ifstream in(path, std::ios::binary);
    in.seekg(static_cast<std::streamoff>(header.first_byte));
    if (!in.read(static_cast<char*>(out.mutable_data_ptr()), static_cast<std::streamsize>(header.num_bytes))) throw input_error("{}: tensor '{}' cannot be read", path, name);
    return out;
  }
  throw input_error("{}: tensor '{}' is missing; this is no training state", path, name);
}

}  // namespace

void Trainer::load_state(const std::string& path, const std::string& settings) {
  State& s = *state_;
  const at::Tensor stored = read_tensor(path, "settings", {"U8"}, std::nullopt);
  const std::string wanted = s.bound(settings);
  if (bytes_of(stored) != wanted && wanted != settings && bytes_of(stored).starts_with(settings + "started from weights "))
    throw input_error("{}: its fine-tuning started from other weights than those of {}\ngive the folder it started from, or start anew with another --out", path, s.folder);
  if (bytes_of(stored) != wanted) throw input_error("{}: was written with other settings; a training resumes with its own\nundo the change, or start anew with another --out", path);
  const int64_t n = s.weights.numel();
  // All read before anything changes.
  const auto weights = read_tensor(path, "weights", {"F32"}, n), average = read_tensor(path, "average", {"F32"}, n);
  const auto moment1 = read_tensor(path, "moment1", {"BF16", "F32"}, n), moment2 = read_tensor(path, "moment2", {"BF16", "F32"}, n);
  s.num_done = read_tensor(path, "num_done", {"I64"}, 1).item<int64_t>();
  const c10::NoGradGuard no_grad;
  s.weights.copy_(weights);
  s.average.copy_(average);
  s.moment1.copy_(moment1);
  s.moment2.copy_(moment2);
}

void Trainer::save_model(const std::string& out, const std::string& dtype) const {
  State& s = *state_;
  std::filesystem::create_directories(out);
  for (const auto& entry : std::filesystem::directory_iterator(s.folder)) {
    const bool weights = entry.path().extension() == ".safetensors" || entry.path().filename() == "model.safetensors.index.json";
    if (!weights && entry.is_regular_file()) std::filesystem::copy_file(entry.path(), out / entry.path().filename(), std::filesystem::copy_options::overwrite_existing);
  }
  std::vector<at::Tensor> kept;
  std::vector<TensorToWrite> tensors;
  const auto put = [&](const std::string& name, const at::Tensor& weight) {
    kept.push_back(weight.to(dtype == "BF16" ? at::kBFloat16 : at::kFloat).cpu().contiguous());
    tensors.push_back({name, dtype, weight.sizes().vec(), bytes_of(kept.back())});
  };
  const auto weights = s.averaged_weights();
  for (const bool matrices : {true, false})
    for (const auto& [name, weight] : weights)
      if ((weight.dim() > 1) == matrices) put(name, weight);
  write_safetensors(out + "/model.safetensors", tensors);
}

void Trainer::save_adapter(const std::string& out) const {
  State& s = *state_;
  write_lora_adapter(out, std::filesystem::canonical(s.folder).string(), s.options.lora.rank, s.options.lora.alpha, s.averaged_factors());
}

}  // namespace canvaslab
