#!/usr/bin/env bash
# The table of all samplers: settings chosen on one set of seeds, judged on another, at equal forwards.
#   ./experiments/sampler_table.sh [--items N]     N samples a setting on the test split (default 2000)
# Writes results/tables/samplers.{md,csv} and results/figures/samplers_pareto.{png,svg}; needs build/canvaslab. Both sweeps resume.
set -euo pipefail
cd "$(dirname "$0")/.."
items=2000
while [ $# -gt 0 ]; do
  case "$1" in
    --items) items="${2:?--items needs a number}"; shift 2 ;;
    -h|--help) sed -n '2,4p' "$0" | cut -c3-; exit 0 ;;
    *) echo "sampler_table.sh: unknown option '$1'; see --help" >&2; exit 2 ;;
  esac
done
[ -x build/canvaslab ] || { echo "sampler_table.sh: build/canvaslab is missing; run ./experiments/quickstart.sh --build-only first" >&2; exit 2; }
plan=experiments/sampler_table.toml runs=results/runs/sampler_table
budgets=(--budget 4 --budget 8 --budget 16 --budget 32)
build/canvaslab sweep "$plan" --out "$runs/tuning"
build/canvaslab table "$plan" "$runs/tuning" "${budgets[@]}" --choose "$runs/test.toml"
build/canvaslab sweep "$runs/test.toml" --set run.seed=1 --set dataset.name="source(items=$items)" --out "$runs/test-$items"
build/canvaslab table "$plan" "$runs/tuning" "$runs/test-$items" "${budgets[@]}" --out results/tables/samplers --figure results/figures/samplers_pareto
