#include "core/kernels/row_ops.h"

#include <array>

#include "core/kernels/instruction_set.h"

namespace canvaslab {
namespace {

namespace plain {
constexpr size_t kWidth = 4;
#include "core/kernels/vectors_body.inc"
#include "core/kernels/soft_cap_body.inc"
#include "core/kernels/row_ops_body.inc"
}  // namespace plain

#if CANVASLAB_X86_VERSIONS
#pragma GCC push_options
#pragma GCC target("avx2")
namespace avx2 {
constexpr size_t kWidth = 8;
#include "core/kernels/vectors_body.inc"
#include "core/kernels/soft_cap_body.inc"
#include "core/kernels/row_ops_body.inc"
}  // namespace avx2
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx512vl,avx512dq,avx512bw,prefer-vector-width=512")
namespace avx512 {
constexpr size_t kWidth = 16;
#include "core/kernels/vectors_body.inc"
#include "core/kernels/soft_cap_body.inc"
#include "core/kernels/row_ops_body.inc"
}  // namespace avx512
#pragma GCC pop_options
#endif

constexpr std::array kVersions = {
    RowOps{"plain", plain::rms_norm, plain::add_norm, plain::add_scaled, plain::gelu_times, plain::softmax, plain::rotate, plain::soft_cap},
#if CANVASLAB_X86_VERSIONS
    RowOps{"AVX2", avx2::rms_norm, avx2::add_norm, avx2::add_scaled, avx2::gelu_times, avx2::softmax, avx2::rotate, avx2::soft_cap},
    RowOps{"AVX-512", avx512::rms_norm, avx512::add_norm, avx512::add_scaled, avx512::gelu_times, avx512::softmax, avx512::rotate, avx512::soft_cap},
#endif
};

}  // namespace

std::span<const RowOps> all_row_ops() { return std::span(kVersions).first(static_cast<size_t>(instruction_set()) + 1); }

const RowOps& row_ops() {
  static const RowOps& best = all_row_ops().back();
  return best;
}

}  // namespace canvaslab
