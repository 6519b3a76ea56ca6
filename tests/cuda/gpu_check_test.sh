#!/usr/bin/env bash
# The GPU check where there is no GPU: it explains itself, plans, refuses what it does not know, and makes its table of what it is given.   tests/cuda/gpu_check_test.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
failed=0
complain() { echo "FAILED: $*" >&2; failed=1; }
expect() {  # expect CODE TEXT COMMAND...
  local code="$1" text="$2" got=0
  shift 2
  "$@" >"$work/log" 2>&1 || got=$?
  [ "$got" -eq "$code" ] || complain "$*: exit $got, expected $code"
  grep -qF -- "$text" "$work/log" || complain "$*: does not say '$text'"
}
expect 0 "--dry-run" experiments/gpu_check.sh --help
if grep -q pipefail "$work/log"; then complain "--help shows the script"; fi
expect 0 "at most 25 minutes" experiments/gpu_check.sh --dry-run --out "$work/none"
for stage in build probe correctness "program cuda" "program diff" memcheck racecheck experts step "torch kernels" "torch compiled" "profile experts" report; do grep -q "^$stage " "$work/log" || complain "--dry-run does not name '$stage'"; done
[ ! -e "$work/none" ] || complain "--dry-run writes"
expect 0 "$work/none" experiments/gpu_check.sh --dry-run --out "$work/none" --stages probe
if grep -q '^experts' "$work/log"; then complain "--stages probe plans more than that"; fi
expect 2 "unknown stage 'nothing'" experiments/gpu_check.sh --stages probe,nothing
expect 2 "unknown option '--bogus'" experiments/gpu_check.sh --bogus
expect 2 "is no number" experiments/gpu_check.sh --minutes soon
# A machine made of stand-ins: measurements work, the tests fail, the sanitizer is refused.
mkdir -p "$work/machine" "$work/bin"
stand_in() { printf '#!/usr/bin/env bash\n%s\n' "$2" >"$1"; chmod +x "$1"; }
stand_in "$work/machine/nvidia-smi" 'echo "Some GPU"'
stand_in "$work/machine/compute-sanitizer" 'echo "Device not supported"; exit 1'
stand_in "$work/machine/ncu" 'exit 1'
stand_in "$work/bin/measure" 'echo "{\"what\": \"memory\", \"by\": \"read\", \"us\": 1, \"least_us\": 1, \"most_us\": 1, \"bytes\": 4e6, \"flop\": 0}"'
stand_in "$work/bin/device_tests" 'echo "a test failed"; exit 1'
check=(env PATH="$work/machine:$PATH" experiments/gpu_check.sh --bin "$work/bin" --out "$work/run")
expect 1 "correctness: failed" "${check[@]}" --stages build,probe,correctness,sanitizer
for text in '"stage": "probe", "result": "passed"' '"stage": "correctness", "result": "failed"' '"stage": "sanitizer", "result": "left out"'; do grep -qF "$text" "$work/run/stages.jsonl" || complain "stages.jsonl does not say $text"; done
grep -qF '"device": "Some-GPU"' "$work/run/context.json" || complain "the device is not named"
expect 0 "left out, the 0 minutes are over" "${check[@]}" --stages measure --minutes 0
command -v python3 >/dev/null || exit "$failed"
expect 1 "failed: correctness" "${check[@]}" --stages report
echo '{"device": "made-up", "date": "2026-01-01", "commit": "0123456789abcdef", "clocks": "", "driver": "", "nvcc": ""}' >"$work/context.json"
echo '{"stage": "probe", "result": "passed", "code": 0, "seconds": 3}' >"$work/stages.jsonl"
printf '%s\n' 'a library says something' '{"what": "memory", "by": "read", "us": 1000, "least_us": 990, "most_us": 1010, "bytes": 4e9, "flop": 0}' \
  '{"what": "experts uniform", "by": "ours bf16", "us": 500, "least_us": 499, "most_us": 502, "bytes": 1.6e9, "flop": 0}' \
  '{"what": "step 1024", "by": "ours bf16", "us": 14000, "least_us": 13990, "most_us": 14010, "bytes": 5e10, "flop": 0}' \
  '{"what": "step 1024", "by": "ours bf16 one by one", "us": 14500, "least_us": 14490, "most_us": 14510, "bytes": 5e10, "flop": 0}' \
  '{"what": "canvas 1024", "by": "ours bf16", "us": 14100, "least_us": 14090, "most_us": 14110, "bytes": 5e10, "flop": 0, "steps": 16, "alone": true, "overlapping": true, "over_step": 1.007}' \
  '{"what": "canvas 1024", "by": "ours bf16 one by one", "us": 14600, "least_us": 14590, "most_us": 14610, "bytes": 5e10, "flop": 0, "steps": 16, "alone": true, "overlapping": false, "over_step": 1.007}' \
  '{"what": "experts uniform", "by": "cublas loop", "us": 1000, "least_us": 999, "most_us": 1002, "bytes": 1.6e9, "flop": 0}' >"$work/probe.jsonl"
expect 0 "| experts uniform | ours bf16 | 500.0 | 499.0-502.0 | 3.20 | 0 | 1.25 |  |" python3 experiments/gpu/report.py "$work"
for row in '| step 1024 | ours bf16 | 14000.0 |' '| step 1024 | ours bf16 one by one | 14500.0 |' '| canvas 1024 | ours bf16 | 16 | 14100 | yes | yes | 1.007 |' '| canvas 1024 | ours bf16 one by one | 16 | 14600 | yes | no | 1.007 |'; do
  grep -qF "$row" "$work/table.md" || complain "the table does not show '$row'"
done
grep -qF '| experts uniform | cublas loop | 1000.0 | 999.0-1002.0 | 1.60 | 0 | 2.50 | 0.50 |' "$work/table.md" || complain "the ratio to the other contender is not there"
echo '{"stage": "experts", "result": "failed", "code": 1, "seconds": 3}' >>"$work/stages.jsonl"
expect 1 "failed: experts" python3 experiments/gpu/report.py "$work"
exit "$failed"
