#include "core/kernels/row_ops.h"

#include <array>

#include "core/kernels/instruction_set.h"

namespace canvaslab {
namespace {

#define CANVASLAB_KERNEL_BODY "core/kernels/row_ops_body.inc"
#include "core/kernels/every_instruction_set.inc"
#undef CANVASLAB_KERNEL_BODY

constexpr std::array kVersions = {
    RowOps{"plain", plain::rms_norm, plain::rms_norm_bf16, plain::add_norm, plain::add_scaled, plain::gelu_times, plain::gelu_times_bf16, plain::softmax, plain::rotate, plain::soft_cap,
           plain::largest, plain::exponentials, plain::exponentials_bf16, plain::scale, plain::pick, plain::to_bf16, plain::scaled_bf16, plain::add_scaled_bf16},
#if CANVASLAB_X86_VERSIONS
    RowOps{"AVX2", avx2::rms_norm, avx2::rms_norm_bf16, avx2::add_norm, avx2::add_scaled, avx2::gelu_times, avx2::gelu_times_bf16, avx2::softmax, avx2::rotate, avx2::soft_cap,
           avx2::largest, avx2::exponentials, avx2::exponentials_bf16, avx2::scale, avx2::pick, avx2::to_bf16, avx2::scaled_bf16, avx2::add_scaled_bf16},
    RowOps{"AVX-512", avx512::rms_norm, avx512::rms_norm_bf16, avx512::add_norm, avx512::add_scaled, avx512::gelu_times, avx512::gelu_times_bf16, avx512::softmax, avx512::rotate, avx512::soft_cap,
           avx512::largest, avx512::exponentials, avx512::exponentials_bf16, avx512::scale, avx512::pick, avx512::to_bf16, avx512::scaled_bf16, avx512::add_scaled_bf16},
#endif
};

}  // namespace

std::span<const RowOps> all_row_ops() { return std::span(kVersions).first(static_cast<size_t>(instruction_set()) + 1); }

const RowOps& row_ops() {
  static const RowOps& best = all_row_ops().back();
  return best;
}

}  // namespace canvaslab
