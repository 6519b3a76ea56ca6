#include "core/network/cpu_attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/kernels/gemm.h"
#include "core/kernels/row_ops.h"

namespace canvaslab {
namespace {

constexpr int64_t kKeyBlock = 512;  // scores of a chunk and a block stay in the second-level cache

class Attention {
 public:
  Attention(const AttentionCall& call, AttentionWorkspace& memory) : c(call), ws(memory) {
    ws.top.resize(static_cast<size_t>(c.num_queries));
    ws.sum.resize(static_cast<size_t>(c.num_queries));
  }

  /// Queries [begin, end) of one head, block of keys by block: softmax over what came so far, put right when a larger score
  /// comes (Milakov and Gimelshein 2018).
  void head(int64_t head, int64_t begin, int64_t end) {
    const int64_t Dh = c.head_dim, n = end - begin, kv = head * c.num_kv_heads / c.num_heads, out_stride = c.num_heads * Dh;
    const float* q = c.q + begin * c.q_stride + head * Dh;
    float *out = c.out + begin * out_stride + head * Dh, *scores = ws.scores.get(n * kKeyBlock);
    const int64_t first = *std::min_element(c.from.begin() + begin, c.from.begin() + end), last = *std::max_element(c.to.begin() + begin, c.to.begin() + end);
    bool any = false;
    int64_t base = 0;
    for (const KeyRows& part : c.keys) {
      const int64_t stop = std::min(part.count, last - base);
      for (int64_t at = std::max<int64_t>(0, first - base); at < stop; at += kKeyBlock) {
        const int64_t width = std::min(kKeyBlock, stop - at);
        gemm_kernel().multiply({.m = n, .n = width, .k = Dh, .a = q, .lda = c.q_stride, .b = part.k + kv * part.head_stride + at * part.row_stride, .ldb = part.row_stride,
                                .transposed = true, .c = scores, .ldc = width});
        for (int64_t s = begin; s < end; ++s) weigh(scores + (s - begin) * width, width, base + at, s, any ? out + (s - begin) * out_stride : nullptr);
        gemm_kernel().multiply({.m = n, .n = Dh, .k = width, .a = scores, .lda = width, .b = part.v + kv * part.head_stride + at * part.row_stride, .ldb = part.row_stride,
                                .c = out, .ldc = out_stride, .accumulate = any});
        any = true;
      }
      base += part.count;
    }
    for (int64_t s = begin; s < end; ++s) ops.scale(1.0f / ws.sum[static_cast<size_t>(s)], static_cast<size_t>(Dh), out + (s - begin) * out_stride);
  }

 private:
  const AttentionCall& c;
  AttentionWorkspace& ws;
  const RowOps& ops = row_ops();

  /// One query's scores of keys [first, first + width) become weights. `out`: what it has gathered so far, or null at first.
  void weigh(float* row, int64_t width, int64_t first, int64_t query, float* out) {
    const auto s = static_cast<size_t>(query);
    const int64_t from = std::clamp<int64_t>(c.from[s] - first, 0, width), to = std::clamp<int64_t>(c.to[s] - first, from, width);
    float &top = ws.top[s], &sum = ws.sum[s];
    if (!out) {
      top = -std::numeric_limits<float>::infinity();
      sum = 0;
    }
    std::fill(row, row + from, 0.0f);
    std::fill(row + to, row + width, 0.0f);
    if (from == to) return;
    const float largest = ops.largest(row + from, static_cast<size_t>(to - from));
    if (largest > top) {
      if (sum > 0) {
        const float factor = std::exp(top - largest);
        sum *= factor;
        ops.scale(factor, static_cast<size_t>(c.head_dim), out);
      }
      top = largest;
    }
    sum += ops.exponentials(row + from, static_cast<size_t>(to - from), top);
  }
};

}  // namespace

void attend(const AttentionCall& call, AttentionWorkspace& ws) {
  Attention attention(call, ws);
  for (int64_t begin = 0; begin < call.num_queries; begin += call.chunk)
    for (int64_t head = 0; head < call.num_heads; ++head) attention.head(head, begin, std::min(call.num_queries, begin + call.chunk));
}

}  // namespace canvaslab
