#pragma once
// Joining the shards of one plan into the results of the whole. Shard journals are read, never written.
#include <string>
#include <vector>

#include "eval/sweep.h"

namespace canvaslab {

/// A journal as read: which plan, which part of it, its samples in the order they were written.
struct ShardJournal {
  std::string path, plan, name;           ///< plan: the header without its shard line
  uint32_t shard = 1, num_shards = 1;
  std::vector<SampleRecord> samples;
};

/// The shard journals (run-I-of-N.journal) in a folder, sorted. Errors: input when there are none.
std::vector<std::string> find_shards(const std::string& folder);

/// Reads one journal; a torn tail is left out. Errors: input when it is no journal, damaged or without a header.
ShardJournal read_shard(const std::string& path);

/// The plan that a journal's header describes; prepare_sweep of it gives the same header.
/// Errors: input when a line is missing or not understood.
SweepPlan plan_of_journal(const ShardJournal& journal);

/// Errors: usage when a journal belongs to another plan than the first (the first line that differs is named).
void check_one_plan(const std::vector<ShardJournal>& journals);

struct Merged {
  std::vector<SampleRecord> samples;      ///< one for every sample of the plan, in plan order
  size_t overlaps = 0, failed = 0;        ///< samples found more than once with equal content; samples that only ever failed
};

/// All samples of the plan from its shards. The same sample in two journals must have equal content (times apart).
/// Errors: as check_one_plan; input when model or data have changed since, samples are missing (shards and samples are
/// named), or two journals disagree about one.
Merged merge_shards(const PreparedSweep& sweep, const std::vector<ShardJournal>& journals);

}  // namespace canvaslab
