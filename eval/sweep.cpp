#include "eval/sweep.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iterator>
#include <map>
#include <numeric>
#include <optional>
#include <set>
#include <thread>

#include "core/error.h"
#include "eval/datasets/joined.h"
#include "eval/halving.h"
#include "eval/results.h"
#include "eval/work_queue.h"

namespace canvaslab {
namespace {

/// Sums up each step of each row for the journal, and keeps every position of the rows for which that is asked.
class StepRecorder final : public Observer {
 public:
  explicit StepRecorder(size_t rows) : rows_(rows) {}
  struct Row {
    bool keeps_positions = false;
    std::vector<StepSummary> steps;
    PositionRecord positions;
    std::vector<int32_t> previous_argmax;
  };
  Row& row(size_t r) { return rows_[r]; }
  void on_step(const StepRecord& record) override {
    Row& row = rows_[record.row];
    const RowStatistics& statistics = *record.statistics;
    StepSummary out{.temperature = record.temperature};
    double sum = 0;
    for (float h : statistics.entropy_nats) {
      sum += h;
      out.max_entropy_nats = std::max(out.max_entropy_nats, h);
    }
    out.mean_entropy_nats = static_cast<float>(sum / static_cast<double>(statistics.entropy_nats.size()));
    out.num_accepted = static_cast<int32_t>(std::count(record.accepted.begin(), record.accepted.end(), uint8_t{1}));
    if (record.step_idx > 0)
      for (size_t p = 0; p < row.previous_argmax.size(); ++p) out.num_argmax_changed += row.previous_argmax[p] != statistics.argmax[p];
    row.previous_argmax = statistics.argmax;
    row.steps.push_back(out);
    if (!row.keeps_positions) return;
    const auto gather = [](auto& into, const auto& from) { into.insert(into.end(), from.begin(), from.end()); };
    gather(row.positions.canvas_in, record.canvas_in);
    gather(row.positions.candidate, statistics.candidate);
    gather(row.positions.argmax, statistics.argmax);
    gather(row.positions.accepted, record.accepted);
    gather(row.positions.entropy_nats, statistics.entropy_nats);
    gather(row.positions.canvas_out, record.canvas_out);
  }

 private:
  std::vector<Row> rows_;
};

SampleRecord blank(const PreparedSweep& sweep, const SweepTask& task) {
  SampleRecord out;
  out.config_idx = task.config;
  out.item_idx = task.item;
  out.repeat = task.repeat;
  out.seed = sweep.plan.seed_of(task.repeat);
  out.content_key = task.key;
  return out;
}

void draw_control(const PreparedSweep& sweep, SampleRecord& out) {
  const auto& plan = sweep.generation[out.config_idx];
  const DrawKey key{.seed = out.seed, .item = sweep.examples[out.item_idx].number, .repeat = out.repeat % sweep.plan.repeats};
  out.token_ids = sweep.denoiser->source()->sample(static_cast<size_t>(plan.num_canvases()) * static_cast<size_t>(plan.canvas_length), key);
  out.canvas_ids = out.token_ids;
  out.stop_reason = "control";
}

/// Samples of one configuration through the engine together. Items and noise are shared across configurations: draws are
/// keyed by (seed, item, repeat) and by nothing of the configuration.
void generate_samples(const PreparedSweep& sweep, std::span<SampleRecord> samples) {
  std::vector<RowInput> inputs(samples.size());
  for (size_t i = 0; i < samples.size(); ++i) {
    inputs[i].prompt.ids = sweep.examples[samples[i].item_idx].prompt_ids;
    inputs[i].seed = samples[i].seed;
    inputs[i].item = sweep.examples[samples[i].item_idx].number;
    inputs[i].repeat = samples[i].repeat % sweep.plan.repeats;
  }
  StepRecorder recorder(samples.size());
  for (size_t i = 0; i < samples.size(); ++i) recorder.row(i).keeps_positions = sweep.records_positions(samples[i].item_idx, samples[i].repeat);
  auto rows = generate(*sweep.denoiser, sweep.generation[samples[0].config_idx], inputs, &recorder);
  for (size_t i = 0; i < samples.size(); ++i) {
    SampleRecord& out = samples[i];
    RowResult& row = rows[i];
    out.token_ids = std::move(row.token_ids);
    out.canvas_ids = std::move(row.canvas_ids);
    out.stop_reason = std::move(row.stop_reason);
    out.canvas_stop = std::move(row.canvas_stop);
    out.steps_per_canvas = std::move(row.steps_per_canvas);
    out.valid_per_canvas = std::move(row.valid_per_canvas);
    out.length_per_canvas = std::move(row.length_per_canvas);
    out.steps = std::move(recorder.row(i).steps);
    out.positions = std::move(recorder.row(i).positions);
    out.forwards = row.forwards;
    out.seconds = row.seconds;
    out.tokens_per_forward = row.tokens_per_forward;
    out.tokens_per_forward_report = row.tokens_per_forward_report;
  }
}

/// Samples without scores; a failed one carries its error.
std::vector<SampleRecord> generate_tasks(const PreparedSweep& sweep, std::span<const SweepTask> tasks) {
  std::vector<SampleRecord> out;
  for (const auto& task : tasks) out.push_back(blank(sweep, task));
  try {
    if (sweep.plan.configs[tasks[0].config].control)
      for (auto& sample : out) draw_control(sweep, sample);
    else generate_samples(sweep, out);
  } catch (const std::exception& error) {
    if (tasks.size() == 1) {
      out[0] = failure_of(out[0], error.what());
      return out;
    }
    out.clear();  // one bad row must not take its batch mates with it
    for (const auto& task : tasks) out.push_back(std::move(generate_tasks(sweep, std::span(&task, 1)).front()));
  }
  return out;
}

/// A fixed shuffle by hash of (content key, shuffle).
void shuffle_tasks(std::vector<SweepTask>& tasks, uint64_t shuffle) {
  std::vector<std::pair<Sha256, SweepTask>> keyed;
  for (const auto& task : tasks) keyed.emplace_back(sha256(fmt::format("{} {}", hex(task.key), shuffle)), task);
  std::sort(keyed.begin(), keyed.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  for (size_t i = 0; i < tasks.size(); ++i) tasks[i] = keyed[i].second;
}

/// Samples that were generated by earlier runs and lack a grade of this one.
using Generated = std::map<Sha256, SampleRecord>;

/// Everything a run of one shard holds while its threads work.
class Runner {
 public:
  /// `found`: finished samples of the journal. `generated`: samples that only have to be graded.
  Runner(const PreparedSweep& sweep, const SweepOptions& options, JournalWriter& journal, const std::string& journal_path, std::vector<SampleRef> found, Generated generated)
      : sweep_(sweep), options_(options), journal_(journal), samples_(std::move(found)), meter_(sweep), generated_(std::move(generated)) {
    for (const auto& sample : samples_) attempted_.insert(sample.content_key);
    const SampleRows rows(journal_path, samples_);
    for (size_t begin = 0; begin < rows.size();) {
      const size_t end = rows.block_end(begin, rows.size());
      for (const auto& sample : rows.read(begin, end)) meter_.add_found(sample);
      begin = end;
    }
  }
  /// Runs what has not been run yet, each sample once however often it is asked for. False when it was interrupted.
  bool run(const std::vector<SweepTask>& tasks) {
    std::vector<SweepTask> open;
    for (const auto& task : tasks) {
      if (wanted_.insert(task.key).second) ++planned_[task.config];
      if (!attempted_.contains(task.key)) open.push_back(task);
    }
    meter_.expect(planned_);
    if (options_.shuffle) shuffle_tasks(open, options_.shuffle);
    group_batches(open);
    const size_t before = ran_;
    work_on_batches();
    return ran_ - before == open.size();
  }
  size_t ran() const { return ran_; }
  size_t failed() const { return failed_; }
  size_t reused() const { return reused_; }
  size_t total() const { return wanted_.size(); }
  const std::vector<SampleRef>& samples() const { return samples_; }

 private:
  void work_on_batches() {
    const auto threads = static_cast<size_t>(options_.threads > 0 ? options_.threads : std::max(1u, std::thread::hardware_concurrency()));
    next_ = 0;
    std::optional<WorkQueue> grading;
    // Half of the threads: programs that are judged by the clock must find a processor.
    if (facts_of_dataset(sweep_.plan.dataset).runs_programs) grading.emplace(std::max<size_t>(1, threads / 2), 4 * threads);
    grading_ = grading ? &*grading : nullptr;
    std::vector<std::thread> pool;
    for (size_t t = 0; t < std::min(threads, batches_.size()); ++t) pool.emplace_back([this] { work(); });
    for (auto& thread : pool) thread.join();
    if (grading && has_failed()) grading->drop_waiting();  // an interrupt keeps what is generated: judging it is the cheaper part
    grading.reset();
    grading_ = nullptr;
    journal_.sync();
    if (failure_) std::rethrow_exception(failure_);
  }
  /// Batches hold samples of one configuration; tasks keep their order otherwise.
  void group_batches(const std::vector<SweepTask>& tasks) {
    const auto most = static_cast<size_t>(std::max(1, options_.batch));
    batches_.clear();
    std::vector<size_t> open(sweep_.plan.configs.size(), SIZE_MAX);
    for (const auto& task : tasks) {
      size_t& at = open[task.config];
      if (at == SIZE_MAX || batches_[at].size() == most) at = batches_.size(), batches_.emplace_back();
      batches_[at].push_back(task);
    }
  }
  bool interrupted() const { return options_.interrupt && options_.interrupt->load() != 0; }
  void work() {
    while (!interrupted()) {
      const size_t i = next_.fetch_add(1);
      if (i >= batches_.size()) return;
      try {
        for (auto& sample : make(batches_[i])) {
          const auto shared = std::make_shared<SampleRecord>(std::move(sample));  // a std::function has to be copyable
          if (grading_) grading_->add([this, shared] { complete(*shared); });
          else complete(*shared);
        }
      } catch (...) {
        fail();
      }
    }
  }
  /// Samples without scores: those that were generated earlier, and the others.
  std::vector<SampleRecord> make(const std::vector<SweepTask>& tasks) {
    std::vector<SampleRecord> out;
    std::vector<SweepTask> open;
    for (const auto& task : tasks) {
      const auto at = generated_.find(task.key);
      if (at == generated_.end()) open.push_back(task);
      else ++reused_, out.push_back(at->second), out.back().config_idx = task.config, out.back().item_idx = task.item, out.back().repeat = task.repeat;
    }
    if (!open.empty()) std::ranges::move(generate_tasks(sweep_, open), std::back_inserter(out));
    return out;
  }
  bool has_failed() {
    const std::lock_guard lock(mutex_);
    return failure_ != nullptr;
  }
  /// Nothing more may be run.
  void fail() {
    const std::lock_guard lock(mutex_);
    if (!failure_) failure_ = std::current_exception();
    next_ = batches_.size();
  }
  /// Scores a sample and puts it on record.
  void complete(SampleRecord& sample) {
    try {
      score_sample(sweep_, sample);
      const SampleRef at = journal_.append(sample);
      const std::lock_guard lock(mutex_);
      samples_.push_back(at);
      note(sample);
    } catch (...) {  // the journal cannot be written
      fail();
    }
  }
  void note(const SampleRecord& sample) {
    ++ran_;
    attempted_.insert(sample.content_key);
    if (generated_.contains(sample.content_key)) meter_.add_found(sample);  // an earlier run's time and tokens are not this one's speed
    else meter_.add_run(sample);
    if (!sample.error.empty()) {
      ++failed_;
      if (options_.on_failure)
        options_.on_failure(fmt::format("item {}, {}: {}", sweep_.examples[sample.item_idx].id, sweep_.settings_text[sample.config_idx], sample.error));
    }
    if (options_.on_progress) options_.on_progress(meter_);
  }

  const PreparedSweep& sweep_;
  const SweepOptions& options_;
  JournalWriter& journal_;
  std::vector<SampleRef> samples_;
  std::set<Sha256> attempted_, wanted_;
  std::map<uint32_t, size_t> planned_;   // samples wanted so far, by configuration
  std::vector<std::vector<SweepTask>> batches_;
  ProgressMeter meter_;
  const Generated generated_;
  WorkQueue* grading_ = nullptr;         // where scores take a while: what makes them while the next samples are generated
  std::atomic<size_t> next_{0}, reused_{0};
  std::mutex mutex_;
  std::exception_ptr failure_;
  size_t ran_ = 0, failed_ = 0;
};

/// Finished samples of earlier runs, each once. A failed sample is tried again: only successes count as done.
std::vector<SampleRef> finished_samples(std::vector<SampleRef> found, std::set<Sha256>& done) {
  std::erase_if(found, [&](const SampleRef& sample) { return sample.failed || !done.insert(sample.content_key).second; });
  return found;
}

/// Of the journal's failed samples those that only lack a grade.
Generated ungraded_samples(const std::string& journal_path, std::vector<SampleRef> found) {
  std::erase_if(found, [](const SampleRef& sample) { return !sample.failed; });
  Generated out;
  const SampleRows rows(journal_path, std::move(found));
  for (size_t begin = 0; begin < rows.size();) {
    const size_t end = rows.block_end(begin, rows.size());
    for (auto& sample : rows.read(begin, end)) {
      if (!was_generated(sample)) continue;
      sample.error.clear();
      out.insert_or_assign(sample.content_key, std::move(sample));
    }
    begin = end;
  }
  return out;
}

/// Adds the samples of another run that this plan wants too. They are graded again, by what grades here.
void add_samples_of(const std::string& folder, const PreparedSweep& sweep, const SweepOptions& options, const std::set<Sha256>& done, Generated& out) {
  std::map<Sha256, SweepTask> wanted;
  for (const auto& task : shard_tasks(sweep, options.shard, options.num_shards))
    if (!done.contains(task.key) && !out.contains(task.key)) wanted.emplace(task.key, task);
  size_t journals = 0;
  std::error_code problem;
  for (const auto& entry : std::filesystem::directory_iterator(folder, problem)) {
    if (entry.path().extension() != ".journal") continue;
    size_t number = 0;
    ++journals;
    scan_journal(entry.path(), [&](FrameType type, std::string_view payload) {
      if (type != FrameType::kSample) return;
      SampleRecord sample = read_sample(entry.path(), number++, payload);
      const auto at = wanted.find(sample.content_key);
      if (at == wanted.end() || !was_generated(sample)) return;
      const bool has_positions = !sample.positions.canvas_in.empty(), wants_positions = sweep.records_positions(at->second.item, at->second.repeat) && !sample.steps.empty();
      if (wants_positions && !has_positions) return;
      if (!wants_positions) sample.positions = {};
      sample.error.clear();
      out.emplace(sample.content_key, std::move(sample));
    });
  }
  if (journals == 0) throw input_error("{}: holds no journal of a run (run.journal) whose samples could be taken over", folder);
}

/// False when it was interrupted.
bool run_halving(Halving& halving, Runner& runner, const std::string& journal_path, const SweepOptions& options) {
  for (auto tasks = halving.tasks(); !tasks.empty(); tasks = halving.tasks()) {
    if (!runner.run(tasks)) return false;
    const SampleRows rows(journal_path, runner.samples());
    halving.decide(rows.read(0, rows.size()));
    if (options.on_decision) options.on_decision(halving.record());
  }
  return true;
}

}  // namespace

std::vector<SweepTask> tasks_of(const PreparedSweep& sweep, std::span<const uint32_t> items, std::span<const uint32_t> configs) {
  std::vector<SweepTask> out;
  for (const uint32_t item : items)
    for (uint32_t repeat = 0; repeat < sweep.plan.total_repeats(); ++repeat)
      for (const uint32_t config : configs) out.push_back({config, item, repeat, sweep.content_key(config, item, repeat)});
  return out;
}

void score_sample(const PreparedSweep& sweep, SampleRecord& sample) {
  if (!sample.error.empty()) return;
  try {
    const Score score = sweep.dataset->score(sweep.examples[sample.item_idx], sample.token_ids, *sweep.denoiser);
    if (std::isnan(score.value)) throw std::runtime_error("the score is NaN");  // infinite is a verdict, NaN is none
    sample.score = score.value;
    sample.metrics = score.metrics;
  } catch (const std::exception& error) {
    sample.error = error.what();
    sample.score = 0, sample.metrics.clear();
  }
}

std::vector<SweepTask> shard_tasks(const PreparedSweep& sweep, uint32_t shard, uint32_t num_shards) {
  std::vector<uint32_t> items(sweep.examples.size()), configs(sweep.plan.configs.size());
  std::iota(items.begin(), items.end(), 0u);
  std::iota(configs.begin(), configs.end(), 0u);
  std::vector<SweepTask> out = tasks_of(sweep, items, configs);
  std::erase_if(out, [&](const SweepTask& task) {
    const uint32_t slot = static_cast<uint32_t>(task.key[0]) << 24 | static_cast<uint32_t>(task.key[1]) << 16 | static_cast<uint32_t>(task.key[2]) << 8 | task.key[3];
    return slot % num_shards != shard - 1;
  });
  return out;
}

std::vector<SampleRecord> run_tasks(const PreparedSweep& sweep, std::span<const SweepTask> tasks) {
  auto out = generate_tasks(sweep, tasks);
  for (auto& sample : out) score_sample(sweep, sample);
  return out;
}

SweepOutcome run_sweep(const PreparedSweep& sweep, const SweepOptions& options) {
  if (sweep.plan.halving && options.num_shards > 1)
    throw usage_error("successive halving cannot be divided into shards: what runs next follows from all samples of the round before\nrun it as one, with more threads");
  std::error_code made;
  std::filesystem::create_directories(options.out_dir, made);
  if (made) throw input_error("{}: the folder cannot be created ({})\ngive another folder with --out", options.out_dir, made.message());
  const std::string stem = options.num_shards == 1 ? "run" : fmt::format("run-{}-of-{}", options.shard, options.num_shards);
  const std::string journal_path = fmt::format("{}/{}.journal", options.out_dir, stem);
  JournalWriter journal(journal_path, sweep.header + fmt::format("shard {}/{}\n", options.shard, options.num_shards),
                        sweep.plan.name);

  SweepOutcome outcome;
  outcome.results_path = fmt::format("{}/{}.h5", options.out_dir, stem);
  std::set<Sha256> done;
  const std::vector<SampleRef> in_journal = journal.take_found();
  auto found = finished_samples(in_journal, done);
  outcome.already_done = found.size();
  Generated generated = ungraded_samples(journal_path, in_journal);
  for (const auto& folder : options.reuse) add_samples_of(folder, sweep, options, done, generated);
  Runner runner(sweep, options, journal, journal_path, std::move(found), std::move(generated));
  std::optional<Halving> halving;
  if (sweep.plan.halving) halving.emplace(sweep);
  if (halving) outcome.interrupted = !run_halving(*halving, runner, journal_path, options);
  else outcome.interrupted = !runner.run(shard_tasks(sweep, options.shard, options.num_shards));
  outcome.total = runner.total();
  outcome.ran = runner.ran();
  outcome.failed = runner.failed();
  outcome.reused = runner.reused();
  if (outcome.interrupted) return outcome;
  const SampleRows samples(journal_path, runner.samples());
  if (outcome.ran > 0 || !results_current(outcome.results_path, samples_digest(samples))) {
    write_results(sweep, samples, outcome.results_path, options, {.halving = halving ? &halving->record() : nullptr});
    outcome.wrote_results = true;
  }
  return outcome;
}

}  // namespace canvaslab
