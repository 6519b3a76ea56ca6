// Matrix products of a denoising step by everything at hand: our kernels with and without packed weights, MKL and oneDNN
// through LibTorch. Results are compared first. One thread.
//   build/gemm_bench
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <benchmark/benchmark.h>
#include <c10/core/GradMode.h>

#include <algorithm>

#include "core/kernels/gemm.h"
#include "core/kernels/gemm_bf16.h"
#include "tests/bench/timing.h"

namespace canvaslab {
namespace {

enum class By { kOwn, kPacked, kLibtorch, kOneDnn };

struct Problem {
  int64_t m, n, k;
  at::Tensor a = at::randn({m, k}), w = at::randn({n, k}), c = at::empty({m, n});
  at::Tensor a16 = a.to(at::kBFloat16), w16 = w.to(at::kBFloat16);
  at::Tensor packed = at::empty({gemm_kernel().packed_size(n, k) + 16}), packed16 = at::empty({bf16_gemm_kernel().packed_size(n, k) + 16});
  Problem(int64_t rows, int64_t columns, int64_t depth) : m(rows), n(columns), k(depth) {
    gemm_kernel().pack(product(false), packed.mutable_data_ptr<float>());
    bf16_gemm_kernel().pack(product16(false), packed16.mutable_data_ptr<float>());
  }
  Product product(bool use_packed) {
    return {.m = m, .n = n, .k = k, .a = a.const_data_ptr<float>(), .lda = k, .b = w.const_data_ptr<float>(), .ldb = k, .transposed = true,
            .packed = use_packed ? packed.const_data_ptr<float>() : nullptr, .c = c.mutable_data_ptr<float>(), .ldc = n};
  }
  Bf16Product product16(bool use_packed) {
    const auto bits = [](const at::Tensor& t) { return reinterpret_cast<const uint16_t*>(t.const_data_ptr()); };
    return {.m = m, .n = n, .k = k, .a = bits(a16), .lda = k, .b = bits(w16), .ldb = k, .transposed = true,
            .packed = use_packed ? packed16.const_data_ptr<float>() : nullptr, .c = c.mutable_data_ptr<float>(), .ldc = n};
  }
};

/// Best GFLOP/s of a product that the second-level cache holds: what the machine gives one thread. (Of 1024 x 1024 x 1024 one machine gave half.)
double peak(bool bf16) {
  static double found[2] = {0, 0};
  double& best = found[bf16];
  if (best > 0) return best;
  Problem p(256, 256, 256);
  for (int i = 0; i < 50; ++i) {
    const double seconds = seconds_of([&] {
      if (bf16) bf16_gemm_kernel().multiply(p.product16(true));
      else gemm_kernel().multiply(p.product(true));
    });
    best = std::max(best, 2e-9 * static_cast<double>(p.m * p.n * p.k) / seconds);
  }
  return best;
}

void product(benchmark::State& state, By by, bool bf16) {
  const c10::NoGradGuard no_grad;
  at::set_num_threads(1);
  Problem p(state.range(0), state.range(1), state.range(2));
  const auto mkldnn_a = p.a.to_mkldnn(), mkldnn_w = p.w.to_mkldnn();
  at::Tensor out;
  const auto run = [&] {
    if (by == By::kOneDnn) out = at::mkldnn_linear(mkldnn_a, mkldnn_w);
    else if (by == By::kLibtorch) out = bf16 ? at::linear(p.a16, p.w16) : at::linear(p.a, p.w);
    else if (bf16) bf16_gemm_kernel().multiply(p.product16(by == By::kPacked));
    else gemm_kernel().multiply(p.product(by == By::kPacked));
  };
  run();
  const auto result = (by == By::kOneDnn ? out.to_dense() : by == By::kLibtorch ? out.to(at::kFloat) : p.c).to(at::kDouble);
  const auto expected = bf16 ? at::mm(p.a16.to(at::kDouble), p.w16.to(at::kDouble).t()) : at::mm(p.a.to(at::kDouble), p.w.to(at::kDouble).t());
  const double error = ((result - expected).norm() / expected.norm()).item<double>();
  if (!(error < 3e-3)) return state.SkipWithError(("wrong by " + std::to_string(error) + " in the Frobenius norm").c_str());
  // LibTorch's own product, in turn with it.
  Times times, other;
  const bool is_ours = by == By::kOwn || by == By::kPacked;
  for (auto _ : state) {
    if (is_ours) other.add(seconds_of([&] { benchmark::DoNotOptimize(bf16 ? at::linear(p.a16, p.w16) : at::linear(p.a, p.w)); }));
    const double seconds = seconds_of(run);
    benchmark::ClobberMemory();
    times.add(seconds);
    state.SetIterationTime(seconds);
  }
  const double flops = 2e-9 * static_cast<double>(p.m * p.n * p.k);
  report(state, times, "us");
  state.counters["best_GFLOP/s"] = flops / times.best();
  state.counters["median_GFLOP/s"] = flops / times.median();
  state.counters["share_of_peak"] = flops / times.median() / peak(bf16);
  if (is_ours) state.counters["libtorch_ratio"] = other.median() / times.median();
}

void shapes(benchmark::internal::Benchmark* b) {
  for (const auto& shape : std::vector<std::vector<int64_t>>{{64, 128, 128}, {16, 128, 128}, {256, 768, 384}, {256, 1536, 384}, {256, 384, 768}, {32, 256, 384}, {32, 384, 128}, {256, 8192, 384}, {16, 1408, 2816}, {1024, 1024, 1024}})
    b->Args(shape);
  b->UseManualTime()->Unit(benchmark::kMicrosecond)->MinTime(0.05);
}
BENCHMARK_CAPTURE(product, f32_own, By::kOwn, false)->Apply(shapes);
BENCHMARK_CAPTURE(product, f32_packed, By::kPacked, false)->Apply(shapes);
BENCHMARK_CAPTURE(product, f32_mkl, By::kLibtorch, false)->Apply(shapes);
BENCHMARK_CAPTURE(product, f32_onednn, By::kOneDnn, false)->Apply(shapes);
BENCHMARK_CAPTURE(product, bf16_own, By::kOwn, true)->Apply(shapes);
BENCHMARK_CAPTURE(product, bf16_packed, By::kPacked, true)->Apply(shapes);
BENCHMARK_CAPTURE(product, bf16_onednn, By::kLibtorch, true)->Apply(shapes);

}  // namespace
}  // namespace canvaslab
