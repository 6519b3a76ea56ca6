// Attention of one layer as the CPU path computes it, over a cache and a canvas or causally over a prompt, beside LibTorch's
// scaled_dot_product_attention on the joined keys, in f32 and bf16: results compared first, both alternate, one thread.
//   build/attention_bench
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <benchmark/benchmark.h>
#include <c10/core/GradMode.h>

#include <string>
#include <vector>

#include "core/kernels/gemm.h"
#include "core/network/cpu_attention.h"
#include "tests/bench/timing.h"

namespace canvaslab {
namespace {

/// Queries of one layer over `cached` and as many fresh keys as queries. Every query sees all keys or, causally, those up to its own.
struct Problem {
  int64_t S, cached, H, Hkv, Dh;
  bool causal;
  at::ScalarType dtype;
  at::Tensor q = (at::randn({S, H, Dh}) * 0.3).to(dtype), k = (at::randn({Hkv, cached + S, Dh}) * 0.3).to(dtype), v = at::randn({Hkv, cached + S, Dh}).to(dtype);
  at::Tensor old_k = k.narrow(1, 0, cached).contiguous(), old_v = v.narrow(1, 0, cached).contiguous(), new_k = k.narrow(1, cached, S).contiguous(), new_v = v.narrow(1, cached, S).contiguous();
  at::Tensor out = at::empty({S, H * Dh});
  std::vector<int64_t> from = std::vector<int64_t>(static_cast<size_t>(S), 0), to = {};
  AttentionWorkspace ws = {};

  Problem(const benchmark::State& state, bool is_causal, at::ScalarType of)
      : S(state.range(0)), cached(state.range(1)), H(state.range(2)), Hkv(state.range(3)), Dh(state.range(4)), causal(is_causal), dtype(of) {
    for (int64_t s = 0; s < S; ++s) to.push_back(cached + (causal ? s + 1 : S));
  }
  template <typename Number>
  KeyRows<Number> rows(const at::Tensor& keys, const at::Tensor& values) const {
    return {.k = static_cast<const Number*>(keys.const_data_ptr()), .v = static_cast<const Number*>(values.const_data_ptr()), .row_stride = Dh, .head_stride = keys.size(1) * Dh, .count = keys.size(1)};
  }
  template <typename Number>
  void run() {
    attend(AttentionCall<Number>{.num_queries = S, .num_heads = H, .num_kv_heads = Hkv, .head_dim = Dh, .q = static_cast<const Number*>(q.const_data_ptr()), .q_stride = H * Dh,
                                 .keys = {rows<Number>(old_k, old_v), rows<Number>(new_k, new_v)}, .from = from, .to = to, .chunk = causal ? 64 : 256, .out = out.mutable_data_ptr<float>()},
           ws);
  }
  void ours() { dtype == at::kFloat ? run<float>() : run<uint16_t>(); }
  /// The joining counts: whoever keeps cache and canvas apart must pay for it.
  at::Tensor theirs() const {
    const auto joined = [](const at::Tensor& old, const at::Tensor& fresh) { return (old.size(1) ? at::cat({old, fresh}, 1) : fresh).unsqueeze(0); };
    return at::scaled_dot_product_attention(q.transpose(0, 1).unsqueeze(0), joined(old_k, new_k), joined(old_v, new_v), {}, 0, causal, 1.0, /*enable_gqa=*/true).squeeze(0).transpose(0, 1).reshape({S, H * Dh});
  }
  at::Tensor exact() const {
    const auto wide = [this](const at::Tensor& t) { return t.to(at::kDouble).repeat_interleave(H / Hkv, 0); };
    auto scores = at::matmul(q.to(at::kDouble).transpose(0, 1), wide(k).transpose(1, 2));
    if (causal) scores = scores + at::full({S, S}, -INFINITY, at::kDouble).triu(1);
    return at::matmul(at::softmax(scores, -1), wide(v)).transpose(0, 1).reshape({S, H * Dh});
  }
};

void attention(benchmark::State& state, bool causal, at::ScalarType dtype) {
  const c10::NoGradGuard no_grad;
  at::set_num_threads(1);
  Problem p(state, causal, dtype);
  p.ours();
  const auto expected = p.exact();
  const double error = ((p.out.to(at::kDouble) - expected).abs().max() / p.v.abs().max()).item<double>();
  // A score of some Dh terms of size .1 is off by 1e-6, its weight by as much; a weighted mean of values then by no more than twice that.
  // With bf16 the weights round by 2^-8, which a mean of values feels at most twice.
  if (!(error < (dtype == at::kFloat ? 4e-6 : 0x1p-7))) return state.SkipWithError(("differs from f64 by " + std::to_string(error) + " of the largest value").c_str());
  Times mine, other;
  for (auto _ : state) {
    other.add(seconds_of([&] { benchmark::DoNotOptimize(p.theirs()); }));
    const double seconds = seconds_of([&] { p.ours(); });
    benchmark::ClobberMemory();
    mine.add(seconds);
    state.SetIterationTime(seconds);
  }
  // The machine's own speed: a square product in f32 by the same kernel that the second-level cache holds.
  const int64_t n = 256;
  const at::Tensor a = at::randn({n, n}), b = at::randn({n, n}), c = at::empty({n, n});
  Times products;
  for (int i = 0; i < 50; ++i)
    products.add(seconds_of([&] { gemm_kernel().multiply({.m = n, .n = n, .k = n, .a = a.const_data_ptr<float>(), .lda = n, .b = b.const_data_ptr<float>(), .ldb = n, .transposed = true, .c = c.mutable_data_ptr<float>(), .ldc = n}); }));
  const double peak = 2e-9 * static_cast<double>(n * n * n) / products.best();
  const auto seen = static_cast<double>(causal ? p.S * (p.S + 1) / 2 : p.S * (p.cached + p.S));
  const double speed = 4e-9 * seen * static_cast<double>(p.H * p.Dh) / mine.median();  // of the keys that are seen; causal chunks meet some in vain
  report(state, mine, "us");
  state.counters["GFLOP/s"] = speed;
  state.counters["share_of_product"] = speed / peak;
  state.counters["libtorch_ratio"] = other.median() / mine.median();
}

// S, cached, H, Hkv, Dh: the bench models "tiny" and "small", the small model, and heads of DiffusionGemma's sliding layers.
void canvases(benchmark::internal::Benchmark* b) {
  for (const auto& shape : std::vector<std::vector<int64_t>>{{64, 64, 4, 2, 32}, {256, 64, 6, 2, 64}, {32, 48, 4, 2, 32}, {256, 1024, 4, 2, 256}, {256, 8192, 4, 2, 64}}) b->Args(shape);
  b->UseManualTime()->Unit(benchmark::kMicrosecond)->MinTime(0.1);
}
void prompts(benchmark::internal::Benchmark* b) { b->Args({512, 0, 4, 2, 32})->Args({512, 0, 6, 2, 64})->UseManualTime()->Unit(benchmark::kMicrosecond)->MinTime(0.1); }
BENCHMARK_CAPTURE(attention, canvas, false, at::kFloat)->Apply(canvases);
BENCHMARK_CAPTURE(attention, canvas_bf16, false, at::kBFloat16)->Apply(canvases);
BENCHMARK_CAPTURE(attention, causal, true, at::kFloat)->Apply(prompts);
BENCHMARK_CAPTURE(attention, causal_bf16, true, at::kBFloat16)->Apply(prompts);

}  // namespace
}  // namespace canvaslab
