#include "eval/sweep_plan.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>

#include "core/embedded_models.h"
#include "core/error.h"
#include "eval/datasets/joined.h"
#include "eval/search_space.h"
#include "eval/toml_table.h"
#include "samplers/plugin_library.h"
#include "schedules/schedule.h"

namespace canvaslab {
namespace {

const std::vector<std::string> kGridKeys = {"label", "sampler", "stop", "temperature", "emission", "self_conditioning", "steps",
                                            "anneal_over", "canvas_length", "max_new_tokens", "top_k", "top_p", "min_p", "stats_on", "noise_level"};

template <typename To, typename From>
std::vector<std::optional<To>> or_absent(const std::vector<From>& values) {
  if (values.empty()) return {std::nullopt};
  std::vector<std::optional<To>> out;
  for (const auto& value : values) out.push_back(static_cast<To>(value));
  return out;
}

std::vector<std::optional<double>> reals_or_absent(const TomlTable& table, const std::string& key) {
  std::vector<std::optional<double>> out;
  for (const auto& text : table.texts(key)) out.push_back(parse_real(text, fmt::format("{}: '{}'", table.at(key), key)));
  return out.empty() ? std::vector<std::optional<double>>{std::nullopt} : out;
}

/// Every combination of a grid's filters and of what the denoiser is told; one without any when none is given.
std::vector<PlanRequest> draw_choices(const TomlTable& table) {
  std::vector<PlanRequest> out;
  for (const auto& top_k : or_absent<int32_t>(table.integers("top_k", 1, kMostTokens)))
    for (const auto& top_p : reals_or_absent(table, "top_p"))
      for (const auto& min_p : reals_or_absent(table, "min_p"))
        for (const auto& stats_on : or_absent<std::string>(table.texts("stats_on")))
          for (const auto& noise_level : or_absent<std::string>(table.texts("noise_level"))) {
            PlanRequest request;
            request.top_k = top_k, request.top_p = top_p, request.min_p = min_p, request.stats_on = stats_on, request.noise_level = noise_level;
            out.push_back(std::move(request));
          }
  return out;
}

/// Every canvas length of a grid, numbers and policies; one that is absent when none is given.
std::vector<PlanRequest> canvas_lengths(const TomlTable& table) {
  std::vector<PlanRequest> out;
  for (const auto& text : table.texts("canvas_length")) located(table.at("canvas_length"), [&] { set_canvas_length(out.emplace_back(), text); });
  return out.empty() ? std::vector<PlanRequest>(1) : out;
}

/// Whether a grid says anneal_over = "steps": each step limit's own.
bool ramps_follow_steps(const TomlTable& table) {
  if (!table.has("anneal_over") || !table.node("anneal_over")->is_string()) return false;
  if (const std::string word = table.text("anneal_over", std::nullopt); word != "steps")
    throw usage_error("{}: 'anneal_over' is '{}'{}\nexpected whole numbers, or \"steps\": as long as each step limit", table.at("anneal_over"), word, did_you_mean(word, {"steps"}));
  if (!table.has("steps")) throw usage_error("{}: 'anneal_over' is \"steps\", but the grid has no 'steps'", table.at("anneal_over"));
  return true;
}

/// The product of a grid's lists, in a fixed order: canvas length slowest, step limit fastest, filters and the level within a step limit.
std::vector<SweepConfig> expand_grid(const TomlTable& table) {
  const auto sampler_list = table.texts("sampler");
  if (sampler_list.empty()) throw usage_error("{}: a grid needs 'sampler'", table.at("sampler"));
  const auto stops = table.texts("stop"), temperatures = table.texts("temperature");
  for (const auto& text : sampler_list) located(table.at("sampler"), [&] { configure_sampler(parse_plugin(text)); });
  for (const auto& text : stops) located(table.at("stop"), [&] { configure_stop(parse_plugin(text)); });
  for (const auto& text : temperatures) located(table.at("temperature"), [&] { make_schedule(parse_plugin(text)); });
  auto feedbacks = table.switches("self_conditioning");
  for (const auto& text : feedbacks) located(table.at("self_conditioning"), [&] { configure_feedback(text); });
  if (feedbacks.empty()) feedbacks = {"on"};
  const auto most = or_absent<int32_t>(table.integers("max_new_tokens", 1, kMostTokens));
  if (most.size() > 1) throw usage_error("{}: 'max_new_tokens' is one number, not a list: runs of different lengths are not comparable", table.at("max_new_tokens"));

  const bool by_steps = ramps_follow_steps(table);
  const auto anneals = by_steps ? std::vector<std::optional<int32_t>>{std::nullopt} : or_absent<int32_t>(table.integers("anneal_over", 1, kMostSteps));
  std::vector<SweepConfig> out;
  for (const auto& length : canvas_lengths(table))
    for (const auto& sampler : sampler_list)
      for (const auto& stop : or_absent<std::string>(stops))
        for (const auto& temperature : or_absent<std::string>(temperatures))
          for (const auto& emission : or_absent<std::string>(table.texts("emission")))
            for (const auto& feedback : feedbacks)
              for (const auto& anneal : anneals)
                for (const auto& steps : or_absent<int32_t>(table.integers("steps", 1, kMostSteps)))
                  for (PlanRequest& request : draw_choices(table)) {
                    SweepConfig config;
                    request.sampler = sampler, request.stop = stop, request.temperature = temperature, request.emission = emission;
                    request.canvas_length = length.canvas_length, request.canvas_policy = length.canvas_policy, request.num_steps = steps, request.anneal_over = by_steps ? steps : anneal, request.max_new_tokens = most[0];
                    request.feedback = feedback;
                    config.request = std::move(request);
                    config.label = table.text("label", "");
                    config.where = table.at("sampler");
                    out.push_back(std::move(config));
                  }
  return out;
}

const toml::table& section(const std::string& path, const toml::table& root, const std::string& name, const std::string& example) {
  const auto* node = root.get(name);
  if (!node) throw usage_error("{}: table [{}] is missing; for example\n[{}]\n{}", path, name, name, example);
  if (!node->is_table()) throw usage_error("{}: '{}' must be a table [{}]", toml_place(path, node->source()), name, name);
  return *node->as_table();
}

void read_run(const TomlTable& run, SweepPlan& plan) {
  plan.name = run.text("name", plan.name);
  if (plan.name.empty() || plan.name.find('/') != std::string::npos || plan.name.starts_with('.'))
    throw usage_error("{}: 'name' is '{}'; it names the folder of the run: letters, digits, '-' and '_'", run.at("name"), plan.name);
  if (const auto seeds = run.integers("seed", 0, std::numeric_limits<int64_t>::max()); !seeds.empty()) {
    plan.seeds.assign(seeds.begin(), seeds.end());
    if (std::set(seeds.begin(), seeds.end()).size() != seeds.size()) throw usage_error("{}: 'seed' lists a seed twice", run.at("seed"));
  }
  plan.repeats = static_cast<uint32_t>(run.integer("repeats", 1, 1, 1'000'000));
  if (run.has("limit")) plan.limit = run.integer("limit", 0, 1);
  const std::string record = run.text("record", "steps");
  if (record != "steps" && record != "positions")
    throw usage_error("{}: 'record' is '{}'{}\nexpected steps (a line per step) or positions (also every position of every step)", run.at("record"), record,
                      did_you_mean(record, {"steps", "positions"}));
  plan.record_positions = record == "positions";
  if (!run.has("record_items")) return;
  if (!plan.record_positions) throw usage_error("{}: 'record_items' without record = \"positions\": it says of how many items positions are kept", run.at("record_items"));
  plan.record_items = run.integer("record_items", 0, 1);
}

HalvingPlan read_halving(const TomlTable& search, uint64_t seed) {
  HalvingPlan out;
  out.seed = seed;
  const int64_t rounds = search.integer("rounds", 3, 1, 30);
  const double growth = search.real("growth", 2);
  if (!(growth > 1 && growth <= 1000)) throw usage_error("{}: 'growth' is {}; expected above 1, at most 1000", search.at("growth"), format_real(growth));
  if (!search.has("items")) throw usage_error("{}: halving needs 'items', the number of items of the first round", search.at("kind"));
  double items = static_cast<double>(search.integer("items", 0, kFewestHalvingItems, 1'000'000'000));
  for (int64_t round = 0; round < rounds; ++round, items *= growth) {
    if (items > 1e9) throw usage_error("{}: round {} would take more than a billion items; lower 'items', 'growth' or 'rounds'", search.at("kind"), round + 1);
    out.round_items.push_back(static_cast<int64_t>(std::llround(items)));
  }
  out.confirm_items = search.integer("confirm", out.round_items.back(), kFewestHalvingItems, 1'000'000'000);
  out.alpha = search.real("alpha", out.alpha);
  if (!(out.alpha > 0 && out.alpha < 0.5)) throw usage_error("{}: 'alpha' is {}; expected above 0, below 0.5", search.at("alpha"), format_real(out.alpha));
  const std::string drop = search.text("drop", "dominated");
  if (drop != "dominated" && drop != "worse")
    throw usage_error("{}: 'drop' is '{}'{}\nexpected dominated (worse and not faster) or worse (however fast)", search.at("drop"), drop, did_you_mean(drop, {"dominated", "worse"}));
  out.keep_faster = drop == "dominated";
  return out;
}

void read_search(const std::string& path, const toml::table& root, SweepPlan& plan) {
  std::vector<std::string> keys(kGridKeys.begin() + 1, kGridKeys.end());  // without label: rows of a table are grids
  keys.insert(keys.begin(), {"kind", "budget", "seed", "items", "growth", "rounds", "confirm", "alpha", "drop"});
  const TomlTable search(path, "[search]", section(path, root, "search", ""), keys);
  const std::string kind = search.text("kind", std::nullopt);
  if (kind != "random" && kind != "halving") throw usage_error("{}: 'kind' is '{}'{}\nexpected random or halving", search.at("kind"), kind, did_you_mean(kind, {"random", "halving"}));
  const auto seed = static_cast<uint64_t>(search.integer("seed", 1, 0));
  if (kind == "halving") plan.halving = read_halving(search, seed);
  else
    for (const char* key : {"items", "growth", "rounds", "confirm", "alpha", "drop"})
      if (search.has(key)) throw usage_error("{}: '{}' belongs to kind = \"halving\", but kind is random", search.at(key), key);
  if (search.has("budget")) {
    const auto budget = static_cast<size_t>(search.integer("budget", 0, 1, kMostConfigs));
    for (auto& request : SearchSpace(search).draw_all(seed, budget)) plan.configs.push_back({.request = std::move(request), .where = search.at("kind")});
    return;
  }
  if (kind == "random") throw usage_error("{}: [search] needs 'budget', the number of configurations to draw", search.at("kind"));
  for (const auto& key : kGridKeys)
    if (search.has(key)) throw usage_error("{}: '{}' without 'budget', the number of configurations to draw; or put it into [grid]", search.at(key), key);
  if (!root.contains("grid")) throw usage_error("{}: halving needs candidates: a table [grid], or 'budget' with ranges to draw from", search.at("kind"));
}

void read_grids(const std::string& path, const toml::table& root, SweepPlan& plan) {
  const auto* grid = root.get("grid");
  if (!grid && root.contains("search")) return;
  if (!grid) throw usage_error("{}: table [grid] is missing; it lists sampler, steps, canvas_length, ...; or draw configurations with [search]", path);
  const auto add = [&](const toml::table& table, const char* name) {
    for (auto& config : expand_grid(TomlTable(path, name, table, kGridKeys))) plan.configs.push_back(std::move(config));
  };
  if (const auto* list = grid->as_array()) {
    for (const auto& entry : *list) {
      if (!entry.is_table()) throw usage_error("{}: [[grid]] must be a table", toml_place(path, entry.source()));
      add(*entry.as_table(), "[[grid]]");
    }
  } else if (grid->is_table()) {
    add(*grid->as_table(), "[grid]");
  } else {
    throw usage_error("{}: 'grid' must be a table [grid] or a list of tables [[grid]]", toml_place(path, grid->source()));
  }
}

/// Sets `subset` where the table says one. True when it does.
bool read_subset(const TomlTable& table, int64_t& subset, uint64_t& seed) {
  if (!table.has("subset") && table.has("subset_seed")) throw usage_error("{}: 'subset_seed' without 'subset', the number of items to draw", table.at("subset_seed"));
  seed = static_cast<uint64_t>(table.integer("subset_seed", 1, 0));
  if (table.has("subset")) subset = table.integer("subset", 0, 1);
  return table.has("subset");
}

/// [[dataset]]: several data sets, joined into one.
std::string join_datasets(const std::string& path, const toml::array& list) {
  if (list.empty()) throw usage_error("{}: 'dataset' is an empty list; name at least one data set", toml_place(path, list.source()));
  std::vector<JoinedSet> sets;
  std::string out;
  for (const auto& entry : list) {
    if (!entry.is_table()) throw usage_error("{}: [[dataset]] must be a table", toml_place(path, entry.source()));
    const TomlTable table(path, "[[dataset]]", *entry.as_table(), {"name", "label", "subset", "subset_seed"});
    JoinedSet& set = sets.emplace_back();
    set.dataset = located(table.at("name"), [&] { return datasets().canonical(table.text("name", std::nullopt)); });
    set.label = table.text("label", "");
    read_subset(table, set.subset, set.subset_seed);
    out = located(table.at(table.has("label") ? "label" : "name"), [&] { return joined_text(sets); });
    located(table.at("name"), [&] { datasets().make(out); });  // scores that mean different things are told here
  }
  return out;
}

void read_datasets(const std::string& path, const toml::table& root, SweepPlan& plan) {
  if (const auto* node = root.get("dataset"); node && node->is_array()) {
    plan.dataset = join_datasets(path, *node->as_array());
    return;
  }
  const TomlTable dataset(path, "[dataset]", section(path, root, "dataset", "name = \"source(items=300)\""), {"name", "subset", "subset_seed"});
  plan.dataset = located(dataset.at("name"), [&] { return datasets().canonical(dataset.text("name", std::nullopt)); });
  if (int64_t subset = 0; read_subset(dataset, subset, plan.subset_seed)) plan.subset = subset;
}

/// Where a file lists several step limits, a limit cuts the temperature's ramp instead of squeezing it so that
/// points of one curve differ in one thing, unless anneal_over says otherwise.
void keep_ramps(SweepPlan& plan) {
  std::set<std::optional<int32_t>> limits;
  for (const auto& config : plan.configs) limits.insert(config.request.num_steps);
  if (limits.size() < 2) return;
  for (auto& config : plan.configs) config.request.keep_ramp = true;
  if (plan.reference) plan.reference->request.keep_ramp = true;
}

/// Loads the libraries that 'plugins' lists, by names relative to the file that lists them.
void load_libraries(const toml::table& root, const TomlTable& top) {
  for (const auto& name : top.texts("plugins")) {
    const auto& source = root.get("plugins")->source();
    const std::filesystem::path folder = source.path ? std::filesystem::path(*source.path).parent_path() : std::filesystem::path();
    located(top.at("plugins"), [&] { load_plugin_library((folder / name).string()); });
  }
}

}  // namespace

std::string HalvingPlan::text() const {
  return fmt::format("rounds {} confirm {} alpha {} drop {} seed {}", fmt::join(round_items, " "), confirm_items, format_real(alpha), keep_faster ? "dominated" : "worse", seed);
}

SweepPlan read_sweep(const std::string& path, const std::vector<std::string>& overrides) {
  toml::table root = parse_toml(path);
  for (const auto& text : overrides) apply_override(root, text);
  const TomlTable top(path, "the sweep file", root, {"run", "denoiser", "dataset", "grid", "search", "reference", "plugins"});
  load_libraries(root, top);
  SweepPlan plan;
  plan.name = std::filesystem::path(path).stem().string();
  if (root.contains("run")) read_run(TomlTable(path, "[run]", section(path, root, "run", ""), {"name", "seed", "repeats", "limit", "record", "record_items"}), plan);
  const TomlTable denoiser(path, "[denoiser]", section(path, root, "denoiser", "model = \"hmm(states=16)\""), {"model", "dtype", "device", "tokenizer", "thinking", "tools"});
  plan.denoiser = denoiser.text("model", std::nullopt);
  std::error_code ignored;
  if (!std::filesystem::exists(plan.denoiser, ignored) && plan.denoiser.find('/') == std::string::npos && model_folder(plan.denoiser) == plan.denoiser)
    plan.denoiser = located(denoiser.at("model"), [&] { return denoisers().canonical(plan.denoiser); });
  plan.dtype = denoiser.text("dtype", "f32");
  plan.device = denoiser.text("device", "cpu");
  if (plan.device != "cpu" && plan.device != "cuda") throw usage_error("{}: 'device' is '{}'; expected cpu or cuda", denoiser.at("device"), plan.device);
  plan.tokenizer = denoiser.text("tokenizer", "");
  const auto thinking = denoiser.booleans("thinking");
  if (thinking.size() > 1) throw usage_error("{}: 'thinking' is true or false, not a list: prompts would differ between configurations", denoiser.at("thinking"));
  plan.thinking = !thinking.empty() && thinking[0];
  plan.tools = denoiser.text("tools", "");
  read_datasets(path, root, plan);
  read_grids(path, root, plan);
  if (root.contains("search")) read_search(path, root, plan);
  if (root.contains("reference")) {
    const TomlTable table(path, "[reference]", section(path, root, "reference", ""), kGridKeys);
    auto points = expand_grid(table);
    if (points.size() != 1) throw usage_error("{}: [reference] is one configuration, but its lists make {}", table.at("sampler"), points.size());
    plan.reference = std::move(points.front());
  }
  keep_ramps(plan);
  return plan;
}

SweepConfig parse_config(const std::string& text, const std::string& name) {
  const toml::table table = parse_settings(text, name);
  auto points = expand_grid(TomlTable(name, "a configuration", table, kGridKeys));
  if (points.size() != 1) throw usage_error("{}: its lists make {} configurations; expected one", name, points.size());
  return std::move(points.front());
}

}  // namespace canvaslab
