#!/usr/bin/env bash
# CanvasLab against transformers on this machine, in one run, one thread, the same weights and inputs; each row names the
# ratio and what it should be. The reference needs the oracle environment (tests/network/live_oracle.py); without it only
# our own times are printed. Benches must be built: cmake -DCANVASLAB_BENCH=ON ... && ninja -C build.
#   tests/bench/compare.sh [--bf16]
set -euo pipefail
cd "$(dirname "$0")/../.."
cache="${XDG_CACHE_HOME:-$HOME/.cache}/canvaslab"
python="${CANVASLAB_ORACLE:-$cache/oracle-transformers-5.17.0/bin/python}"
models="${CANVASLAB_BENCH_MODELS:-$cache/bench-models}"
export CANVASLAB_BENCH_MODELS="$models" OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
[ -x build/step_bench ] || { echo "error: build/step_bench is missing; configure with -DCANVASLAB_BENCH=ON and build" >&2; exit 1; }
bf16=0
[ "${1:-}" = --bf16 ] && bf16=1

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
if [ -x "$python" ]; then
  "$python" tests/bench/reference_step.py make "$models" >/dev/null 2>&1
elif [ ! -d "$models/tiny" ]; then
  echo "error: no models in $models and no oracle at $python to make them; set CANVASLAB_ORACLE" >&2
  exit 1
fi

# ours NAME FILTER PROGRAM: medians into NAME.json
ours() { "build/$3" --benchmark_filter="$2" --benchmark_format=json >"$work/$1.json" 2>/dev/null; }
# theirs NAME ARGUMENTS...
theirs() {
  local name="$1"
  shift
  if [ -x "$python" ]; then "$python" "$@" 2>/dev/null | tail -n 1 >"$work/$name.json"; else echo '{}' >"$work/$name.json"; fi
}

for model in tiny small; do
  ours "$model" "(whole_step/${model}_f32|prefill/$model)" step_bench
  theirs "reference_$model" tests/bench/reference_step.py time "$models/$model" f32
done
if [ "$bf16" -eq 1 ]; then
  ours bf16 whole_step/small_bf16 step_bench
  theirs reference_bf16 tests/bench/reference_step.py time "$models/small" bf16
fi
ours statistics 'max_entropy_candidate/256' row_statistics_bench
ours draw 'torch_draw/256' torch_candidate_bench
theirs sampler tests/bench/reference_sampler.py 256 262144

python3 - "$work" "$(uptime | sed 's/.*load/load/')" <<'PY'
import json, os, sys
work = sys.argv[1]


def read(name):
    path = os.path.join(work, name + ".json")
    return json.load(open(path)) if os.path.exists(path) and os.path.getsize(path) else {}


def bench(name, key, field="median_ms"):
    for b in read(name).get("benchmarks", []):
        if key in b["name"] and not b.get("error_occurred"):
            return b.get(field, b["real_time"])
    return None


rows = []
for model, need in (("tiny", "4x, aim 6x"), ("small", "2.5x, aim 3.5x")):
    rows.append((f"step of {model}, f32", bench(model, "whole_step"), read("reference_" + model).get("step_ms"), need))
if read("bf16"):
    rows.append(("step of small, bf16", bench("bf16", "whole_step"), read("reference_bf16").get("step_ms"), "2.5x, aim 3.5x"))
for model in ("tiny", "small"):
    rows.append((f"prefill of 512, {model}", bench(model, "prefill"), read("reference_" + model).get("prefill_ms"), "2x"))
rows.append(("statistics and candidate, [256, 262144]", bench("statistics", "candidate", "real_time"), read("sampler").get("sampler_ms"), ""))
rows.append(("torch-mode draw, [256, 262144]", bench("draw", "torch_draw"), read("sampler").get("draw_ms"), "3x, aim 5x"))
print(f"{'':42}{'ours ms':>10}{'theirs ms':>11}{'ratio':>8}   wanted")
for name, ours, theirs, need in rows:
    cell = lambda x: f"{x:.2f}" if x is not None else "-"
    ratio = f"{theirs / ours:.1f}x" if ours and theirs else "-"
    print(f"{name:42}{cell(ours):>10}{cell(theirs):>11}{ratio:>8}   {need}")
share = bench("statistics", "candidate", "share")
if share:
    print(f"statistics and candidate cost {1 / share:.2f} reads of the array (wanted at most 2, aim 1.5)")
print(f"machine: {sys.argv[2]}; above a load of 1 these times are not to be quoted, only their ratios with care")
PY
