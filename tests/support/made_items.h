#pragma once
// Items of a task, in order.
#include <vector>

#include "eval/datasets/task.h"

namespace canvaslab {

inline std::vector<TaskItem> draw(const Task& task, TaskSplit split, uint64_t count) {
  std::vector<TaskItem> out;
  for (uint64_t number = 0; number < count; ++number) out.push_back(task.make(split, number));
  return out;
}

}  // namespace canvaslab
