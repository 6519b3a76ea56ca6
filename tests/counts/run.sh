#!/usr/bin/env bash
# Counts the instructions of every kernel's plain and AVX2 version with valgrind and compares them with the kept table,
# results/tables/kernel_counts.tsv: more than 10 % above it fails. Counts belong to a compiler; with another one nothing is said.
#   tests/counts/run.sh build/kernel_counts            compares
#   tests/counts/run.sh build/kernel_counts --update   writes the table anew
set -euo pipefail
program="$(realpath "${1:?the first argument is the program kernel_counts}")" update="${2:-}"
cd "$(dirname "$0")/../.."
table=results/tables/kernel_counts.tsv
skip() { echo "skipped: $*"; exit 77; }
command -v valgrind >/dev/null || skip "valgrind is not installed (apt install valgrind)"
compiler="$(strings -a "$program" | grep -m 1 '^GCC: ' || true)"
[ -n "$compiler" ] || skip "the program does not say which compiler made it"
[ "$update" = --update ] || [ "$(head -n 1 "$table")" = "# $compiler" ] || skip "the table is of $(head -n 1 "$table" | cut -c3-), the program of $compiler; --update makes another"

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
valgrind -q --tool=callgrind --callgrind-out-file="$work/out" --collect-atstart=no --toggle-collect=counted_kernel --dump-after=counted_kernel "$program" >"$work/names" 2>"$work/log" ||
  { cat "$work/log" >&2; exit 1; }
# The n-th dump belongs to the n-th name.
i=0
while read -r kernel version; do
  i=$((i + 1))
  printf '%s\t%s\t%s\n' "$kernel" "$version" "$(awk '/^(summary|totals):/ { print $2; exit }' "$work/out.$i")"
done <"$work/names" >"$work/counts"
if [ "$update" = --update ]; then
  { echo "# $compiler"; printf 'kernel\tversion\tinstructions\n'; cat "$work/counts"; } >"$table"
  echo "$(wc -l <"$work/counts") counts written to $table"
  exit 0
fi

# compare TABLE: every count against its row there
compare() {
  awk -F '\t' '
    NR == FNR { if (FNR > 2) kept[$1 " " $2] = $3; next }
    { key = $1 " " $2; seen[key] = 1
      if (!(key in kept)) { print key ": is not in the table; --update adds it"; bad = 1 }
      else if ($3 + 0 > 1.1 * kept[key]) { printf "%s: %d instructions, %.0f %% more than the %d of the table\n", key, $3, 100 * ($3 / kept[key] - 1), kept[key]; bad = 1 }
      else if ($3 + 0 < 0.9 * kept[key]) printf "%s: %d instructions, fewer than the %d of the table; --update keeps that\n", key, $3, kept[key] }
    END { for (key in kept) if (!(key in seen)) { print key ": is in the table and was not counted"; bad = 1 }
          exit bad }' "$1" "$work/counts"
}
# What the comparison is worth: a table that promises a sixth less must fail.
awk -F '\t' -v OFS='\t' 'NR == 3 { $3 = int($3 * 5 / 6) } { print }' "$table" >"$work/better"
if compare "$work/better" >/dev/null; then echo "the comparison does not see a count that is a fifth too high" >&2; exit 1; fi
compare "$table"
echo "$(wc -l <"$work/counts") counts, none more than 10 % above the table"
