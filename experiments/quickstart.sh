#!/usr/bin/env bash
# From a fresh machine to a built program, a finished sweep and its plots.
#   ./experiments/quickstart.sh [further arguments for canvaslab sweep]
set -euo pipefail
cd "$(dirname "$0")/.."
case "${1:-}" in -h|--help) sed -n '2,3p' "$0" | cut -c3-; exit 0 ;; esac
source experiments/setup.sh
say "building build/canvaslab"
configure
build --target canvaslab
say "sweeping experiments/quickstart.toml"
build/canvaslab sweep experiments/quickstart.toml "$@"
build/canvaslab plot results/runs/quickstart
say "done. Look at results/runs/quickstart/plots/report.html"
