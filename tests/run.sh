#!/usr/bin/env bash
# Builds with tests and runs them all.
#   ./tests/run.sh            everything that needs no further downloads
#   ./tests/run.sh --oracle   also the live comparison with transformers (installs it into the user's cache, several GB)
#   ./tests/run.sh --long     also soak, fuzz and kill runs
set -euo pipefail
cd "$(dirname "$0")/.."
oracle=0 long=0
for argument in "$@"; do
  case "$argument" in
    --oracle) oracle=1 ;;
    --long) long=1 ;;
    -h|--help) sed -n '2,6p' "$0"; exit 0 ;;
    *) echo "error: unknown argument '$argument'; known: --oracle, --long" >&2; exit 2 ;;
  esac
done
source experiments/setup.sh
mkdir -p build
say "building with tests"
cmake -G Ninja -S . -B build -DCANVASLAB_TESTS=ON -DCANVASLAB_LIBTORCH="$CANVASLAB_LIBTORCH" >build/cmake.log 2>&1 || { tail -n 30 build/cmake.log >&2; die "cmake failed"; }
cmake --build build >build/build.log 2>&1 || { tail -n 60 build/build.log >&2; die "the build failed; the whole log is build/build.log"; }
warnings=$(grep -c 'warning:' build/build.log || true)
[ "$warnings" -eq 0 ] || { grep -A3 'warning:' build/build.log | head -n 40 >&2; die "$warnings compiler warnings in our code"; }

# Python reads our files back in the tests: h5py from its own small environment.
python="$CANVASLAB_CACHE/python/bin/python"
if ! "$python" -c 'import h5py, jinja2, numpy, tokenizers' 2>/dev/null; then
  say "installing h5py for the tests"
  python3 -m venv "$CANVASLAB_CACHE/python" && "$CANVASLAB_CACHE/python/bin/pip" install -q --disable-pip-version-check h5py==3.16.0 jinja2==3.1.6 numpy tokenizers==0.23.3 || die "could not install h5py; is there a network?"
fi
export CANVASLAB_PYTHON="$python" CANVASLAB_LONG="$long"
if [ "$oracle" -eq 1 ]; then
  oracle_python="$CANVASLAB_CACHE/oracle-transformers-5.17.0/bin/python"
  if ! [ -f "$CANVASLAB_CACHE/oracle-transformers-5.17.0/.complete" ]; then
    say "installing transformers 5.17.0 and torch 2.11.0 for the live comparison (several GB, once)"
    rm -rf "$CANVASLAB_CACHE/oracle-transformers-5.17.0"
    python3 -m venv "$CANVASLAB_CACHE/oracle-transformers-5.17.0"
    "$CANVASLAB_CACHE/oracle-transformers-5.17.0/bin/pip" install -q --disable-pip-version-check torch==2.11.0 transformers==5.17.0 h5py==3.16.0 || die "could not install transformers; is there a network and 4 GB of disk?"
    touch "$CANVASLAB_CACHE/oracle-transformers-5.17.0/.complete"
  fi
  export CANVASLAB_ORACLE_PYTHON="$oracle_python"
else
  say "the live comparison with transformers is left out (--oracle includes it)"
fi
ctest --test-dir build --output-on-failure -j "$(nproc)"
