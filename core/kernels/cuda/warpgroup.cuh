#pragma once
// Products by a warpgroup, four warps in a row from a multiple of four: sm_90a's wgmma (PTX ISA: wgmma.mma_async, matrix descriptors, fence.proxy.async). For other compilers tests/support/simt.h has the
// same words; on other architectures nothing may call them.
//
// Both factors are read from shared memory while the warps go on, in the asynchronous proxy. So, for what was copied there: wait for one's own copies, fence_async_proxy(), barrier, and only then the
// product; and for the sums and the memory: commit_products(), wait_for_products<>(), and only then a look at the sums or, behind another barrier, the next copy.
#include <cstdint>

#include "core/kernels/cuda/dialect.cuh"
#include "core/kernels/host_device.h"

namespace canvaslab::cuda {

/// A factor in shared memory: rows of 64 bf16 (128 bytes), K along the row, from a multiple of 1024 bytes on. The 16 bytes c of row r stand where c ^ (r % 8) would: eight rows at one column then fall
/// into different banks.
struct SwizzledRows {
  static constexpr int kRowBytes = 128, kRepeat = 8 * kRowBytes;
  CANVASLAB_HOST_DEVICE static constexpr int at(int row, int chunk) { return row * kRowBytes + (chunk ^ row % 8) * 16; }
  /// The factor as an instruction takes it. Fields, in units of 16 bytes: where it begins (bits 0-13), from column to column of 16 bytes (16-29; without meaning here, 1 by convention), from eight rows
  /// to the next eight (32-45); swizzle of 128 bytes (1 in bits 62-63). The swizzle follows the bits of the address, so 16 columns of K on, 32 bytes, are 2 more in the first field.
  CANVASLAB_HOST_DEVICE static constexpr uint64_t descriptor(uint32_t shared_address) {
    return (shared_address & 0x3FFFFu) >> 4 | uint64_t{1} << 16 | uint64_t{kRepeat / 16} << 32 | uint64_t{1} << 62;
  }
  static constexpr uint64_t kNext16 = 2;
};

#if defined(__CUDACC__)

__device__ __forceinline__ uint32_t shared_address(const void* shared) { return static_cast<uint32_t>(__cvta_generic_to_shared(shared)); }

/// What this thread wrote to shared memory, by copies that it has waited for too, is seen by products behind the next barrier.
__device__ __forceinline__ void fence_async_proxy() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

/// The sums in registers are as this thread left them. Before the first product, and between a look at the sums and the next product.
__device__ __forceinline__ void fence_sums() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
/// Ends a group of products.
__device__ __forceinline__ void commit_products() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
/// Waits until at most kMost of the warpgroup's groups are under way.
template <int kMost>
__device__ __forceinline__ void wait_for_products() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kMost) : "memory");
}
/// Behind a wait: keeps the compiler from reading sums before it.
template <int kCount>
__device__ __forceinline__ void sums_are_there(float (&d)[kCount]) {
  CANVASLAB_UNROLL
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+f"(d[i])::"memory");
}

// Registers of an instruction's sums, in its text and as operands.
#define CANVASLAB_SUMS_OF_64 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define CANVASLAB_SUMS_OF_128 CANVASLAB_SUMS_OF_64 ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define CANVASLAB_SUMS_OF_256 CANVASLAB_SUMS_OF_128 ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
#define CANVASLAB_8_SUMS(i) "+f"(d[(i) + 0]), "+f"(d[(i) + 1]), "+f"(d[(i) + 2]), "+f"(d[(i) + 3]), "+f"(d[(i) + 4]), "+f"(d[(i) + 5]), "+f"(d[(i) + 6]), "+f"(d[(i) + 7])
#define CANVASLAB_32_SUMS(i) CANVASLAB_8_SUMS(i), CANVASLAB_8_SUMS((i) + 8), CANVASLAB_8_SUMS((i) + 16), CANVASLAB_8_SUMS((i) + 24)

/// d = a b, plus d where `add`: a [64, 16] and b [N, 16] in bf16 as descriptors (the same in all threads), d [64, N] in f32, N twice the length of d. Lane l of warp w holds
///   d[4 j + 2 i + s]: row 16 w + l / 4 + 8 i, column 8 j + l % 4 * 2 + s.
__device__ __forceinline__ void multiply_warpgroup(float (&d)[32], uint64_t a, uint64_t b, bool add) {
  asm volatile("{\n.reg .pred more;\nsetp.ne.b32 more, %34, 0;\nwgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" CANVASLAB_SUMS_OF_64 "}, %32, %33, more, 1, 1, 0, 0;\n}"
               : CANVASLAB_32_SUMS(0)
               : "l"(a), "l"(b), "r"(static_cast<int>(add)));
}
__device__ __forceinline__ void multiply_warpgroup(float (&d)[64], uint64_t a, uint64_t b, bool add) {
  asm volatile("{\n.reg .pred more;\nsetp.ne.b32 more, %66, 0;\nwgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" CANVASLAB_SUMS_OF_128 "}, %64, %65, more, 1, 1, 0, 0;\n}"
               : CANVASLAB_32_SUMS(0), CANVASLAB_32_SUMS(32)
               : "l"(a), "l"(b), "r"(static_cast<int>(add)));
}
__device__ __forceinline__ void multiply_warpgroup(float (&d)[128], uint64_t a, uint64_t b, bool add) {
  asm volatile("{\n.reg .pred more;\nsetp.ne.b32 more, %130, 0;\nwgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {" CANVASLAB_SUMS_OF_256 "}, %128, %129, more, 1, 1, 0, 0;\n}"
               : CANVASLAB_32_SUMS(0), CANVASLAB_32_SUMS(32), CANVASLAB_32_SUMS(64), CANVASLAB_32_SUMS(96)
               : "l"(a), "l"(b), "r"(static_cast<int>(add)));
}

#undef CANVASLAB_SUMS_OF_64
#undef CANVASLAB_SUMS_OF_128
#undef CANVASLAB_SUMS_OF_256
#undef CANVASLAB_8_SUMS
#undef CANVASLAB_32_SUMS

#endif

}  // namespace canvaslab::cuda
