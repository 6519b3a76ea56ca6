// programs - find a function from its first values; it is run on those and on inputs that were not shown.
#include <array>

#include "eval/datasets/task.h"
#include "eval/datasets/tiny_program.h"

namespace canvaslab {
namespace {

constexpr uint32_t kFamily = 3;
constexpr double kHeldOutShare = 1.0 / 3;  // of few functions: level 2 still has over 500 questions nobody trained on
constexpr int64_t kNumShown = 3, kNumRun = 7;

/// Forms by rising difficulty; the first `kFormsOfLevel` belong to a level. Three values tell them apart.
enum class Form : uint32_t { kRising, kFalling, kRisingSquare, kFallingSquare, kBranch };
constexpr std::array<uint32_t, 3> kFormsOfLevel = {1, 2, 5};

struct Function {
  Form form = Form::kRising;
  uint32_t a = 0, b = 0, k = 0;

  std::string_view name() const { return std::array{"a*x+b", "b-a*x", "a*x*x+b", "b-a*x*x", "a if x<k else b"}[static_cast<size_t>(form)]; }
};

/// One of the programs that compute a function. The parameter's name and the order of terms and factors are drawn, so that right answers differ in several places at once: positions sampled
/// independently mix them.
std::string draw_program(const Function& function, TaskDraws& draws) {
  const char x = "anxy"[draws.below(4)];
  const std::string head = fmt::format("def f({}):return ", x), a = std::to_string(function.a), b = std::to_string(function.b);
  if (function.form == Form::kBranch) return head + (draws.below(2) ? fmt::format("{} if {}<{} else {}", a, x, function.k, b) : fmt::format("{} if {}>{} else {}", b, x, function.k - 1, a));
  const bool square = function.form == Form::kRisingSquare || function.form == Form::kFallingSquare, falls = function.form == Form::kFalling || function.form == Form::kFallingSquare;
  const std::string power = square ? fmt::format("{0}*{0}", x) : std::string(1, x);
  const std::string product = draws.below(2) ? a + "*" + power : power + "*" + a;
  if (draws.below(2)) return head + b + (falls ? "-" : "+") + product;
  return head + (falls ? "-" : "") + product + "+" + b;
}

/// All shown values have at most two digits and no sign.
Function draw_function(TaskDraws& draws, int64_t level) {
  Function out{.form = static_cast<Form>(draws.below(kFormsOfLevel[static_cast<size_t>(level - 1)]))};
  if (out.form == Form::kBranch) {
    out.k = 1 + draws.below(kNumShown - 1);
    out.a = draws.below(100);
    out.b = draws.below(99);
    out.b += out.b >= out.a;
    return out;
  }
  out.a = 1 + draws.below(9);
  const bool square = out.form == Form::kRisingSquare || out.form == Form::kFallingSquare, falls = out.form == Form::kFalling || out.form == Form::kFallingSquare;
  const uint32_t change = out.a * (square ? 4 : 2);
  out.b = draws.below(100 - change) + (falls ? change : 0);
  return out;
}

class Programs final : public Task {
 public:
  explicit Programs(const Options& options) : Task(options) {}

  TaskItem make(TaskSplit split, uint64_t number) const override {
    TaskDraws draws(seed(), split, number);
    Function function;
    do {
      function = draw_function(draws, level());
    } while (is_held_out(kFamily, std::array{static_cast<uint32_t>(function.form), function.a, function.b, function.k}, kHeldOutShare) != (split == TaskSplit::kHeldOut));
    const std::string text = draw_program(function, draws);
    const auto program = TinyProgram::parse(text);
    std::string question = "f=";
    for (int64_t x = 0; x < kNumShown; ++x) {
      const int64_t value = *program->run(x);
      if (x) question += ',';
      question += {static_cast<char>('0' + value / 10), static_cast<char>('0' + value % 10)};
    }
    return {.question = std::move(question), .thought = "", .answer = text, .reference = text, .category = std::string(function.name())};
  }

  bool is_right(const TaskItem& item, std::string_view answer) const override {
    const auto wanted = TinyProgram::parse(item.reference), got = TinyProgram::parse(answer);
    if (!wanted || !got) return false;
    for (int64_t x = 0; x < kNumRun; ++x) {
      const auto value = got->run(x);
      if (!value || value != wanted->run(x)) return false;
    }
    return true;
  }
};

[[maybe_unused]] const bool registered = datasets().add({
    .name = "programs",
    .summary = "a function to write from its values at 0, 1 and 2, run on inputs 0 to 6; made, without a file",
    .source = "ours",
    .aliases = {},
    .parameters = task_parameters("functions: a*x+b; also b-a*x; also a*x*x+b, b-a*x*x and a if x<k else b"),
    .facts = {.needs_source = false, .needs_text = true},
    .make = [](const Options& options) { return std::make_unique<Programs>(options); }});

}  // namespace
}  // namespace canvaslab
