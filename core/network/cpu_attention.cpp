#include "core/network/cpu_attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

#include "core/kernels/gemm.h"
#include "core/kernels/gemm_bf16.h"
#include "core/kernels/row_ops.h"

namespace canvaslab {
namespace {

constexpr int64_t kKeyBlock = 512;  // scores of a chunk and a block stay in the second-level cache

template <typename Number>
class Attention {
 public:
  Attention(const AttentionCall<Number>& call, AttentionWorkspace& memory) : c(call), ws(memory) {}

  /// Queries [begin, end) of the heads that share key-value head `kv`, block of keys by block: softmax over what came so far, put
  /// right when a larger score comes (Milakov and Gimelshein 2018).
  void heads(int64_t kv, int64_t begin, int64_t end) {
    const int64_t Dh = c.head_dim, n = end - begin, first_head = (kv * c.num_heads + c.num_kv_heads - 1) / c.num_kv_heads, last_head = ((kv + 1) * c.num_heads + c.num_kv_heads - 1) / c.num_kv_heads;
    const auto rows = static_cast<size_t>((last_head - first_head) * n);
    ws.top.assign(rows, -std::numeric_limits<float>::infinity());
    ws.sum.assign(rows, 0);
    const int64_t first = *std::min_element(c.from.begin() + begin, c.from.begin() + end), last = *std::max_element(c.to.begin() + begin, c.to.begin() + end);
    bool any = false;
    int64_t base = 0;
    for (const KeyRows<Number>& part : c.keys) {
      const int64_t stop = std::min(part.count, last - base);
      for (int64_t at = std::max<int64_t>(0, first - base); at < stop; at += kKeyBlock) {
        const int64_t width = std::min(kKeyBlock, stop - at), offset = kv * part.head_stride + at * part.row_stride;
        Call keys{.n = width, .k = Dh, .b = part.k + offset, .ldb = part.row_stride, .transposed = true}, values{.n = Dh, .k = width, .b = part.v + offset, .ldb = part.row_stride};
        lay_out(keys, ws.keys);
        lay_out(values, ws.values);
        for (int64_t head = first_head; head < last_head; ++head) block(head, begin, end, keys, values, base + at, static_cast<size_t>((head - first_head) * n), any);
        any = true;
      }
      base += part.count;
    }
    for (int64_t head = first_head; head < last_head; ++head)
      for (int64_t s = begin; s < end; ++s) ops.scale(1.0f / ws.sum[static_cast<size_t>((head - first_head) * n + s - begin)], static_cast<size_t>(Dh), out(head, s));
  }

 private:
  static constexpr bool kBf16 = std::is_same_v<Number, uint16_t>;
  using Call = std::conditional_t<kBf16, Bf16Product, Product>;

  const AttentionCall<Number>& c;
  AttentionWorkspace& ws;
  const RowOps& ops = row_ops();

  static const auto& products() {
    if constexpr (kBf16) return bf16_gemm_kernel();
    else return gemm_kernel();
  }
  float* out(int64_t head, int64_t query) const { return c.out + (query * c.num_heads + head) * c.head_dim; }

  /// Once for all heads that read them.
  static void lay_out(Call& call, Buffer<float>& memory) {
    float* packed = memory.get(products().packed_size(call.n, call.k));
    products().pack(call, packed);
    call.packed = packed;
  }

  /// One head's queries meet one block of keys, whose first has the number first_key; `state`: where top and sum of the first query stand.
  void block(int64_t head, int64_t begin, int64_t end, Call keys, Call values, int64_t first_key, size_t state, bool accumulate) {
    const int64_t n = end - begin, width = keys.n, stride = kBf16 ? (width + 1) / 2 * 2 : width;
    float* scores = ws.scores.get(n * kKeyBlock);
    keys.m = n;
    keys.a = c.q + begin * c.q_stride + head * c.head_dim;
    keys.lda = c.q_stride;
    keys.c = scores;
    keys.ldc = width;
    products().multiply(keys);
    Number* weights = nullptr;
    if constexpr (kBf16) weights = ws.weights.get(n * kKeyBlock);
    else weights = scores;
    for (int64_t s = 0; s < n; ++s) weigh(scores + s * width, width, first_key, begin + s, state + static_cast<size_t>(s), out(head, begin + s), weights + s * stride, stride);
    values.m = n;
    values.a = weights;
    values.lda = stride;
    values.c = out(head, begin);
    values.ldc = c.num_heads * c.head_dim;
    values.accumulate = accumulate;
    products().multiply(values);
  }

  /// One query's scores of keys [first, first + width) become weights, zeros up to `stride`. `gathered`: what the query has so far, if its sum is not 0.
  void weigh(float* scores, int64_t width, int64_t first, int64_t query, size_t state, float* gathered, Number* weights, int64_t stride) {
    const auto s = static_cast<size_t>(query);
    const int64_t from = std::clamp<int64_t>(c.from[s] - first, 0, width), to = std::clamp<int64_t>(c.to[s] - first, from, width);
    const auto count = static_cast<size_t>(to - from);
    float &top = ws.top[state], &sum = ws.sum[state];
    std::fill(weights, weights + from, Number{0});
    std::fill(weights + to, weights + stride, Number{0});
    if (count == 0) return;
    const float largest = ops.largest(scores + from, count);
    if (largest > top) {
      if (sum > 0) {
        const float factor = std::exp(top - largest);
        sum *= factor;
        ops.scale(factor, static_cast<size_t>(c.head_dim), gathered);
      }
      top = largest;
    }
    if constexpr (kBf16) sum += ops.exponentials_bf16(scores + from, count, top, weights + from);
    else sum += ops.exponentials(scores + from, count, top);
  }
};

template <typename Number>
void attend_all(const AttentionCall<Number>& call, AttentionWorkspace& ws) {
  Attention<Number> attention(call, ws);
  for (int64_t begin = 0; begin < call.num_queries; begin += call.chunk)
    for (int64_t kv = 0; kv < call.num_kv_heads; ++kv) attention.heads(kv, begin, std::min(call.num_queries, begin + call.chunk));
}

}  // namespace

void attend(const AttentionCall<float>& call, AttentionWorkspace& ws) { attend_all(call, ws); }
void attend(const AttentionCall<uint16_t>& call, AttentionWorkspace& ws) { attend_all(call, ws); }

}  // namespace canvaslab
