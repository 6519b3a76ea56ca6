#!/usr/bin/env bash
# Tables of runs on exact sources: self-speculation inside a canvas, and canvas lengths that are decided on the way.
#   ./experiments/source_tables.sh [speculation] [length_policies]     both unless named
# Writes results/tables/NAME.md from experiments/NAME.toml and NAME_head.md; needs build/canvaslab. Some minutes; runs resume.
set -euo pipefail
cd "$(dirname "$0")/.."
names=()
for name in "$@"; do
  case "$name" in
    -h|--help) sed -n '2,4p' "$0" | cut -c3-; exit 0 ;;
    speculation|length_policies) names+=("$name") ;;
    *) echo "source_tables.sh: unknown table '$name'; see --help" >&2; exit 2 ;;
  esac
done
[ ${#names[@]} -gt 0 ] || names=(speculation length_policies)
[ -x build/canvaslab ] || { echo "source_tables.sh: build/canvaslab is missing; run ./experiments/quickstart.sh --build-only first" >&2; exit 2; }
for name in "${names[@]}"; do
  run="results/runs/$name" out="results/tables/$name.md"
  build/canvaslab sweep "experiments/$name.toml" --out "$run"
  build/canvaslab export "$run" --format compact > /dev/null
  cat "experiments/${name}_head.md" "$run/export/compact.md" > "$out.new"
  mv "$out.new" "$out"
  echo "$out"
done
