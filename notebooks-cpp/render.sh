#!/usr/bin/env bash
# Builds the notebooks, runs them and writes one self-contained page each.
#   ./notebooks-cpp/render.sh         build/notebooks/*.html
set -euo pipefail
cd "$(dirname "$0")/.."
case "${1:-}" in
  "") ;;
  -h|--help) sed -n '2,3p' "$0" | cut -c3-; exit 0 ;;
  *) echo "error: unknown argument '$1'; this takes none" >&2; exit 2 ;;
esac
source experiments/setup.sh
say "building and running the notebooks"
configure -DCANVASLAB_TESTS=ON
build --target notebooks
ls -1 "$PWD"/build/notebooks/*.html
