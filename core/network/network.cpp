// The forward pass. Rounding points follow transformers 5.17's defaults: see model.md 3.1.
#include "core/network/network.h"

#include <ATen/ATen.h>
#include <ATen/core/Reduction.h>

#include <dlfcn.h>

#include <cmath>

#include "core/error.h"
#include "core/network/training_ops.h"

namespace canvaslab {
namespace {

constexpr int64_t kQueryChunk = 512;  // queries attended at once: masks stay [512, P], never [P, P]

/// y = x / rms(x) [* w], in f32, rounded once. w undefined: no weight.
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& w, double eps) {
  const auto f = x.to(at::kFloat);
  auto y = f * (f.pow(2).mean(-1, true) + eps).pow(-0.5);
  if (w.defined()) y = y * w.to(at::kFloat);
  return y.to(x.scalar_type());
}

bool is_fused(const TrainingPass* training) { return training && training->fused; }

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& w, double eps, const TrainingPass* training) {
  return is_fused(training) ? training_ops::rms_norm(x, w, eps) : rms_norm(x, w, eps);
}

/// x [.., K] times each w [N, K] transposed, in x's dtype.
std::vector<at::Tensor> products(const at::Tensor& x, const std::vector<at::Tensor>& w, const TrainingPass* training) {
  if (is_fused(training)) return training_ops::products(x, w, training->bf16_products);
  std::vector<at::Tensor> out;
  for (const auto& one : w)
    out.push_back(training && training->bf16_products ? at::linear(x.to(at::kBFloat16), one.to(at::kBFloat16)).to(x.scalar_type()) : at::linear(x, one));
  return out;
}
at::Tensor product(const at::Tensor& x, const at::Tensor& w, const TrainingPass* training) { return products(x, {w}, training).front(); }

at::Tensor gelu_times(const at::Tensor& gate, const at::Tensor& up, const TrainingPass* training) {
  return is_fused(training) ? training_ops::gelu_times(gate, up) : at::gelu(gate, "tanh") * up;
}

at::Tensor gated_mlp(const at::Tensor& x, const at::Tensor& gate, const at::Tensor& up, const at::Tensor& down, const TrainingPass* training) {
  const auto both = products(x, {gate, up}, training);
  return product(gelu_times(both[0], both[1], training), down, training);
}

/// x [.., S, heads, Dh] with cos, sin [S, 1, Dh]; pairs t and t + Dh/2.
at::Tensor rotate(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin) {
  const auto halves = x.chunk(2, -1);
  return x * cos + at::cat({-halves[1], halves[0]}, -1) * sin;
}

at::Tensor norm_rotate(const at::Tensor& x, const at::Tensor& w, double eps, const at::Tensor& cos, const at::Tensor& sin, const TrainingPass* training) {
  return is_fused(training) ? training_ops::norm_rotate(x, w, eps, cos, sin) : rotate(rms_norm(x, w, eps), cos, sin);
}

at::Tensor add_norm(const at::Tensor& x, const at::Tensor& a, const at::Tensor& w, double eps, const TrainingPass* training) {
  return is_fused(training) ? training_ops::add_norm(x, a, w, eps) : x + rms_norm(a, w, eps);
}

}  // namespace

std::vector<int64_t> vision_blocks(const std::vector<uint8_t>& types) {
  std::vector<int64_t> block(types.size(), -1);
  int64_t next = -1;
  for (size_t i = 0; i < types.size(); ++i) {
    if (types[i] != 1 && types[i] != 2) continue;
    if (i == 0 || (types[i - 1] != 1 && types[i - 1] != 2)) ++next;
    block[i] = next;
  }
  return next < 0 ? std::vector<int64_t>{} : block;
}

int64_t piece_end(std::span<const int64_t> block, int64_t begin, int64_t count, int64_t most) {
  int64_t end = std::min(count, begin + most);
  while (!block.empty() && end < count && block[static_cast<size_t>(end)] >= 0 && block[static_cast<size_t>(end)] == block[static_cast<size_t>(end - 1)]) ++end;
  return end;
}

void seen_keys(std::span<const int64_t> block, int64_t before, int64_t window, std::span<int64_t> from, std::span<int64_t> to) {
  for (size_t s = 0; s < from.size(); ++s) {
    const int64_t key = before + static_cast<int64_t>(s);
    from[s] = window > 0 ? std::max<int64_t>(0, key - window + 1) : 0;
    to[s] = key + 1;
  }
  for (size_t begin = 0, end = 0; begin < block.size(); begin = end) {  // runs of one number
    while (end < block.size() && block[end] == block[begin]) ++end;
    for (size_t s = begin; block[begin] >= 0 && s < end; ++s) {
      from[s] = std::min(from[s], before + static_cast<int64_t>(begin));
      to[s] = before + static_cast<int64_t>(end);
    }
  }
}

KvCache Network::empty_cache(int64_t left_padding, int64_t batch) const {
  KvCache cache;
  cache.length = cache.padding = left_padding;
  const auto options = embedding_.options().requires_grad(false);
  for (const auto& shape : config_.layers) {
    auto nothing = at::empty({shape.num_kv_heads, 0, shape.head_dim}, options);
    if (batch > 0) nothing = nothing.unsqueeze(0).expand({batch, -1, -1, -1});
    cache.layers.push_back({nothing, nothing});
  }
  return cache;
}

bool torch_has_gpu() {
  static const bool has = [] {
    ::dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL);  // registers itself; not linked, so that a LibTorch without it serves as well
    return at::hasCUDA();
  }();
  return has;
}

at::Device device_named(const std::string& name) {
  if (name != "cpu" && name != "cuda") throw usage_error("device '{}' is unknown; expected cpu or cuda", name);
  if (name == "cuda" && !torch_has_gpu()) throw usage_error("device cuda: LibTorch finds no GPU, or has no CUDA operations (CANVASLAB_LIBTORCH names another one); use cpu");
  return at::Device(name);
}

void Network::make_trainable() {
  for (auto& [name, parameter] : parameters_) {
    parameter.set_data(parameter.to(at::kFloat).clone());
    parameter.requires_grad_(true);
  }
  embedding_scale_ = embedding_scale_.to(at::kFloat);
}

at::Tensor Network::embed(const at::Tensor& ids) const { return at::embedding(embedding_, ids) * embedding_scale_; }

std::pair<at::Tensor, at::Tensor> Network::rope_tables(bool sliding, int64_t first, int64_t count, at::ScalarType dtype) const {
  const RopeConfig& rope = sliding ? config_.sliding_rope : config_.full_rope;
  int64_t dim = 0;
  for (const auto& shape : config_.layers)
    if (shape.sliding == sliding) dim = shape.head_dim;
  const auto f32 = at::TensorOptions().dtype(at::kFloat).device(embedding_.device());
  const int64_t rotated = rope.proportional ? static_cast<int64_t>(rope.partial_rotary_factor * static_cast<double>(dim) / 2) : dim / 2;
  // base ^ (2j / head width), all in f32; the proportional kind divides by the whole width and pads with zeros.
  const auto exponent = at::arange(0, 2 * rotated, 2, f32) / static_cast<double>(dim);
  auto frequency = 1.0 / at::pow(rope.theta, exponent);
  if (rope.proportional) frequency = at::cat({frequency, at::zeros({dim / 2 - rotated}, f32)}) / rope.factor;
  const auto angle = at::arange(first, first + count, f32).unsqueeze(1) * frequency.unsqueeze(0);  // [S, Dh/2]
  const auto both = at::cat({angle, angle}, -1).unsqueeze(1);                                      // [S, 1, Dh]
  return {both.cos().to(dtype), both.sin().to(dtype)};
}

at::Tensor Network::attention(const LayerConfig& shape, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, int64_t first_key, int64_t first_query, bool causal,
                              const std::vector<int64_t>& block) const {
  // q [.., S, H, Dh]; k, v [.., Hkv, P, Dh] -> [.., S, H * Dh]
  const bool batched = q.dim() == 4;
  const auto keys = batched ? k : k.unsqueeze(0), values = batched ? v : v.unsqueeze(0);
  const auto queries = batched ? q.transpose(1, 2) : q.transpose(0, 1).unsqueeze(0);
  const int64_t S = q.size(-3), P = k.size(-2);
  const auto attend = [&](const at::Tensor& part, const std::optional<at::Tensor>& mask) {
    return at::scaled_dot_product_attention(part, keys, values, mask, 0.0, false, 1.0, shape.num_kv_heads != config_.num_heads);
  };
  at::Tensor out;
  if (!causal) {
    out = attend(queries, std::nullopt);
  } else {
    std::vector<at::Tensor> parts;
    const auto positions = at::TensorOptions().dtype(at::kLong).device(q.device());
    const auto key_at = at::arange(first_key, first_key + P, positions).unsqueeze(0);  // [1, P]
    for (int64_t begin = 0; begin < S; begin += kQueryChunk) {
      const int64_t count = std::min(kQueryChunk, S - begin);
      const auto query_at = at::arange(first_query + begin, first_query + begin + count, positions).unsqueeze(1);  // [n, 1]
      auto allowed = key_at <= query_at;
      if (shape.sliding) allowed = at::logical_and(allowed, key_at > query_at - config_.sliding_window);
      if (!block.empty()) {
        // Block ids of the new tokens; cached ones belong to none.
        auto key_block = at::full({P}, -1, positions), query_block = at::empty({count}, positions);
        const auto ids = at::from_blob(const_cast<int64_t*>(block.data()), {static_cast<int64_t>(block.size())}, at::kLong).to(q.device());
        key_block.slice(0, P - S, P).copy_(ids);
        query_block.copy_(ids.slice(0, begin, begin + count));
        const auto same = at::logical_and(query_block.unsqueeze(1) == key_block.unsqueeze(0), query_block.unsqueeze(1) >= 0);
        allowed = at::logical_or(allowed, same);
      }
      parts.push_back(attend(queries.slice(2, begin, begin + count), allowed));
    }
    out = parts.size() == 1 ? parts[0] : at::cat(parts, 2);
  }
  const auto rows = out.transpose(1, 2).flatten(2);  // [.., S, H * Dh]
  return batched ? rows : rows.squeeze(0);
}

at::Tensor Network::experts(const LayerWeights& w, const at::Tensor& x, const at::Tensor& raw, TrainingPass* training) const {
  if (x.dim() == 3) return experts(w, x.flatten(0, 1), raw.flatten(0, 1), training).view_as(x);
  // Router on the raw residual, in f32 from the softmax on; ties among experts as torch.topk leaves them.
  auto t = rms_norm(raw, {}, config_.rms_norm_eps, training) * w.router_scale * std::pow(static_cast<double>(config_.hidden_size), -0.5);
  const auto probability = at::softmax(at::linear(t, w.router_proj), -1, at::kFloat);  // [T, E]
  auto [weight, expert] = at::topk(probability, config_.top_k_experts, -1);            // [T, k]
  weight = weight / weight.sum(-1, true);
  weight = weight * w.per_expert_scale.index({expert});
  const int64_t k = config_.top_k_experts;
  const auto flat = expert.flatten();                                                   // [R]
  if (training) {
    const auto share = at::bincount(flat, {}, config_.num_experts).to(probability.options()) / static_cast<double>(flat.size(0));
    const auto balance = at::dot(share, probability.mean(0)) * static_cast<double>(config_.num_experts);
    training->balance = training->balance.defined() ? training->balance + balance : balance;
  }
  if (is_fused(training)) return training_ops::experts(x, weight, expert, w.experts_gate_up, w.experts_down, training->bf16_products);
  const auto order = at::argsort(flat, /*stable=*/true, 0, false);                      // rows grouped by expert
  const auto token = at::floor_divide(order, k);
  const auto counts = at::bincount(flat, {}, config_.num_experts).to(at::kCPU);
  const auto grouped = x.index_select(0, token);                                        // [R, D]
  const auto* rows = counts.const_data_ptr<int64_t>();
  std::vector<at::Tensor> parts;
  int64_t begin = 0;
  for (int64_t e = 0; e < config_.num_experts; ++e) {
    if (rows[e] == 0) continue;
    const auto halves = product(grouped.slice(0, begin, begin + rows[e]), w.experts_gate_up.select(0, e), training).chunk(2, -1);
    parts.push_back(product(at::gelu(halves[0], "tanh") * halves[1], w.experts_down.select(0, e), training));
    begin += rows[e];
  }
  const auto y = at::cat(parts, 0) * weight.flatten().index_select(0, order).unsqueeze(1);  // [R, D] f32
  // Back to (token, slot) order and summed over slots in f32: the order does not depend on how rows were grouped.
  const auto back = at::empty_like(order).scatter(0, order, at::arange(order.size(0), order.options()));
  return y.index_select(0, back).view({x.size(0), k, x.size(1)}).sum(1).to(x.scalar_type());
}

at::Tensor Network::layer(size_t index, at::Tensor x, const at::Tensor& cos, const at::Tensor& sin, const KvCache& cache, KvCache* append, const std::vector<int64_t>& block,
                          TrainingPass* training) const {
  const LayerWeights& w = append ? encoder_layer(index) : layers_[index];
  const LayerConfig& shape = config_.layers[index];
  const double eps = config_.rms_norm_eps;
  const auto h = rms_norm(x, w.input_norm, eps, training);
  const auto qkv = products(h, w.v_proj.defined() ? std::vector{w.q_proj, w.k_proj, w.v_proj} : std::vector{w.q_proj, w.k_proj}, training);
  const auto q = norm_rotate(qkv[0].unflatten(-1, {config_.num_heads, shape.head_dim}), w.q_norm, eps, cos, sin, training);
  const auto raw_k = qkv[1].unflatten(-1, {shape.num_kv_heads, shape.head_dim}), raw_v = qkv.back().unflatten(-1, {shape.num_kv_heads, shape.head_dim});
  const auto k = norm_rotate(raw_k, w.k_norm, eps, cos, sin, training).transpose(-3, -2);  // [.., Hkv, S, Dh]
  const auto v = rms_norm(raw_v, {}, eps, training).transpose(-3, -2);
  const auto all_k = at::cat({cache.layers[index].k, k}, -2), all_v = at::cat({cache.layers[index].v, v}, -2);
  const int64_t first_key = cache.length - cache.layers[index].k.size(-2);
  const auto attended = attention(shape, q, all_k, all_v, first_key, cache.length, append != nullptr, block);
  if (append) {
    const int64_t total = all_k.size(-2), keep = shape.sliding ? std::min(total, config_.sliding_window - 1) : total;
    // A copy when trimmed, so that the cut-off part is freed.
    append->layers[index] = keep == total ? KvCache::Layer{all_k, all_v}
                                          : KvCache::Layer{all_k.slice(-2, total - keep, total).contiguous(), all_v.slice(-2, total - keep, total).contiguous()};
  }
  x = add_norm(x, product(attended, w.o_proj, training), w.post_attention_norm, eps, training);
  const auto dense = rms_norm(gated_mlp(rms_norm(x, w.pre_ffn_norm, eps, training), w.gate_proj, w.up_proj, w.down_proj, training), w.post_ffn_norm_1, eps, training);
  const auto sparse = experts(w, rms_norm(x, w.pre_ffn_norm_2, eps, training), x, training);
  x = add_norm(x, add_norm(dense, sparse, w.post_ffn_norm_2, eps, training), w.post_ffn_norm, eps, training);
  return x * (append ? w.encoder_scalar : w.decoder_scalar);
}

bool Network::cut(KvCache& cache, const KvCache& after, int64_t count) const {
  const int64_t appended = after.length - cache.length;
  for (const auto& layer : after.layers)
    if (layer.k.size(-2) < appended) return false;
  for (size_t i = 0; i < cache.layers.size(); ++i) {
    const int64_t first = after.layers[i].k.size(-2) - appended;
    const auto joined = [&](const at::Tensor& old, const at::Tensor& longer) {
      const auto all = at::cat({old, longer.slice(-2, first, first + count)}, -2);
      const int64_t total = all.size(-2), keep = config_.layers[i].sliding ? std::min(total, config_.sliding_window - 1) : total;
      return all.slice(-2, total - keep, total).contiguous();
    };
    cache.layers[i] = {joined(cache.layers[i].k, after.layers[i].k), joined(cache.layers[i].v, after.layers[i].v)};
  }
  cache.length += count;
  return true;
}

at::Tensor Network::encode(const at::Tensor& ids, const std::vector<uint8_t>& token_types, KvCache& cache, bool want_hidden, TrainingPass* training) const {
  const int64_t S = ids.size(-1);
  if (S == 0) return {};
  const auto block = vision_blocks(token_types);
  check_unpacked("encoding with images, gradients or several sequences at once");
  // Image tokens are looked up as pad; their rows are replaced by media when there are any.
  auto x = embed(at::where(ids == config_.image_token_id, at::full_like(ids, config_.pad_token_id), ids));
  const auto sliding = rope_tables(true, cache.length, S, dtype()), full = rope_tables(false, cache.length, S, dtype());
  KvCache next = cache;
  for (size_t i = 0; i < layers_.size(); ++i) {
    const auto& [cos, sin] = config_.layers[i].sliding ? sliding : full;
    x = layer(i, x, cos, sin, cache, &next, block, training);
  }
  next.length = cache.length + S;
  cache = std::move(next);
  return want_hidden ? rms_norm(x, final_norm_, config_.rms_norm_eps, training) : at::Tensor();
}

at::Tensor Network::decode_hidden(const at::Tensor& canvas, const KvCache& cache, const at::Tensor& feedback, TrainingPass* training) const {
  check_unpacked("decoding by tensors");
  const double eps = config_.rms_norm_eps;
  auto x = embed(canvas);  // [L, D]
  if (feedback.defined()) {
    const auto p = at::softmax(feedback.to(embedding_.scalar_type()).to(at::kFloat), -1).to(embedding_.scalar_type());
    const auto soft = product(p, embedding_.t(), training) * embedding_scale_;
    const auto conditioning = gated_mlp(rms_norm(soft, sc_pre_norm_, eps, training), sc_gate_, sc_up_, sc_down_, training);
    const int64_t rows = conditioning.size(0);
    x = rows == x.size(0) ? x + conditioning : at::cat({x.slice(0, 0, rows) + conditioning, x.slice(0, rows)}, 0);
  }
  x = rms_norm(x, {}, eps, training);
  const int64_t L = canvas.size(-1);
  const auto sliding = rope_tables(true, cache.length, L, dtype()), full = rope_tables(false, cache.length, L, dtype());
  for (size_t i = 0; i < layers_.size(); ++i) {
    const auto& [cos, sin] = config_.layers[i].sliding ? sliding : full;
    x = layer(i, x, cos, sin, cache, nullptr, {}, training);
  }
  return rms_norm(x, final_norm_, eps, training);
}

at::Tensor Network::decode(const at::Tensor& canvas, const KvCache& cache, const at::Tensor& feedback, TrainingPass* training) const {
  return logits(decode_hidden(canvas, cache, feedback, training), training);
}

at::Tensor Network::cross_entropy(const at::Tensor& hidden, const at::Tensor& targets, const TrainingPass& training, std::vector<float>* each) const {
  if (training.fused) return training_ops::capped_cross_entropy(product(hidden, lm_head_, &training), targets, config_.final_logit_softcapping, each);
  const auto losses = at::cross_entropy_loss(logits(hidden, &training), targets, {}, at::Reduction::None);
  if (each) {
    const auto values = losses.detach().to(at::kCPU).contiguous();
    each->assign(values.const_data_ptr<float>(), values.const_data_ptr<float>() + values.numel());
  }
  return losses.mean();
}

at::Tensor Network::logits(const at::Tensor& hidden, const TrainingPass* training) const {
  const double cap = config_.final_logit_softcapping;
  return at::tanh(product(hidden, lm_head_, training).to(at::kFloat) / cap) * cap;
}

}  // namespace canvaslab
