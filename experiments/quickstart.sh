#!/usr/bin/env bash
# From a fresh machine to a built program, a finished sweep and its plots.
#   ./experiments/quickstart.sh [further arguments for canvaslab sweep]
#   ./experiments/quickstart.sh --build-only     stops after the build
set -euo pipefail
cd "$(dirname "$0")/.."
case "${1:-}" in -h|--help) sed -n '2,4p' "$0" | cut -c3-; exit 0 ;; esac
source experiments/setup.sh
fetch_arrow
say "building build/canvaslab"
configure
build --target canvaslab
[ "${1:-}" = --build-only ] && { say "built build/canvaslab"; exit 0; }
say "sweeping experiments/quickstart.toml"
build/canvaslab sweep experiments/quickstart.toml "$@"
build/canvaslab plot results/runs/quickstart
say "done. Look at results/runs/quickstart/plots/report.html"
