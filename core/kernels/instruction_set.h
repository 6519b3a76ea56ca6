#pragma once
// Which vector instructions the processor has. Programs run on any x86-64 and elsewhere: versions are chosen at run time.

/// Versions for AVX2 and AVX-512 are compiled where the compiler can aim single functions at them.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define CANVASLAB_X86_VERSIONS 1
#else
#define CANVASLAB_X86_VERSIONS 0
#endif

#if CANVASLAB_X86_VERSIONS && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace canvaslab {

/// In the order of preference; each one implies those before it.
enum class InstructionSet { kPlain = 0, kAvx2 = 1, kAvx512 = 2 };

/// The best one that this processor and this build have.
inline InstructionSet instruction_set() {
#if CANVASLAB_X86_VERSIONS
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw"))
    return InstructionSet::kAvx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return InstructionSet::kAvx2;
#endif
  return InstructionSet::kPlain;
}

/// Whether sums of bf16 products (vdpbf16ps) come on top of AVX-512.
inline bool has_bf16_products() {
#if CANVASLAB_X86_VERSIONS
  return instruction_set() == InstructionSet::kAvx512 && __builtin_cpu_supports("avx512bf16");
#else
  return false;
#endif
}

/// Whether products of bf16 tiles (AMX) come on top of those; Linux grants a process their registers on request.
inline bool has_tile_products() {
#if CANVASLAB_X86_VERSIONS && defined(__linux__)
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  static const bool granted = has_bf16_products() && __builtin_cpu_supports("amx-tile") && __builtin_cpu_supports("amx-bf16") && syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  return granted;
#else
  return false;
#endif
}

}  // namespace canvaslab
