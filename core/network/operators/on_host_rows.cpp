// What looks at one row at a time: norms, embeddings, activations, heads.
#include <cmath>
#include <vector>

#include "core/kernels/row_arithmetic.h"
#include "core/network/operators/on_host.h"

namespace canvaslab::on_host {

namespace {

/// 1 / sqrt(mean(x^2) + eps).
float inverse_rms(const std::vector<float>& x, float eps) {
  double sum = 0;
  for (const float v : x) sum += static_cast<double>(v) * static_cast<double>(v);
  return static_cast<float>(1 / std::sqrt(sum / static_cast<double>(x.size()) + static_cast<double>(eps)));
}

void write_normed(const cuda::NormedOut (&outs)[3], int64_t r, const std::vector<float>& x, float eps) {
  const float factor = inverse_rms(x, eps);
  for (const cuda::NormedOut& to : outs) {
    if (!to.out.data) continue;
    for (size_t c = 0; c < x.size(); ++c) to.out.put(r, static_cast<int64_t>(c), (to.gain ? x[c] * factor * to.gain[c] : x[c] * factor) * to.factor);
  }
}

/// The residual as it is stored, in x.
void write_residual(const RowsOut& residual, int64_t r, std::vector<float>& x) {
  for (size_t c = 0; c < x.size(); ++c) {
    residual.put(r, static_cast<int64_t>(c), x[c]);
    x[c] = residual.in().at(r, static_cast<int64_t>(c));
  }
}

}  // namespace

void row_glue(const cuda::RowGlueCall& call) {
  std::vector<float> a(static_cast<size_t>(call.width)), x(a.size());
  for (int64_t r = 0; r < call.num_rows; ++r) {
    for (size_t c = 0; c < x.size(); ++c) x[c] = call.residual.in().at(r, static_cast<int64_t>(c));
    if (call.branch.data) {
      for (size_t c = 0; c < a.size(); ++c) a[c] = call.branch.at(r, static_cast<int64_t>(c));
      if (const cuda::ExpertSum& experts = call.experts; experts.parts.data) {
        std::vector<float> sum(a.size());
        for (size_t c = 0; c < sum.size(); ++c) {
          double s = 0;
          for (int64_t i = r * experts.slots; i < (r + 1) * experts.slots; ++i) s += static_cast<double>(experts.parts.at(experts.place[i], static_cast<int64_t>(c))) * static_cast<double>(experts.weight[i]);
          sum[c] = static_cast<float>(s);
        }
        const float of_branch = inverse_rms(a, call.eps), of_sum = inverse_rms(sum, call.eps);
        for (size_t c = 0; c < a.size(); ++c) a[c] = a[c] * of_branch * call.branch_gain[c] + sum[c] * of_sum * call.experts_gain[c];
      }
      const float factor = inverse_rms(a, call.eps);
      for (size_t c = 0; c < x.size(); ++c) x[c] = (x[c] + a[c] * factor * call.gain[c]) * call.scale;
      write_residual(call.residual, r, x);
    }
    write_normed(call.outs, r, x, call.eps);
  }
}

void embed_rows(const cuda::EmbedCall& call) {
  std::vector<float> x(static_cast<size_t>(call.width));
  for (int64_t r = 0; r < call.num_rows; ++r) {
    for (size_t c = 0; c < x.size(); ++c) {
      x[c] = call.table.at(call.ids[r], static_cast<int64_t>(c)) * call.scale;
      if (call.signal.data) x[c] += call.signal.at(r, static_cast<int64_t>(c));
    }
    const float factor = call.normed ? inverse_rms(x, call.eps) : 1.0f;
    for (float& value : x) value *= factor;
    write_residual(call.residual, r, x);
    write_normed(call.outs, r, x, call.eps);
  }
}

void gelu_times_rows(const cuda::GeluCall& call) {
  for (int64_t r = 0; r < call.num_rows; ++r)
    for (int32_t c = 0; c < call.width; ++c) call.out.put(r, c, row_gelu_times(call.both.at(r, c), call.both.at(r, call.width + c)));
}

void soft_cap_rows(const cuda::SoftCapCall& call) {
  const float inverse = 1.0f / call.cap;
  for (int64_t r = 0; r < call.num_rows; ++r)
    for (int32_t c = 0; c < call.width; ++c) call.out.put(r, c, row_soft_cap(call.x.at(r, c), call.cap, inverse));
}

void head_rows(const cuda::HeadRowsCall& call) {
  const int32_t width = call.head_width, half = width / 2, H = call.num_heads, Hkv = call.num_kv_heads;
  std::vector<float> x(static_cast<size_t>(width));
  const auto put_key = [&](void* to, int64_t r, int64_t head, int64_t c, float value) { RowsOut{to, call.keys.row_stride, call.keys.storage}.put(r, head * call.keys.head_stride + c, value); };
  for (int64_t r = 0; r < call.num_rows; ++r)
    for (int32_t head = 0; head < H + 2 * Hkv; ++head) {
      const bool is_value = head >= H + Hkv;
      const int32_t source = is_value && !call.has_values ? head - Hkv : head;
      for (int32_t c = 0; c < width; ++c) x[static_cast<size_t>(c)] = call.rows.at(r, static_cast<int64_t>(source) * width + c);
      const float factor = inverse_rms(x, call.eps), *gain = head < H ? call.q_gain : call.k_gain;
      for (int32_t c = 0; c < width; ++c) x[static_cast<size_t>(c)] *= is_value ? factor : factor * gain[c];
      if (is_value) {
        for (int32_t c = 0; c < width; ++c) put_key(call.keys.v, r, head - H - Hkv, c, x[static_cast<size_t>(c)]);
        continue;
      }
      for (int32_t t = 0; t < half; ++t) {
        const float a = x[static_cast<size_t>(t)], b = x[static_cast<size_t>(t + half)], cosine = call.cos[r * call.table_stride + t], sine = call.sin[r * call.table_stride + t];
        const float turned[2] = {a * cosine - b * sine, b * cosine + a * sine};
        for (int32_t side = 0; side < 2; ++side) {
          if (head < H) call.q.put(r, static_cast<int64_t>(head) * width + side * half + t, turned[side]);
          else put_key(call.keys.k, r, head - H, side * half + t, turned[side]);
        }
      }
    }
}

}  // namespace canvaslab::on_host
