#pragma once
// Batches of made questions for the trainer.
#include <memory>
#include <string>
#include <vector>

#include "eval/datasets/task_text.h"
#include "eval/training_config.h"

namespace canvaslab {

/// Draws batches: a task by weight, a canvas length by weight, then questions of that task whose prompts have one length
/// and whose answers fill the same number of canvases.
class TrainingBatches {
 public:
  /// Errors: input errors of the folder's tokenizer and template; usage for tasks whose texts fit no batch.
  TrainingBatches(const TrainingConfig& config, const TextModel& text, int32_t pad_id, int64_t model_canvas_length);
  struct Drawn {
    TrainingBatch batch;
    size_t task = 0;
  };
  /// A pure function of the configuration and its arguments.
  Drawn draw(int64_t step, size_t index) const;

 private:
  const TrainingConfig& config_;
  TaskText text_;
  int32_t pad_id_;
  std::vector<std::pair<int64_t, double>> lengths_;
  std::vector<std::unique_ptr<Task>> tasks_;
};

}  // namespace canvaslab
