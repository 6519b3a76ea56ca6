#!/usr/bin/env bash
# How far the causal mode accepts drafts, on exact sources, on the tests' random networks, on the small trained model and on models of your own.
#   ./experiments/causal_verify.sh [--texts N] [MODEL ...]     N texts a figure (default 300); MODEL: folder or hmm(...)
# Writes results/tables/causal_verify.md; needs build/canvaslab. Takes some minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
texts=300
models=()
while [ $# -gt 0 ]; do
  case "$1" in
    --texts) texts="${2:?--texts needs a number}"; shift 2 ;;
    -h|--help) sed -n '2,4p' "$0" | cut -c3-; exit 0 ;;
    -*) echo "causal_verify.sh: unknown option '$1'; see --help" >&2; exit 2 ;;
    *) models+=("$1"); shift ;;
  esac
done
[ -x build/canvaslab ] || { echo "causal_verify.sh: build/canvaslab is missing; run ./experiments/quickstart.sh --build-only first" >&2; exit 2; }
out=results/tables/causal_verify.md
part=$(mktemp)
trap 'rm -f "$part" "$part.new"' EXIT
cat experiments/causal_verify_head.md > "$part"
measure() { build/canvaslab speculate "$@" --texts "$texts" --out "$part.new" > /dev/null && { echo; cat "$part.new"; } >> "$part"; }
{ echo; echo "## Exact sources"; } >> "$part"
measure 'hmm(states=6, alphabet=9, sharpness=6, use_level=false)'
measure 'hmm(states=6, alphabet=9, sharpness=6, corruption=absorbing)'
measure 'hmm(states=6, alphabet=9, sharpness=2, use_level=false)'
measure 'markov(alphabet=50, sharpness=4)'
measure 'parity(alphabet=2, block=4, slip=0.05)'
{ echo; echo "## Networks"; } >> "$part"
for name in base widths; do
  measure "tests/network/goldens/$name" --canvas-length 4 --max-new-tokens 32 --steps 1 --steps 4
  measure "tests/network/goldens/$name" --canvas-length 4 --max-new-tokens 32 --steps 1 --steps 4 --temperature 0
done
for temperature in 1 0; do measure small --jsonl experiments/models/chains.jsonl --canvas-length 32 --temperature "$temperature"; done
for model in ${models[@]+"${models[@]}"}; do measure "$model"; measure "$model" --temperature 0; done
mv "$part" "$out"
chmod 644 "$out"
echo "$out"
