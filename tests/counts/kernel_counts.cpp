// Runs every kernel's plain and AVX2 version once on fixed inputs, for run.sh to count instructions: one line with the name
// each, and all work inside counted(). Under valgrind the processor has no AVX-512, so these two are what there is.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "core/kernels/gemm.h"
#include "core/kernels/gemm_bf16.h"
#include "core/kernels/mt19937.h"
#include "core/kernels/packed_matrix.h"
#include "core/kernels/row_gradients.h"
#include "core/kernels/row_ops.h"
#include "core/kernels/tile_sums.h"

/// Collection is switched on while this runs and dumped when it returns; of one name that needs no demangling.
extern "C" __attribute__((noinline)) void counted_kernel(void (*call)(const void*), const void* work) {
  call(work);
  __asm__ volatile("" ::: "memory");
}

namespace canvaslab {
namespace {

template <typename Work>
void count(const std::string& kernel, const char* version, const Work& work) {
  std::printf("%s %s\n", kernel.c_str(), version);
  counted_kernel([](const void* given) { (*static_cast<const Work*>(given))(); }, &work);
}

template <typename Version>
std::span<const Version> without_wide(std::span<const Version> versions) {
  return versions.first(std::min<size_t>(2, versions.size()));
}

std::vector<float> normals(size_t count, uint32_t seed) {
  std::mt19937 engine(seed);
  std::vector<float> out(count);
  // No std::normal_distribution: its code differs from library to library. Sums of uniforms do.
  for (auto& x : out) x = static_cast<float>(engine() % 4096 + engine() % 4096) / 2048.0f - 2.0f;
  return out;
}

void count_row_ops() {
  constexpr size_t n = 1000;  // no multiple of a vector
  const auto x = normals(n, 1), w = normals(n, 2);
  std::vector<float> y(n);
  std::vector<uint16_t> half(n);
  std::vector<int32_t> index(n + 1);
  for (const auto& k : without_wide(all_row_ops())) {
    const auto with = [&](const char* name, const auto& work) {
      y = x;
      count(std::string("row_ops.") + name, k.name, work);
    };
    with("rms_norm", [&] { k.rms_norm(x.data(), w.data(), 1e-6f, n, y.data()); });
    with("rms_norm_bf16", [&] { k.rms_norm_bf16(x.data(), w.data(), 1e-6f, n, half.data()); });
    with("add_norm", [&] { k.add_norm(x.data(), w.data(), 1e-6f, n, y.data()); });
    with("add_scaled", [&] { k.add_scaled(0.5f, x.data(), n, y.data()); });
    with("gelu_times", [&] { k.gelu_times(x.data(), w.data(), n, y.data()); });
    with("gelu_times_bf16", [&] { k.gelu_times_bf16(x.data(), w.data(), n, half.data()); });
    with("softmax", [&] { k.softmax(y.data(), n, 1.25f, y.data()); });
    with("rotate", [&] { k.rotate(y.data(), x.data(), w.data(), n / 2); });
    with("soft_cap", [&] { k.soft_cap(y.data(), n, 30.0f); });
    with("largest", [&] { y[0] = k.largest(x.data(), n); });
    with("exponentials", [&] { y[0] = k.exponentials(y.data(), n, 4.0f); });
    with("exponentials_bf16", [&] { y[0] = k.exponentials_bf16(x.data(), n, 4.0f, half.data()); });
    with("scale", [&] { k.scale(0.5f, n, y.data()); });
    with("pick", [&] { k.pick(x.data(), n, 1.0f, n, index.data()); });
    with("to_bf16", [&] { k.to_bf16(x.data(), n, half.data()); });
    with("scaled_bf16", [&] { k.scaled_bf16(0.5f, half.data(), n, y.data()); });
    with("add_scaled_bf16", [&] { k.add_scaled_bf16(0.5f, half.data(), n, y.data()); });
  }
}

void count_row_gradients() {
  constexpr size_t n = 1000;
  const auto x = normals(n, 1), w = normals(n, 2), dy = normals(n, 3);
  std::vector<float> dx(n), dw(n);
  float result = 0;
  for (const auto& k : without_wide(all_row_gradients())) {
    count("row_gradients.rms_norm", k.name, [&] { k.rms_norm(x.data(), w.data(), 1e-6f, dy.data(), n, dx.data(), dw.data()); });
    count("row_gradients.gelu_times", k.name, [&] { k.gelu_times(x.data(), w.data(), dy.data(), n, dx.data(), dw.data()); });
    count("row_gradients.cross_entropy", k.name, [&] { result += k.capped_cross_entropy(x.data(), n, 30.0f, 17, 0.1f, dx.data()); });
    count("row_gradients.dot", k.name, [&] { result += k.dot(x.data(), w.data(), n); });
  }
  if (std::isnan(result)) std::puts("no number");
}

void count_tiles() {
  const auto x = normals(kTile, 4);
  std::vector<float> out(kTile);
  for (const auto& k : without_wide(all_tile_kernels())) {
    float largest = 0;
    count("tiles.maximum", k.name, [&] { k.maximum(x.data(), kTile, &largest); });
    count("tiles.sums", k.name, [&] { out[0] = static_cast<float>(k.sums(x.data(), kTile, largest, 1.5, nullptr).z); });
    count("tiles.weights", k.name, [&] { k.weights(x.data(), kTile, largest, 1.5, out.data()); });
  }
}

void count_generator() {
  std::vector<uint32_t> state(kMtWords), words(2 * kRaceBlock);
  std::mt19937 engine(5);
  for (auto& word : state) word = static_cast<uint32_t>(engine());
  const auto x = normals(kRaceBlock, 6);
  for (const auto& k : without_wide(all_mt_kernels())) {
    count("mt19937.twist", k.name, [&] { k.twist(state.data()); });
    count("mt19937.temper", k.name, [&] { k.temper(state.data(), words.size(), words.data()); });
    count("mt19937.any_contender", k.name, [&] { k.any_contender(x.data(), words.data(), {.scale = 0x1p23f, .shift = 0x1p24f, .to_beat = 1e30f}); });
  }
}

void count_products() {
  constexpr int64_t m = 33, n = 96, k = 130;
  const auto a = normals(m * k, 7), b = normals(n * k, 8);
  std::vector<float> c(m * n);
  for (const auto& kernel : without_wide(all_gemm_kernels())) {
    Product p{.m = m, .n = n, .k = k, .a = a.data(), .lda = k, .b = b.data(), .ldb = k, .transposed = true, .c = c.data(), .ldc = n};
    std::vector<float> packed(static_cast<size_t>(kernel.packed_size(n, k)));
    count("gemm.pack", kernel.name, [&] { kernel.pack(p, packed.data()); });
    p.packed = packed.data();
    count("gemm.multiply", kernel.name, [&] { kernel.multiply(p); });
  }
  std::vector<uint16_t> a16(m * k), b16(n * k);
  all_row_ops().front().to_bf16(a.data(), a.size(), a16.data());
  all_row_ops().front().to_bf16(b.data(), b.size(), b16.data());
  for (const auto& kernel : without_wide(all_bf16_gemm_kernels())) {
    Bf16Product p{.m = m, .n = n, .k = k, .a = a16.data(), .lda = k, .b = b16.data(), .ldb = k, .transposed = true, .c = c.data(), .ldc = n};
    std::vector<float> packed(static_cast<size_t>(kernel.packed_size(n, k)));
    count("gemm_bf16.pack", kernel.name, [&] { kernel.pack(p, packed.data()); });
    p.packed = packed.data();
    count("gemm_bf16.multiply", kernel.name, [&] { kernel.multiply(p); });
  }
}

void count_unpacking() {
  constexpr int64_t rows = 8, columns = 512;
  std::mt19937 engine(9);
  std::vector<uint8_t> codes(static_cast<size_t>(rows * columns * 4));
  for (auto& byte : codes) byte = static_cast<uint8_t>(engine() % 120);  // finite numbers in every layout
  std::vector<float> out(static_cast<size_t>(rows * columns));
  const float scales[rows] = {1, 1, 1, 1, 1, 1, 1, 1};
  for (const auto& k : without_wide(all_unpack_kernels())) {
    for (int i = 0; i <= static_cast<int>(Packing::kQ6K); ++i) {
      const auto packing = static_cast<Packing>(i);
      PackedMatrix matrix{.packing = packing, .rows = rows, .columns = columns, .codes = codes.data()};
      if (packing == Packing::kE4m3 || packing == Packing::kInt4) {
        matrix.scales = reinterpret_cast<const uint8_t*>(scales);
        matrix.scales_per_row = 1;
      }
      if (packing == Packing::kNvfp4) {
        matrix.scales = codes.data();
        matrix.scale_packing = Packing::kE4m3;
        matrix.scales_per_row = columns / 16;
      }
      count(std::string("unpack.") + facts_of(packing).name, k.name, [&] { k.unpack(matrix, 0, rows, 0, columns, out.data(), columns); });
    }
  }
}

}  // namespace
}  // namespace canvaslab

int main() {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  canvaslab::count_row_ops();
  canvaslab::count_row_gradients();
  canvaslab::count_tiles();
  canvaslab::count_generator();
  canvaslab::count_products();
  canvaslab::count_unpacking();
}
