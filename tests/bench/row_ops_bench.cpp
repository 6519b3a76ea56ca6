// The row-wise kernels of a denoising step beside LibTorch's own operations on the same rows: results compared first, one thread.
//   build/row_ops_bench
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <benchmark/benchmark.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <string>

#include "core/kernels/row_ops.h"
#include "tests/bench/timing.h"

namespace canvaslab {
namespace {

struct Rows {
  int64_t rows, width;
  at::Tensor x = at::randn({rows, width}), other = at::randn({rows, width}), w = at::rand({width}) + 0.5, y = at::empty({rows, width});
  size_t n = static_cast<size_t>(width);
  Rows(int64_t count, int64_t columns) : rows(count), width(columns) {}
  /// use(row of x, row of other, row of y) for every row.
  template <typename Use>
  void each(const Use& use) {
    const float *px = x.const_data_ptr<float>(), *po = other.const_data_ptr<float>();
    float* py = y.mutable_data_ptr<float>();
    for (int64_t r = 0; r < rows; ++r) use(px + r * width, po + r * width, py + r * width);
  }
};

/// One operation: ours fills y, theirs gives the same; `passes` over rows of memory, reads and writes. Both alternate.
template <typename Ours, typename Theirs>
void compare(benchmark::State& state, int passes, const Ours& ours, const Theirs& theirs) {
  const c10::NoGradGuard no_grad;
  at::set_num_threads(1);
  Rows rows(state.range(0), state.range(1));
  ours(rows);
  const at::Tensor expected = theirs(rows);
  const double error = ((rows.y - expected).abs().max() / expected.abs().max()).item<double>();
  // Both round to f32 a few times, take exponentials within 2e-7, and add some thousand terms in different orders.
  if (!(error < 3e-6)) return state.SkipWithError(("differs from LibTorch by " + std::to_string(error)).c_str());
  Times mine, other, copies;
  for (auto _ : state) {
    other.add(seconds_of([&] { benchmark::DoNotOptimize(theirs(rows)); }));
    const double seconds = seconds_of([&] { ours(rows); });
    benchmark::ClobberMemory();
    mine.add(seconds);
    state.SetIterationTime(seconds);
  }
  // The machine's own speed for as many bytes: a copy of the same rows, one read and one write.
  at::Tensor to = at::empty_like(rows.x);
  for (int i = 0; i < 50; ++i) copies.add(seconds_of([&] { to.copy_(rows.x); }));
  const double median = mine.median(), bytes = static_cast<double>(rows.x.nbytes());
  report(state, mine, "us");
  state.counters["GB/s"] = passes * bytes * 1e-9 / median;
  state.counters["share_of_copy"] = passes / median / (2 / copies.median());
  state.counters["libtorch_ratio"] = other.median() / median;
}

constexpr float kEps = 1e-6f;
const RowOps& ops = row_ops();

void rms_norm(benchmark::State& state) {
  compare(state, 2, [](Rows& r) { r.each([&](const float* x, const float*, float* y) { ops.rms_norm(x, r.w.const_data_ptr<float>(), kEps, r.n, y); }); },
          [](Rows& r) { return at::rms_norm(r.x, {r.width}, r.w, kEps); });
}
void gelu_times(benchmark::State& state) {
  compare(state, 3, [](Rows& r) { r.each([&](const float* x, const float* up, float* y) { ops.gelu_times(x, up, r.n, y); }); },
          [](Rows& r) { return at::gelu(r.x, "tanh") * r.other; });
}
void softmax(benchmark::State& state) {
  compare(state, 2,
          [](Rows& r) {
            r.each([&](const float* x, const float*, float* y) { ops.softmax(x, r.n, 1.25f, y); });
          },
          [](Rows& r) { return at::softmax(r.x * 1.25, -1); });
}
void soft_cap(benchmark::State& state) {
  compare(state, 2,
          [](Rows& r) {
            r.each([&](const float* x, const float*, float* y) {
              std::copy_n(x, r.n, y);
              ops.soft_cap(y, r.n, 30.0f);
            });
          },
          [](Rows& r) { return at::tanh(r.x / 30) * 30; });
}
void add_norm(benchmark::State& state) {
  compare(state, 3,
          [](Rows& r) {
            r.each([&](const float* a, const float* x, float* y) {
              std::copy_n(x, r.n, y);
              ops.add_norm(a, r.w.const_data_ptr<float>(), kEps, r.n, y);
            });
          },
          [](Rows& r) { return r.other + at::rms_norm(r.x, {r.width}, r.w, kEps); });
}

void shapes(benchmark::internal::Benchmark* b) { b->Args({64, 128})->Args({256, 384})->Args({256, 8192})->UseManualTime()->Unit(benchmark::kMicrosecond)->MinTime(0.1); }
BENCHMARK(rms_norm)->Apply(shapes);
BENCHMARK(add_norm)->Apply(shapes);
BENCHMARK(gelu_times)->Apply(shapes);
BENCHMARK(softmax)->Apply(shapes);
BENCHMARK(soft_cap)->Apply(shapes);

}  // namespace
}  // namespace canvaslab
