// canvaslab recipe: published figures as runs, with a verdict.
#include <algorithm>
#include <filesystem>
#include <map>

#include "core/durable_file.h"
#include "core/error.h"
#include "core/model.h"
#include "core/text/tokenizer.h"
#include "eval/progress.h"
#include "eval/recipe_verdict.h"
#include "eval/sweep.h"
#include "experiments/commands.h"
#include "experiments/forward_cost.h"
#include "experiments/shown_run.h"
#include "experiments/sweep_setup.h"

namespace canvaslab {
namespace {

struct Arguments {
  std::string what, name, out;
  RecipeRun run;
  std::vector<std::string> set;
  int64_t limit = 0;
  int threads = 0, batch = 1;
  bool json = false, quiet = false, has_model = false;
};

/// The network that the published figures are of.
constexpr int32_t kPublishedVocabulary = 262144;

/// Why a recipe cannot end in a figure here; "" when it can.
std::string obstacle(const Recipe& recipe) {
  if (!recipe.cannot_run.empty()) return recipe.cannot_run;
  for (const auto& part : recipe.parts)
    if (const std::string why = datasets().make(recipe_dataset(part, {}))->cannot_score(); !why.empty()) return why;
  return "";
}

std::string figure_text(const Published& figure) {
  return fmt::format("{:g}{}{}", figure.value, figure.quantity == Quantity::kAccuracy ? "%" : "", figure.steps ? fmt::format(" at {} steps", *figure.steps) : "");
}

/// Times forwards on the user's model, at its own canvas length, each kind of sampler once. Without a model: 0.
class ForwardClock {
 public:
  explicit ForwardClock(const Arguments& a) : denoiser_(a.has_model ? open_model(a.run.model, {.dtype = a.run.dtype, .device = a.run.device}) : nullptr) {}
  double seconds(const Recipe& recipe) {
    if (!denoiser_) return 0;
    PlanRequest request;
    for (const auto& [key, value] : recipe.grid)
      if (key == "sampler") request.sampler = value.substr(1, value.size() - 2);
    const auto at = known_.find(request.sampler);
    if (at != known_.end()) return at->second;
    return known_[request.sampler] = seconds_per_forward(*denoiser_, request, denoiser_->facts().defaults.canvas_length.value_or(256), {2});
  }

 private:
  std::unique_ptr<Denoiser> denoiser_;
  std::map<std::string, double> known_;
};

std::string cost_text(const Recipe& recipe, double seconds) {
  const double forwards = recipe.predicted_forwards();
  std::string out = fmt::format("{:.3g} forwards{}", forwards, recipe.forwards_are_assumed ? " (lengths assumed)" : "");
  if (seconds > 0) out += fmt::format(", {} on one sequence at a time ({:.3g} ms a forward)", duration_text(forwards * seconds), 1e3 * seconds);
  return out;
}

OrderedJson entry_json(const RecipeRegistry::Entry& entry, double seconds) {
  const Recipe& recipe = entry.facts;
  OrderedJson figures = OrderedJson::array(), files = OrderedJson::array(), grid = OrderedJson::object();
  for (const auto& figure : recipe.published)
    figures.push_back({{"quantity", quantity_name(figure.quantity)}, {"value", figure.value}, {"unit", quantity_unit(figure.quantity)}, {"margin", figure.margin}, {"note", figure.note},
                       {"steps", figure.steps ? OrderedJson(*figure.steps) : OrderedJson(nullptr)}});
  for (const auto& part : recipe.parts)
    for (const auto& file : part.files) files.push_back({{"dataset", part.dataset}, {"items", part.num_items}, {"file", file.names}, {"obtain", datasets().find(parse_plugin(part.dataset).name).facts.files.obtain}});
  for (const auto& [key, value] : recipe.grid) grid[key] = value;
  return {{"name", entry.name}, {"summary", entry.summary}, {"source", entry.source}, {"benchmark", recipe.benchmark}, {"mode", recipe.mode}, {"thinking", recipe.thinking}, {"repeats", recipe.repeats},
          {"published", figures}, {"files", files}, {"grid", grid}, {"not_published", recipe.unknown}, {"predicted_forwards", recipe.predicted_forwards()},
          {"forwards_are_assumed", recipe.forwards_are_assumed}, {"predicted_hours", seconds > 0 ? OrderedJson(recipe.predicted_forwards() * seconds / 3600) : OrderedJson(nullptr)},
          {"cannot_run", obstacle(recipe)}};
}

void print_list(const Arguments& a) {
  ForwardClock clock(a);
  OrderedJson all = OrderedJson::array(), left_out = OrderedJson::array();
  for (const auto& row : not_expressed()) left_out.push_back({{"what", row.what}, {"why", row.why}});
  for (const auto& entry : recipes().entries()) {
    const Recipe& recipe = entry.facts;
    const double seconds = clock.seconds(recipe);
    if (a.json) {
      all.push_back(entry_json(entry, seconds));
      continue;
    }
    std::string figures, files;
    for (const auto& figure : recipe.published) {
      if (figure.quantity != Quantity::kAccuracy && &figure != &recipe.published[0]) continue;
      figures += (figures.empty() ? "" : ", ") + figure_text(figure);
    }
    for (const auto& part : recipe.parts)
      for (const auto& file : part.files) files += (files.empty() ? "" : ", ") + file.names[0];
    fmt::print("{}\n  {}, {}: {} ({})\n  {} items x {}, {}\n  needs {}\n", entry.name, recipe.benchmark, recipe.mode, figures, entry.source, recipe.num_answers() / recipe.repeats, recipe.repeats,
               cost_text(recipe, seconds), files);
    if (const std::string why = obstacle(recipe); !why.empty()) fmt::print("  cannot be run here: {}\n", why);
  }
  if (a.json) {
    fmt::print("{}\n", json_text(OrderedJson{{"recipes", all}, {"not_expressed", left_out}}, 2));
    return;
  }
  fmt::print("\nPublished, and in no recipe:\n");
  for (const auto& row : not_expressed()) fmt::print("  {}: {}\n", row.what, row.why);
}

/// Settings of the run that its files do not show as differences.
std::vector<std::string> run_notes(const Arguments& a, const PreparedSweep& sweep, const Recipe& recipe) {
  std::vector<std::string> out;
  const auto& facts = sweep.denoiser->facts();
  if (facts.vocabulary != kPublishedVocabulary)
    out.push_back(fmt::format("model: published DiffusionGemma 26B-A4B-it, here {} with a vocabulary of {} (not {})", a.run.model, facts.vocabulary, kPublishedVocabulary));
  if (sweep.plan.thinking != recipe.thinking) out.push_back(fmt::format("thinking: published {}, here {}", recipe.thinking ? "on" : "off", sweep.plan.thinking ? "on" : "off"));
  if (sweep.plan.dtype != "bf16") out.push_back("precision: published bf16 or fp8, here " + sweep.plan.dtype);
  return out;
}

/// Runs one part; the folder's recipe.toml is what `canvaslab sweep` would take.
SweepOutcome run_part(const Arguments& a, size_t part, const std::string& folder, std::vector<std::string>& notes) {
  const auto& entry = recipes().find(a.name);
  const std::string toml = recipe_toml(entry.name, a.run, part), path = folder + "/recipe.toml";
  std::error_code made;
  std::filesystem::create_directories(folder, made);
  if (made) throw input_error("{}: the folder cannot be created ({})\ngive another folder with --out", folder, made.message());
  const bool stands = std::filesystem::exists(path);
  if (stands && read_text_file(path) != toml) throw usage_error("{}: was made for other data, model or options of the recipe; give another folder with --out", path);
  if (!stands) write_text_durably(path, toml);
  SweepPlan plan = read_sweep(path, a.set);
  const PromptEncoder encode = prompt_encoder(plan.denoiser, plan.tokenizer);
  const PreparedSweep sweep = prepare_sweep(std::move(plan), encode);
  for (auto& note : run_notes(a, sweep, entry.facts))
    if (std::find(notes.begin(), notes.end(), note) == notes.end()) notes.push_back(std::move(note));
  SweepOptions options;
  options.out_dir = folder, options.threads = a.threads, options.batch = a.batch, options.command_line = command_line();
  return run_shown(sweep, std::move(options), a.quiet ? Showing::kNothing : Showing::kText);
}

ExitCode run_recipe(const Arguments& a) {
  const auto& entry = recipes().find(a.name);
  if (!a.has_model) throw usage_error("recipe run needs --model DIR, the checkpoint");
  if (a.run.data.empty()) throw usage_error("recipe run needs --data DIR, the folder with {}", entry.facts.parts[0].files[0].names[0]);
  if (const std::string why = obstacle(entry.facts); !why.empty()) throw usage_error("recipe '{}' cannot be run here: {}", entry.name, why);
  const std::string out = a.out.empty() ? "results/runs/" + entry.name : a.out;
  std::vector<std::string> results, notes;
  for (size_t part = 0; part < entry.facts.parts.size(); ++part) {
    const std::string inner = recipe_folder(entry.facts, part);
    const SweepOutcome outcome = run_part(a, part, inner.empty() ? out : out + "/" + inner, notes);
    if (outcome.interrupted) return report_interrupt(outcome);
    results.push_back(outcome.results_path);
  }
  const RecipeReport report = judge_recipe(entry.name, results, std::move(notes));
  write_text_durably(out + "/verdict.json", json_text(recipe_json(report), 2) + "\n");
  if (a.json) fmt::print("{}\n", json_text(recipe_json(report), 2));
  else fmt::print("{}", recipe_text(report));
  return report.num_failed > 0 ? ExitCode::kSomeFailed : ExitCode::kDone;
}

void show(const Arguments& a) {
  const auto& entry = recipes().find(a.name);
  for (size_t part = 0; part < entry.facts.parts.size(); ++part) fmt::print("{}{}", part ? "\n" : "", recipe_toml(entry.name, a.run, part));
  fmt::print("\n# {}\n", cost_text(entry.facts, ForwardClock(a).seconds(entry.facts)));
  if (const std::string why = obstacle(entry.facts); !why.empty()) fmt::print("# cannot be run here: {}\n", why);
}

ExitCode run(const Arguments& a) {
  if (a.what == "list") return print_list(a), ExitCode::kDone;
  if (a.what != "run" && a.what != "show") throw usage_error("recipe {}: expected list, show or run{}", a.what, did_you_mean(a.what, {"list", "show", "run"}));
  if (a.name.empty()) throw usage_error("recipe {} needs the name of a recipe; canvaslab recipe list names them all", a.what);
  if (a.what == "show") return show(a), ExitCode::kDone;
  return run_recipe(a);
}

}  // namespace

void add_recipe_command(CommandLine& line) {
  const Command command = line.command("recipe", "published figures as runs: list them, run one, get measured, interval, published, verdict");
  auto* a = new Arguments;
  command.option("what", a->what, "list, show or run").required();
  command.option("name", a->name, "which recipe");
  const CommandOption model = command.option("--model", a->run.model, "checkpoint folder; with list and show: predict hours from a forward measured now");
  command.option("--data", a->run.data, "folder with the data files, or the one file");
  command.option("--dtype", a->run.dtype, "f32 or bf16").shows_default();
  command.option("--device", a->run.device, "cpu or cuda").shows_default();
  const CommandOption limit = command.option("--limit", a->limit, "so many items of each data set, drawn by category (the verdict says what it rests on)").positive();
  command.option("--seed", a->run.seed, "seed").shows_default();
  command.option("--set", a->set, "override a key of the sweep file it amounts to: --set grid.max_new_tokens=4096; the report lists it as a difference");
  command.option("--out", a->out, "folder of the run (default: results/runs/NAME)");
  command.option("--threads", a->threads, "samples run side by side (default: all cores)").positive();
  command.option("--batch", a->batch, "samples that go through the denoiser together; never changes results").range(1, 65536);
  command.flag("--json", a->json, "list, run: JSON on stdout");
  command.flag("--quiet", a->quiet, "run: no progress");
  command.footer("Examples:\n  canvaslab recipe list\n  canvaslab recipe show gpqa_thinking --model DIR --data FILES\n  canvaslab recipe run gpqa_thinking --model DIR --data FILES --limit 50\n"
                  "A run is a sweep: it resumes, its folder works with plot, export, diff and regrade, and holds recipe.toml and verdict.json.\n"
                  "Verdict: reproduced when the 90% interval of measured - published lies within the margin, not reproduced when it lies outside, else undecided.");
  command.action([=] {
    a->has_model = model.given();
    if (limit.given()) a->run.limit = a->limit;
    return run(*a);
  });
}

}  // namespace canvaslab
