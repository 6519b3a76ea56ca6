#pragma once
// What products of matrices use beside ordinary arithmetic: the tensor cores' 16 x 8 x 16 product of a warp, the loads that lay operands out for it, and copies to shared memory that go on while the
// threads compute (PTX ISA: mma.sync, ldmatrix, cp.async; sm_80 and later). For other compilers tests/support/simt.h has the same words.
#include <cstdint>

#include "core/kernels/cuda/dialect.cuh"

namespace canvaslab::cuda {

#if defined(__CUDACC__)

/// d += a b for a [16, 16] and b [16, 8] in bf16, d [16, 8] in f32, spread over the warp. With g = lane / 4, t = lane % 4:
///   a[0], a[1]: rows g, g + 8, columns 2t, 2t + 1;  a[2], a[3]: the same rows, columns 2t + 8, 2t + 9   (two bf16 a word, the lower column in the lower half)
///   b[0], b[1]: column g, rows 2t, 2t + 1 and 2t + 8, 2t + 9;  d[0], d[1]: row g, columns 2t, 2t + 1;  d[2], d[3]: row g + 8
__device__ __forceinline__ void mma_16x8x16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/// Four matrices of 8 x 8 bf16 in shared memory: lane l gives the address of row l % 8 of matrix l / 8 (16 bytes, aligned); word i of lane l is then row l / 4, columns 2 (l % 4) and the next, of matrix i.
__device__ __forceinline__ void load_matrices(uint32_t (&out)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(row)))
               : "memory");
}

/// The same of the transposed matrices: word i of lane l is column l / 4, rows 2 (l % 4) and the next.
__device__ __forceinline__ void load_matrices_transposed(uint32_t (&out)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(row)))
               : "memory");
}

/// Asks for a copy of 16 bytes, both sides aligned, past the first-level cache; zeros instead where it is not present: then `global` is not read.
__device__ __forceinline__ void copy_16(void* shared, const void* global, bool present) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(static_cast<uint32_t>(__cvta_generic_to_shared(shared))), "l"(__cvta_generic_to_global(global)), "r"(present ? 16 : 0) : "memory");
}
/// Ends a group of copies.
__device__ __forceinline__ void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/// Waits until at most kMost of this thread's groups are under way.
template <int kMost>
__device__ __forceinline__ void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kMost) : "memory");
}

#endif

}  // namespace canvaslab::cuda
