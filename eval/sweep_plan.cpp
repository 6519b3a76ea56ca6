#include "eval/sweep_plan.h"

#include <filesystem>
#include <fstream>
#include <sstream>

#include <toml++/toml.h>

#include "core/error.h"

namespace canvaslab {
namespace {

std::string where(const std::string& path, const toml::node& node) {
  return fmt::format("{}:{}:{}", path, node.source().begin.line, node.source().begin.column);
}

/// Reads known keys of one table and refuses the others.
class Table {
 public:
  Table(std::string path, std::string name, const toml::table& table, std::vector<std::string> keys)
      : path_(std::move(path)), name_(std::move(name)), table_(table) {
    for (const auto& [key, node] : table_) {
      const std::string word(key.str());
      if (std::find(keys.begin(), keys.end(), word) == keys.end())
        throw usage_error("{}: unknown key '{}' in {}{}\nknown keys: {}", where(path_, node), word, name_, did_you_mean(word, keys), fmt::join(keys, ", "));
    }
  }
  const toml::node* get(const std::string& key) const { return table_.get(key); }
  std::string text(const std::string& key, std::optional<std::string> fallback) const {
    const auto* node = get(key);
    if (!node) {
      if (!fallback) throw usage_error("{}: key '{}' is missing in {}", path_, key, name_);
      return *fallback;
    }
    if (!node->is_string()) throw usage_error("{}: '{}' must be a string", where(path_, *node), key);
    return node->value_or(std::string());
  }
  int64_t integer(const std::string& key, int64_t fallback, int64_t least) const {
    const auto* node = get(key);
    return node ? integer_of(*node, key, least) : fallback;
  }
  int64_t integer_of(const toml::node& node, const std::string& key, int64_t least) const {
    if (!node.is_integer()) throw usage_error("{}: '{}' must be a whole number", where(path_, node), key);
    const auto value = node.value_or<int64_t>(0);
    if (value < least) throw usage_error("{}: '{}' is {}; expected at least {}", where(path_, node), key, value, least);
    return value;
  }
  /// A value or a list of values, each as text (numbers written as numbers).
  std::vector<std::string> texts(const std::string& key) const {
    std::vector<std::string> out;
    each(key, [&](const toml::node& node) {
      if (node.is_string()) out.push_back(node.value_or(std::string()));
      else if (node.is_floating_point()) out.push_back(format_real(node.value_or(0.0)));
      else if (node.is_integer()) out.push_back(std::to_string(node.value_or<int64_t>(0)));
      else throw usage_error("{}: '{}' must hold strings", where(path_, node), key);
    });
    return out;
  }
  std::vector<int32_t> integers(const std::string& key) const {
    std::vector<int32_t> out;
    each(key, [&](const toml::node& node) {
      const int64_t value = integer_of(node, key, 1);
      if (value > std::numeric_limits<int32_t>::max()) throw usage_error("{}: '{}' is {}; expected less than 2^31", where(path_, node), key, value);
      out.push_back(static_cast<int32_t>(value));
    });
    return out;
  }
  std::vector<bool> booleans(const std::string& key) const {
    std::vector<bool> out;
    each(key, [&](const toml::node& node) {
      if (!node.is_boolean()) throw usage_error("{}: '{}' must hold true or false", where(path_, node), key);
      out.push_back(node.value_or(true));
    });
    return out;
  }
  std::string at(const std::string& key) const { return get(key) ? where(path_, *get(key)) : path_; }

 private:
  template <typename Visit>
  void each(const std::string& key, Visit visit) const {
    const auto* node = get(key);
    if (!node) return;
    if (const auto* list = node->as_array()) {
      if (list->empty()) throw usage_error("{}: '{}' is an empty list; leave the key out or name at least one value", where(path_, *node), key);
      for (const auto& item : *list) visit(item);
    } else {
      visit(*node);
    }
  }
  std::string path_, name_;
  const toml::table& table_;
};

void apply_override(toml::table& root, const std::string& text) {
  const auto equals = text.find('=');
  if (equals == std::string::npos || equals == 0) throw usage_error("--set {}: expected key=value, for example --set run.repeats=3", text);
  toml::table parsed;
  const std::string value = text.substr(equals + 1);
  try {
    parsed = toml::parse("v = " + value);
  } catch (const toml::parse_error&) {
    parsed.insert_or_assign("v", value);  // a bare word is a string
  }
  toml::table* table = &root;
  std::string key = text.substr(0, equals);
  for (size_t dot; (dot = key.find('.')) != std::string::npos; key = key.substr(dot + 1)) {
    const std::string head = key.substr(0, dot);
    if (!table->contains(head)) table->insert(head, toml::table{});
    table = table->get(head)->as_table();
    if (!table) throw usage_error("--set {}: '{}' is no table", text, head);
  }
  table->insert_or_assign(key, *parsed.get("v"));
}

template <typename T>
std::vector<std::optional<T>> or_absent(const std::vector<T>& values) {
  if (values.empty()) return {std::nullopt};
  return {values.begin(), values.end()};
}

void add_grid(const Table& table, std::vector<SweepConfig>& out) {
  const auto sampler_list = table.texts("sampler");
  if (sampler_list.empty()) throw usage_error("{}: a grid needs 'sampler'", table.at("sampler"));
  const auto self_conditioning = table.booleans("self_conditioning");
  for (const auto& length : or_absent(table.integers("canvas_length")))
    for (const auto& sampler : sampler_list)
      for (const auto& stop : or_absent(table.texts("stop")))
        for (const auto& temperature : or_absent(table.texts("temperature")))
          for (const auto& emission : or_absent(table.texts("emission")))
            for (const bool feedback : self_conditioning.empty() ? std::vector<bool>{true} : self_conditioning)
              for (const auto& anneal : or_absent(table.integers("anneal_over")))
                for (const auto& steps : or_absent(table.integers("steps"))) {
                  SweepConfig config;
                  config.request.sampler = sampler;
                  config.request.stop = stop;
                  config.request.temperature = temperature;
                  config.request.emission = emission;
                  config.request.canvas_length = length;
                  config.request.num_steps = steps;
                  config.request.anneal_over = anneal;
                  config.request.self_conditioning = feedback;
                  if (const auto most = table.integers("max_new_tokens"); !most.empty()) config.request.max_new_tokens = most[0];
                  out.push_back(std::move(config));
                }
}

}  // namespace

std::string SweepConfig::label() const {
  if (control) return "exact samples (control)";
  return request.sampler;
}

SweepPlan read_sweep(const std::string& path, const std::vector<std::string>& overrides) {
  std::ifstream in(path);
  if (!in) throw input_error("{}: cannot be opened; expected a sweep file in TOML (see experiments/quickstart.toml)", path);
  std::stringstream text;
  text << in.rdbuf();
  toml::table root;
  try {
    root = toml::parse(text.str(), path);
  } catch (const toml::parse_error& error) {
    throw usage_error("{}:{}:{}: {}", path, error.source().begin.line, error.source().begin.column, error.description());
  }
  for (const auto& override_text : overrides) apply_override(root, override_text);
  const Table top(path, "the sweep file", root, {"run", "denoiser", "dataset", "grid"});
  const auto section = [&](const char* name) -> const toml::table& {
    const auto* node = root.get(name);
    if (!node || !node->as_table()) throw usage_error("{}: table [{}] is missing", path, name);
    return *node->as_table();
  };
  SweepPlan plan;
  static const toml::table kEmpty;
  const auto* run_node = root.get("run");
  const Table run(path, "[run]", run_node && run_node->as_table() ? *run_node->as_table() : kEmpty,
                  {"name", "seed", "repeats", "limit", "agreement_with"});
  plan.name = run.text("name", std::filesystem::path(path).stem().string());
  plan.seed = static_cast<uint64_t>(run.integer("seed", 1, 0));
  plan.repeats = static_cast<uint32_t>(run.integer("repeats", 1, 1));
  plan.agreement_reference = run.text("agreement_with", "");
  if (run.get("limit")) plan.limit = run.integer("limit", 0, 1);
  const Table denoiser(path, "[denoiser]", section("denoiser"), {"model", "dtype"});
  plan.denoiser = denoiser.text("model", std::nullopt);
  plan.dtype = denoiser.text("dtype", "f32");
  const Table dataset(path, "[dataset]", section("dataset"), {"name"});
  plan.dataset = datasets().canonical(dataset.text("name", std::nullopt));
  const std::vector<std::string> grid_keys = {"sampler", "stop", "temperature", "emission", "self_conditioning", "steps",
                                              "anneal_over", "canvas_length", "max_new_tokens"};
  const auto* grid = root.get("grid");
  if (!grid) throw usage_error("{}: table [grid] is missing; it lists sampler, steps, canvas_length, ...", path);
  if (const auto* list = grid->as_array()) {
    for (const auto& entry : *list) {
      if (!entry.as_table()) throw usage_error("{}: [[grid]] must be a table", where(path, entry));
      add_grid(Table(path, "[[grid]]", *entry.as_table(), grid_keys), plan.configs);
    }
  } else if (grid->as_table()) {
    add_grid(Table(path, "[grid]", *grid->as_table(), grid_keys), plan.configs);
  } else {
    throw usage_error("{}: 'grid' must be a table or a list of tables", where(path, *grid));
  }
  return plan;
}

}  // namespace canvaslab
