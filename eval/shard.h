#pragma once
// Which part of a sweep this process runs: as asked, or as a batch system's environment says.
#include <cstdint>
#include <functional>
#include <string>

namespace canvaslab {

struct Shard {
  uint32_t index = 1, count = 1;  ///< the index-th of count parts, from 1
  std::string source;             ///< where it comes from, "" when there is one part only
};

/// "I/N" as --shard takes it. Errors: usage.
Shard parse_shard(const std::string& text);

/// The value of an environment variable, "" when unset.
using Environment = std::function<std::string(const char* name)>;

/// The part that Slurm or MPI assigns: tasks of an array job (SLURM_ARRAY_TASK_ID, _MIN, _STEP, _COUNT), tasks that srun
/// started (SLURM_PROCID of SLURM_STEP_NUM_TASKS; a batch script outside srun is one task), both together; else
/// OMPI_COMM_WORLD_RANK of _SIZE; else PMI_RANK of PMI_SIZE; else the whole.
/// Errors: usage when an array's ids are not evenly spaced, or a number makes no sense: give --shard then.
Shard shard_of_environment(const Environment& environment);

}  // namespace canvaslab
