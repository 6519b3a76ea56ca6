#include "core/kernels/row_gradients.h"

#include <array>

#include "core/kernels/instruction_set.h"

namespace canvaslab {
namespace {

#define CANVASLAB_KERNEL_BODY "core/kernels/row_gradients_body.inc"
#include "core/kernels/every_instruction_set.inc"
#undef CANVASLAB_KERNEL_BODY

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
