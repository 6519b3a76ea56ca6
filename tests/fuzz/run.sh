#!/usr/bin/env bash
# Builds the fuzz targets with clang, libFuzzer and sanitizers, and runs each for a while.
#   tests/fuzz/run.sh [SECONDS [TARGET...]]     5 seconds each (600 with CANVASLAB_LONG=1), all targets
# What a target finds stays in build/fuzz/findings/; run build/fuzz/<target>_fuzz FILE to see it again. Runs of a minute and
# more keep their corpus in build/fuzz/corpus/.
set -euo pipefail
cd "$(dirname "$0")/../.."
say() { printf '[canvaslab] %s\n' "$*" >&2; }
seconds="${1:-$([ "${CANVASLAB_LONG:-}" = 1 ] && echo 600 || echo 5)}"
[[ "$seconds" =~ ^[1-9][0-9]*$ ]] || { echo "error: '$seconds' is no number of seconds" >&2; exit 2; }
shift || true
targets=("$@")
[ "${#targets[@]}" -gt 0 ] || for file in tests/fuzz/*_fuzz.cpp; do targets+=("$(basename "$file" _fuzz.cpp)"); done

# Whether this machine's clang++ comes with the fuzzer and the sanitizers.
clang_fuzzes() {
  command -v clang++ >/dev/null || return 1
  printf 'extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }' >build/fuzz/probe.cpp
  clang++ -fsanitize=fuzzer,address,undefined build/fuzz/probe.cpp -o build/fuzz/probe >build/fuzz/probe.log 2>&1
}
mkdir -p build/fuzz/findings
if ! clang_fuzzes && [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
  version="$(apt-cache depends clang | sed -n 's/.*Depends: clang-\([0-9]*\)$/\1/p')"
  say "installing clang $version for the fuzz targets"
  DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 install -y -qq --no-install-recommends clang "libclang-rt-$version-dev" >build/fuzz/apt.log 2>&1 || true
fi
if ! clang_fuzzes; then
  say "fuzzing is left out: clang++ with libFuzzer and compiler-rt is needed (Debian: apt-get install clang; dnf: clang compiler-rt)"
  exit 0
fi

say "building the fuzz targets"
{ cmake -G Ninja -S tests/fuzz -B build/fuzz -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++ && cmake --build build/fuzz; } >build/fuzz/build.log 2>&1 ||
  { grep -m 3 -A 12 -E '(error|FAILED):|CMake Error' build/fuzz/build.log >&2 || tail -n 20 build/fuzz/build.log >&2; echo "error: the fuzz targets do not build; see build/fuzz/build.log" >&2; exit 1; }
rm -rf build/fuzz/seeds
program=build/canvaslab
python3 tests/fuzz/make_seeds.py build/fuzz/seeds $([ -x "$program" ] && echo "$program")

# fuzz TARGET: one target for $seconds in a folder of its own. An input of 16 KiB that takes 25 s or 2 GiB is a finding: nothing
# linear comes near, even with sanitizers on a busy machine.
fuzz() {
  local target="$1" root="$PWD" work corpus options=()
  work="$(mktemp -d -p "$([ -w /dev/shm ] && echo /dev/shm || echo "${TMPDIR:-/tmp}")")"  # in memory where there is such a folder
  corpus="$work/corpus"
  [ "$seconds" -lt 60 ] || corpus="$root/build/fuzz/corpus/$target"
  mkdir -p "$corpus"
  [ -s "build/fuzz/seeds/$target.dict" ] && options+=("-dict=$root/build/fuzz/seeds/$target.dict")
  local code=0
  (cd "$work" && "$root/build/fuzz/${target}_fuzz" -max_total_time="$seconds" -timeout=25 -rss_limit_mb=2048 -max_len=16384 -print_final_stats=1 -verbosity=1 "${options[@]}" \
    -artifact_prefix="$root/build/fuzz/findings/$target-" "$corpus" "$root/build/fuzz/seeds/$target") >"build/fuzz/$target.log" 2>&1 || code=$?
  rm -rf "$work"
  local runs coverage
  runs="$(sed -n 's/^stat::number_of_executed_units: *//p' "build/fuzz/$target.log")"
  coverage="$(grep -o 'cov: [0-9]*' "build/fuzz/$target.log" | tail -n 1)"
  if [ "$code" -eq 0 ]; then
    say "fuzz $target: $runs inputs in $seconds s, $coverage, nothing found"
  else
    { echo "error: fuzz target $target found something (exit code $code); the whole output is build/fuzz/$target.log"
      grep -m 1 -A 14 -E 'ERROR: |runtime error|violated: |terminate called' "build/fuzz/$target.log"
      grep 'Test unit written' "build/fuzz/$target.log"; } >&2 || true
    return 1
  fi
}
export -f fuzz say
export seconds
printf '%s\n' "${targets[@]}" | xargs -P "$(nproc)" -I{} bash -c 'fuzz {}'
