#include "core/network/training_ops.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cstring>
#include <optional>

#include "core/kernels/gemm_bf16.h"
#include "core/kernels/row_gradients.h"
#include "core/kernels/row_ops.h"

namespace canvaslab::training_ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

const float* in(const at::Tensor& t) { return t.const_data_ptr<float>(); }
const float* in_or_null(const at::Tensor& t) { return t.defined() ? t.const_data_ptr<float>() : nullptr; }
float* out(const at::Tensor& t) { return t.mutable_data_ptr<float>(); }
size_t row_length(const at::Tensor& x) { return static_cast<size_t>(x.size(-1)); }
size_t num_rows(const at::Tensor& x) { return x.size(-1) == 0 ? 0 : static_cast<size_t>(x.numel() / x.size(-1)); }

struct RmsNorm : Function<RmsNorm> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& given, const std::optional<at::Tensor>& weight, double eps) {
    const auto x = given.contiguous(), y = at::empty_like(x), w = weight.value_or(at::Tensor());
    const size_t n = row_length(x);
    const auto *px = in(x), *pw = in_or_null(w);
    float* py = out(y);
    for (size_t r = 0, rows = num_rows(x); r < rows; ++r) row_ops().rms_norm(px + r * n, pw, static_cast<float>(eps), n, py + r * n);
    ctx->save_for_backward({x, w});
    ctx->saved_data["eps"] = eps;
    return y;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const auto &x = saved[0], &w = saved[1];
    const auto dy = grads[0].contiguous(), dx = at::empty_like(x), dw = w.defined() ? at::zeros_like(w) : at::Tensor();
    const auto eps = static_cast<float>(ctx->saved_data["eps"].toDouble());
    const size_t n = row_length(x);
    const auto *px = in(x), *pw = in_or_null(w), *pdy = in(dy);
    float *pdx = out(dx), *pdw = dw.defined() ? out(dw) : nullptr;
    for (size_t r = 0, rows = num_rows(x); r < rows; ++r) row_gradients().rms_norm(px + r * n, pw, eps, pdy + r * n, n, pdx + r * n, pdw);
    return {dx, dw, at::Tensor()};
  }
};

struct AddNorm : Function<AddNorm> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& given, const at::Tensor& w, double eps) {
    const auto a = given.contiguous(), y = x.contiguous().clone();
    const size_t n = row_length(a);
    const auto *pa = in(a), *pw = in(w);
    float* py = out(y);
    for (size_t r = 0, rows = num_rows(a); r < rows; ++r) row_ops().add_norm(pa + r * n, pw, static_cast<float>(eps), n, py + r * n);
    ctx->save_for_backward({a, w});
    ctx->saved_data["eps"] = eps;
    return y;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const auto &a = saved[0], &w = saved[1];
    const auto dy = grads[0].contiguous(), da = at::empty_like(a), dw = at::zeros_like(w);
    const auto eps = static_cast<float>(ctx->saved_data["eps"].toDouble());
    const size_t n = row_length(a);
    const auto *pa = in(a), *pw = in(w), *pdy = in(dy);
    float *pda = out(da), *pdw = out(dw);
    for (size_t r = 0, rows = num_rows(a); r < rows; ++r) row_gradients().rms_norm(pa + r * n, pw, eps, pdy + r * n, n, pda + r * n, pdw);
    return {dy, da, dw, at::Tensor()};
  }
};

/// Row r of x [.., S, heads, Dh] stands at position r / heads % S.
template <typename Visit>
void each_head(const at::Tensor& x, const Visit& visit) {
  const auto heads = static_cast<size_t>(x.size(-2)), positions = static_cast<size_t>(x.size(-3)), rows = num_rows(x);
  for (size_t r = 0; r < rows; ++r) visit(r, r / heads % positions);
}

struct NormRotate : Function<NormRotate> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& given, const at::Tensor& w, double eps, const at::Tensor& cos, const at::Tensor& sin) {
    const auto x = given.contiguous(), y = at::empty_like(x);
    const size_t n = row_length(x);
    const auto *px = in(x), *pw = in(w), *pcos = in(cos), *psin = in(sin);
    float* py = out(y);
    each_head(x, [&](size_t r, size_t position) {
      row_ops().rms_norm(px + r * n, pw, static_cast<float>(eps), n, py + r * n);
      row_ops().rotate(py + r * n, pcos + position * n, psin + position * n, n / 2);
    });
    ctx->save_for_backward({x, w, cos, sin});
    ctx->saved_data["eps"] = eps;
    return y;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const auto &x = saved[0], &w = saved[1], &cos = saved[2];
    const auto back = saved[3].neg();  // the inverse rotation
    const auto dx = grads[0].contiguous().clone(), dw = at::zeros_like(w);
    const auto eps = static_cast<float>(ctx->saved_data["eps"].toDouble());
    const size_t n = row_length(x);
    const auto *px = in(x), *pw = in(w), *pcos = in(cos), *pback = in(back);
    float *pdx = out(dx), *pdw = out(dw);
    each_head(x, [&](size_t r, size_t position) {
      float* d = pdx + r * n;
      row_ops().rotate(d, pcos + position * n, pback + position * n, n / 2);
      row_gradients().rms_norm(px + r * n, pw, eps, d, n, d, pdw);
    });
    return {dx, dw, at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

struct GeluTimes : Function<GeluTimes> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& given_gate, const at::Tensor& given_up) {
    const auto gate = given_gate.contiguous(), up = given_up.contiguous(), y = at::empty_like(gate);
    row_ops().gelu_times(in(gate), in(up), static_cast<size_t>(gate.numel()), out(y));
    ctx->save_for_backward({gate, up});
    return y;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const auto dy = grads[0].contiguous(), dgate = at::empty_like(dy), dup = at::empty_like(dy);
    row_gradients().gelu_times(in(saved[0]), in(saved[1]), in(dy), static_cast<size_t>(dy.numel()), out(dgate), out(dup));
    return {dgate, dup};
  }
};

const uint16_t* bits(const at::Tensor& t) { return static_cast<const uint16_t*>(t.const_data_ptr()); }

/// x in f32, rounded to bf16 when products are of those.
at::Tensor factor(const at::Tensor& x, bool bf16) {
  if (!bf16) return x;
  const auto given = x.contiguous(), y = at::empty(given.sizes(), at::kBFloat16);
  row_ops().to_bf16(in(given), static_cast<size_t>(given.numel()), static_cast<uint16_t*>(y.mutable_data_ptr()));
  return y;
}

void copy_rows(const at::Tensor& y, float* place) {
  const auto rows = y.size(0), n = y.size(1), step = y.stride(0);
  for (int64_t r = 0; r < rows; ++r) std::memcpy(place + r * n, in(y) + r * step, static_cast<size_t>(n) * sizeof(float));
}

/// x [m, k] with zeros behind rows of an odd number of elements, as a bf16 product wants its left side.
at::Tensor in_pairs(const at::Tensor& x) {
  if (x.size(1) % 2 == 0) return x.contiguous();
  const auto padded = at::zeros({x.size(0), x.size(1) + 1}, x.options());
  padded.narrow(1, 0, x.size(1)).copy_(x);
  return padded;
}

/// c [m, n] = a [m, k] times b [k, n] or, `transposed`, b [n, k], both in f32 (by LibTorch) or in bf16 (by our kernel, which sums and
/// writes f32).
void multiply(const at::Tensor& given, const at::Tensor& b, bool transposed, float* c) {
  const int64_t n = b.size(transposed ? 0 : 1);
  if (given.scalar_type() == at::kFloat) {
    auto result = at::from_blob(c, {given.size(0), n}, at::kFloat);
    at::mm_out(result, given, transposed ? b.t() : b);
    return;
  }
  const auto a = in_pairs(given);
  bf16_gemm_kernel().multiply({.m = a.size(0), .n = n, .k = given.size(1), .a = bits(a), .lda = a.stride(0), .b = bits(b), .ldb = b.stride(0), .transposed = transposed, .c = c, .ldc = n});
}

/// c [m, n] = a [k, m] transposed times b [k, n].
void multiply_columns(const at::Tensor& a, const at::Tensor& b, float* c) { multiply(a.t(), b, false, c); }

/// x, rows of n floats, rounded into `place` [rows, n] bf16, whose rows may stand apart.
void round_rows(const at::Tensor& x, int64_t n, const at::Tensor& place) {
  const float* from = in(x);
  auto* to = static_cast<uint16_t*>(place.mutable_data_ptr());
  for (int64_t r = 0; r < place.size(0); ++r) row_ops().to_bf16(from + r * n, static_cast<size_t>(n), to + r * place.stride(0));
}

struct Products : Function<Products> {
  static variable_list forward(AutogradContext* ctx, const at::Tensor& x, at::TensorList w, bool bf16) {
    const auto rows = factor(x.reshape({-1, x.size(-1)}), bf16);
    const auto weights = factor(w.size() == 1 ? w[0] : at::cat(w, 0), bf16);
    const auto all = bf16 ? at::Tensor() : at::linear(rows, weights);  // [T, sum of N]
    std::vector<int64_t> widths;
    variable_list results;
    int64_t first = 0;
    for (const auto& one : w) {
      auto shape = x.sizes().vec();
      shape.back() = one.size(0);
      auto part = at::empty({rows.size(0), one.size(0)}, at::kFloat);
      if (bf16) multiply(rows, weights.narrow(0, first, one.size(0)), true, out(part));
      else copy_rows(all.narrow(1, first, one.size(0)), out(part));
      results.push_back(part.view(shape));
      widths.push_back(one.size(0));
      first += one.size(0);
    }
    ctx->save_for_backward({rows, weights});
    ctx->saved_data["widths"] = widths;
    ctx->saved_data["needs_x"] = x.requires_grad();
    return results;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const auto &rows = saved[0], &weights = saved[1];
    const auto widths = ctx->saved_data["widths"].toIntVector();
    const auto dy = at::empty({rows.size(0), weights.size(0)}, rows.options());
    int64_t first = 0;
    for (size_t i = 0; i < widths.size(); ++i) {
      const auto place = dy.narrow(1, first, widths[i]);
      if (!grads[i].defined()) place.zero_();
      else if (dy.scalar_type() == at::kFloat) place.copy_(grads[i].reshape({-1, widths[i]}));
      else round_rows(grads[i].contiguous(), widths[i], place);
      first += widths[i];
    }
    variable_list result;
    if (ctx->saved_data["needs_x"].toBool()) {
      auto shape = [&] {
        for (const auto& g : grads)
          if (g.defined()) return g.sizes().vec();
        return std::vector<int64_t>{rows.size(0), 1};
      }();
      shape.back() = rows.size(1);
      const auto dx = at::empty({dy.size(0), weights.size(1)}, at::kFloat);
      multiply(dy, weights, false, out(dx));
      result.push_back(dx.view(shape));
    } else {
      result.push_back(at::Tensor());
    }
    const auto dw = at::empty({dy.size(1), rows.size(1)}, at::kFloat);
    multiply_columns(dy, rows, out(dw));
    first = 0;
    for (const int64_t width : widths) {
      result.push_back(dw.narrow(0, first, width));
      first += width;
    }
    result.push_back(at::Tensor());
    return result;
  }
};

/// Slots (t, j) in the order of their experts.
struct Grouping {
  std::vector<int64_t> first;   ///< [E + 1] where each expert's rows begin
  std::vector<int64_t> slot;    ///< [R] ascending within an expert
  std::vector<int64_t> row_of;  ///< [T * k] by slot
  int64_t num_rows() const { return static_cast<int64_t>(slot.size()); }
  /// visit(expert, first row, count)
  template <typename Visit>
  void each_expert(const Visit& visit) const {
    for (size_t e = 0; e + 1 < first.size(); ++e)
      if (first[e + 1] > first[e]) visit(static_cast<int64_t>(e), first[e], first[e + 1] - first[e]);
  }
  /// visit(row, slot)
  template <typename Visit>
  void each_row(const Visit& visit) const {
    for (size_t r = 0; r < slot.size(); ++r) visit(static_cast<int64_t>(r), slot[r]);
  }
};

Grouping group(const at::Tensor& expert, int64_t num_experts) {
  const auto n = static_cast<size_t>(expert.numel());
  const auto* e = expert.const_data_ptr<int64_t>();
  std::vector<int64_t> count(static_cast<size_t>(num_experts), 0);
  for (size_t i = 0; i < n; ++i) ++count[static_cast<size_t>(e[i])];
  Grouping out{.first = {0}, .slot = {}, .row_of = std::vector<int64_t>(n)};
  for (const int64_t rows : count) out.first.push_back(out.first.back() + rows);
  out.slot.resize(n);
  auto next = out.first;
  for (size_t i = 0; i < n; ++i) {
    const int64_t row = next[static_cast<size_t>(e[i])]++;
    out.slot[static_cast<size_t>(row)] = static_cast<int64_t>(i);
    out.row_of[i] = row;
  }
  return out;
}

struct Experts : Function<Experts> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& given, const at::Tensor& given_weight, const at::Tensor& given_expert, const at::Tensor& gate_up, const at::Tensor& down, bool bf16) {
    const auto x = given.contiguous(), weight = given_weight.contiguous(), expert = given_expert.contiguous();
    const int64_t T = x.size(0), D = x.size(1), k = weight.size(1), F = down.size(2);
    const auto order = group(expert, gate_up.size(0));
    const int64_t R = order.num_rows();
    const auto grouped = at::empty({R, D}, at::kFloat);
    const float* px = in(x);
    float* pgrouped = out(grouped);
    order.each_row([&](int64_t r, int64_t slot) { std::memcpy(pgrouped + r * D, px + slot / k * D, static_cast<size_t>(D) * sizeof(float)); });
    const auto rows = factor(grouped, bf16), gate_up_rounded = factor(gate_up, bf16), down_rounded = factor(down, bf16);
    const auto halves = at::empty({R, 2 * F}, at::kFloat), inner = at::empty({R, F}, at::kFloat), results = at::empty({R, D}, at::kFloat);
    float *phalves = out(halves), *pinner = out(inner), *presults = out(results);
    order.each_expert([&](int64_t e, int64_t begin, int64_t count) {
      multiply(rows.narrow(0, begin, count), gate_up_rounded.select(0, e), true, phalves + begin * 2 * F);
    });
    for (int64_t r = 0; r < R; ++r) row_ops().gelu_times(phalves + r * 2 * F, phalves + r * 2 * F + F, static_cast<size_t>(F), pinner + r * F);
    const auto inner_rounded = factor(inner, bf16);
    order.each_expert([&](int64_t e, int64_t begin, int64_t count) {
      multiply(inner_rounded.narrow(0, begin, count), down_rounded.select(0, e), true, presults + begin * D);
    });
    const auto y = at::zeros({T, D}, at::kFloat);
    const float* pweight = in(weight);
    float* py = out(y);
    for (int64_t i = 0; i < T * k; ++i) row_ops().add_scaled(pweight[i], presults + order.row_of[static_cast<size_t>(i)] * D, static_cast<size_t>(D), py + i / k * D);
    ctx->save_for_backward({rows, weight, expert, gate_up_rounded, down_rounded, halves, inner_rounded, results});
    return y;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const auto &rows = saved[0], &weight = saved[1], &expert = saved[2], &gate_up = saved[3], &down = saved[4], &halves = saved[5], &inner = saved[6], &results = saved[7];
    const auto dy = grads[0].contiguous();
    const int64_t T = dy.size(0), D = dy.size(1), k = weight.size(1), F = down.size(2);
    const auto order = group(expert, gate_up.size(0));
    const int64_t R = order.num_rows();
    const auto dweight = at::empty_like(weight), dresults = at::zeros({R, D}, at::kFloat);
    const bool bf16 = rows.scalar_type() == at::kBFloat16;
    const auto *pdy = in(dy), *presults = in(results), *pweight = in(weight), *phalves = in(halves);
    float *pdweight = out(dweight), *pdresults = out(dresults);
    order.each_row([&](int64_t r, int64_t slot) {
      const float* d = pdy + slot / k * D;
      pdweight[slot] = row_gradients().dot(d, presults + r * D, static_cast<size_t>(D));
      row_ops().add_scaled(pweight[slot], d, static_cast<size_t>(D), pdresults + r * D);
    });
    const auto dresults_rounded = factor(dresults, bf16);
    const auto dinner = at::empty({R, F}, at::kFloat), dhalves = at::empty({R, 2 * F}, at::kFloat), drows = at::empty({R, D}, at::kFloat);
    const auto dgate_up = at::zeros(gate_up.sizes(), at::kFloat), ddown = at::zeros(down.sizes(), at::kFloat);
    float *pdinner = out(dinner), *pdhalves = out(dhalves), *pdrows = out(drows), *pdgate_up = out(dgate_up), *pddown = out(ddown);
    order.each_expert([&](int64_t e, int64_t begin, int64_t count) {
      const auto d = dresults_rounded.narrow(0, begin, count);
      multiply(d, down.select(0, e), false, pdinner + begin * F);
      multiply_columns(d, inner.narrow(0, begin, count), pddown + e * D * F);
    });
    for (int64_t r = 0; r < R; ++r) {
      const int64_t place = r * 2 * F;
      row_gradients().gelu_times(phalves + place, phalves + place + F, pdinner + r * F, static_cast<size_t>(F), pdhalves + place, pdhalves + place + F);
    }
    const auto dhalves_rounded = factor(dhalves, bf16);
    order.each_expert([&](int64_t e, int64_t begin, int64_t count) {
      const auto d = dhalves_rounded.narrow(0, begin, count);
      multiply(d, gate_up.select(0, e), false, pdrows + begin * D);
      multiply_columns(d, rows.narrow(0, begin, count), pdgate_up + e * 2 * F * D);
    });
    const auto dx = at::zeros({T, D}, at::kFloat);
    // In slot order, so that the sum does not depend on how rows were grouped.
    float* pdx = out(dx);
    for (int64_t i = 0; i < T * k; ++i) row_ops().add_scaled(1, pdrows + order.row_of[static_cast<size_t>(i)] * D, static_cast<size_t>(D), pdx + i / k * D);
    return {dx, dweight, at::Tensor(), dgate_up, ddown, at::Tensor()};
  }
};

struct CappedCrossEntropy : Function<CappedCrossEntropy> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& given, const at::Tensor& given_target, double cap, std::vector<float>* each) {
    const auto raw = given.contiguous(), target = given_target.contiguous(), draw = at::empty_like(raw);
    const size_t n = row_length(raw), T = num_rows(raw);
    std::vector<float> losses(T);
    double sum = 0;
    const float* praw = in(raw);
    float* pdraw = out(draw);
    const auto* targets = target.const_data_ptr<int64_t>();
    for (size_t r = 0; r < T; ++r) {
      losses[r] = row_gradients().capped_cross_entropy(praw + r * n, n, static_cast<float>(cap), static_cast<size_t>(targets[r]), 1.0f / static_cast<float>(T), pdraw + r * n);
      sum += static_cast<double>(losses[r]);
    }
    if (each) *each = std::move(losses);
    ctx->save_for_backward({draw});
    return at::scalar_tensor(sum / static_cast<double>(T), at::kFloat);
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) { return {ctx->get_saved_variables()[0] * grads[0], at::Tensor(), at::Tensor(), at::Tensor()}; }
};

}  // namespace

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& w, double eps) { return RmsNorm::apply(x, w.defined() ? std::optional(w) : std::nullopt, eps); }
at::Tensor add_norm(const at::Tensor& x, const at::Tensor& a, const at::Tensor& w, double eps) { return AddNorm::apply(x, a, w, eps); }
at::Tensor norm_rotate(const at::Tensor& x, const at::Tensor& w, double eps, const at::Tensor& cos, const at::Tensor& sin) { return NormRotate::apply(x, w, eps, cos, sin); }
at::Tensor gelu_times(const at::Tensor& gate, const at::Tensor& up) { return GeluTimes::apply(gate, up); }
std::vector<at::Tensor> products(const at::Tensor& x, const std::vector<at::Tensor>& w, bool bf16) { return Products::apply(x, at::TensorList(w), bf16); }
at::Tensor experts(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& expert, const at::Tensor& gate_up, const at::Tensor& down, bool bf16) {
  return Experts::apply(x, weight, expert, gate_up, down, bf16);
}
at::Tensor capped_cross_entropy(const at::Tensor& raw, const at::Tensor& target, double cap, std::vector<float>* each) { return CappedCrossEntropy::apply(raw, target, cap, each); }

}  // namespace canvaslab::training_ops
