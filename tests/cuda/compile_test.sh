#!/usr/bin/env bash
# Compiles every kernel for every architecture and looks at what came out: no spills; no fused multiply-add in f32, which would
# round otherwise than the CPU; no atomics on floating point; tensor cores where products are.   tests/cuda/compile_test.sh NVCC
set -euo pipefail
cd "$(dirname "$0")/../.."
nvcc="${1:?the first argument is nvcc}"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
failed=0
complain() { echo "FAILED: $*" >&2; failed=1; }
flags=(-std=c++20 -I. --expt-relaxed-constexpr -fmad=false -O3)
for file in core/kernels/cuda/*.cu; do
  for architecture in 80 90a 100a; do
    "$nvcc" "${flags[@]}" -Xptxas -v -gencode "arch=compute_$architecture,code=sm_$architecture" -cubin -o "$work/cubin" "$file" >"$work/log" 2>&1 || { cat "$work/log" >&2; complain "$file does not compile for sm_$architecture"; continue; }
    grep -q 'bytes spill stores' "$work/log" || complain "$file, sm_$architecture: ptxas reported nothing"
    if grep 'bytes spill stores' "$work/log" | grep -qv ' 0 bytes spill stores, 0 bytes spill loads'; then complain "$file, sm_$architecture: registers spill: $(grep 'bytes spill' "$work/log")"; fi
    echo "$file sm_$architecture: $(grep -o 'Used [0-9]* registers' "$work/log" | tr '\n' ' ')"
  done
  "$nvcc" "${flags[@]}" -gencode arch=compute_90a,code=compute_90a -ptx -o "$work/ptx" "$file"
  if grep -qE '\bfma\.rn\.f32\b' "$work/ptx"; then complain "$file: fused multiply-add in f32"; fi
  if grep -qE '\b(atom|red)\.[a-z.]*f(16|32|64)\b' "$work/ptx"; then complain "$file: atomics on floating point"; fi
  case "$file" in
    *matrix_product.cu | *attention.cu | *soft_embedding.cu)
      for word in mma.sync.aligned.m16n8k16 ldmatrix.sync cp.async.cg; do grep -q "$word" "$work/ptx" || complain "$file: no $word"; done ;;
  esac
done
"$nvcc" "${flags[@]}" -Xcompiler -Wall,-Wextra,-Werror -gencode arch=compute_90a,code=sm_90a -c -o "$work/measure.o" tests/cuda/measure.cu || complain "tests/cuda/measure.cu does not compile"
grep -q 'shfl.sync' "$work/ptx" || grep -lq 'bar.sync' "$work/ptx" || complain "the last kernel has neither a shuffle nor a barrier: the look at PTX sees nothing"
exit "$failed"
