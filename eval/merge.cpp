#include "eval/merge.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <regex>
#include <set>

#include "core/error.h"
#include "eval/results.h"

namespace canvaslab {
namespace {

/// Splits the last line, "shard I/N", off a header.
void split_shard_line(const std::string& header, ShardJournal& out) {
  static const std::regex line(R"((?:^|\n)shard (\d{1,7})/(\d{1,7})\n$)");
  std::smatch match;
  if (!std::regex_search(header, match, line)) throw input_error("{}: the header names no shard; was it written by another build?", out.path);
  out.shard = static_cast<uint32_t>(std::stoul(match[1]));
  out.num_shards = static_cast<uint32_t>(std::stoul(match[2]));
  out.plan = header.substr(0, header.rfind("shard "));
}

/// What two runs of one sample must share: everything but the times.
std::string content(SampleRecord sample) {
  sample.seconds = {};
  return encode_sample(sample);
}

std::string sample_text(const PreparedSweep& sweep, const SweepTask& task) {
  return fmt::format("item {}, repeat {}, {}", sweep.examples[task.item].id, task.repeat, sweep.settings_text[task.config]);
}

/// Every sample found, each once, with the journal it came from.
class Pool {
 public:
  Pool(const PreparedSweep& sweep, const std::vector<SweepTask>& tasks) : sweep_(sweep) {
    for (const auto& task : tasks) task_of_[task.key] = task;
  }
  void add(const ShardJournal& journal) {
    for (const auto& sample : journal.samples) {
      const auto task = task_of_.find(sample.content_key);
      if (task == task_of_.end() || task->second.config != sample.config_idx || task->second.item != sample.item_idx || task->second.repeat != sample.repeat)
        throw input_error("{}: holds a sample that is none of its plan's (content key {}); is the journal from another build?", journal.path, hex(sample.content_key).substr(0, 16));
      const auto [at, fresh] = found_.insert({sample.content_key, {&sample, &journal}});
      if (fresh) continue;
      auto& [kept, origin] = at->second;
      if (!kept->error.empty()) {  // a failure gives way to whatever came of a later try
        at->second = {&sample, &journal};
      } else if (sample.error.empty()) {
        if (content(*kept) != content(sample))
          throw input_error("{} and {} hold different results of one sample: {}\nboth should be equal bit for bit; find out which build or machine is wrong, and merge without its journal",
                            origin->path, journal.path, sample_text(sweep_, task->second));
        ++overlaps_;
      }
    }
  }
  const SampleRecord* find(const Sha256& key) const {
    const auto at = found_.find(key);
    return at == found_.end() ? nullptr : at->second.first;
  }
  size_t overlaps() const { return overlaps_; }

 private:
  const PreparedSweep& sweep_;
  std::map<Sha256, SweepTask> task_of_;
  std::map<Sha256, std::pair<const SampleRecord*, const ShardJournal*>> found_;
  size_t overlaps_ = 0;
};

/// Which shards lack what, of the divisions into N that the journals come from.
std::string missing_text(const PreparedSweep& sweep, const std::vector<ShardJournal>& journals, const std::vector<SweepTask>& missing) {
  std::map<uint32_t, std::set<uint32_t>> present;
  for (const auto& journal : journals) present[journal.num_shards].insert(journal.shard);
  std::set<Sha256> keys;
  for (const auto& task : missing) keys.insert(task.key);
  std::string out;
  for (const auto& [count, shards] : present) {
    for (uint32_t shard = 1; shard <= count && out.size() < 4000; ++shard) {
      const auto tasks = shard_tasks(sweep, shard, count);
      const auto lacking = static_cast<size_t>(std::count_if(tasks.begin(), tasks.end(), [&](const SweepTask& task) { return keys.contains(task.key); }));
      if (lacking == 0) continue;
      if (shards.contains(shard)) out += fmt::format("  shard {}/{} is not finished: {} of {} samples are missing\n", shard, count, lacking, tasks.size());
      else out += fmt::format("  shard {}/{} is not there: {} samples\n", shard, count, lacking);
    }
  }
  for (size_t i = 0; i < std::min<size_t>(3, missing.size()); ++i) out += fmt::format("  missing: {}\n", sample_text(sweep, missing[i]));
  if (missing.size() > 3) out += fmt::format("  and {} more\n", missing.size() - 3);
  return out;
}

}  // namespace

std::vector<std::string> find_shards(const std::string& folder) {
  static const std::regex name(R"(run-\d+-of-\d+\.journal)");
  std::vector<std::string> out;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (std::regex_match(entry.path().filename().string(), name)) out.push_back(entry.path().string());
  std::sort(out.begin(), out.end());
  if (out.empty()) throw input_error("{}: holds no shard journals (run-I-of-N.journal)\nshards are made with canvaslab sweep CONFIG.toml --shard I/N --out {}", folder, folder);
  return out;
}

ShardJournal read_shard(const std::string& path) {
  ShardJournal out;
  out.path = path;
  const JournalScan scan = scan_journal(path, [&](FrameType type, std::string_view payload) {
    if (type == FrameType::kName) out.name = payload;
    if (type == FrameType::kSample) out.samples.push_back(read_sample(path, out.samples.size(), payload));
  });
  if (scan.damaged)
    throw input_error("{}: the frame after byte {} is damaged (its checksum does not match), {} bytes follow it\nstart that shard's sweep command again: it says how to keep what is whole", path,
                      scan.valid_bytes, scan.file_bytes - scan.valid_bytes);
  if (scan.header.empty()) throw input_error("{}: is a journal without a header; its run never began", path);
  split_shard_line(scan.header, out);
  return out;
}

void check_one_plan(const std::vector<ShardJournal>& journals) {
  for (const auto& journal : journals)
    if (journal.plan != journals.front().plan)
      throw usage_error("{}: belongs to another plan than {}. The first line that differs:\n{}\nmerge the shards of one plan only", journal.path, journals.front().path,
                        first_difference(journals.front().plan, journal.plan));
}

Merged merge_shards(const PreparedSweep& sweep, const std::vector<ShardJournal>& journals) {
  check_one_plan(journals);
  if (sweep.header != journals.front().plan)
    throw input_error("{}: model or data are not what they were when this shard ran. The first line that differs:\n{}\nput back what has changed; nothing was written", journals.front().path,
                      first_difference(journals.front().plan, sweep.header));
  const auto tasks = shard_tasks(sweep, 1, 1);
  Pool pool(sweep, tasks);
  for (const auto& journal : journals) pool.add(journal);
  Merged out;
  std::vector<SweepTask> missing;
  for (const auto& task : tasks) {
    const SampleRecord* sample = pool.find(task.key);
    if (!sample) missing.push_back(task);
    else out.samples.push_back(*sample), out.failed += !sample->error.empty();
  }
  if (!missing.empty())
    throw input_error("{} of {} samples are in none of the {} journals:\n{}run what is missing (the same sweep command goes on where it stopped), then merge again; nothing was written",
                      missing.size(), tasks.size(), journals.size(), missing_text(sweep, journals, missing));
  out.overlaps = pool.overlaps();
  return out;
}

}  // namespace canvaslab
