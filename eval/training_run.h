#pragma once
// A training from configuration to model folder: batches, checkpoints, log, trials on held-out questions. Goes on where it
// stopped.
#include <atomic>
#include <functional>
#include <string>

#include "eval/training_config.h"
#include "eval/training_log.h"

namespace canvaslab {

/// How far a training is.
struct TrainingProgress {
  int64_t step = 0, num_steps = 0;
  double tokens_per_second = 0, eta_seconds = 0;   ///< of this run, by the clock
  const TrainingLog* log = nullptr;
  bool evaluated = false;                          ///< the log's last evaluations are new
};

struct TrainingRunOptions {
  std::string out_dir;
  int64_t stop_after = 0;                                     ///< steps done at which to stop as if interrupted; 0: none
  const std::atomic<int>* interrupt = nullptr;                ///< non-zero: stop after the step at hand
  std::function<void(const TrainingProgress&)> on_progress;   ///< after every line of the log and every evaluation
};

struct TrainingOutcome {
  int64_t steps_done = 0, steps_before = 0;
  bool interrupted = false;
};

/// Writes into out_dir: state.safetensors (all that a resume needs), log.jsonl, training.h5, model/ (the averaged weights as
/// a checkpoint folder, complete at every checkpoint), and with adapters adapter/ (in PEFT's layout; model/ then holds them
/// merged). The course depends on the configuration only, not on stops between.
/// Errors: usage for a folder with another training, input for what cannot be read or written; a loss that is not finite
/// stops it with the last checkpoint kept.
TrainingOutcome run_training(const TrainingConfig& config, const TrainingRunOptions& options);

/// The accuracy of each setting ("sampler=...; steps=...") on the first `items` held-out questions of a task. `model`: a
/// checkpoint folder.
std::vector<EvaluationLine> evaluate_task(const std::string& model, const TrainingTask& task, int64_t items, const std::vector<std::string>& settings);

}  // namespace canvaslab
