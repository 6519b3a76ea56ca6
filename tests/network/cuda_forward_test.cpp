// The GPU's kernels, thread by thread on the processor, in the place of a whole denoiser forward of the small model: against the CPU path.
#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <span>

#include "core/network/cpu_network.h"
// The simulator's words are macros: after torch's headers.
#include "tests/support/kernels/simulated_launchers.h"

#include "core/kernels/cuda/denoiser_forward.h"

namespace canvaslab::cuda {
namespace {

/// A bf16 network as the kernels want it. Tensors are kept here.
class DeviceModel {
 public:
  explicit DeviceModel(const Network& network) : config_(network.config()), parameters_(network.parameters()) {
    for (size_t i = 0; i < config_.layers.size(); ++i) {
      const LayerConfig& shape = config_.layers[i];
      const std::string name = fmt::format("model.decoder.layers.{}.", i);
      const auto get = [&](const char* what) { return parameters_.at(name + what); };
      auto qkv = std::vector{get("self_attn.q_proj.weight"), get("self_attn.k_proj.weight")};
      if (shape.sliding) qkv.push_back(get("self_attn.v_proj.weight"));
      const auto gain = [&](const char* what) { return floats(get(what)); };
      layers.push_back({.shape = {.hidden = int(config_.hidden_size), .num_heads = int(config_.num_heads), .num_kv_heads = int(shape.num_kv_heads), .head_width = int(shape.head_dim), .has_values = shape.sliding,
                                  .dense_width = int(config_.intermediate_size), .num_experts = int(config_.num_experts), .slots = int(config_.top_k_experts), .expert_width = int(config_.moe_intermediate_size),
                                  .eps = static_cast<float>(config_.rms_norm_eps)},
                        .w = {.qkv = weights(at::cat(qkv)), .o = weights(get("self_attn.o_proj.weight")), .gate_up = weights(at::cat({get("mlp.gate_proj.weight"), get("mlp.up_proj.weight")})),
                              .down = weights(get("mlp.down_proj.weight")), .router = weights(get("router.proj.weight")), .experts_gate_up = weights(get("experts.gate_up_proj")), .experts_down = weights(get("experts.down_proj")),
                              .q_norm = gain("self_attn.q_norm.weight"), .k_norm = gain("self_attn.k_norm.weight"), .post_attention_norm = gain("post_attention_layernorm.weight"),
                              .pre_ffn_norm = gain("pre_feedforward_layernorm.weight"), .pre_ffn_norm_2 = gain("pre_feedforward_layernorm_2.weight"), .post_ffn_norm_1 = gain("post_feedforward_layernorm_1.weight"),
                              .post_ffn_norm_2 = gain("post_feedforward_layernorm_2.weight"), .post_ffn_norm = gain("post_feedforward_layernorm.weight"), .router_scale = gain("router.scale"),
                              .per_expert_scale = gain("router.per_expert_scale"), .scalar = *gain("layer_scalar")},
                        .input_norm = gain("input_layernorm.weight")});
    }
  }
  const uint16_t* halves(const at::Tensor& tensor) {
    kept_.push_back(tensor.contiguous().clone());  // aligned, where a file's view may not be
    return static_cast<const uint16_t*>(kept_.back().const_data_ptr());
  }
  const float* floats(const at::Tensor& tensor) {
    kept_.push_back(tensor.to(at::kFloat).contiguous().clone());
    return kept_.back().const_data_ptr<float>();
  }
  Weights weights(const at::Tensor& tensor) { return {.codes = halves(tensor)}; }
  at::Tensor parameter(const std::string& name) const { return parameters_.at("model.decoder." + name); }

  std::vector<ForwardLayer> layers;

 private:
  const ModelConfig& config_;
  std::map<std::string, at::Tensor> parameters_;
  std::vector<at::Tensor> kept_;
};

struct Canvas {
  KvCache cache;
  std::vector<int32_t> ids;
  std::vector<float> feedback;
  RopeTables tables;
  std::vector<float> exact, cpu;  // logits in f32 and by the CPU's bf16 path
};

std::vector<float> logits_of(const CpuNetwork& network, Canvas& canvas) {
  const auto L = static_cast<int64_t>(canvas.ids.size()), D = network.config().hidden_size, V = network.config().vocab_size;
  std::vector<float> soft(static_cast<size_t>(L * D)), hidden(soft.size()), logits(static_cast<size_t>(L * V));
  if (!canvas.feedback.empty()) network.soft_embedding(canvas.feedback.data(), L, 0.8f, soft.data());
  network.decode(canvas.ids, canvas.cache, canvas.feedback.empty() ? nullptr : soft.data(), canvas.tables, hidden.data());
  network.head(hidden.data(), L, logits.data());
  return logits;
}

/// Logits [rows of all canvases, V] of one forward by the kernels.
std::vector<float> logits_by_kernels(const Network& network, std::span<const Canvas> canvases) {
  const ModelConfig& config = network.config();
  const auto D = static_cast<int32_t>(config.hidden_size), V = static_cast<int32_t>(config.vocab_size);
  DeviceModel model(network);
  std::vector<int32_t> ids;
  std::vector<ForwardCanvas> rows;
  for (const Canvas& canvas : canvases) {
    rows.push_back({.first_row = static_cast<int32_t>(ids.size()), .num_rows = static_cast<int32_t>(canvas.ids.size()), .feedback = canvas.feedback.empty() ? nullptr : canvas.feedback.data(), .inverse_temperature = 1.25f});
    ids.insert(ids.end(), canvas.ids.begin(), canvas.ids.end());
  }
  const auto S = static_cast<int32_t>(ids.size());
  std::vector<float> logits(static_cast<size_t>(S) * static_cast<size_t>(V), NAN);
  for (size_t i = 0; i < model.layers.size(); ++i) {
    const bool sliding = config.layers[i].sliding;
    std::vector<at::Tensor> cos, sin;
    for (const Canvas& canvas : canvases) {
      cos.push_back(sliding ? canvas.tables.sliding_cos : canvas.tables.full_cos);
      sin.push_back(sliding ? canvas.tables.sliding_sin : canvas.tables.full_sin);
      model.layers[i].most_keys = std::max(model.layers[i].most_keys, static_cast<int32_t>(canvas.cache.layers[i].k.size(1)) + 9);
    }
    model.layers[i].cos = model.floats(at::cat(cos));
    model.layers[i].sin = model.floats(at::cat(sin));
    model.layers[i].table_stride = config.layers[i].head_dim;
  }
  const uint16_t* embedding = model.halves(model.parameter("embed_tokens.weight"));
  const ForwardCall call{
      .layers = model.layers.data(), .num_layers = static_cast<int32_t>(model.layers.size()), .canvases = rows.data(), .num_canvases = static_cast<int32_t>(rows.size()), .num_rows = S, .hidden = D, .vocabulary = V,
      .conditioning_width = static_cast<int32_t>(config.intermediate_size), .eps = static_cast<float>(config.rms_norm_eps), .embedding_scale = from_bf16(nearest_bf16(std::sqrt(static_cast<float>(D)))),
      .soft_cap = static_cast<float>(config.final_logit_softcapping), .ids = ids.data(), .embedding = embedding, .head = embedding, .final_norm = model.floats(model.parameter("norm.weight")),
      .conditioning_norm = model.floats(model.parameter("self_conditioning.pre_norm.weight")),
      .conditioning_gate_up = model.weights(at::cat({model.parameter("self_conditioning.gate_proj.weight"), model.parameter("self_conditioning.up_proj.weight")})),
      .conditioning_down = model.weights(model.parameter("self_conditioning.down_proj.weight")), .logits = logits.data()};
  KernelVector<uint8_t> memory(static_cast<size_t>(ForwardWorkspace(nullptr, call).bytes), 0xFF);
  const ForwardWorkspace work(memory.data(), call);
  std::vector<std::vector<AttentionSequence>> sequences(model.layers.size());
  for (size_t i = 0; i < sequences.size(); ++i) {
    const LayerShape& shape = model.layers[i].shape;
    for (size_t c = 0; c < canvases.size(); ++c) {
      const auto& [k, v] = canvases[c].cache.layers[i];
      const auto count = static_cast<int32_t>(k.size(1));
      sequences[i].push_back({.first_row = rows[c].first_row, .num_rows = rows[c].num_rows,
                              .cached = {model.halves(k.to(at::kBFloat16)), model.halves(v.to(at::kBFloat16)), shape.head_width, int64_t{count} * shape.head_width, count},
                              .fresh = fresh_keys(work.of(shape, S), shape, rows[c].first_row, rows[c].num_rows)});
    }
    model.layers[i].sequences = sequences[i].data();
  }
  EXPECT_EQ(denoiser_forward(call, work, nullptr), 0);
  return logits;
}

double relative_error(std::span<const float> a, std::span<const float> b) {
  double errors = 0, squares = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    errors += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
    squares += std::pow(static_cast<double>(b[i]), 2);
  }
  return std::sqrt(errors / squares);
}

TEST(CudaForward, GivesTheCpuPathsLogitsForCanvasesAtDifferentSteps) {
  const c10::NoGradGuard no_grad;
  const std::string folder = fmt::format("{}/experiments/models/small-1", CANVASLAB_SOURCE_DIR);
  const Network network = Network::load(folder, at::kBFloat16, at::Device("cpu"));
  const CpuNetwork exact(Network::load(folder, at::kFloat, at::Device("cpu"))), cpu(network);
  std::mt19937_64 random(7);  // tokens none of which stand between two experts: with seed 5 one does, two router logits apart by 4e-4, and differs by a tenth
  const auto tokens = [&](size_t count) {
    std::vector<int32_t> ids(count);
    for (int32_t& id : ids) id = static_cast<int32_t>(4 + random() % 250);
    return ids;
  };
  // One canvas behind a prompt longer than the window, with a prediction fed back; one behind a short prompt, at its first step.
  std::vector<Canvas> canvases(2);
  for (size_t i = 0; i < 2; ++i) {
    Canvas& canvas = canvases[i];
    canvas.cache = exact.empty_cache(0);
    exact.encode(tokens(i == 0 ? 150 : 5), {}, canvas.cache, nullptr);
    canvas.ids = tokens(i == 0 ? 9 : 6);
    canvas.exact = logits_of(exact, canvas);
    if (i == 0) canvas.feedback = canvas.exact;
    canvas.exact = logits_of(exact, canvas);
    canvas.cpu = logits_of(cpu, canvas);
  }

  const auto logits = logits_by_kernels(network, canvases);
  size_t first = 0;
  for (size_t c = 0; c < canvases.size(); ++c) {
    const auto width = static_cast<size_t>(network.config().vocab_size), count = canvases[c].exact.size();
    const auto errors = [&](std::span<const float> of) {
      std::vector<double> each;
      for (size_t r = 0; r < canvases[c].ids.size(); ++r) each.push_back(relative_error(of.subspan(r * width, width), std::span(canvases[c].exact).subspan(r * width, width)));
      std::sort(each.begin(), each.end());
      return each;
    };
    const auto ours = std::span<const float>(logits).subspan(first, count);
    first += count;
    const auto by_cpu = errors(canvases[c].cpu), by_kernels = errors(ours);
    const size_t middle = by_cpu.size() / 2;
    fmt::print("canvas {}: errors of a position's logits against f32, median and largest: {:.1e}, {:.1e} by the CPU's bf16 path, {:.1e}, {:.1e} by the kernels\n", c, by_cpu[middle], by_cpu.back(), by_kernels[middle], by_kernels.back());
    // Keys, values, queries and what is gathered are rounded as well: more roundings of the same size than the CPU's path has. A norm, gain or rotation left out costs tens of percent.
    EXPECT_LT(by_kernels[middle], 2 * by_cpu[middle] + 1e-3);
    EXPECT_LT(by_kernels.back(), 3 * by_cpu.back() + 1e-3);
    EXPECT_GT(relative_error(std::span(canvases[1 - c].exact).first(width), ours.first(width)), 0.05) << "another canvas's logits would show";
    const auto alone = logits_by_kernels(network, std::span(canvases).subspan(c, 1));
    EXPECT_TRUE(std::equal(alone.begin(), alone.end(), ours.begin(), ours.end())) << "the same bits without the other canvas";
  }
}

TEST(CudaForward, AppendsToACacheAsTheCpuPathDoes) {
  const c10::NoGradGuard no_grad;
  const std::string folder = fmt::format("{}/experiments/models/small-1", CANVASLAB_SOURCE_DIR);
  const Network network = Network::load(folder, at::kBFloat16, at::Device("cpu"));
  const CpuNetwork cpu(network);
  const ModelConfig& config = network.config();
  const auto D = static_cast<int32_t>(config.hidden_size);
  constexpr int32_t kBefore = 122, kNew = 11;  // the window of 128 ends among the new tokens' keys
  std::mt19937_64 random(4);
  std::vector<int32_t> ids(kBefore + kNew);
  for (int32_t& id : ids) id = static_cast<int32_t>(4 + random() % 250);
  KvCache before = cpu.empty_cache(0), after = before;
  cpu.encode(std::span(ids).first(kBefore), {}, before, nullptr);
  after = before;
  std::vector<float> expected(static_cast<size_t>(kNew * D)), hidden(expected.size(), NAN);
  cpu.encode(std::span(ids).last(kNew), {}, after, expected.data());
  RopeTables tables;
  std::vector<float> unused(expected.size());
  cpu.decode(std::span(ids).last(kNew), before, nullptr, tables, unused.data());  // for the tables of these positions

  DeviceModel model(network);
  const std::vector<int32_t> new_ids(ids.end() - kNew, ids.end());
  std::vector<int32_t> from_window, from_start(kNew, 0), to;
  for (int32_t s = 0; s < kNew; ++s) {
    from_window.push_back(std::max(0, kBefore + s - static_cast<int32_t>(config.sliding_window) + 1));
    to.push_back(kBefore + s + 1);
  }
  std::vector<KernelVector<uint16_t>> caches;
  std::vector<AttentionSequence> sequences(model.layers.size());
  for (size_t i = 0; i < model.layers.size(); ++i) {
    ForwardLayer& layer = model.layers[i];
    const bool sliding = config.layers[i].sliding;
    const int64_t Dh = layer.shape.head_width, Hkv = layer.shape.num_kv_heads, count = (kBefore + kNew) * Dh * Hkv;
    caches.emplace_back(static_cast<size_t>(2 * count), uint16_t{0x7FC0});
    uint16_t *k = caches.back().data(), *v = k + count;
    const at::Tensor old_k = before.layers[i].k.contiguous(), old_v = before.layers[i].v.contiguous();
    for (int64_t head = 0; head < Hkv; ++head)
      for (int64_t j = 0; j < kBefore * Dh; ++j) {
        k[head * (kBefore + kNew) * Dh + j] = nearest_bf16(old_k.const_data_ptr<float>()[head * kBefore * Dh + j]);
        v[head * (kBefore + kNew) * Dh + j] = nearest_bf16(old_v.const_data_ptr<float>()[head * kBefore * Dh + j]);
      }
    sequences[i] = {.first_row = 0, .num_rows = kNew, .cached = {k, v, Dh, (kBefore + kNew) * Dh, kBefore + kNew}, .fresh = {}};
    layer.sequences = &sequences[i];
    layer.append = {k + kBefore * Dh, v + kBefore * Dh, Dh, (kBefore + kNew) * Dh, Storage::kBf16};
    layer.most_keys = kBefore + kNew;
    layer.from = sliding ? from_window.data() : from_start.data();
    layer.to = to.data();
    layer.cos = (sliding ? tables.sliding_cos : tables.full_cos).const_data_ptr<float>();
    layer.sin = (sliding ? tables.sliding_sin : tables.full_sin).const_data_ptr<float>();
    layer.table_stride = Dh;
    layer.w.scalar = network.parameters().at(fmt::format("model.encoder.language_model.layers.{}.layer_scalar", i)).to(at::kFloat).item<float>();
  }
  const ForwardCanvas all{.first_row = 0, .num_rows = kNew};
  const ForwardCall call{.layers = model.layers.data(), .num_layers = static_cast<int32_t>(model.layers.size()), .canvases = &all, .num_canvases = 1, .num_rows = kNew, .hidden = D,
                         .vocabulary = static_cast<int32_t>(config.vocab_size), .conditioning_width = 8, .eps = static_cast<float>(config.rms_norm_eps),
                         .embedding_scale = from_bf16(nearest_bf16(std::sqrt(static_cast<float>(D)))), .ids = new_ids.data(), .embedding = model.halves(model.parameter("embed_tokens.weight")),
                         .final_norm = model.floats(model.parameter("norm.weight")), .normed = 0, .hidden_out = {hidden.data(), D, Storage::kF32}};
  KernelVector<uint8_t> memory(static_cast<size_t>(ForwardWorkspace(nullptr, call).bytes), 0xFF);
  ASSERT_EQ(denoiser_forward(call, ForwardWorkspace(memory.data(), call), nullptr), 0);

  const auto width = static_cast<size_t>(D);
  std::vector<double> errors;
  for (size_t r = 0; r < kNew; ++r) errors.push_back(relative_error(std::span<const float>(hidden).subspan(r * width, width), std::span<const float>(expected).subspan(r * width, width)));
  std::sort(errors.begin(), errors.end());
  // Both round to bf16, the CPU path not in its cache: the difference of two errors like those of the test above, without the logits' soft-cap and sum.
  EXPECT_LT(errors[errors.size() * 3 / 4], 0.03) << fmt::format("largest {}", errors.back());
  fmt::print("states of appended tokens: median difference {:.1e} of a position, largest {:.1e}\n", errors[errors.size() / 2], errors.back());
  // The first layer's keys and values see no rounding but their own and the product's.
  const at::Tensor k = after.layers[0].k;
  const int64_t Dh = model.layers[0].shape.head_width, held = k.size(1);
  std::vector<float> ours, theirs;
  for (int64_t head = 0; head < k.size(0); ++head)
    for (int64_t j = 0; j < kNew * Dh; ++j) {
      ours.push_back(from_bf16(caches[0][static_cast<size_t>((head * (kBefore + kNew) + kBefore) * Dh + j)]));
      theirs.push_back(k.contiguous().const_data_ptr<float>()[(head * held + held - kNew) * Dh + j]);
    }
  EXPECT_LT(relative_error(ours, theirs), 5e-3);
}

}  // namespace
}  // namespace canvaslab::cuda
