#pragma once
// Questions that are made, with worked and right answers: to train small models on, and to grade them with.
#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/philox.h"
#include "eval/graded.h"

namespace canvaslab {

enum class TaskSplit { kTraining, kHeldOut };

/// One made question with a worked, right answer.
struct TaskItem {
  std::string question, thought, answer, reference, category;  ///< thought: worked steps without markers, may be empty
};

/// A family of questions. What a family generalises over (operands, functions, grids, symbols) is divided once and for all, whatever seed and level.
class Task : public GradedDataset {
 public:
  explicit Task(const Options& options);
  /// Item `number` of a split: a pure function of (seed, split, number), unbounded. The two splits never share what the task generalises over.
  virtual TaskItem make(TaskSplit split, uint64_t number) const = 0;
  /// Whether an answer (without its thought) is right. `item` needs question and reference only. A pure function; no text makes it throw.
  virtual bool is_right(const TaskItem& item, std::string_view answer) const = 0;
  Grades grade(const Example& example, std::string_view answer) const final;

 protected:
  /// The first `items` held-out items whose questions differ. Errors: usage when there are fewer.
  std::vector<Example> read() const final;
  int64_t level() const { return level_; }
  uint64_t seed() const { return seed_; }

 private:
  std::string name_;
  int64_t level_, items_;
  uint64_t seed_;
};

/// A task by its plug-in text, "arithmetic(level=2)". Errors: usage for what is no data set, or one that is read from a file.
std::unique_ptr<Task> make_task(const std::string& text);

/// level, items and seed, which all tasks have. `levels` says what the three levels are.
std::vector<ParamSpec> task_parameters(const std::string& levels, std::vector<ParamSpec> more = {});

/// The draws of one item, one after another: 32 bits each, four from a block.
class TaskDraws {
 public:
  TaskDraws(uint64_t seed, TaskSplit split, uint64_t number) : key_{.seed = seed, .item = number, .repeat = static_cast<uint32_t>(split)} {}
  /// Uniform in [0, count); the bias is below count / 2^32.
  uint32_t below(uint32_t count) {
    if (used_ == block_.size()) block_ = key_.bits(Purpose::kPrompt, next_++), used_ = 0;
    return static_cast<uint32_t>(uint64_t{block_[used_++]} * count >> 32);
  }
  /// The first `count` of `from` become a uniform ordered selection of it.
  template <typename T>
  void select(std::span<T> from, size_t count) {
    for (size_t i = 0; i < count && i + 1 < from.size(); ++i) std::swap(from[i], from[i + below(static_cast<uint32_t>(from.size() - i))]);
  }

 private:
  DrawKey key_;
  std::array<uint32_t, 4> block_{};
  size_t used_ = 4;
  uint32_t next_ = 0;
};

/// Whether a thing is kept for the held-out split: `share` of all things are, by a fixed hash of the words that name it. `family` keeps things of different kinds apart.
bool is_held_out(uint32_t family, std::span<const uint32_t> words, double share);

}  // namespace canvaslab
