#!/usr/bin/env bash
# The table of all samplers: settings chosen on one set of seeds, judged on another, at equal forwards.
#   ./experiments/sampler_table.sh [--items N]     N samples a setting on the test split (default 2000)
# Writes results/tables/samplers.{md,csv}, commit_once*.md and results/figures/{samplers_pareto,commit_once*}.{png,svg}; needs
# build/canvaslab. Both sweeps resume; they took 280 CPU seconds of an AMD EPYC (the plans aside).
set -euo pipefail
cd "$(dirname "$0")/.."
items=2000
while [ $# -gt 0 ]; do
  case "$1" in
    --items) items="${2:?--items needs a number}"; shift 2 ;;
    -h|--help) sed -n '2,5p' "$0" | cut -c3-; exit 0 ;;
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
rounds=(--rounds 1 --rounds 2 --rounds 4 --rounds 8 --rounds 16 --rounds 32)
build/canvaslab plans "hmm(states=16, alphabet=32)" "${rounds[@]}" --out results/tables/commit_once.md --figure results/figures/commit_once
build/canvaslab plans "markov(alphabet=32, sharpness=2)" "${rounds[@]}" --out results/tables/commit_once_markov.md --figure results/figures/commit_once_markov
