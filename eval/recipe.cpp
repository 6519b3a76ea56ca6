#include "eval/recipe.h"

#include <filesystem>
#include <set>

#include "core/error.h"
#include "eval/dataset.h"

namespace canvaslab {
namespace {

/// A text as a TOML string.
std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

/// The file of a part in the user's folder.
std::string found_file(const RecipePart& part, const RecipePart::File& file, const RecipeRun& run) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  if (run.data.empty()) return file.names.front();
  if (part.files.size() == 1 && fs::is_regular_file(run.data, ignored)) return run.data;
  for (const auto& name : file.names)
    for (const std::string& place : {name, fs::path(name).filename().string()})
      if (const std::string path = run.data + "/" + place; fs::is_regular_file(path, ignored)) return path;
  const auto& entry = datasets().find(parse_plugin(part.dataset).name);
  const FileFacts& facts = entry.facts.files;
  throw input_error("{}: holds no file for {} ({})\nlooked for {}\nobtain it from {}\nterms: {}\n'canvaslab data check FILE' says whether a file is the published one", run.data, entry.name, file.key,
                    joined(file.names), facts.obtain, facts.terms);
}

}  // namespace

std::string_view quantity_name(Quantity quantity) {
  switch (quantity) {
    case Quantity::kAccuracy: return "accuracy";
    case Quantity::kTokensPerForward: return "tokens per forward";
    case Quantity::kEffectiveSteps: return "effective steps";
    case Quantity::kTokens: return "tokens per answer";
    case Quantity::kForwards: return "forwards per answer";
  }
  return "";
}

std::string_view quantity_unit(Quantity quantity) {
  switch (quantity) {
    case Quantity::kAccuracy: return "% of items";
    case Quantity::kTokensPerForward: return "tokens";
    case Quantity::kEffectiveSteps: return "steps";
    case Quantity::kTokens: return "tokens";
    case Quantity::kForwards: return "forwards";
  }
  return "";
}

int64_t Recipe::num_answers() const {
  int64_t out = 0;
  for (const auto& part : parts) out += part.num_items * repeats;
  return out;
}

double Recipe::predicted_forwards() const {
  // With a fixed number of steps a canvas, answers are taken to be as long as the published ones, whose canvases took some
  // 14 steps.
  constexpr double kPublishedSteps = 14;
  std::set<int32_t> limits;
  for (const auto& figure : published)
    if (figure.steps) limits.insert(*figure.steps);
  double runs = limits.empty() ? 1 : 0;
  for (const int32_t limit : limits) runs += limit / kPublishedSteps;
  return runs * forwards_per_answer * static_cast<double>(num_answers());
}

RecipeRegistry& recipes() {
  static RecipeRegistry registry("recipe");
  return registry;
}

bool add_recipe(const std::string& name, const std::string& summary, const std::string& source, Recipe recipe) {
  const Recipe copy = recipe;
  return recipes().add({.name = name,
                        .summary = summary,
                        .source = source,
                        .aliases = {},
                        .parameters = {},
                        .facts = std::move(recipe),
                        .make = [copy](const Options&) { return std::make_unique<Recipe>(copy); }});
}

std::string recipe_dataset(const RecipePart& part, const RecipeRun& run) {
  PluginExpr expr = parse_plugin(part.dataset);
  expr.has_parentheses = true;
  for (const auto& file : part.files)
    expr.arguments.push_back({file.key, std::make_shared<PluginExpr>(PluginExpr{.name = found_file(part, file, run), .has_parentheses = false, .arguments = {}})});
  return expr.text();
}

std::string recipe_folder(const Recipe& recipe, size_t part) {
  return recipe.parts.size() == 1 ? "" : parse_plugin(recipe.parts.at(part).dataset).name;
}

std::string recipe_toml(const std::string& name, const RecipeRun& run, size_t part) {
  const auto& entry = recipes().find(name);
  const Recipe& recipe = entry.facts;
  const std::string folder = recipe_folder(recipe, part);
  std::string out = fmt::format("# {}\n# Published: {}.\n", entry.summary, entry.source);
  for (const auto& figure : recipe.published)
    out += fmt::format("#   {}{}: {} {}{}\n", quantity_name(figure.quantity), figure.steps ? fmt::format(" at {} steps", *figure.steps) : "", format_real(figure.value),
                       quantity_unit(figure.quantity), figure.note.empty() ? "" : ", " + figure.note);
  for (const auto& line : recipe.unknown) out += "# Not published: " + line + "\n";
  out += fmt::format("[run]\nname = {}\nseed = {}\nrepeats = {}\n", quoted(folder.empty() ? entry.name : entry.name + "-" + folder), run.seed, recipe.repeats);
  out += fmt::format("\n[denoiser]\nmodel = {}\ndtype = {}\nthinking = {}\n", quoted(run.model), quoted(run.dtype), recipe.thinking);
  if (run.device != "cpu") out += fmt::format("device = {}\n", quoted(run.device));
  out += fmt::format("\n[dataset]\nname = {}\n", quoted(recipe_dataset(recipe.parts.at(part), run)));
  if (run.limit && *run.limit < recipe.parts[part].num_items) out += fmt::format("subset = {}\n", *run.limit);
  out += "\n[grid]\n";
  for (const auto& [key, value] : recipe.grid) out += fmt::format("{} = {}\n", key, value);
  return out;
}

}  // namespace canvaslab
