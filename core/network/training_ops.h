#pragma once
// The network's parts as single differentiable operations on the CPU in f32, for training: a pass over memory forward and
// one back, where autograd of the written-out formulas makes five to ten. Results agree with network.cpp's to rounding.
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace canvaslab::training_ops {

/// y = x / rms(x) [* w] over the last axis; w undefined: no weight.
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& w, double eps);
/// x + rms_norm(a, w)
at::Tensor add_norm(const at::Tensor& x, const at::Tensor& a, const at::Tensor& w, double eps);
/// rms_norm of heads, then rotary positions: x [.., S, heads, Dh], cos and sin [S, 1, Dh].
at::Tensor norm_rotate(const at::Tensor& x, const at::Tensor& w, double eps, const at::Tensor& cos, const at::Tensor& sin);
/// gelu(gate) * up, the tanh form.
at::Tensor gelu_times(const at::Tensor& gate, const at::Tensor& up);
/// x [.., K] times each w [N_i, K] transposed. With bf16 the factors of this and of the gradients' products are rounded to it;
/// sums and results are f32.
std::vector<at::Tensor> products(const at::Tensor& x, const std::vector<at::Tensor>& w, bool bf16);
/// sum over slots of weight [T, k] * expert MLP(x): x [T, D], expert [T, k] i64, gate_up [E, 2F, D], down [E, D, F].
at::Tensor experts(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& expert, const at::Tensor& gate_up, const at::Tensor& down, bool bf16);
/// Mean over rows of the cross-entropy in nats of softmax(cap * tanh(raw / cap)) [T, V] to target [T] i64; each row's
/// into `each` [T] when not null.
at::Tensor capped_cross_entropy(const at::Tensor& raw, const at::Tensor& target, double cap, std::vector<float>* each = nullptr);

}  // namespace canvaslab::training_ops
