#include "eval/datasets/task.h"

#include <string>
#include <unordered_set>

#include "core/error.h"

namespace canvaslab {
namespace {

/// Raised when a change alters the items that a task makes or its verdicts: results from before are then other data.
constexpr int kTaskVersion = 2;

/// Draws in a row that may bring no new question before a task counts as used up. A task whose last unseen question turns up
/// with a chance of one in a hundred is given up wrongly with probability 0.99^2000 = 2e-9.
constexpr uint64_t kPatience = 2000;

}  // namespace

Task::Task(const Options& options)
    : GradedDataset(fmt::format("{} task {}", options.canonical(), kTaskVersion)), name_(options.plugin), level_(options.integer("level")), items_(options.integer("items")),
      seed_(static_cast<uint64_t>(options.integer("seed"))) {}

std::vector<Example> Task::read() const {
  std::vector<Example> out;
  std::unordered_set<std::string> asked;
  uint64_t last_new = 0;
  for (uint64_t number = 0; std::ssize(out) < items_; ++number) {
    if (number - last_new > kPatience) throw usage_error("{}: level {} has about {} different held-out questions; expected items of at most that, got {}", name_, level_, out.size(), items_);
    TaskItem item = make(TaskSplit::kHeldOut, number);
    if (!asked.insert(item.question).second) continue;
    last_new = number;
    Example example;
    example.id = fmt::format("{}-{:06}", name_, number);
    example.messages = {{.role = "user", .content = std::move(item.question)}};
    example.reference = std::move(item.reference);
    example.category = std::move(item.category);
    out.push_back(std::move(example));
  }
  return out;
}

Grades Task::grade(const Example& example, std::string_view answer) const {
  const std::string text(grading::strip(answer));
  const TaskItem item{.question = example.messages.empty() ? example.prompt_text : example.messages.front().content, .thought = "", .answer = "", .reference = example.reference, .category = ""};
  const Grade out = graded(text.empty() ? grading::Extraction{} : grading::Extraction{text, "whole_text"}, is_right(item, text));
  return {out, out};
}

std::unique_ptr<Task> make_task(const std::string& text) {
  auto made = datasets().make(text);
  auto* task = dynamic_cast<Task*>(made.get());
  if (!task) throw usage_error("data set '{}' makes no questions of its own; expected a task such as arithmetic(level=2) (canvaslab list datasets: those 'made, without a file')", text);
  made.release();
  return std::unique_ptr<Task>(task);
}

std::vector<ParamSpec> task_parameters(const std::string& levels, std::vector<ParamSpec> more) {
  std::vector<ParamSpec> out = std::move(more);
  out.push_back(int_param("level", 2, 1, 3, "", levels));
  out.push_back(int_param("items", 100, 1, 1e6, "questions", "how many held-out questions"));
  out.push_back(int_param("seed", 1, 0, 9007199254740991.0, "", "which questions; what is held out does not depend on it"));
  return out;
}

bool is_held_out(uint32_t family, std::span<const uint32_t> words, double share) {
  std::array<uint32_t, 4> state = {family, static_cast<uint32_t>(words.size()), 0, 0};
  for (size_t w = 0; w < words.size(); w += 2) {
    state[2] ^= words[w];
    state[3] ^= w + 1 < words.size() ? words[w + 1] : 0;
    state = philox4x32(state, {0x7A51u, 0x4E1Du});
  }
  return static_cast<double>(state[0]) < share * 0x1p32;
}

}  // namespace canvaslab
