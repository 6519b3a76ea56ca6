// Products with weights and self-conditioning: blocks of weights read out into f32, multiplied by the house's matrix product.
#include <algorithm>
#include <cmath>
#include <vector>

#include "core/kernels/gemm.h"
#include "core/kernels/row_arithmetic.h"
#include "core/network/operators/on_host.h"

namespace canvaslab::on_host {

namespace {

using cuda::WeightFormat;

/// Features whose weights stand unpacked at once: 3 MB at a depth of 2816.
constexpr int32_t kFeatureBlock = 256;
/// Tokens of a part of the table: an f32 sum of so many terms, the rest of it in f64.
constexpr int32_t kTokenBlock = 1024;

/// Row `row` of the weights without its row's scale.
void read_row(const cuda::Weights& w, int64_t row, int32_t k, float* out) {
  const auto* bytes = static_cast<const uint8_t*>(w.codes);
  const auto* halves = static_cast<const uint16_t*>(w.codes);
  const auto nibble = [&](int32_t c) { return static_cast<uint8_t>(bytes[(row * k + c) / 2] >> c % 2 * 4 & 15); };
  for (int32_t c = 0; c < k; ++c) switch (w.format) {
      case WeightFormat::kBf16: out[c] = from_bf16(halves[row * k + c]); break;
      case WeightFormat::kE4m3: out[c] = from_e4m3(bytes[row * k + c]); break;
      case WeightFormat::kE2m1: out[c] = from_e2m1(nibble(c)) * from_e4m3(static_cast<const uint8_t*>(w.group_scales)[(row * k + c) / 16]); break;
      case WeightFormat::kInt4: out[c] = from_bf16(nearest_bf16(from_int4(nibble(c)) * from_bf16(static_cast<const uint16_t*>(w.group_scales)[(row * k + c) / 32]))); break;
    }
}

/// out [rows, count] = x [rows, k] times rows [first, first + count) of the weights, and their scales.
void multiply(const float* x, int64_t rows, const cuda::Weights& w, int64_t first, int32_t count, int32_t k, std::vector<float>& unpacked, float* out) {
  unpacked.resize(static_cast<size_t>(count) * static_cast<size_t>(k));
  for (int32_t i = 0; i < count; ++i) read_row(w, first + i, k, unpacked.data() + static_cast<int64_t>(i) * k);
  gemm_kernel().multiply({.m = rows, .n = count, .k = k, .a = x, .lda = k, .b = unpacked.data(), .ldb = k, .transposed = true, .c = out, .ldc = count});
  if (!w.row_scales) return;
  for (int64_t r = 0; r < rows; ++r)
    for (int32_t i = 0; i < count; ++i) out[r * count + i] *= w.row_scales[first + i];
}

}  // namespace

void matrix_product(const cuda::ProductCall& call) {
  std::vector<float> x, unpacked, gate, up;
  for (int32_t g = 0; g < call.num_groups; ++g) {
    const int64_t first_row = call.begin ? call.begin[g] : 0, rows = (call.begin ? call.begin[g + 1] : call.rows) - first_row;
    if (rows == 0) continue;
    x.resize(static_cast<size_t>(rows * call.k));
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t from = call.source ? call.source[first_row + r] / call.slots_per_row : first_row + r;
      for (int32_t c = 0; c < call.k; ++c) x[static_cast<size_t>(r * call.k + c)] = from_bf16(call.x[from * call.ldx + c]);
    }
    const int64_t matrix = static_cast<int64_t>(g) * (call.gated ? 2 : 1) * call.n;
    for (int32_t first = 0; first < call.n; first += kFeatureBlock) {
      const int32_t count = std::min(kFeatureBlock, call.n - first);
      gate.resize(static_cast<size_t>(rows * count));
      multiply(x.data(), rows, call.w, matrix + first, count, call.k, unpacked, gate.data());
      if (call.gated) {
        up.resize(gate.size());
        multiply(x.data(), rows, call.w, matrix + call.n + first, count, call.k, unpacked, up.data());
        for (size_t i = 0; i < gate.size(); ++i) gate[i] = row_gelu_times(gate[i], up[i]);
      }
      for (int64_t r = 0; r < rows; ++r)
        for (int32_t i = 0; i < count; ++i) call.out.put(first_row + r, first + i, gate[static_cast<size_t>(r * count + i)]);
    }
  }
}

void soft_embedding(const cuda::SoftEmbeddingCall& call) {
  const int64_t rows = call.rows, V = call.vocabulary, D = call.width;
  if (!call.logits) {
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < D; ++c) call.out.put(r, c, 0);
      if (call.skipped) call.skipped[r] = 0;
    }
    return;
  }
  std::vector<float> top(static_cast<size_t>(rows)), inverse(top.size());
  std::vector<double> skipped(top.size(), 0.0), sum(static_cast<size_t>(rows * D), 0.0);
  const auto logit = [&](int64_t r, int64_t v) { return call.logits[r * V + v]; };
  for (int64_t r = 0; r < rows; ++r) {
    const auto i = static_cast<size_t>(r);
    top[i] = *std::max_element(call.logits + r * V, call.logits + (r + 1) * V);
    double all = 0;
    for (int64_t v = 0; v < V; ++v) all += static_cast<double>(row_exponential((logit(r, v) - top[i]) * call.inverse_temperature));
    inverse[i] = static_cast<float>(1 / all);
  }
  const auto probability = [&](int64_t r, int64_t v) { return row_exponential((logit(r, v) - top[static_cast<size_t>(r)]) * call.inverse_temperature) * inverse[static_cast<size_t>(r)]; };
  std::vector<float> p, table, part(static_cast<size_t>(rows * D));
  int32_t num_kept = 0;
  for (int64_t first = 0; first < V; first += kTokenBlock) {
    const int64_t count = std::min<int64_t>(kTokenBlock, V - first);
    p.assign(static_cast<size_t>(rows * count), 0.0f);
    table.resize(static_cast<size_t>(count * D));
    for (int64_t t = 0; t < count; ++t) {
      bool kept = !(call.least > 0);
      for (int64_t r = 0; r < rows && !kept; ++r) kept = probability(r, first + t) >= call.least;
      num_kept += kept;
      for (int64_t r = 0; r < rows; ++r) {
        const float share = probability(r, first + t);
        if (kept) p[static_cast<size_t>(r * count + t)] = from_bf16(nearest_bf16(share));
        else skipped[static_cast<size_t>(r)] += static_cast<double>(share);
      }
      for (int64_t c = 0; c < D; ++c) table[static_cast<size_t>(t * D + c)] = from_bf16(call.table[(first + t) * D + c]);
    }
    gemm_kernel().multiply({.m = rows, .n = D, .k = count, .a = p.data(), .lda = count, .b = table.data(), .ldb = D, .c = part.data(), .ldc = D});
    for (size_t i = 0; i < part.size(); ++i) sum[i] += static_cast<double>(part[i]);
  }
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < D; ++c) call.out.put(r, c, static_cast<float>(sum[static_cast<size_t>(r * D + c)]) * call.scale);
    if (call.skipped) call.skipped[r] = static_cast<float>(skipped[static_cast<size_t>(r)]);
  }
  if (call.num_kept && rows > 0) *call.num_kept = num_kept;
}

}  // namespace canvaslab::on_host
