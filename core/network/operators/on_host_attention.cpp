// Attention and the routing of rows to experts, written out.
#include <algorithm>
#include <cmath>
#include <vector>

#include "core/kernels/row_arithmetic.h"
#include "core/network/operators/on_host.h"

namespace canvaslab::on_host {

void attention(const cuda::AttentionCall& call) {
  const int32_t width = call.head_width;
  std::vector<double> weight, sum(static_cast<size_t>(width));
  for (int32_t n = 0; n < call.num_sequences; ++n) {
    const cuda::AttentionSequence& sequence = call.sequences[n];
    const int32_t cached = sequence.cached.count, keys = cached + sequence.fresh.count;
    for (int64_t r = sequence.first_row; r < sequence.first_row + sequence.num_rows; ++r)
      for (int32_t head = 0; head < call.num_heads; ++head) {
        const int32_t kv_head = head * call.num_kv_heads / call.num_heads;
        const auto at = [&](int32_t key, bool value) {
          const cuda::KeySpan& span = key < cached ? sequence.cached : sequence.fresh;
          return (value ? span.v : span.k) + kv_head * span.head_stride + (key < cached ? key : key - cached) * span.row_stride;
        };
        const int32_t from = call.from ? std::max(0, call.from[r]) : 0, to = call.to ? std::min(keys, call.to[r]) : keys;
        const uint16_t* q = call.q + r * call.q_stride + static_cast<int64_t>(head) * width;
        double top = -INFINITY, all = 0;
        weight.clear();
        for (int32_t key = from; key < to; ++key) {
          const uint16_t* k = at(key, false);
          double score = 0;
          for (int32_t d = 0; d < width; ++d) score += static_cast<double>(from_bf16(q[d])) * static_cast<double>(from_bf16(k[d]));
          weight.push_back(score);
          top = std::max(top, score);
        }
        for (double& w : weight) all += w = std::exp(w - top);
        std::fill(sum.begin(), sum.end(), 0.0);
        for (int32_t key = from; key < to; ++key) {
          const uint16_t* v = at(key, true);
          const double w = weight[static_cast<size_t>(key - from)] / all;
          for (int32_t d = 0; d < width; ++d) sum[static_cast<size_t>(d)] += w * static_cast<double>(from_bf16(v[d]));
        }
        for (int32_t d = 0; d < width; ++d) call.out.put(r, static_cast<int64_t>(head) * width + d, static_cast<float>(sum[static_cast<size_t>(d)]));
      }
  }
}

void route(const cuda::RouteCall& call) {
  const int64_t E = call.num_experts;
  std::vector<float> p(static_cast<size_t>(E));
  for (int64_t r = 0; r < call.num_rows; ++r) {
    const float* logits = call.logits + r * E;
    const float top = *std::max_element(logits, logits + E);
    double all = 0, sum = 0;
    for (int64_t e = 0; e < E; ++e) all += static_cast<double>(p[static_cast<size_t>(e)] = row_exponential(logits[e] - top));
    for (float& share : p) share *= static_cast<float>(1 / all);  // in f32, as on the GPU: which probabilities are equal decides who comes first
    for (int64_t i = r * call.slots; i < (r + 1) * call.slots; ++i) {
      int64_t best = -1;
      float most = -1;
      for (int64_t e = 0; e < E; ++e)
        if (p[static_cast<size_t>(e)] > most) best = e, most = p[static_cast<size_t>(e)];
      if (best < 0) best = i - r * call.slots, most = NAN;  // rows of NaN: some expert, and weights that are NaN
      call.expert[i] = static_cast<int32_t>(best);
      call.weight[i] = most;
      sum += static_cast<double>(most);
      p[static_cast<size_t>(best)] = -1;
    }
    for (int64_t i = r * call.slots; i < (r + 1) * call.slots; ++i) call.weight[i] = static_cast<float>(static_cast<double>(call.weight[i]) / sum) * call.per_expert_scale[call.expert[i]];
  }
}

void group_by_expert(const cuda::GroupCall& call) {
  std::fill(call.begin, call.begin + call.num_experts + 1, 0);
  for (int32_t i = 0; i < call.num_routed; ++i) ++call.begin[call.expert[i] + 1];
  for (int32_t e = 0; e < call.num_experts; ++e) call.begin[e + 1] += call.begin[e];
  std::vector<int32_t> next(call.begin, call.begin + call.num_experts);
  for (int32_t i = 0; i < call.num_routed; ++i) {
    call.place[i] = next[static_cast<size_t>(call.expert[i])]++;
    call.source[call.place[i]] = i;
  }
}

}  // namespace canvaslab::on_host
