#!/usr/bin/env bash
# From a fresh machine to a built program, a finished sweep and its plots.
#   ./experiments/quickstart.sh [further arguments for canvaslab sweep]
set -euo pipefail
cd "$(dirname "$0")/.."
source experiments/setup.sh
mkdir -p build
[ -f build/build.ninja ] || { say "configuring"; cmake -G Ninja -S . -B build -DCANVASLAB_LIBTORCH="$CANVASLAB_LIBTORCH" >build/cmake.log 2>&1 || { tail -n 30 build/cmake.log >&2; die "cmake failed; the whole log is build/cmake.log"; }; }
say "building build/canvaslab"
cmake --build build --target canvaslab >build/build.log 2>&1 || { tail -n 40 build/build.log >&2; die "the build failed; the whole log is build/build.log"; }
say "sweeping experiments/quickstart.toml"
build/canvaslab sweep experiments/quickstart.toml "$@"
build/canvaslab plot results/runs/quickstart
say "done. Look at results/runs/quickstart/plots/report.html"
