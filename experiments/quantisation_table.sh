#!/usr/bin/env bash
# The table of what 8 and 4 bits cost: errors of weights and logits, sizes, accuracy of the small model beside bf16.
#   ./experiments/quantisation_table.sh [--items N]     N questions of each of 4 suites (default 50)
# Writes results/tables/quantisation.md; needs build/canvaslab. Sweeps resume; results/runs/quantisation/ holds checkpoints and runs.
set -euo pipefail
cd "$(dirname "$0")/.."
items=50
while [ $# -gt 0 ]; do
  case "$1" in
    --items) items="${2:?--items needs a number}"; shift 2 ;;
    -h|--help) sed -n '2,4p' "$0" | cut -c3-; exit 0 ;;
    *) echo "quantisation_table.sh: unknown option '$1'; see --help" >&2; exit 2 ;;
  esac
done
[ -x build/canvaslab ] || { echo "quantisation_table.sh: build/canvaslab is missing; run ./experiments/quickstart.sh --build-only first" >&2; exit 2; }
runs=results/runs/quantisation table=results/tables/quantisation.md
mkdir -p "$runs"
# One row of the first table from what quantize prints.
row() {
  awk -v model="$1" -v format="$2" '
    /matrices quantised/ { for (i = 1; i <= NF; ++i) if ($i == "MB") { if (after == "") after = $(i - 1); else before = $(i - 1) } }
    /relative error/ && !/logits/ { error[$1] = $NF }
    /logits on/ { for (i = 1; i <= NF; ++i) { if ($i == "error") logits = $(i + 1); if ($i == "divergence") divergence = $(i + 1); if ($i == "argmax") same = $(i + 1) } }
    END { gsub(",", "", logits); printf "| %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", model, format, before, after, error["attention"], error["dense"], error["experts"], logits, divergence, same }' "$3"
}
{
  printf '# Quantised checkpoints\n\n```sh\n./experiments/quantisation_table.sh --items %s\n```\n\n' "$items"
  cat <<'TEXT'
Weights rounded to nearest by `canvaslab quantize`; attention, dense feed-forward and experts, not embeddings, routers, norms and self-conditioning. Errors of weights: Frobenius norm
of the difference over that of the weights, for which a number spread evenly between codes would give at most 2^-3 / sqrt(12) = 0.036 in FP8. Logits: 32 random canvases of random tokens after random prompts, half of
them with a prediction fed back, f32 on the CPU, against the unquantised checkpoint. The relative error counts logits of unlikely tokens like all others, the divergence hardly does.
"random" is a fresh network of tests/network/goldens (f32, widths 32, 48 and 16, which groups of 32 do not divide).

| model | format | MB before | MB after | attention | dense | experts | logits | divergence, nats a position | same argmax |
|---|---|--:|--:|--:|--:|--:|--:|--:|--:|
TEXT
  for model in small random; do
    folder=$model
    [ "$model" = random ] && folder=tests/network/goldens/base
    for format in fp8 nvfp4 int4; do
      [ "$model-$format" = random-int4 ] && continue
      rm -rf "$runs/$model-$format"
      build/canvaslab quantize "$folder" --to "$format" --out "$runs/$model-$format" --compare 32 >"$runs/quantize.txt" 2>/dev/null
      row "$model" "$format" "$runs/quantize.txt"
    done
  done
  printf '\nAccuracy of the small model on %s held-out questions of each suite, the same questions and noise in every row. In parentheses and after +-: 95%% intervals.\n\n' "$items"
  head=1
  for format in bf16 fp8 nvfp4 int4; do
    model=small
    [ $format = bf16 ] || model=$runs/small-$format
    build/canvaslab sweep experiments/quantisation.toml --set denoiser.model="\"$model\"" --set dataset.name="\"suites(tasks=\\\"arithmetic; choice; programs; sudoku\\\", items=$items)\"" --out "$runs/$format-$items" >/dev/null 2>&1
    build/canvaslab export "$runs/$format-$items" --format compact --out "$runs/$format-$items" >/dev/null
    if [ $head = 1 ]; then grep -A1 '^| configuration' "$runs/$format-$items/compact.md" | sed '1s/^/| weights /; 2s/^/|---/'; head=0; fi
    sed -n '/^|---/,$p' "$runs/$format-$items/compact.md" | grep '^| ' | sed "s/^/| $format /"
  done
} >"$runs/table.md"
mv "$runs/table.md" "$table"
echo "$table"
