// suites - several tasks as one data set, each a category of its own: what one model is good at, in one sweep.
#include <algorithm>
#include <map>

#include "core/error.h"
#include "eval/datasets/task.h"

namespace canvaslab {
namespace {

/// The tasks' plug-in texts, separated by semicolons.
std::vector<std::string> split_list(const std::string& text) {
  std::vector<std::string> out;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(';', begin), text.size());
    if (const auto part = grading::strip(std::string_view(text).substr(begin, end - begin)); !part.empty()) out.emplace_back(part);
    begin = end + 1;
  }
  return out;
}

class Suites final : public GradedDataset {
 public:
  explicit Suites(const Options& options) : Suites(options, split_list(options.text("tasks"))) {}

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
  Suites(const Options& options, const std::vector<std::string>& texts) : GradedDataset(identity(options, texts)) {
    if (texts.empty()) throw usage_error("data set 'suites': 'tasks' names none; expected for example tasks=\"arithmetic; sudoku(level=1)\"");
    for (const auto& text : texts)
      if (!tasks_.emplace(text, make_task(sized(text, options))).second) throw usage_error("data set 'suites': task '{}' is named twice", text);
  }
  /// With items and seed where the text itself does not say them.
  static std::string sized(const std::string& text, const Options& options) {
    make_task(text);  // says what is wrong with it as it was written
    PluginExpr task = parse_plugin(text);
    for (const char* key : {"items", "seed"}) {
      if (std::any_of(task.arguments.begin(), task.arguments.end(), [&](const auto& argument) { return canonical_name(argument.key) == key; })) continue;
      PluginExpr value;
      value.name = std::to_string(options.integer(key));
      task.arguments.push_back({.key = key, .value = std::make_shared<PluginExpr>(std::move(value))});
    }
    return datasets().canonical(task.text());
  }
  static std::string identity(const Options& options, const std::vector<std::string>& texts) {
    std::string out = "suites";
    for (const auto& text : texts) out += " " + make_task(sized(text, options))->content_hash();
    return out;
  }

  std::map<std::string, std::unique_ptr<Task>> tasks_;  ///< by the text that names them
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
    .make = [](const Options& options) { return std::make_unique<Suites>(options); }});

}  // namespace
}  // namespace canvaslab
