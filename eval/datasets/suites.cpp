// suites - several tasks as one data set, each a category of its own: what one model is good at, in one sweep.
#include <algorithm>
#include <map>

#include "core/error.h"
#include "eval/datasets/task.h"

namespace canvaslab {
namespace {

/// By the text that names them.
using Tasks = std::map<std::string, std::unique_ptr<Task>>;

/// The task's text with items and seed where it does not say them itself.
std::string sized(const std::string& text, const Options& options) {
  PluginExpr task = parse_plugin(text);
  for (const char* key : {"items", "seed"}) {
    if (std::any_of(task.arguments.begin(), task.arguments.end(), [&](const auto& argument) { return canonical_name(argument.key) == key; })) continue;
    PluginExpr value;
    value.name = std::to_string(options.integer(key));
    task.arguments.push_back({.key = key, .value = std::make_shared<PluginExpr>(std::move(value))});
  }
  return task.text();
}

/// The tasks named, separated by semicolons.
Tasks make_tasks(const Options& options) {
  Tasks out;
  const std::string list = options.text("tasks");
  for (size_t begin = 0; begin <= list.size();) {
    const size_t end = std::min(list.find(';', begin), list.size());
    const std::string text(grading::strip(std::string_view(list).substr(begin, end - begin)));
    begin = end + 1;
    if (text.empty()) continue;
    make_task(text);  // says what is wrong with it as it was written
    if (!out.emplace(text, make_task(sized(text, options))).second) throw usage_error("data set 'suites': task '{}' is named twice", text);
  }
  if (out.empty()) throw usage_error("data set 'suites': 'tasks' names none; expected for example tasks=\"arithmetic; sudoku(level=1)\"");
  return out;
}

std::string identity(const Tasks& tasks) {
  std::string out = "suites";
  for (const auto& [name, task] : tasks) out += " " + task->content_hash();
  return out;
}

class Suites final : public GradedDataset {
 public:
  explicit Suites(Tasks tasks) : GradedDataset(identity(tasks)), tasks_(std::move(tasks)) {}

 protected:
  std::vector<Example> read() const override {
    std::vector<Example> out;
    for (const auto& [name, task] : tasks_) {
      for (auto& example : task->load()) {
        example.category = name;
        example.id = fmt::format("{}/{}", name, example.id);
        out.push_back(std::move(example));
      }
    }
    return out;
  }
  Grades grade(const Example& example, std::string_view answer) const override { return tasks_.at(example.category)->grade(example, answer); }

 private:
  Tasks tasks_;
};

[[maybe_unused]] const bool registered = datasets().add({
    .name = "suites",
    .summary = "several made tasks as one data set, each a category; made, without a file",
    .source = "ours",
    .aliases = {},
    .parameters = {text_param("tasks", "arithmetic; choice; programs; sudoku", "tasks, separated by semicolons; each may have parameters of its own"),
                   int_param("items", 100, 1, 1e6, "questions", "how many of each task that does not say itself"),
                   int_param("seed", 1, 0, 9007199254740991.0, "", "which questions, of each task that does not say itself")},
    .facts = {.needs_source = false, .needs_text = true},
    .make = [](const Options& options) { return std::make_unique<Suites>(make_tasks(options)); }});

}  // namespace
}  // namespace canvaslab
