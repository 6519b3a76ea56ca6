#!/usr/bin/env bash
# Everything a machine with a GPU is asked for, unattended: correctness, sanitizer, times beside cuBLAS, PyTorch and transformers, profile; ends with a table of pass, fail and ratios.
#   ./experiments/gpu_check.sh [--stages LIST] [--out DIR] [--bin DIR] [--minutes N] [--arch SM] [--dry-run]
#
#   --stages LIST   of build,probe,correctness,program,sanitizer,measure,torch,profile,report (default: all, in this order; report alone makes the table anew)
#   --out DIR       where results go (default results/gpu/DATE-DEVICE); stages of several calls may share one
#   --bin DIR       where the built parts are or go (default build/gpu)
#   --minutes N     all of it at most (default 25); every stage has a limit of its own besides, and what is cut short is told
#   --arch SM       architecture to build for (default 90a)
#   --dry-run       says what would run, with its limits; works anywhere, runs and writes nothing
#
# Needs nvcc 12.8 or later for `build`, which compiles the kernels alone, in a minute or two: no LibTorch, no CMake. Parts brought along from a like machine are used as they are (they are linked
# against the toolkit's cuBLAS alone). `program` runs the small model by the whole program where build/canvaslab is (brought along with LibTorch, or built there). Correctness needs GoogleTest and fmt's headers when it is built. python3 with torch and transformers 5.17 is used where it is there, and so are
# compute-sanitizer and ncu; what is missing or refused is told and not counted as a failure.
# Exit: 0 all that ran passed; 1 something failed; 2 usage; 3 no GPU or nothing to build with.
set -euo pipefail
cd "$(dirname "$0")/.."
fail_usage() { echo "gpu_check.sh: $*; see --help" >&2; exit 2; }
all_stages=build,probe,correctness,program,sanitizer,measure,torch,profile,report
stages=$all_stages out="" bin=build/gpu minutes=25 arch=90a dry=0
while [ $# -gt 0 ]; do
  case "$1" in
    --stages) stages="${2:?--stages needs a list}"; shift 2 ;;
    --out) out="${2:?--out needs a folder}"; shift 2 ;;
    --bin) bin="${2:?--bin needs a folder}"; shift 2 ;;
    --minutes) minutes="${2:?--minutes needs a number}"; shift 2 ;;
    --arch) arch="${2:?--arch needs a name like 90a}"; shift 2 ;;
    --dry-run) dry=1; shift ;;
    -h|--help) sed -n '2,15p' "$0" | cut -c3-; exit 0 ;;
    *) fail_usage "unknown option '$1'" ;;
  esac
done
case "$minutes" in ''|*[!0-9]*) fail_usage "--minutes '$minutes' is no number" ;; esac
for stage in ${stages//,/ }; do
  case ",$all_stages," in *",$stage,"*) ;; *) fail_usage "unknown stage '$stage'; known: $all_stages" ;; esac
done
wanted() { case ",$stages," in *",$1,"*) return 0 ;; *) return 1 ;; esac; }
say() { printf 'gpu_check: %s\n' "$*" >&2; }

nvcc="${NVCC:-$(command -v nvcc || true)}"
[ -n "$nvcc" ] || { [ -x /usr/local/cuda/bin/nvcc ] && nvcc=/usr/local/cuda/bin/nvcc; } || true
cuda_home="$(dirname "$(dirname "${nvcc:-/usr/local/cuda/bin/nvcc}")")"
export PATH="$cuda_home/bin:$PATH" LD_LIBRARY_PATH="$cuda_home/lib64${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
python="${CANVASLAB_ORACLE_PYTHON:-$(command -v python3 || true)}"
started=$SECONDS
status=0
left() { echo $((minutes * 60 - (SECONDS - started))); }

# run NAME LIMIT_S LOG COMMAND...: a limit of its own and what is left of all; appends a line to stages.jsonl.
run() {
  local name="$1" limit="$2" log="$3"
  shift 3
  if [ "$dry" -eq 1 ]; then
    printf '%-12s at most %4s s   %s\n' "$name" "$limit" "$*"
    return 0
  fi
  local room code=0 begin=$SECONDS
  room=$(left)
  if [ "$room" -lt 10 ]; then
    say "$name: left out, the $minutes minutes are over"
    printf '{"stage": "%s", "result": "left out", "why": "time is over"}\n' "$name" >>"$out/stages.jsonl"
    return 0
  fi
  [ "$limit" -le "$room" ] || limit=$room
  say "$name ..."
  timeout -k 10 "$limit" "$@" >"$out/$log" 2>"$out/$log.err" || code=$?
  local result=passed
  case "$code" in 0) ;; 124|137) result="cut short" ;; *) result=failed ;; esac
  printf '{"stage": "%s", "result": "%s", "code": %d, "seconds": %d}\n' "$name" "$result" "$code" $((SECONDS - begin)) >>"$out/stages.jsonl"
  say "$name: $result ($((SECONDS - begin)) s)"
  [ "$result" != failed ] || { tail -n 5 "$out/$log" "$out/$log.err" >&2; status=1; }
  return 0
}
left_out() {
  say "$1: left out, $2"
  printf '{"stage": "%s", "result": "left out", "why": "%s"}\n' "$1" "$2" >>"$out/stages.jsonl"
}

flags=(-std=c++20 -O3 -fmad=false --expt-relaxed-constexpr -I. -gencode "arch=compute_$arch,code=sm_$arch")
objects=()
for file in core/kernels/cuda/*.cu; do objects+=("$bin/$(basename "$file" .cu).o"); done
# What the tests compare with: the CPU's row operations and statistics.
host=(core/kernels/row_ops.cpp core/kernels/tile_sums.cpp core/row_statistics.cpp)
build_all() {  # every step says `|| return`: what is called in a condition has no `set -e`
  mkdir -p "$bin" || return 1
  local jobs=() units=() file gtest
  for file in core/kernels/cuda/*.cu tests/cuda/measure.cu; do
    "$nvcc" "${flags[@]}" -c -o "$bin/$(basename "$file" .cu).o" "$file" &
    jobs+=($!)
  done
  for job in "${jobs[@]}"; do wait "$job" || return 1; done
  "$nvcc" -o "$bin/measure" "$bin/measure.o" "${objects[@]}" -cudart static -Xcompiler -static-libstdc++,-static-libgcc -lcublas || return 1
  gtest="$(for d in /usr/lib/x86_64-linux-gnu /usr/lib /usr/local/lib; do if [ -e "$d/libgtest.a" ]; then echo "$d"; break; fi; done)"
  if [ -z "$gtest" ] || ! echo '#include <fmt/format.h>' | c++ -E -x c++ - >/dev/null 2>&1; then
    echo "no GoogleTest or no fmt here: the tests are not built"
    return 0
  fi
  local compile=(c++ -std=c++20 -O2 -DFMT_HEADER_ONLY -I. -isystem "$cuda_home/include")
  for file in tests/cuda/device_network_test.cpp tests/cuda/device_step_test.cpp "${host[@]}"; do
    # As CMakeLists.txt compiles kernels: rounding as written.
    "${compile[@]}" -ffp-contract=off -fno-math-errno -fno-trapping-math -Wno-psabi -c -o "$bin/host_$(basename "$file" .cpp).o" "$file" || return 1
    units+=("$bin/host_$(basename "$file" .cpp).o")
  done
  c++ -static-libstdc++ -static-libgcc -o "$bin/device_tests" "${units[@]}" "${objects[@]}" "$gtest/libgtest.a" "$gtest/libgtest_main.a" -L"$cuda_home/lib64" -lcudart_static -lpthread -ldl -lrt
}

device=""
if [ "$dry" -eq 0 ]; then
  device="$(nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | head -n 1 | tr ' /' '--' || true)"
  if [ -z "$device" ] && [ "$stages" != build ] && [ "$stages" != report ]; then
    say "no GPU: nvidia-smi names none. --dry-run says what would run; --stages build builds without one"
    exit 3
  fi
  [ "$stages" != build ] || out="${out:-$bin}"
  out="${out:-results/gpu/$(date -u +%Y-%m-%d)-${device:-no-device}}"
  mkdir -p "$out"
  [ -e "$out/context.json" ] || printf '{"device": "%s", "date": "%s", "commit": "%s", "clocks": "%s", "driver": "%s", "nvcc": "%s"}\n' "$device" "$(date -u +%Y-%m-%dT%H:%M:%SZ)" \
    "$(git rev-parse HEAD 2>/dev/null || echo unknown)" "$(nvidia-smi --query-gpu=clocks.sm,clocks.mem,clocks.max.sm --format=csv,noheader 2>/dev/null | head -n 1 || true)" \
    "$(nvidia-smi --query-gpu=driver_version --format=csv,noheader 2>/dev/null | head -n 1 || true)" "$("${nvcc:-false}" --version 2>/dev/null | grep -o 'release [0-9.]*' || true)" >"$out/context.json"
else
  out="${out:-results/gpu/DATE-DEVICE}"
  echo "would write $out; at most $minutes minutes"
fi

if wanted build; then
  if [ "$dry" -eq 1 ]; then
    printf '%-12s at most %4s s   %s\n' build 300 "nvcc ${flags[*]} on core/kernels/cuda/*.cu and tests/cuda/measure.cu; c++ on tests/cuda/*.cpp -> $bin/{measure,device_tests}"
    [ -n "$nvcc" ] || echo "              (no nvcc here)"
  elif [ -x "$bin/measure" ] && [ -x "$bin/device_tests" ] && [ "$stages" != build ]; then
    say "build: $bin is there already"
  elif [ -z "$nvcc" ]; then
    say "no nvcc, and no $bin brought along"
    exit 3
  else
    code=0 begin=$SECONDS
    build_all >"$out/build.log" 2>&1 || code=$?
    [ "$code" -eq 0 ] || { tail -n 20 "$out/build.log" >&2; say "the build failed"; exit 1; }
    printf '{"stage": "build", "result": "passed", "code": 0, "seconds": %d}\n' $((SECONDS - begin)) >>"$out/stages.jsonl"
    say "build: done ($((SECONDS - begin)) s)"
  fi
fi
if wanted probe; then
  run probe 120 probe.jsonl "$bin/measure" --only probe
fi
if wanted correctness; then
  if [ "$dry" -eq 1 ] || [ -x "$bin/device_tests" ]; then
    run correctness 420 correctness.log "$bin/device_tests" --gtest_output="json:$out/correctness.json"
  else
    left_out correctness "no $bin/device_tests"
  fi
fi
if wanted program; then
  # The small model's quickstart on the GPU and on the CPU, in bf16: the same questions, tokens nearly always the same; `diff` says how far they are apart.
  if [ "$dry" -eq 1 ] || [ -x build/canvaslab ]; then
    if [ "$dry" -eq 1 ] || [ -x build/cuda_tests ]; then run "program tests" 120 program-tests.log build/cuda_tests --gtest_filter='DeviceDenoiser.*'; fi
    if [ "$dry" -eq 1 ] || { [ -x build/cuda_tests ] && command -v compute-sanitizer >/dev/null; }; then
      run "program memcheck" 180 program-memcheck.log compute-sanitizer --tool memcheck --error-exitcode 9 build/cuda_tests --gtest_filter='DeviceDenoiser.GivesTheSameBits*:DeviceDenoiser.WholeCanvases*'
    fi
    for device in cuda cpu; do
      run "program $device" 120 "program-$device.log" build/canvaslab sweep experiments/quickstart.toml --set "denoiser.device=$device" --set denoiser.dtype=bf16 --out "$out/quickstart-$device"
    done
    run "program diff" 60 program-diff.log build/canvaslab diff "$out/quickstart-cuda" "$out/quickstart-cpu"
  else
    left_out program "no build/canvaslab"
  fi
fi
if wanted sanitizer; then
  if [ "$dry" -eq 0 ] && [ ! -x "$bin/device_tests" ]; then
    left_out sanitizer "no $bin/device_tests"
  elif [ "$dry" -eq 1 ] || command -v compute-sanitizer >/dev/null; then
    usable=1
    if [ "$dry" -eq 0 ]; then
      timeout 60 compute-sanitizer --error-exitcode 9 "$bin/device_tests" --gtest_filter='RowGlue*' >"$out/sanitizer-probe.log" 2>&1 || { ! grep -qiE 'not supported|unable to|error 999' "$out/sanitizer-probe.log" || usable=0; }
    fi
    if [ "$usable" -eq 1 ]; then
      # Reduced shapes: it is 10 to 100 times slower.
      for tool in memcheck racecheck initcheck synccheck; do
        run "$tool" 90 "$tool.log" compute-sanitizer --tool "$tool" --error-exitcode 9 "$bin/device_tests" --gtest_filter='-*FullSizes*:OnDevice*'
      done
    else
      left_out sanitizer "compute-sanitizer is refused by this machine"
    fi
  else
    left_out sanitizer "no compute-sanitizer"
  fi
fi
if wanted measure; then
  for part in experts dense head attention rows soft step; do
    run "$part" 150 "measure-$part.jsonl" "$bin/measure" --only "$part"
  done
fi
if wanted torch; then
  if [ "$dry" -eq 1 ]; then
    printf '%-12s at most %4s s   %s\n' "torch kernels" 180 "${python:-python3} tests/network/operators_oracle.py build/libcanvaslab_operators.so 1"
    for part in operators eager grouped_mm compiled; do run "torch $part" 300 "torch-$part.jsonl" "${python:-python3}" experiments/gpu/compare_torch.py "$part"; done
  elif [ -n "$python" ] && "$python" -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null; then
    if [ -e build/libcanvaslab_operators.so ]; then
      run "torch kernels" 180 torch-kernels.log "$python" -W ignore tests/network/operators_oracle.py build/libcanvaslab_operators.so 1
    else
      left_out "torch kernels" "no build/libcanvaslab_operators.so"
    fi
    run "torch operators" 180 torch-operators.jsonl "$python" experiments/gpu/compare_torch.py operators
    if "$python" -c 'from transformers import DiffusionGemmaForBlockDiffusion' 2>/dev/null; then
      for part in eager grouped_mm compiled; do run "torch $part" 300 "torch-$part.jsonl" "$python" experiments/gpu/compare_torch.py "$part"; done
    else
      left_out "torch steps" "no transformers with DiffusionGemma"
    fi
  else
    left_out torch "no python3 with torch that sees the GPU"
  fi
fi
if wanted profile; then
  if [ "$dry" -eq 1 ] || command -v ncu >/dev/null; then
    for part in experts attention head; do
      run "profile $part" 90 "profile-$part.csv" ncu --clock-control none --csv --launch-skip 4 --launch-count 12 \
        --metrics dram__throughput.avg.pct_of_peak_sustained_elapsed,sm__inst_executed_pipe_tensor.avg.pct_of_peak_sustained_active,gpu__time_duration.sum "$bin/measure" --only "$part" --repeats 1 --inner 1
    done
  else
    left_out profile "no ncu"
  fi
fi
if wanted report; then
  if [ "$dry" -eq 1 ]; then
    printf '%-12s                  %s\n' report "experiments/gpu/report.py $out -> $out/results.json, $out/table.md"
  elif [ -n "$python" ]; then
    "$python" experiments/gpu/report.py "$out" || status=1
  else
    say "no python3: the table is left out; raw lines are in $out"
  fi
fi
exit "$status"
