#!/usr/bin/env bash
# Compiles every kernel for every architecture and looks at what came out: no spills; no fused multiply-add in f32, which would
# round otherwise than the CPU; no atomics on floating point; tensor cores where products are; warpgroup instructions on sm_90a
# alone; every kernel waits for earlier ones before it touches memory, where the architecture has that (sm_90 and later). Where nvdisasm or cuobjdump is (beside nvcc, in the PATH, or in the triton of the oracle's Python), the machine code is looked at too.   tests/cuda/compile_test.sh NVCC
set -euo pipefail
cd "$(dirname "$0")/../.."
nvcc="${1:?the first argument is nvcc}"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
failed=0
complain() { echo "FAILED: $*" >&2; failed=1; }
export PATH="$(dirname "$nvcc"):$PATH"
if [ -n "${CANVASLAB_ORACLE_PYTHON:-}" ]; then PATH="$PATH:$(echo "$(dirname "$(dirname "$CANVASLAB_ORACLE_PYTHON")")"/lib/python3*/site-packages/triton/backends/nvidia/bin)"; fi
# machine_code CUBIN: its disassembly; empty where nothing disassembles.
machine_code() {
  if command -v nvdisasm >/dev/null; then nvdisasm -c "$1" 2>/dev/null || true
  elif command -v cuobjdump >/dev/null; then cuobjdump -sass "$1" 2>/dev/null || true; fi
}
flags=(-std=c++20 -I. --expt-relaxed-constexpr -fmad=false -O3)
for file in core/kernels/cuda/*.cu; do
  for architecture in 80 90a 100a; do
    "$nvcc" "${flags[@]}" -Xptxas -v -gencode "arch=compute_$architecture,code=sm_$architecture" -cubin -o "$work/cubin" "$file" >"$work/log" 2>&1 || { cat "$work/log" >&2; complain "$file does not compile for sm_$architecture"; continue; }
    ! grep -q '__global__\|<<<\|launch_kernel' "$file" || grep -q 'bytes spill stores' "$work/log" || complain "$file, sm_$architecture: ptxas reported nothing"
    if grep 'bytes spill stores' "$work/log" | grep -qv ' 0 bytes spill stores, 0 bytes spill loads'; then complain "$file, sm_$architecture: registers spill: $(grep 'bytes spill' "$work/log")"; fi
    # ptxas says so where it makes products wait for each other or for what uses their sums.
    if grep -iE 'wgmma|warpgroup\.(wait|arrive)' "$work/log"; then complain "$file, sm_$architecture: ptxas is not content with the warpgroup products"; fi
    if [ "$file sm_$architecture" = 'core/kernels/cuda/warpgroup_product.cu sm_90a' ]; then
      machine_code "$work/cubin" >"$work/sass"
      if [ -s "$work/sass" ]; then
        # Six kernels, three sizes of tile, four instructions a step.
        for tokens in 64 128 256; do
          [ "$(grep -cE "\bHGMMA\.64x${tokens}x16\.F32\.BF16\b" "$work/sass")" -eq 8 ] || complain "$file: not 8 HGMMA of 64 x $tokens"
        done
        if grep -qE '\b(LDL|STL)\b' "$work/sass"; then complain "$file: local memory in the warpgroup kernels"; fi
        for word in LDGSTS FENCE.VIEW.ASYNC WARPGROUP.DEPBAR; do grep -qF "$word" "$work/sass" || complain "$file: no $word"; done
      else
        echo "$file sm_$architecture: machine code left out, neither nvdisasm nor cuobjdump here that knows it"
      fi
    fi
    echo "$file sm_$architecture: $(grep -o 'Used [0-9]* registers' "$work/log" | tr '\n' ' ')"
  done
  "$nvcc" "${flags[@]}" -gencode arch=compute_90a,code=compute_90a -ptx -o "$work/ptx" "$file"
  "$nvcc" "${flags[@]}" -gencode arch=compute_80,code=compute_80 -ptx -o "$work/ptx_80" "$file"
  if [ "$file" = core/kernels/cuda/device.cu ]; then  # launches what does not wait by itself
    if grep -q griddepcontrol "$work/ptx"; then complain "$file: a kernel waits by itself"; fi
  else
    if grep -q '<<<' "$file"; then complain "$file: a launch that is not launch_kernel's"; fi
    kernels="$(grep -c '\.entry ' "$work/ptx" || true)"
    ! grep -q 'launch_kernel' "$file" || [ "$kernels" -gt 0 ] || complain "$file: no kernels in its PTX"
    for word in griddepcontrol.wait griddepcontrol.launch_dependents; do [ "$(grep -c "$word" "$work/ptx" || true)" -eq "$kernels" ] || complain "$file: $kernels kernels, but not as many $word"; done
    # Text of a kernel before its wait: no memory but parameters, no barrier, no end, no branch past it.
    early="$(awk '/\.entry / { early = 1; delete ahead }
      !early { next }
      /[[:space:]](ld|st|atom|red|bar|cp)\./ && !/ld\.param/ || /[[:space:]](ret|exit|trap);/ { print }
      /[[:space:]]bra/ { ahead[$NF] = $0 }
      /^\$L.*:/ { delete ahead[substr($1, 1, index($1, ":") - 1) ";"] }
      /griddepcontrol\.wait/ { early = 0; for (target in ahead) print ahead[target] }' "$work/ptx")"
    [ -z "$early" ] || complain "$file: before the wait for earlier kernels: $early"
  fi
  if grep -q griddepcontrol "$work/ptx_80"; then complain "$file: overlapping kernels for compute_80"; fi
  if grep -qE '\bfma\.rn\.f32\b' "$work/ptx"; then complain "$file: fused multiply-add in f32"; fi
  if grep -qE '\b(atom|red)\.[a-z.]*f(16|32|64)\b' "$work/ptx"; then complain "$file: atomics on floating point"; fi
  case "$file" in
    */warpgroup_product.cu)
      for word in wgmma.fence.sync.aligned wgmma.mma_async.sync.aligned.m64n{64,128,256}k16.f32.bf16.bf16 wgmma.commit_group wgmma.wait_group fence.proxy.async cp.async.cg; do grep -q "$word" "$work/ptx" || complain "$file: no $word"; done
      "$nvcc" "${flags[@]}" -gencode arch=compute_100a,code=compute_100a -ptx -o "$work/ptx_100a" "$file"
      for architecture in 80 100a; do
        if grep -q 'wgmma' "$work/ptx_$architecture"; then complain "$file: warpgroup instructions for compute_$architecture"; fi
      done ;;
    *warp_product.cu | *attention.cu | *soft_embedding.cu)
      for word in mma.sync.aligned.m16n8k16 ldmatrix.sync cp.async.cg; do grep -q "$word" "$work/ptx" || complain "$file: no $word"; done ;;
  esac
done
"$nvcc" "${flags[@]}" -Xcompiler -Wall,-Wextra,-Werror -gencode arch=compute_90a,code=sm_90a -c -o "$work/measure.o" tests/cuda/measure.cu || complain "tests/cuda/measure.cu does not compile"
grep -q 'shfl.sync' "$work/ptx" || grep -lq 'bar.sync' "$work/ptx" || complain "the last kernel has neither a shuffle nor a barrier: the look at PTX sees nothing"
exit "$failed"
