#include "eval/shard.h"

#include <fmt/format.h>
#include <optional>

#include "core/error.h"
#include "core/params.h"

namespace canvaslab {
namespace {

constexpr int64_t kMostShards = 1'000'000;

/// Rank `rank` (from 0) of `size` processes.
struct Place {
  int64_t rank = 0, size = 1;
};

Shard checked(Place place, const std::string& source) {
  if (place.size < 1 || place.rank < 0 || place.rank >= place.size || place.size > kMostShards)
    throw usage_error("{}: process {} of {} (counted from 0) makes no sense; say which part to run with --shard I/N", source, place.rank, place.size);
  if (place.size == 1) return {};
  return {.index = static_cast<uint32_t>(place.rank + 1), .count = static_cast<uint32_t>(place.size), .source = source};
}

std::optional<int64_t> number(const Environment& environment, const char* name) {
  const std::string text = environment(name);
  if (text.empty()) return std::nullopt;
  return parse_integer(text, fmt::format("environment variable {}", name));
}

Place array_place(const Environment& environment, int64_t id) {
  const int64_t least = number(environment, "SLURM_ARRAY_TASK_MIN").value_or(0), most = number(environment, "SLURM_ARRAY_TASK_MAX").value_or(id);
  const int64_t step = number(environment, "SLURM_ARRAY_TASK_STEP").value_or(1), count = number(environment, "SLURM_ARRAY_TASK_COUNT").value_or(0);
  if (step < 1 || count < 1 || id < least || id > most || (id - least) % step != 0 || (most - least) / step + 1 != count)
    throw usage_error("SLURM_ARRAY_TASK_ID {}: the array's {} ids from {} to {} are not evenly spaced by {}, so its parts cannot be numbered\n"
                      "submit it as --array=1-N, or say which part to run with --shard I/N", id, count, least, most, step);
  return {.rank = (id - least) / step, .size = count};
}

}  // namespace

Shard parse_shard(const std::string& text) {
  const auto slash = text.find('/');
  if (slash == std::string::npos) throw usage_error("--shard {}: expected I/N, for example 1/8", text);
  const int64_t i = parse_integer(text.substr(0, slash), "--shard"), n = parse_integer(text.substr(slash + 1), "--shard");
  if (n < 1 || i < 1 || i > n || n > kMostShards) throw usage_error("--shard {}: expected 1 <= I <= N <= {}", text, kMostShards);
  return {.index = static_cast<uint32_t>(i), .count = static_cast<uint32_t>(n), .source = n > 1 ? "--shard" : ""};
}

Shard shard_of_environment(const Environment& environment) {
  Place place;
  std::string source;
  if (const auto id = number(environment, "SLURM_ARRAY_TASK_ID")) {
    place = array_place(environment, *id);
    source = "SLURM_ARRAY_TASK_ID";
  }
  if (const auto tasks = number(environment, "SLURM_STEP_NUM_TASKS"); tasks && *tasks > 1) {
    const auto rank = number(environment, "SLURM_PROCID");
    if (!rank) throw usage_error("SLURM_STEP_NUM_TASKS is {}, but SLURM_PROCID is not set; say which part to run with --shard I/N", *tasks);
    place = {.rank = place.rank * *tasks + *rank, .size = place.size * *tasks};
    source += source.empty() ? "SLURM_PROCID" : " and SLURM_PROCID";
  }
  if (!source.empty()) return checked(place, source);
  for (const auto& [rank_name, size_name] : {std::pair{"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"}, std::pair{"PMI_RANK", "PMI_SIZE"}}) {
    const auto rank = number(environment, rank_name), size = number(environment, size_name);
    if (rank && size) return checked({.rank = *rank, .size = *size}, rank_name);
  }
  return {};
}

}  // namespace canvaslab
