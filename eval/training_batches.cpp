#include "eval/training_batches.h"

#include "core/error.h"

namespace canvaslab {
namespace {

/// Items tried for one batch before a task counts as unfit; numbers of different batches do not meet.
constexpr uint64_t kMostTries = 1 << 16;

/// What a batch's draws are for, beside their purpose.
enum BatchLane : uint32_t { kTask = 100, kLength };

/// The first of the weights' cumulated shares above u.
template <typename List, typename Weight>
size_t chosen(const List& list, double u, const Weight& weight) {
  double total = 0;
  for (const auto& one : list) total += weight(one);
  double sum = 0;
  for (size_t i = 0; i < list.size(); ++i)
    if ((sum += weight(list[i])) > u * total) return i;
  return list.size() - 1;
}

}  // namespace

TrainingBatches::TrainingBatches(const TrainingConfig& config, const TextModel& text, int32_t pad_id, int64_t model_canvas_length)
    : config_(config), text_(text), pad_id_(pad_id), lengths_(config.canvas_lengths) {
  if (lengths_.empty()) lengths_.emplace_back(model_canvas_length, 1.0);
  for (const auto& task : config.tasks) tasks_.push_back(make_task(task.dataset));
}

TrainingBatches::Drawn TrainingBatches::draw(int64_t step, size_t index) const {
  const DrawKey key{.seed = config_.options.seed, .item = static_cast<uint64_t>(step), .canvas_idx = static_cast<uint32_t>(index)};
  Drawn out;
  out.task = chosen(config_.tasks, key.uniform(Purpose::kTraining, 0, kTask), [](const TrainingTask& t) { return t.weight; });
  const auto length = static_cast<size_t>(lengths_[chosen(lengths_, key.uniform(Purpose::kTraining, 0, kLength), [](const auto& l) { return l.second; })].first);
  TrainingBatch& batch = out.batch;
  batch.canvas_length = length;
  size_t prompt_length = 0, num_canvases = 0;
  const uint64_t first = (static_cast<uint64_t>(step) * static_cast<uint64_t>(config_.batches_per_step) + index) * kMostTries;
  for (uint64_t i = 0; batch.rows < static_cast<size_t>(config_.rows); ++i) {
    if (i == kMostTries)
      throw usage_error("task {}: {} questions held only {} of {} with prompts of {} tokens and answers of {} canvases; give 'rows' a smaller number, or the task fewer kinds", config_.tasks[out.task].label, kMostTries,
                        batch.rows, config_.rows, prompt_length, num_canvases);
    const TaskTokens tokens = text_.tokens(tasks_[out.task]->make(TaskSplit::kTraining, first + i));
    const size_t canvases = (tokens.answer.size() + length - 1) / length;
    if (i == 0) prompt_length = tokens.prompt.size(), num_canvases = canvases;
    if (tokens.prompt.size() != prompt_length || canvases != num_canvases) continue;
    batch.prompts.insert(batch.prompts.end(), tokens.prompt.begin(), tokens.prompt.end());
    batch.answers.insert(batch.answers.end(), tokens.answer.begin(), tokens.answer.end());
    batch.answers.resize((batch.rows + 1) * canvases * length, pad_id_);
    batch.answer_lengths.push_back(static_cast<int32_t>(tokens.answer.size()));
    ++batch.rows;
  }
  return out;
}

}  // namespace canvaslab
