#!/usr/bin/env bash
# CanvasLab against transformers on this machine, in one run, the same weights and inputs, one thread but for the sweep; each row names
# the ratio and what it should be. Both sides alternate and the best of all rounds counts. The reference needs the oracle
# environment (tests/run.sh --oracle makes it); without it only our own times are printed. Benches must be built:
# cmake -DCANVASLAB_BENCH=ON ... && ninja -C build. CANVASLAB_BENCH_RUN: a command in front of each measurement (taskset -c 1).
#   tests/bench/compare.sh [--markdown] [--rounds N]
set -euo pipefail
cd "$(dirname "$0")/../.."
cache="${XDG_CACHE_HOME:-$HOME/.cache}/canvaslab"
python="${CANVASLAB_ORACLE_PYTHON:-$cache/oracle-transformers-5.17.0/bin/python}"
models="${CANVASLAB_BENCH_MODELS:-$cache/bench-models}"
export CANVASLAB_BENCH_MODELS="$models" OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
run="${CANVASLAB_BENCH_RUN:-}" markdown=0 rounds=3
while [ $# -gt 0 ]; do
  case "$1" in
    --markdown) markdown=1 ;;
    --rounds) rounds="${2:?--rounds needs a number}"; shift ;;
    *) echo "error: unknown argument '$1'; known: --markdown, --rounds N" >&2; exit 2 ;;
  esac
  shift
done
[ -x build/step_bench ] || { echo "error: build/step_bench is missing; configure with -DCANVASLAB_BENCH=ON and build" >&2; exit 1; }

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
if [ -x "$python" ]; then
  "$python" tests/bench/reference_step.py make "$models" >"$work/make.log" 2>&1 || { tail "$work/make.log" >&2; exit 1; }
elif [ ! -d "$models/tiny" ]; then
  echo "error: no models in $models and no oracle at $python to make them; run tests/run.sh --oracle, or set CANVASLAB_ORACLE_PYTHON" >&2
  exit 1
fi

# ours NAME PROGRAM FILTER; theirs NAME ARGUMENTS...: one JSON file for each round
ours() { $run "build/$2" --benchmark_filter="$3" --benchmark_format=json >"$work/$1.$round.json" 2>"$work/$1.log" || { tail "$work/$1.log" >&2; exit 1; }; }
theirs() {
  local name="$1"
  shift
  [ -x "$python" ] || return 0
  $run "$python" "$@" 2>"$work/$name.log" | tail -n 1 >"$work/$name.$round.json" || { tail "$work/$name.log" >&2; exit 1; }
}

for round in $(seq "$rounds"); do
  for model in tiny small; do
    ours "$model" step_bench "(whole_step/${model}_f32|prefill/$model)"
    theirs "reference_$model" tests/bench/reference_step.py time "$models/$model" f32
  done
  ours bf16 step_bench whole_step/small_bf16
  theirs reference_bf16 tests/bench/reference_step.py time "$models/small" bf16
  ours statistics row_statistics_bench 'max_entropy_candidate/256'
  ours draw torch_candidate_bench 'torch_draw/256'
  theirs sampler tests/bench/reference_sampler.py 256 262144
  # Two sequences on two threads, the whole program from start to HDF5; the reference without its imports.
  for i in $(seq 240); do echo "{\"prompt_ids\": [$((i % 400 + 4)), 17, $((i * 7 % 400 + 4)), 9]}"; done >"$work/prompts.jsonl"
  printf '[run]\nname = "speed"\nseed = 1\n[denoiser]\nmodel = "%s/tiny"\n[dataset]\nname = "prompts(path=%s/prompts.jsonl)"\n[[grid]]\nsampler = "entropy_bound"\nsteps = 12\nstop = "never"\n' "$models" "$work" >"$work/speed.toml"
  begin=$(date +%s.%N)
  $run build/canvaslab sweep "$work/speed.toml" --threads 2 --out "$work/run.$round" >"$work/sweep.log" 2>&1 || { tail "$work/sweep.log" >&2; exit 1; }
  python3 -c "import json, sys; print(json.dumps({'seconds_per_sample': ($(date +%s.%N) - $begin) / 240}))" >"$work/sweep.$round.json"
  theirs reference_sweep tests/bench/reference_step.py sweep "$models/tiny"
  for state in warm cold; do
    ours "$state" step_bench "load/$state"
    theirs "reference_$state" tests/bench/reference_step.py "${state/warm/load}" "$models/large"
  done
done
round=1
if [ "$markdown" -eq 1 ]; then ours products gemm_bench product; else ours products gemm_bench 'product/(f32|bf16)_packed/(64|256/1536|1024)'; fi  # the fastest is the machine's peak
python3 tests/bench/compare.py "$work" "$markdown" "$rounds" "$(git rev-parse --short HEAD 2>/dev/null || echo unknown)"
