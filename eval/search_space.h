#pragma once
// Random search: configurations drawn from lists and ranges. The plan is a pure function of the file.
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/params.h"
#include "eval/toml_table.h"
#include "samplers/engine.h"

namespace canvaslab {

/// What one value is drawn from: a list, each entry equally likely, or a range.
struct SearchValues {
  std::vector<std::string> list;          ///< empty: the range counts
  double min = 0, max = 0;                ///< both ends included
  bool log = false, whole = false;        ///< evenly in the logarithm; whole numbers only
  /// The value at u in (0, 1), rounded to four significant digits within the range.
  std::string at(double u) const;
};

/// A plug-in with values for some of its parameters.
struct SearchPlugin {
  PluginExpr base;
  std::vector<std::pair<std::string, SearchValues>> parameters;
};

/// The table [search]: keys as in a grid, but a list means one of its values, `{min=, max=, scale=}` a number between, and
/// `sampler.NAME.PARAMETER = ...` (stop, temperature, self_conditioning alike) plug-ins with lists or ranges for their parameters.
class SearchSpace {
 public:
  /// Errors: usage, with line and column: a range that is none, a plug-in or parameter that is not there, a value out of bounds.
  explicit SearchSpace(const TomlTable& table);
  /// The `number`-th point. Every value is drawn for itself, keyed by (seed, number, its name), so that a further key or a larger budget
  /// leaves the others' values as they are.
  PlanRequest draw(uint64_t seed, uint64_t number) const;
  /// The first `budget` different points in drawing order. Errors: usage when a thousand draws in a row bring nothing new.
  std::vector<PlanRequest> draw_all(uint64_t seed, size_t budget) const;

 private:
  struct Dimension {
    std::string name;
    SearchValues values;                  ///< of a plain key
    std::vector<SearchPlugin> plugins;    ///< of sampler, stop, temperature and self-conditioning; else empty
  };
  void read_number(const TomlTable& table, const std::string& key, double least, double most, bool whole);
  void read_words(const TomlTable& table, const std::string& key, const std::vector<std::string>& words);
  void read_plugins(const TomlTable& table, const std::string& key);
  std::string where_;
  std::vector<Dimension> dimensions_;
};

}  // namespace canvaslab
