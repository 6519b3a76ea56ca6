#pragma once
// What `canvaslab train` reads: a TOML file that names a model's folder, tasks with their weights, and the course.
#include <string>
#include <utility>
#include <vector>

#include "core/network/trainer.h"

namespace canvaslab {

/// A task (a data set of eval/datasets/task.h, written as a plug-in) and its share of the batches.
struct TrainingTask {
  std::string dataset;                          ///< canonical
  std::string label;                            ///< in logs and plots; by itself the data set as the file writes it
  double weight = 1;                            ///< of the batches, as a share of all weights
};

/// How the averaged weights are tried on held-out questions now and then.
struct TrainingEvaluation {
  int64_t every = 2000;                         ///< steps; 0: never
  int64_t items = 50;                           ///< of each task
  std::vector<std::string> settings;            ///< "sampler=...; steps=...", as in a sweep's grid
};

struct TrainingConfig {
  std::string path;                             ///< of the file
  std::string name;                             ///< results/runs/NAME is where it goes by itself
  std::string base;                             ///< folder with config.json, tokenizer.json, chat_template.jinja; starts from its weights when it has any, must have with options.fine_tunes
  TrainerOptions options;
  int64_t rows = 16;                            ///< sequences of a batch
  int64_t batches_per_step = 2;
  std::vector<std::pair<int64_t, double>> canvas_lengths;  ///< with weights; empty: the model's
  int64_t log_every = 50, checkpoint_every = 500;          ///< steps
  std::string dtype = "BF16";                   ///< of the written model
  TrainingEvaluation evaluation;
  std::vector<TrainingTask> tasks;

  /// All that shapes the course, one `key = value` a line: a state goes on under the same text only.
  std::string settings() const;
};

/// `from`: a model folder to fine-tune, in place of model.base; or empty.
/// Errors: usage naming file, line and column, also for tasks that are none; input when the file cannot be read.
TrainingConfig read_training_config(const std::string& path, const std::vector<std::string>& overrides, const std::string& from = "");

}  // namespace canvaslab
