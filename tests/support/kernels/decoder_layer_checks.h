#pragma once
// A whole decoder layer as the kernels' sequence, against f64 with the experts that the kernels chose: routing jumps, all else is continuous.
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <utility>

#include "core/kernels/cuda/decoder_layer.h"
#include "tests/support/kernels/check.h"

namespace canvaslab::cuda {
namespace {

/// A matrix [rows, columns] in bf16.
struct LayerMatrix {
  LayerMatrix(int64_t rows, int64_t columns, std::mt19937_64& random) : width(columns), codes(static_cast<size_t>(rows * columns)) {
    std::normal_distribution<float> normal(0, 1 / std::sqrt(static_cast<float>(columns)));
    for (uint16_t& code : codes) code = nearest_bf16(normal(random));
  }
  Weights get() const { return {.codes = codes.data()}; }
  /// Rows [first, first + n) times x.
  std::vector<double> times(const std::vector<double>& x, int64_t first, int64_t n) const {
    std::vector<double> out(static_cast<size_t>(n));
    for (int64_t r = 0; r < n; ++r)
      for (int64_t c = 0; c < width; ++c) out[static_cast<size_t>(r)] += static_cast<double>(from_bf16(codes[static_cast<size_t>((first + r) * width + c)])) * x[static_cast<size_t>(c)];
    return out;
  }
  int64_t width;
  KernelVector<uint16_t> codes;
};

std::vector<double> layer_norm(const std::vector<double>& x, const float* gain, double factor = 1) {
  double sum = 0;
  for (const double v : x) sum += v * v;
  const double root = std::sqrt(sum / static_cast<double>(x.size()) + 1e-6);
  std::vector<double> out = x;
  for (size_t i = 0; i < x.size(); ++i) out[i] = x[i] / root * (gain ? static_cast<double>(gain[i]) : 1.0) * factor;
  return out;
}

std::vector<double> layer_mlp(const LayerMatrix& gate_up, const LayerMatrix& down, const std::vector<double>& x, int64_t matrix, int64_t inner, int64_t out) {
  const auto both = gate_up.times(x, matrix * 2 * inner, 2 * inner);
  std::vector<double> h(static_cast<size_t>(inner));
  for (size_t i = 0; i < h.size(); ++i) {
    const double g = both[i];
    h[i] = g * (1 + std::tanh(std::sqrt(2 / M_PI) * (g + 0.044715 * g * g * g))) / 2 * both[i + h.size()];
  }
  return down.times(h, matrix * out, out);
}

struct WholeLayer {
  static constexpr int kRows = kFullSizes ? 70 : 5, kCached = 7;  // on a device enough for products of many rows
  WholeLayer(const LayerShape& s, uint64_t seed)
      : shape(s), random(seed), D(s.hidden), qkv(s.qkv_width(), D, random), o(D, s.q_width(), random), gate_up(2 * s.dense_width, D, random), down(D, s.dense_width, random), router(s.num_experts, D, random),
        experts_gate_up(static_cast<int64_t>(s.num_experts) * 2 * s.expert_width, D, random), experts_down(static_cast<int64_t>(s.num_experts) * D, s.expert_width, random),
        cache(2 * kCached * s.kv_width(), 1, random), x(normal_numbers(static_cast<size_t>(kRows * D), random)), work(nullptr, s, kRows, 0), next(x.size(), uint16_t{0x7FC0}) {
    for (auto* gain : {&input, &post_attention, &pre_ffn, &pre_ffn_2, &post_ffn_1, &post_ffn_2, &post_ffn, &router_scale}) *gain = normal_numbers(static_cast<size_t>(D), random);
    for (auto* gain : {&q_norm, &k_norm}) *gain = normal_numbers(static_cast<size_t>(s.head_width), random, 0.7f);
    scale = normal_numbers(static_cast<size_t>(s.num_experts), random);
    for (const float angle : normal_numbers(static_cast<size_t>(kRows * s.head_width / 2), random, 2)) cosine.push_back(std::cos(angle)), sine.push_back(std::sin(angle));
    memory.assign(static_cast<size_t>(work.bytes), 0xFF);
    work = LayerWorkspace(memory.data(), s, kRows, 0);
    for (int r = 0; r < kRows; ++r) {
      const auto normed = layer_norm(row(r), input.data());
      for (int c = 0; c < D; ++c) work.normed[r * D + c] = nearest_bf16(static_cast<float>(normed[static_cast<size_t>(c)]));
    }
    const int64_t values = kCached * static_cast<int64_t>(s.kv_width());
    sequences.push_back({.first_row = 0, .num_rows = kRows, .cached = {cache.codes.data(), cache.codes.data() + values, s.head_width, int64_t{kCached} * s.head_width, kCached}, .fresh = fresh_keys(work, s, 0, kRows)});
  }
  std::vector<double> row(int r) const { return {x.begin() + r * D, x.begin() + (r + 1) * D}; }
  LayerCall call() {
    return {.shape = shape,
            .w = {.qkv = qkv.get(), .o = o.get(), .gate_up = gate_up.get(), .down = down.get(), .router = router.get(), .experts_gate_up = experts_gate_up.get(), .experts_down = experts_down.get(), .q_norm = q_norm.data(),
                  .k_norm = k_norm.data(), .post_attention_norm = post_attention.data(), .pre_ffn_norm = pre_ffn.data(), .pre_ffn_norm_2 = pre_ffn_2.data(), .post_ffn_norm_1 = post_ffn_1.data(),
                  .post_ffn_norm_2 = post_ffn_2.data(), .post_ffn_norm = post_ffn.data(), .router_scale = router_scale.data(), .per_expert_scale = scale.data(), .scalar = 0.6f},
            .rows = kRows, .x = x.data(), .cos = cosine.data(), .sin = sine.data(), .table_stride = shape.head_width / 2, .sequences = sequences.data(), .num_sequences = 1, .most_rows = kRows,
            .most_keys = kRows + kCached, .next = {{next.data(), D, Storage::kBf16}, nullptr, 1}};
  }
  /// Heads of a row of the QKV product: normed, and turned where there are angles.
  std::vector<double> head(const std::vector<double>& all, int index, const float* gain, int turned_by) const {
    const auto first = all.begin() + static_cast<int64_t>(index) * shape.head_width;
    auto h = layer_norm(std::vector<double>(first, first + shape.head_width), gain);
    if (turned_by < 0) return h;
    const auto half = static_cast<size_t>(shape.head_width / 2);
    for (size_t t = 0; t < half; ++t) {
      const double a = h[t], b = h[half + t], c = static_cast<double>(cosine[static_cast<size_t>(turned_by) * half + t]), s = static_cast<double>(sine[static_cast<size_t>(turned_by) * half + t]);
      h[t] = a * c - b * s;
      h[half + t] = b * c + a * s;
    }
    return h;
  }
  /// The residual after the layer.
  std::vector<std::vector<double>> expected() const {
    std::vector<std::vector<double>> projected, out;
    const int H = shape.num_heads, Hkv = shape.num_kv_heads, Dh = shape.head_width;
    for (int r = 0; r < kRows; ++r) projected.push_back(qkv.times(layer_norm(row(r), input.data()), 0, shape.qkv_width()));
    const auto cached = [&](bool value, int kv, int key) {
      std::vector<double> v;
      for (int d = 0; d < Dh; ++d) v.push_back(cache.at((value ? kCached * int64_t{Hkv} * Dh : 0) + (int64_t{kv} * kCached + key) * Dh + d));
      return v;
    };
    for (int r = 0; r < kRows; ++r) {
      std::vector<double> attended;
      for (int h = 0; h < H; ++h) {
        const auto q = head(projected[static_cast<size_t>(r)], h, q_norm.data(), r);
        const int kv = h * Hkv / H;
        std::vector<double> sum(static_cast<size_t>(Dh));
        double total = 0;
        for (int key = 0; key < kCached + kRows; ++key) {
          const auto* fresh = key < kCached ? nullptr : &projected[static_cast<size_t>(key - kCached)];
          const auto k = fresh ? head(*fresh, H + kv, k_norm.data(), key - kCached) : cached(false, kv, key), v = fresh ? head(*fresh, shape.has_values ? H + Hkv + kv : H + kv, nullptr, -1) : cached(true, kv, key);
          double score = 0;
          for (size_t d = 0; d < q.size(); ++d) score += q[d] * k[d];
          total += std::exp(score);
          for (size_t d = 0; d < q.size(); ++d) sum[d] += std::exp(score) * v[d];
        }
        for (const double s : sum) attended.push_back(s / total);
      }
      auto residual = row(r);
      const auto add = [&](const std::vector<double>& more) { for (size_t i = 0; i < more.size(); ++i) residual[i] += more[i]; };
      add(layer_norm(o.times(attended, 0, D), post_attention.data()));
      auto both = layer_norm(layer_mlp(gate_up, down, layer_norm(residual, pre_ffn.data()), 0, shape.dense_width, D), post_ffn_1.data());
      const auto logits = router.times(layer_norm(residual, router_scale.data(), std::pow(D, -0.5)), 0, shape.num_experts);
      std::vector<double> sparse(static_cast<size_t>(D));
      double total = 0;
      for (int slot = 0; slot < shape.slots; ++slot) total += std::exp(logits[static_cast<size_t>(work.expert[r * shape.slots + slot])]);
      for (int slot = 0; slot < shape.slots; ++slot) {
        const int e = work.expert[r * shape.slots + slot];
        const auto part = layer_mlp(experts_gate_up, experts_down, layer_norm(residual, pre_ffn_2.data()), e, shape.expert_width, D);
        for (size_t i = 0; i < part.size(); ++i) sparse[i] += std::exp(logits[static_cast<size_t>(e)]) / total * static_cast<double>(scale[static_cast<size_t>(e)]) * part[i];
      }
      const auto normed = layer_norm(sparse, post_ffn_2.data());
      for (size_t i = 0; i < both.size(); ++i) both[i] += normed[i];
      add(layer_norm(both, post_ffn.data()));
      for (double& v : residual) v *= static_cast<double>(0.6f);
      out.push_back(residual);
    }
    return out;
  }
  struct Cache {
    Cache(int64_t count, float by, std::mt19937_64& generator) : codes(static_cast<size_t>(count)) {
      for (uint16_t& code : codes) code = nearest_bf16(std::normal_distribution<float>(0, by)(generator));
    }
    double at(int64_t i) const { return static_cast<double>(from_bf16(codes[static_cast<size_t>(i)])); }
    KernelVector<uint16_t> codes;
  };

  LayerShape shape;
  std::mt19937_64 random;
  int D;
  LayerMatrix qkv, o, gate_up, down, router, experts_gate_up, experts_down;
  Cache cache;
  KernelVector<float> x;
  LayerWorkspace work;
  KernelVector<uint16_t> next;
  KernelVector<float> input, post_attention, pre_ffn, pre_ffn_2, post_ffn_1, post_ffn_2, post_ffn, router_scale, q_norm, k_norm, scale, cosine, sine;
  KernelVector<uint8_t> memory;
  KernelVector<AttentionSequence> sequences;
};

class DecoderLayer : public KernelTestWith<LayerShape> {};

TEST_P(DecoderLayer, IsWhatF64Says) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  WholeLayer layer(GetParam(), seed);
  const auto x = layer.x;
  run(layer.call(), layer.work);
  const auto after = std::exchange(layer.x, x);
  const auto expected = layer.expected();
  // bf16 rounds (2^-9 on average at worst) the factors of six products in a row and keys, values and weights of the sum over keys: 2^-9 sqrt(10) = 0.6 % of the branches, a little more of the residual,
  // which gains by up to e^4 in the weights of steep scores; four times that is the bound. A norm, gain, slot or rotation left out costs tens of percent.
  double errors = 0, squares = 0, worst = 0;
  int worst_row = 0, worst_column = 0;
  for (int r = 0; r < WholeLayer::kRows; ++r)
    for (int c = 0; c < layer.D; ++c) {
      const double value = expected[static_cast<size_t>(r)][static_cast<size_t>(c)], error = std::abs(static_cast<double>(after[static_cast<size_t>(r * layer.D + c)]) - value);
      errors += error * error;
      squares += value * value;
      if (!(error <= worst)) worst = error, worst_row = r, worst_column = c;
    }
  EXPECT_LT(std::sqrt(errors / squares), 0.025) << fmt::format("worst element [{}, {}] errs by {}", worst_row, worst_column, worst);
  fmt::print("relative error of a layer with heads of {}: {:.2e}\n", layer.shape.head_width, std::sqrt(errors / squares));
  for (const uint16_t code : layer.next) EXPECT_FALSE(std::isnan(from_bf16(code)));
  WholeLayer again(GetParam(), seed);
  run(again.call(), again.work);
  EXPECT_EQ(again.x, after) << "the same bits again";
}

INSTANTIATE_TEST_SUITE_P(Shapes, DecoderLayer,
                         ::testing::Values(LayerShape{.hidden = 48, .num_heads = 4, .num_kv_heads = 2, .head_width = 16, .has_values = 1, .dense_width = 40, .num_experts = 6, .slots = 2, .expert_width = 24},
                                           LayerShape{.hidden = 72, .num_heads = 4, .num_kv_heads = 1, .head_width = 64, .has_values = 0, .dense_width = 24, .num_experts = 3, .slots = 3, .expert_width = 16},
                                           // Deep enough for products in pieces: output, dense block and router.
                                           LayerShape{.hidden = 520, .num_heads = 8, .num_kv_heads = 2, .head_width = 64, .has_values = 1, .dense_width = 456, .num_experts = 6, .slots = 2, .expert_width = 24}));

}  // namespace
}  // namespace canvaslab::cuda
