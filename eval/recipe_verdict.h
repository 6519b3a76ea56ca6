#pragma once
// Measured against published: intervals, the equivalence test of evaluation.md 4.4, what differed in settings.
#include <span>
#include <string>
#include <vector>

#include "core/json.h"
#include "eval/paired.h"
#include "eval/recipe.h"

namespace canvaslab {

enum class Verdict {
  kReproduced,     ///< the whole 90% interval of measured - published lies within the margin
  kNotReproduced,  ///< the whole of it lies outside
  kUndecided,      ///< it straddles an end of the margin, or is wider than it
};
std::string_view verdict_text(Verdict verdict);

/// A figure measured anew. All numbers are in the figure's unit.
struct Comparison {
  Published published;
  double measured = 0;
  Interval interval95;             ///< of the measured mean: Wilson for items that are right or wrong, else a bootstrap over items
  Interval difference90;           ///< of measured - published: Wilson or Student's t
  int64_t num_items = 0;
  bool inside95 = false;           ///< the published figure lies within interval95: the weaker rule, which few items pass easily
  Verdict verdict = Verdict::kUndecided;
};

/// One list of item means per part; parts are averaged, and their intervals joined part by part (Zou and Donner, 2008).
/// `share`: values are between 0 and 1, and the figure is in percent. Fewer than two items in a part: undecided, NaN intervals.
/// The published figure counts as exact, as it was measured on the same items; the margin is what it may be off.
Comparison compare_with_published(const std::vector<std::vector<double>>& parts, const Published& published, bool share);

/// A finished recipe.
struct RecipeReport {
  std::string name;
  std::vector<Comparison> figures;
  int64_t num_items = 0, num_items_published = 0, num_samples = 0, num_failed = 0;
  double truncated = 0, no_answer = 0, thought_unclosed = 0, loop = 0;  ///< shares of samples; NaN where the data set has no verdicts
  double other_grader = 0;                  ///< accuracy in percent by the grader that does not count; NaN where there is none
  std::vector<std::string> differences;     ///< settings that are not the recipe's
};

/// Reads the parts' results files, one run.h5 each in the recipe's order. `notes`: differences that the files do not show.
/// Errors: input when a file is no complete run, or lacks a step limit that a figure belongs to.
RecipeReport judge_recipe(const std::string& name, const std::vector<std::string>& results, std::vector<std::string> notes);

/// What a user reads at the end.
std::string recipe_text(const RecipeReport& report);
OrderedJson recipe_json(const RecipeReport& report);

}  // namespace canvaslab
