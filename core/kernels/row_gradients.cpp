#include "core/kernels/row_gradients.h"

#include <array>

#include "core/kernels/instruction_set.h"

namespace canvaslab {
namespace {

namespace plain {
constexpr size_t kWidth = 4;
#include "core/kernels/vectors_body.inc"
#include "core/kernels/soft_cap_body.inc"
#include "core/kernels/row_gradients_body.inc"
}  // namespace plain

#if CANVASLAB_X86_VERSIONS
#pragma GCC push_options
#pragma GCC target("avx2")
namespace avx2 {
constexpr size_t kWidth = 8;
#include "core/kernels/vectors_body.inc"
#include "core/kernels/soft_cap_body.inc"
#include "core/kernels/row_gradients_body.inc"
}  // namespace avx2
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx512vl,avx512dq,avx512bw,prefer-vector-width=512")
namespace avx512 {
constexpr size_t kWidth = 16;
#include "core/kernels/vectors_body.inc"
#include "core/kernels/soft_cap_body.inc"
#include "core/kernels/row_gradients_body.inc"
}  // namespace avx512
#pragma GCC pop_options
#endif

constexpr std::array kVersions = {
    RowGradients{"plain", plain::rms_norm_gradient, plain::gelu_times_gradient, plain::capped_cross_entropy, plain::dot},
#if CANVASLAB_X86_VERSIONS
    RowGradients{"AVX2", avx2::rms_norm_gradient, avx2::gelu_times_gradient, avx2::capped_cross_entropy, avx2::dot},
    RowGradients{"AVX-512", avx512::rms_norm_gradient, avx512::gelu_times_gradient, avx512::capped_cross_entropy, avx512::dot},
#endif
};

}  // namespace

std::span<const RowGradients> all_row_gradients() { return std::span(kVersions).first(static_cast<size_t>(instruction_set()) + 1); }

const RowGradients& row_gradients() {
  static const RowGradients& best = all_row_gradients().back();
  return best;
}

}  // namespace canvaslab
