#pragma once
// Recipes: published figures, each with the sweep that measures it anew and the rule that compares the two.
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/registry.h"

namespace canvaslab {

/// What a recipe can measure on a finished run: one value per item, averaged over items.
enum class Quantity {
  kAccuracy,          ///< percent of items
  kTokensPerForward,  ///< mean of per-answer ratios, append passes counted (evaluation.md 5.1)
  kEffectiveSteps,    ///< per answer: steps of a canvas, weighted by its valid tokens
  kTokens,            ///< per answer, end token included
  kForwards,          ///< per answer: denoising steps and append passes
};
std::string_view quantity_name(Quantity quantity);  ///< "accuracy", "tokens per forward", ...
std::string_view quantity_unit(Quantity quantity);

/// One published figure.
struct Published {
  Quantity quantity = Quantity::kAccuracy;
  double value = 0;
  double margin = 0;               ///< of the equivalence test, in the figure's unit, stated before any run
  std::string note = "";           ///< "read off a plot", "mean of three runs", ...
  std::optional<int32_t> steps = std::nullopt;  ///< which step limit of the recipe's grid it belongs to; absent: its only one
};

/// A data set of a recipe and the files it needs.
struct RecipePart {
  struct File {
    std::string key;                      ///< the data set's parameter
    std::vector<std::string> names;       ///< as published or as canvaslab data convert names them; the first found counts
  };
  std::string dataset;                    ///< plug-in text without its files
  std::vector<File> files;
  int64_t num_items = 0;                  ///< of the published run
};

/// One published result as a run: the registry's facts. Several parts are run one after another and their figures averaged.
struct Recipe {
  std::string benchmark, mode;            ///< "GPQA Diamond"; "thinking", "no thinking", "autoregressive, thinking", ...
  std::vector<RecipePart> parts;
  bool thinking = false;
  uint32_t repeats = 1;                   ///< per item
  /// Keys of [grid] with their TOML values, in order. They are the published settings where those are known.
  std::vector<std::pair<std::string, std::string>> grid;
  std::vector<Published> published;
  double forwards_per_answer = 0;         ///< published, for the predicted cost; 0: not known
  bool forwards_are_assumed = false;      ///< published for another benchmark of the same kind
  std::vector<std::string> unknown;       ///< what was not published, and what stands here instead
  std::string cannot_run = "";            ///< why it cannot be run here whatever is given; empty: it can

  int64_t num_answers() const;            ///< items x repeats over all parts, of one configuration
  /// Forwards of a whole run by published lengths; 0 when not known. Figures at several step limits count each.
  double predicted_forwards() const;
};

using RecipeRegistry = Registry<Recipe, Recipe>;
RecipeRegistry& recipes();
/// Adds a recipe; returns true, as Registry::add does.
bool add_recipe(const std::string& name, const std::string& summary, const std::string& source, Recipe recipe);

/// Published results that no recipe expresses, each with the reason.
struct NotExpressed {
  std::string what, why;
};
const std::vector<NotExpressed>& not_expressed();

/// What a user adds to a recipe.
struct RecipeRun {
  std::string model = "DIR", dtype = "bf16", device = "cpu";
  std::string data = "";                  ///< folder with the data files; for one part with one file also that file
  std::optional<int64_t> limit = {};      ///< so many items of each part, drawn by category
  uint64_t seed = 1;
};

/// A part's data set with its files from `run.data`, plug-in text. Errors: input, listing the names looked for, where to get
/// the file and under which terms. An empty `run.data` leaves the published names standing.
std::string recipe_dataset(const RecipePart& part, const RecipeRun& run);

/// The sweep file a part amounts to. Errors: those of recipe_dataset.
std::string recipe_toml(const std::string& name, const RecipeRun& run, size_t part);

/// Name of a part's folder in a run: "" when it is the only one, else its data set's name.
std::string recipe_folder(const Recipe& recipe, size_t part);

// --- values that several recipes share

/// Settings of the released sampler (evaluation.md 4.3) with an answer's token limit.
std::vector<std::pair<std::string, std::string>> released_sampler(int32_t max_new_tokens);
/// The same sampler held to `steps` steps, no adaptive stop.
std::vector<std::pair<std::string, std::string>> fixed_steps(int32_t steps, int32_t max_new_tokens);
/// The causal mode with the draws that third parties give for the autoregressive sibling.
std::vector<std::pair<std::string, std::string>> autoregressive(int32_t max_new_tokens);
/// Published speed of an answer (report Tab. 4) with a margin of a tenth, which is ours.
std::vector<Published> speed_figures(double tokens_per_forward, double effective_steps, double forwards, double tokens);
/// `figure` followed by `more`.
std::vector<Published> with_speed(Published figure, std::vector<Published> more);
/// What the report leaves open for all of its benchmarks, and what stands here.
std::vector<std::string> report_unknowns(int32_t max_new_tokens, const std::string& prompt);

inline constexpr int32_t kThinkingTokens = 32768, kPlainTokens = 8192;  ///< evaluation.md 1.0

}  // namespace canvaslab
