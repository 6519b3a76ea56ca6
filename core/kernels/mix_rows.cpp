#include "core/kernels/mix_rows.h"

#include "core/kernels/instruction_set.h"

namespace canvaslab {
namespace {

namespace plain {
#include "core/kernels/mix_rows_body.inc"
}  // namespace plain

#if CANVASLAB_X86_VERSIONS
#pragma GCC push_options
#pragma GCC target("avx2")
namespace avx2 {
#include "core/kernels/mix_rows_body.inc"
}  // namespace avx2
#pragma GCC pop_options
const bool kHasAvx2 = instruction_set() >= InstructionSet::kAvx2;
#else
namespace avx2 = plain;
constexpr bool kHasAvx2 = false;
#endif

}  // namespace

void mix_rows(std::span<const double> weights, const double* table, size_t width, double* out) {
  (kHasAvx2 ? avx2::mix : plain::mix)(weights.data(), weights.size(), table, width, out);
}

void mix_rows(std::span<const double> first, std::span<const double> second, const double* table, size_t width, double* out) {
  (kHasAvx2 ? avx2::mix_twice : plain::mix_twice)(first.data(), second.data(), first.size(), table, width, out);
}

}  // namespace canvaslab
