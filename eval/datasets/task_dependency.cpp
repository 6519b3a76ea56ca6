// dependency - answers that are uniform over a set, whose total correlation is known: what sampling positions independently gets wrong.
// After the copy, shuffle and Latin square tasks of ParallelBench, arXiv:2510.04767.
#include <algorithm>
#include <array>
#include <cmath>
#include <functional>

#include "core/error.h"
#include "eval/datasets/task.h"
#include "eval/datasets/total_correlation.h"

namespace canvaslab {
namespace {

constexpr uint32_t kFamily = 4;
constexpr double kHeldOutShare = 0.125;

/// Latin squares of order n in which the first row and the first column are in order; rows as numbers from 0.
std::vector<std::string> reduced_squares(size_t n) {
  std::vector<std::string> out;
  std::string cells(n * n, '\0');
  const std::function<void(size_t)> fill = [&](size_t cell) {
    if (cell == cells.size()) return out.push_back(cells);
    const size_t row = cell / n, column = cell % n;
    for (size_t v = 0; v < n; ++v) {
      if ((row == 0 && v != column) || (column == 0 && v != row)) continue;
      bool fits = true;
      for (size_t c = 0; c < column; ++c) fits &= cells[row * n + c] != static_cast<char>(v);
      for (size_t r = 0; r < row; ++r) fits &= cells[r * n + column] != static_cast<char>(v);
      if (!fits) continue;
      cells[cell] = static_cast<char>(v);
      fill(cell + 1);
    }
  };
  fill(0);
  return out;
}

/// One of the three kinds at one size.
class DependencyLaw {
 public:
  virtual ~DependencyLaw() = default;
  virtual size_t num_symbols() const = 0;
  virtual std::string words() const = 0;  ///< what the question says before the symbols
  /// A uniform draw from the right answers.
  virtual std::string draw(const std::string& symbols, TaskDraws& draws) const = 0;
  virtual bool is_right(std::string_view symbols, std::string_view answer) const = 0;
  virtual double total_correlation() const = 0;
};

class CopyLaw final : public DependencyLaw {
 public:
  explicit CopyLaw(int64_t level) : span_(std::array<size_t, 3>{2, 5, 9}[static_cast<size_t>(level - 1)]) {}
  size_t num_symbols() const override { return 4; }
  std::string words() const override { return fmt::format("copy{} ", span_); }
  std::string draw(const std::string& symbols, TaskDraws& draws) const override {
    std::string out;
    for (size_t i = 0; i < span_; ++i) out += symbols[draws.below(static_cast<uint32_t>(symbols.size()))];
    return out + out;
  }
  bool is_right(std::string_view symbols, std::string_view answer) const override {
    return answer.size() == 2 * span_ && answer.substr(0, span_) == answer.substr(span_) && answer.find_first_not_of(symbols) == std::string_view::npos;
  }
  double total_correlation() const override { return copy_total_correlation(num_symbols(), span_); }

 private:
  size_t span_;
};

class ShuffleLaw final : public DependencyLaw {
 public:
  explicit ShuffleLaw(int64_t level) : size_(std::array<size_t, 3>{4, 6, 10}[static_cast<size_t>(level - 1)]) {}
  size_t num_symbols() const override { return size_; }
  std::string words() const override { return "shuffle "; }
  std::string draw(const std::string& symbols, TaskDraws& draws) const override {
    std::string out = symbols;
    draws.select(std::span(out), out.size());
    return out;
  }
  bool is_right(std::string_view symbols, std::string_view answer) const override { return std::is_permutation(answer.begin(), answer.end(), symbols.begin(), symbols.end()); }
  double total_correlation() const override { return shuffle_total_correlation(size_); }

 private:
  size_t size_;
};

/// Every square comes from one reduced square by one order of its columns and one of its rows but the first: draws are uniform.
class LatinLaw final : public DependencyLaw {
 public:
  explicit LatinLaw(int64_t level) : order_(static_cast<size_t>(level) + 2), reduced_(reduced_squares(order_)) {}
  size_t num_symbols() const override { return order_; }
  std::string words() const override { return "latin "; }
  std::string draw(const std::string& symbols, TaskDraws& draws) const override {
    const std::string& square = reduced_[draws.below(static_cast<uint32_t>(reduced_.size()))];
    std::array<size_t, 5> rows{0, 1, 2, 3, 4}, columns{0, 1, 2, 3, 4};
    draws.select(std::span(rows).subspan(1, order_ - 1), order_ - 1);
    draws.select(std::span(columns).first(order_), order_);
    std::string out;
    for (size_t r = 0; r < order_; ++r)
      for (size_t c = 0; c < order_; ++c) out += symbols[static_cast<size_t>(square[rows[r] * order_ + columns[c]])];
    return out;
  }
  bool is_right(std::string_view symbols, std::string_view answer) const override {
    if (answer.size() != order_ * order_) return false;
    std::array<uint32_t, 5> rows{}, columns{};
    for (size_t cell = 0; cell < answer.size(); ++cell) {
      const size_t value = symbols.find(answer[cell]);
      if (value == std::string_view::npos) return false;
      const uint32_t bit = 1u << value;
      if ((rows[cell / order_] | columns[cell % order_]) & bit) return false;
      rows[cell / order_] |= bit, columns[cell % order_] |= bit;
    }
    return true;
  }
  double total_correlation() const override { return latin_total_correlation(order_, static_cast<double>(reduced_.size()) * std::tgamma(order_ + 1) * std::tgamma(order_)); }

 private:
  size_t order_;
  std::vector<std::string> reduced_;
};

std::unique_ptr<const DependencyLaw> make_law(const std::string& kind, int64_t level) {
  if (kind == "copy") return std::make_unique<CopyLaw>(level);
  if (kind == "shuffle") return std::make_unique<ShuffleLaw>(level);
  return std::make_unique<LatinLaw>(level);
}

/// Sets of capital letters are held out.
class Dependency final : public Task {
 public:
  explicit Dependency(const Options& options)
      : Task(options), law_(make_law(options.text("kind"), level())), category_(fmt::format("{}, total correlation {:.3f} nats", options.text("kind"), law_->total_correlation())) {}

  TaskItem make(TaskSplit split, uint64_t number) const override {
    TaskDraws draws(seed(), split, number);
    std::string symbols;
    uint32_t set = 0;
    do {
      std::string letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
      draws.select(std::span(letters), law_->num_symbols());
      symbols = letters.substr(0, law_->num_symbols());
      set = 0;
      for (const char letter : symbols) set |= 1u << (letter - 'A');
    } while (is_held_out(kFamily, std::span(&set, 1), kHeldOutShare) != (split == TaskSplit::kHeldOut));
    std::string answer = law_->draw(symbols, draws);
    return {.question = law_->words() + symbols, .thought = "", .answer = answer, .reference = answer, .category = category_};
  }

  bool is_right(const TaskItem& item, std::string_view answer) const override {
    const std::string_view question = item.question;
    return law_->is_right(question.substr(question.find(' ') + 1), answer);
  }

 private:
  std::unique_ptr<const DependencyLaw> law_;
  std::string category_;
};

[[maybe_unused]] const bool registered = datasets().add({
    .name = "dependency",
    .summary = "any answer out of a set whose total correlation is known: a string said twice, a permutation, a Latin square; made, without a file",
    .source = "ours; after ParallelBench, arXiv:2510.04767",
    .aliases = {},
    .parameters = task_parameters("copy: 2, 5 or 9 of 4 letters, said twice; shuffle: 4, 6 or 10 letters; latin: order 3, 4 or 5", {text_param("kind", "copy", "what ties the positions together", {"copy", "shuffle", "latin"})}),
    .facts = {.needs_source = false, .needs_text = true},
    .make = [](const Options& options) { return std::make_unique<Dependency>(options); }});

}  // namespace
}  // namespace canvaslab
