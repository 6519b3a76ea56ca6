#include "eval/training_run.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <ctime>
#include <filesystem>
#include <numeric>

#include "core/durable_file.h"
#include "core/error.h"
#include "core/model.h"
#include "core/network/caching_allocator.h"
#include "core/network/model_config.h"
#include "eval/sweep.h"
#include "eval/training_batches.h"

namespace canvaslab {
namespace {

using Clock = std::chrono::steady_clock;
double since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }
double cpu_seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

/// Holds a folder against a second training in it.
class FolderLock {
 public:
  explicit FolderLock(const std::string& folder) : fd_(::open((folder + "/lock").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0644)) {
    if (fd_ < 0) throw input_error("{}: cannot be written\ngive another folder with --out", folder);
    if (::flock(fd_, LOCK_EX | LOCK_NB) != 0) {
      ::close(fd_);
      throw usage_error("{}: another training runs in this folder\nwait for it, or give another one with --out", folder);
    }
  }
  ~FolderLock() { ::close(fd_); }
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int fd_;
};

/// A training at work.
class Run {
 public:
  Run(const TrainingConfig& config, const TrainingRunOptions& options)
      : config_(config), options_(options), state_path_(options.out_dir + "/state.safetensors"), text_(load_text(config.base)), model_(ModelConfig::read(config.base)),
        batches_(config, text_, static_cast<int32_t>(model_.pad_token_id), model_.canvas_length), trainer_(config.base, config.options) {
    if (std::filesystem::exists(state_path_)) trainer_.load_state(state_path_, config.settings());
    std::vector<std::string> labels;
    for (const auto& task : config.tasks) labels.push_back(task.label);
    log_ = std::make_unique<TrainingLogFile>(options.out_dir + "/log.jsonl", labels, trainer_.num_done(), config.log_every, config.options.num_steps);
    seconds_before_ = log_->seconds();
  }

  TrainingOutcome go() {
    TrainingOutcome out{.steps_done = 0, .steps_before = trainer_.num_done(), .interrupted = false};
    while (trainer_.num_done() < config_.options.num_steps) {
      if ((options_.interrupt && options_.interrupt->load()) || (options_.stop_after > 0 && trainer_.num_done() >= options_.stop_after)) {
        out.interrupted = true;
        if (trainer_.num_done() % config_.checkpoint_every != 0) trainer_.save_state(state_path_, config_.settings(), Trainer::Moments::kExact);
        break;
      }
      step();
    }
    out.steps_done = trainer_.num_done();
    return out;
  }

 private:
  static TextModel load_text(const std::string& folder) {
    auto text = TextModel::load(folder);
    if (!text) throw input_error("{}: holds no tokenizer.json; questions are texts", folder);
    return std::move(*text);
  }

  void step() {
    std::vector<TrainingBatch> batches;
    std::vector<size_t> tasks;
    for (int64_t i = 0; i < config_.batches_per_step; ++i) {
      auto drawn = batches_.draw(trainer_.num_done(), static_cast<size_t>(i));
      batches.push_back(std::move(drawn.batch));
      tasks.push_back(drawn.task);
    }
    TrainingStep at{.step = 0, .seconds = 0, .losses = trainer_.step(batches), .tasks = std::move(tasks)};
    tokens_here_ += at.losses.tokens;
    ++steps_here_;
    const int64_t done = trainer_.num_done();
    const bool last = done == config_.options.num_steps;
    at.step = done;
    at.seconds = seconds_before_ + cpu_seconds() - cpu_begin_;
    if (log_->append(at)) tell(false);
    if (config_.evaluation.every > 0 && (done % config_.evaluation.every == 0 || last)) evaluate();
    if (done % config_.checkpoint_every == 0 || last) checkpoint();  // last of all: what a kill cuts short before it is made again
  }

  void checkpoint() {
    // The model first: a kill between the two makes it again from the state before.
    trainer_.save_model(options_.out_dir + "/model", config_.dtype);
    if (config_.options.lora.rank > 0) trainer_.save_adapter(options_.out_dir + "/adapter");
    trainer_.save_state(state_path_, config_.settings(), Trainer::Moments::kRounded);
    write_training_h5(options_.out_dir + "/training.h5", log_->log(), config_.settings());
  }

  void evaluate() {
    const auto begin = Clock::now();
    trainer_.save_model(options_.out_dir + "/model", config_.dtype);
    for (const auto& task : config_.tasks)
      for (auto& line : evaluate_task(options_.out_dir + "/model", task, config_.evaluation.items, config_.evaluation.settings)) {
        line.step = trainer_.num_done();
        log_->append(line);
      }
    write_training_h5(options_.out_dir + "/training.h5", log_->log(), config_.settings());
    evaluating_ += since(begin);
    tell(true);
  }

  void tell(bool evaluated) {
    if (!options_.on_progress) return;
    const double seconds = since(begin_), training = seconds - evaluating_;
    const auto left = static_cast<double>(config_.options.num_steps - trainer_.num_done());
    options_.on_progress({.step = trainer_.num_done(), .num_steps = config_.options.num_steps, .tokens_per_second = static_cast<double>(tokens_here_) / training,
                          .eta_seconds = seconds / static_cast<double>(steps_here_) * left, .log = &log_->log(), .evaluated = evaluated});
  }

  const TrainingConfig& config_;
  const TrainingRunOptions& options_;
  std::string state_path_;
  TextModel text_;
  ModelConfig model_;
  TrainingBatches batches_;
  Trainer trainer_;
  std::unique_ptr<TrainingLogFile> log_;
  int64_t tokens_here_ = 0, steps_here_ = 0;
  double seconds_before_ = 0, cpu_begin_ = cpu_seconds(), evaluating_ = 0;
  Clock::time_point begin_ = Clock::now();
};

}  // namespace

TrainingOutcome run_training(const TrainingConfig& config, const TrainingRunOptions& options) {
  std::error_code made;
  std::filesystem::create_directories(options.out_dir, made);
  if (made) throw input_error("{}: the folder cannot be created ({})\ngive another folder with --out", options.out_dir, made.message());
  const FolderLock lock(options.out_dir);
  keep_tensor_memory();
  return Run(config, options).go();
}

std::vector<EvaluationLine> evaluate_task(const std::string& model, const TrainingTask& task, int64_t items, const std::vector<std::string>& settings) {
  auto text = TextModel::load(model);
  if (!text) throw input_error("{}: holds no tokenizer.json; questions are texts", model);
  SweepPlan plan;
  plan.name = "evaluation";
  plan.denoiser = model;
  plan.dataset = task.dataset;
  plan.limit = items;
  for (const auto& one : settings) plan.configs.push_back(parse_config(one, "evaluate"));
  const PreparedSweep sweep = prepare_sweep(std::move(plan), std::make_shared<const TextModel>(std::move(*text)));
  std::vector<uint32_t> all(sweep.examples.size());
  std::iota(all.begin(), all.end(), 0u);
  std::vector<EvaluationLine> out;
  for (uint32_t config = 0; config < sweep.plan.configs.size(); ++config) {
    EvaluationLine line{.step = 0, .task = task.label, .settings = sweep.settings_text[config], .num_items = std::ssize(all), .accuracy = 0, .tokens_per_forward = 0};
    for (const auto& sample : run_tasks(sweep, tasks_of(sweep, all, std::span(&config, 1)))) {
      if (!sample.error.empty()) throw input_error("evaluating {}: {}", task.label, sample.error);
      line.accuracy += sample.score / static_cast<double>(line.num_items);
      line.tokens_per_forward += sample.tokens_per_forward_report / static_cast<double>(line.num_items);
    }
    out.push_back(std::move(line));
  }
  return out;
}

}  // namespace canvaslab
