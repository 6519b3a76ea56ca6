#include "eval/sweep.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <set>
#include <thread>

#include "core/error.h"
#include "core/model.h"

namespace canvaslab {
namespace {

double now_seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

struct Task {
  uint32_t config, item, repeat;
  Sha256 key;
};

Sha256 content_key(const PreparedSweep& sweep, const std::string& model_hash, const std::string& data_hash, uint32_t config, uint32_t item, uint32_t repeat) {
  const auto& example = sweep.examples[item];
  return sha256(fmt::format("canvaslab sample 1\nengine {}\nmodel {}\ndtype {}\ndata {}\nitem {}\nprompt {}\nsettings {}\nseed {}\nrepeat {}\n", kEngineVersion,
                            model_hash, sweep.plan.dtype, data_hash, example.id, fmt::join(example.prompt_ids, " "),
                            sweep.settings_text[config], sweep.plan.seed, repeat));
}

/// Sums up each step for the journal.
class StepSummaries final : public Observer {
 public:
  std::vector<StepSummary> steps;
  void on_step(const StepRecord& record) override {
    const auto& entropy = record.statistics->entropy_nats;
    StepSummary out{.temperature = record.temperature};
    double sum = 0;
    for (float h : entropy) {
      sum += h;
      out.max_entropy_nats = std::max(out.max_entropy_nats, h);
    }
    out.mean_entropy_nats = static_cast<float>(sum / static_cast<double>(entropy.size()));
    out.num_accepted = static_cast<int32_t>(std::count(record.accepted.begin(), record.accepted.end(), uint8_t{1}));
    if (record.step_idx > 0)
      for (size_t p = 0; p < previous_.size(); ++p) out.num_argmax_changed += previous_[p] != record.statistics->argmax[p];
    previous_ = record.statistics->argmax;
    steps.push_back(out);
  }

 private:
  std::vector<int32_t> previous_;
};

SampleRecord run_task(const PreparedSweep& sweep, const Task& task) {
  const auto& plan = sweep.generation[task.config];
  const auto& example = sweep.examples[task.item];
  SampleRecord out;
  out.config_idx = task.config;
  out.item_idx = task.item;
  out.repeat = task.repeat;
  out.seed = sweep.plan.seed;
  out.content_key = task.key;
  try {
    if (sweep.plan.configs[task.config].control) {
      const DrawKey key{.seed = sweep.plan.seed, .item = task.item, .repeat = task.repeat};
      out.token_ids = sweep.denoiser->source()->sample(static_cast<size_t>(plan.num_canvases()) * static_cast<size_t>(plan.canvas_length), key);
      out.canvas_ids = out.token_ids;
      out.stop_reason = "control";
    } else {
      RowInput input;
      input.prompt.ids = example.prompt_ids;
      input.seed = sweep.plan.seed;
      input.item = task.item;
      input.repeat = task.repeat;
      StepSummaries summaries;
      RowResult row = std::move(generate(*sweep.denoiser, plan, std::span(&input, 1), &summaries).front());
      out.token_ids = std::move(row.token_ids);
      out.canvas_ids = std::move(row.canvas_ids);
      out.stop_reason = row.stop_reason;
      out.canvas_stop = std::move(row.canvas_stop);
      out.steps_per_canvas = std::move(row.steps_per_canvas);
      out.valid_per_canvas = std::move(row.valid_per_canvas);
      out.steps = std::move(summaries.steps);
      out.forwards = row.forwards;
      out.seconds = row.seconds;
      out.tokens_per_forward = row.tokens_per_forward;
      out.tokens_per_forward_report = row.tokens_per_forward_report;
    }
    const Score score = sweep.dataset->score(example, out.token_ids, *sweep.denoiser);
    out.score = score.value;
    out.metrics = score.metrics;
  } catch (const std::exception& error) {
    out.error = error.what();
    out.stop_reason = "error";
  }
  return out;
}

/// One line of progress, redrawn on a terminal, every ten seconds in a pipe.
class ProgressLine {
 public:
  ProgressLine(size_t total, size_t done, bool quiet) : total_(total), first_(done), tty_(::isatty(2)), quiet_(quiet), begin_(now_seconds()) {}
  void update(size_t done, double tokens, double forwards, double score_sum, size_t scored, const std::string& score_name, bool last) {
    const double now = now_seconds();
    if (quiet_ || (!last && now - shown_ < (tty_ ? 0.2 : 10.0))) return;
    shown_ = now;
    const double elapsed = std::max(1e-9, now - begin_), rate = static_cast<double>(done - first_) / elapsed;
    const double eta = rate > 0 ? static_cast<double>(total_ - done) / rate : 0;
    std::string line = fmt::format("{}/{} samples  {:.1f}/s", done, total_, rate);
    if (forwards > 0) line += fmt::format("  {:.2f} tokens/forward  {:.0f} tokens/s", tokens / forwards, tokens / elapsed);
    if (scored > 0) line += fmt::format("  {} {:.3f}", score_name, score_sum / static_cast<double>(scored));
    line += fmt::format("  ETA {:.0f}s", eta);
    if (tty_) fmt::print(stderr, "\r\033[K{}{}", line, last ? "\n" : "");
    else fmt::print(stderr, "{}\n", line);
    std::fflush(stderr);
  }

 private:
  size_t total_, first_;
  bool tty_, quiet_;
  double begin_, shown_ = 0;
};

}  // namespace

PreparedSweep prepare_sweep(SweepPlan plan, const PromptEncoder& encode) {
  PreparedSweep out;
  out.plan = std::move(plan);
  out.denoiser = open_model(out.plan.denoiser, {.dtype = out.plan.dtype});
  out.dataset = datasets().make(out.plan.dataset);
  const auto& dataset_facts = datasets().find(parse_plugin(out.plan.dataset).name).facts;
  if (dataset_facts.needs_source && !out.denoiser->source())
    throw usage_error("data set '{}' needs a denoiser with an exact source, such as hmm(...); '{}' has none", out.plan.dataset, out.plan.denoiser);
  out.examples = out.dataset->load();
  if (out.plan.limit && static_cast<size_t>(*out.plan.limit) < out.examples.size()) out.examples.resize(static_cast<size_t>(*out.plan.limit));
  for (auto& example : out.examples) {
    if (!example.has_ids) {
      if (!encode) throw usage_error("item '{}' has a text prompt, but model '{}' has no tokenizer.json; give prompt_ids instead", example.id, out.plan.denoiser);
      example.prompt_ids = encode(example.prompt_text);
    }
    check_token_ids(example.prompt_ids, out.denoiser->facts().vocabulary, fmt::format("item '{}'", example.id));
  }
  std::vector<SweepConfig> kept;
  std::set<std::string> seen;
  std::set<std::pair<int32_t, int32_t>> lengths;
  const auto add = [&](SweepConfig config) {
    GenerationPlan generation = resolve_plan(config.request, *out.denoiser);
    std::string text = config.control ? "control exact samples; " : "";
    for (const auto& [key, value] : generation.settings()) {
      if (!config.control || key == "canvas_length" || key == "max_new_tokens") text += fmt::format("{}={}; ", key, value);
    }
    if (!seen.insert(text).second) return;  // the same point written twice
    lengths.insert({generation.canvas_length, generation.max_new_tokens});
    out.settings_text.push_back(std::move(text));
    out.generation.push_back(std::move(generation));
    kept.push_back(std::move(config));
  };
  for (auto& config : out.plan.configs) add(std::move(config));
  if (out.dataset->wants_control()) {
    for (const auto& [length, most] : std::set(lengths)) {
      SweepConfig control;
      control.control = true;
      control.request.canvas_length = length;
      control.request.max_new_tokens = most;
      add(std::move(control));
    }
  }
  out.plan.configs = std::move(kept);
  out.header = fmt::format("canvaslab run 1\nengine {}\nmodel {}\ndtype {}\ndata {} {}\nitems {}\nseed {}\nrepeats {}\nconfigs\n{}\n", kEngineVersion,
                           out.denoiser->content_hash(), out.plan.dtype, out.plan.dataset, out.dataset->content_hash(), out.examples.size(),
                           out.plan.seed, out.plan.repeats, fmt::join(out.settings_text, "\n"));
  return out;
}

SweepOutcome run_sweep(const PreparedSweep& sweep, const SweepOptions& options) {
  std::error_code made;
  std::filesystem::create_directories(options.out_dir, made);
  if (made) throw input_error("{}: the folder cannot be created ({})", options.out_dir, made.message());
  const std::string stem = options.num_shards == 1 ? "run" : fmt::format("run-{}-of-{}", options.shard, options.num_shards);
  const std::string journal_path = fmt::format("{}/{}.journal", options.out_dir, stem), results_path = fmt::format("{}/{}.h5", options.out_dir, stem);
  JournalWriter journal(journal_path, sweep.header + fmt::format("shard {}/{}\n", options.shard, options.num_shards));

  SweepOutcome outcome;
  outcome.results_path = results_path;
  std::vector<SampleRecord> samples = journal.take_found();
  std::set<Sha256> done;
  // A failed sample is tried again by the next start: only successes count as done.
  std::erase_if(samples, [](const SampleRecord& sample) { return !sample.error.empty(); });
  for (const auto& sample : samples) done.insert(sample.content_key);
  const std::string model_hash = sweep.denoiser->content_hash(), data_hash = sweep.dataset->content_hash();
  std::vector<Task> tasks;
  for (uint32_t item = 0; item < sweep.examples.size(); ++item) {
    for (uint32_t repeat = 0; repeat < sweep.plan.repeats; ++repeat) {
      for (uint32_t config = 0; config < sweep.plan.configs.size(); ++config) {
        Task task{config, item, repeat, content_key(sweep, model_hash, data_hash, config, item, repeat)};
        const uint32_t slot = static_cast<uint32_t>(task.key[0]) << 24 | static_cast<uint32_t>(task.key[1]) << 16 | static_cast<uint32_t>(task.key[2]) << 8 | task.key[3];
        if (slot % options.num_shards != options.shard - 1) continue;
        ++outcome.total;
        if (!done.contains(task.key)) tasks.push_back(task);
      }
    }
  }
  outcome.already_done = outcome.total - tasks.size();

  const auto threads = static_cast<size_t>(options.threads > 0 ? options.threads : std::max(1u, std::thread::hardware_concurrency()));
  std::atomic<size_t> next{0};
  std::mutex mutex;
  std::exception_ptr failure;
  double tokens = 0, forwards = 0, score_sum = 0;
  size_t scored = 0;
  ProgressLine progress(outcome.total, outcome.already_done, options.quiet || tasks.empty());
  const std::string score_name = sweep.dataset->score_facts().name;
  const auto worker = [&] {
    while (true) {
      if (options.interrupt && options.interrupt->load()) return;
      const size_t i = next.fetch_add(1);
      if (i >= tasks.size()) return;
      SampleRecord sample = run_task(sweep, tasks[i]);
      try {
        journal.append(sample);
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (!failure) failure = std::current_exception();
        next = tasks.size();
        return;
      }
      const std::lock_guard lock(mutex);
      ++outcome.ran;
      if (!sample.error.empty()) {
        if (++outcome.failed <= 3) fmt::print(stderr, "sample failed: {} / {}: {}\n", sweep.examples[sample.item_idx].id, sweep.settings_text[sample.config_idx], sample.error);
      } else {
        score_sum += sample.score;
        ++scored;
        if (sample.forwards.denoise > 0) tokens += static_cast<double>(sample.token_ids.size());
        forwards += static_cast<double>(sample.forwards.denoise);
      }
      samples.push_back(std::move(sample));
      progress.update(outcome.already_done + outcome.ran, tokens, forwards, score_sum, scored, score_name, outcome.ran == tasks.size());
    }
  };
  std::vector<std::thread> pool;
  for (size_t t = 0; t < std::min(threads, tasks.size()); ++t) pool.emplace_back(worker);
  for (auto& thread : pool) thread.join();
  journal.sync();
  if (failure) std::rethrow_exception(failure);
  outcome.interrupted = outcome.ran < tasks.size();
  if (outcome.interrupted) return outcome;
  if (!tasks.empty() || !std::filesystem::exists(results_path)) write_results(sweep, samples, results_path, options);
  return outcome;
}

}  // namespace canvaslab
