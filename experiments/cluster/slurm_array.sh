#!/usr/bin/env bash
# One sweep as a Slurm array job: every task runs its own part, found from SLURM_ARRAY_TASK_ID; a requeued task goes on
# where it was killed. When all tasks are done, join the parts:  canvaslab merge OUT
#   sbatch --array=1-8 experiments/cluster/slurm_array.sh my.toml runs/my [further options of canvaslab sweep]
# Merge names what is missing; a part that was lost is run again alone by its number, whatever the array's size:
#   sbatch --array=1 experiments/cluster/slurm_array.sh my.toml runs/my --shard 3/8
# Any size of array gives the same samples; add --cpus-per-task, --mem, --time and --partition as your cluster wants.
#SBATCH --job-name=canvaslab
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=canvaslab-%A_%a.log
set -euo pipefail
[ $# -ge 2 ] || { echo "usage: sbatch --array=1-N $0 CONFIG.toml OUT [options]" >&2; exit 2; }
config="$1" out="$2"
shift 2
exec "${CANVASLAB:-build/canvaslab}" sweep "$config" --out "$out" --threads "${SLURM_CPUS_PER_TASK:-1}" "$@"
