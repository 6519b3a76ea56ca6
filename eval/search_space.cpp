#include "eval/search_space.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "core/digest.h"
#include "core/error.h"
#include "core/philox.h"
#include "eval/sweep_plan.h"
#include "schedules/schedule.h"

namespace canvaslab {
namespace {

/// Which plug-ins a key names: their parameter tables, and the check that one with its values is sound.
struct PluginKind {
  std::function<const std::vector<ParamSpec>&(const std::string& name)> parameters;
  std::function<void(const PluginExpr&)> check;
};
PluginKind plugin_kind(const std::string& key) {
  if (key == "sampler") return {[](const auto& name) -> const auto& { return samplers().find(name).parameters; }, [](const auto& expr) { configure_sampler(expr); }};
  if (key == "stop") return {[](const auto& name) -> const auto& { return stop_rules().find(name).parameters; }, [](const auto& expr) { configure_stop(expr); }};
  if (key == "self_conditioning") return {[](const auto& name) -> const auto& { return self_conditionings().find(name).parameters; }, [](const auto& expr) { configure_feedback(expr.text()); }};
  return {[](const auto& name) -> const auto& { return schedules().find(name).parameters; }, [](const auto& expr) { make_schedule(expr); }};
}

bool is_range(const toml::node& node) {
  const auto* table = node.as_table();
  return table && (table->contains("min") || table->contains("max") || table->contains("scale"));
}

SearchValues read_range(const TomlTable& parent, const std::string& key, const toml::table& node, bool whole) {
  const TomlTable table(parent.at(key), "the range '" + key + "'", node, {"min", "max", "scale"});
  SearchValues out;
  out.min = table.real("min", std::nullopt), out.max = table.real("max", std::nullopt), out.whole = whole;
  const std::string scale = table.text("scale", "linear");
  if (scale != "linear" && scale != "log") throw usage_error("{}: 'scale' is '{}'{}\nexpected linear or log", table.at("scale"), scale, did_you_mean(scale, {"linear", "log"}));
  out.log = scale == "log";
  if (!(out.min < out.max)) throw usage_error("{}: '{}' goes from {} to {}; expected min below max", parent.at(key), key, format_real(out.min), format_real(out.max));
  if (out.log && !(out.min > 0)) throw usage_error("{}: '{}' begins at {}; a log scale needs min above 0", parent.at(key), key, format_real(out.min));
  if (whole && (std::floor(out.min) != out.min || std::floor(out.max) != out.max))
    throw usage_error("{}: '{}' holds whole numbers, but the range goes from {} to {}", parent.at(key), key, format_real(out.min), format_real(out.max));
  return out;
}

PluginExpr with_argument(PluginExpr expr, const std::string& name, const std::string& text) {
  expr.arguments.push_back({.key = name, .value = std::make_shared<PluginExpr>(parse_plugin(text))});
  expr.has_parentheses = true;
  return expr;
}

/// One plug-in of a table: every parameter must exist, and every value in its list or at the ends of its range must be allowed.
SearchPlugin read_plugin(const TomlTable& table, const std::string& name, const PluginKind& kind) {
  SearchPlugin out;
  const std::vector<ParamSpec>& specs = located(table.at(name), [&]() -> const auto& { return (out.base = parse_plugin(name), kind.parameters(out.base.name)); });
  const auto* node = table.node(name)->as_table();
  if (!node) throw usage_error("{}: '{}' must be a table of parameters, for example {} = {{threshold = {{min = 0.5, max = 0.99}}}}; {{}} for none", table.at(name), name, name);
  std::vector<std::string> known;
  for (const auto& spec : specs) known.push_back(spec.name);
  const TomlTable parameters(table.at(name), "the parameters of '" + name + "'", *node, known);
  PluginExpr first = out.base;
  for (const auto& spec : specs) {
    if (!parameters.has(spec.name)) continue;
    const toml::node& value = *parameters.node(spec.name);
    SearchValues values;
    if (!is_range(value)) values.list = parameters.texts(spec.name);
    else if (spec.type == ParamType::kReal || spec.type == ParamType::kSchedule || spec.type == ParamType::kInteger)
      values = read_range(parameters, spec.name, *value.as_table(), spec.type == ParamType::kInteger);
    else throw usage_error("{}: '{}' takes words, so a range makes no sense; give a list", parameters.at(spec.name), spec.name);
    first = with_argument(first, spec.name, values.list.empty() ? format_real(values.min) : values.list[0]);
    out.parameters.emplace_back(spec.name, std::move(values));
  }
  located(table.at(name), [&] { kind.check(first); });
  for (size_t varied = 0; varied < out.parameters.size(); ++varied) {
    const auto& [key, values] = out.parameters[varied];
    for (const auto& text : values.list.empty() ? std::vector{format_real(values.max)} : values.list)
      located(parameters.at(key), [&, name = key] {
        PluginExpr expr = first;
        expr.arguments[first.arguments.size() - out.parameters.size() + varied].value = std::make_shared<PluginExpr>(parse_plugin(text));
        kind.check(expr);
      });
  }
  return out;
}

}  // namespace

std::string SearchValues::at(double u) const {
  if (!list.empty()) return list[std::min(list.size() - 1, static_cast<size_t>(u * static_cast<double>(list.size())))];
  const double above = whole ? max + 1 : max;  // the largest whole number has as much room as the others
  const double value = log ? std::exp(std::log(min) + u * (std::log(above) - std::log(min))) : min + u * (above - min);
  if (whole) return format_real(std::clamp(std::floor(value), min, max));
  return format_real(std::clamp(std::stod(fmt::format("{:.4g}", value)), min, max));
}

SearchSpace::SearchSpace(const TomlTable& table) : where_(table.at("kind")) {
  for (const char* key : {"sampler", "stop", "temperature", "self_conditioning"}) read_plugins(table, key);
  read_words(table, "emission", {"argmax", "canvas"});
  read_words(table, "stats_on", {"filtered", "unfiltered"});
  read_words(table, "noise_level", {"told", "withheld"});
  for (const char* key : {"steps", "anneal_over"}) read_number(table, key, 1, kMostSteps, true);
  if (table.has("canvas_length") && !is_range(*table.node("canvas_length"))) {
    Dimension lengths{.name = "canvas_length", .values = {.list = table.texts("canvas_length")}, .plugins = {}};
    for (const auto& text : lengths.values.list) located(table.at("canvas_length"), [&] { configure_length(text); });
    dimensions_.push_back(std::move(lengths));
  } else {
    read_number(table, "canvas_length", 1, kMostTokens, true);
  }
  read_number(table, "top_k", 1, kMostTokens, true);
  for (const char* key : {"top_p", "min_p"}) read_number(table, key, 0, 1, false);
  if (table.has("max_new_tokens")) {
    const int64_t most = table.integer("max_new_tokens", 1, 1, kMostTokens);
    dimensions_.push_back({.name = "max_new_tokens", .values = {.list = {std::to_string(most)}}, .plugins = {}});
  }
  if (std::none_of(dimensions_.begin(), dimensions_.end(), [](const Dimension& d) { return d.name == "sampler"; }))
    throw usage_error("{}: [search] needs 'sampler': a list, or a table such as\nsampler.confidence_threshold.threshold = {{min = 0.5, max = 0.99}}", where_);
}

void SearchSpace::read_number(const TomlTable& table, const std::string& key, double least, double most, bool whole) {
  if (!table.has(key)) return;
  Dimension out{.name = key, .values = {}, .plugins = {}};
  std::vector<double> ends;
  if (is_range(*table.node(key))) {
    out.values = read_range(table, key, *table.node(key)->as_table(), whole);
    ends = {out.values.min, out.values.max};
  } else {
    out.values.list = table.texts(key);
    for (const auto& text : out.values.list) ends.push_back(whole ? static_cast<double>(parse_integer(text, table.at(key) + ": '" + key + "'")) : parse_real(text, table.at(key) + ": '" + key + "'"));
  }
  for (const double end : ends)
    if (!(end >= least && end <= most)) throw usage_error("{}: '{}' is {}; expected {} to {}", table.at(key), key, format_real(end), format_real(least), format_real(most));
  dimensions_.push_back(std::move(out));
}

void SearchSpace::read_words(const TomlTable& table, const std::string& key, const std::vector<std::string>& words) {
  if (!table.has(key)) return;
  Dimension out{.name = key, .values = {.list = table.texts(key)}, .plugins = {}};
  for (const auto& text : out.values.list)
    if (std::find(words.begin(), words.end(), text) == words.end()) throw usage_error("{}: '{}' is '{}'{}\nexpected {}", table.at(key), key, text, did_you_mean(text, words), joined(words));
  dimensions_.push_back(std::move(out));
}

void SearchSpace::read_plugins(const TomlTable& table, const std::string& key) {
  if (!table.has(key)) return;
  const PluginKind kind = plugin_kind(key);
  Dimension out{.name = key, .values = {}, .plugins = {}};
  const auto* node = table.node(key)->as_table();
  if (node && key == "temperature" && is_range(*node)) {
    out.values = read_range(table, key, *node, false);
    for (const double end : {out.values.min, out.values.max}) located(table.at(key), [&] { kind.check(parse_plugin(format_real(end))); });
  } else if (node) {
    std::vector<std::string> names;
    for (const auto& [name, value] : *node) names.emplace_back(name.str());
    if (names.empty()) throw usage_error("{}: '{}' names no plug-in", table.at(key), key);
    const TomlTable choices(table.at(key), "'" + key + "'", *node, names);
    for (const auto& name : names) out.plugins.push_back(read_plugin(choices, name, kind));
  } else {
    for (const auto& text : key == "self_conditioning" ? table.switches(key) : table.texts(key)) {
      located(table.at(key), [&] { kind.check(parse_plugin(text)); });
      out.plugins.push_back({.base = parse_plugin(text), .parameters = {}});
    }
  }
  dimensions_.push_back(std::move(out));
}

PlanRequest SearchSpace::draw(uint64_t seed, uint64_t number) const {
  const DrawKey key{.seed = seed, .item = number, .repeat = 2};  // repeat 2: apart from the draws of bootstrap and sign flips
  const auto uniform = [&](const std::string& name) {
    const Sha256 hash = sha256(name);
    return key.uniform(Purpose::kResample, static_cast<uint32_t>(hash[0]) << 24 | static_cast<uint32_t>(hash[1]) << 16 | static_cast<uint32_t>(hash[2]) << 8 | hash[3]);
  };
  PlanRequest out;
  for (const auto& dimension : dimensions_) {
    std::string text;
    if (dimension.plugins.empty()) {
      text = dimension.values.at(uniform(dimension.name));
    } else {
      const auto index = static_cast<size_t>(uniform(dimension.name) * static_cast<double>(dimension.plugins.size()));
      const SearchPlugin& plugin = dimension.plugins[std::min(index, dimension.plugins.size() - 1)];
      PluginExpr expr = plugin.base;
      for (const auto& [name, values] : plugin.parameters) expr = with_argument(expr, name, values.at(uniform(dimension.name + "." + plugin.base.name + "." + name)));
      text = expr.text();
    }
    const auto whole = [&] { return static_cast<int32_t>(std::stoll(text)); };
    const std::string& name = dimension.name;
    if (name == "sampler") out.sampler = text;
    else if (name == "stop") out.stop = text;
    else if (name == "temperature") out.temperature = text;
    else if (name == "emission") out.emission = text;
    else if (name == "stats_on") out.stats_on = text;
    else if (name == "noise_level") out.noise_level = text;
    else if (name == "self_conditioning") out.feedback = text;
    else if (name == "steps") out.num_steps = whole();
    else if (name == "anneal_over") out.anneal_over = whole();
    else if (name == "canvas_length") set_canvas_length(out, text);
    else if (name == "max_new_tokens") out.max_new_tokens = whole();
    else if (name == "top_k") out.top_k = whole();
    else if (name == "top_p") out.top_p = std::stod(text);
    else out.min_p = std::stod(text);
  }
  return out;
}

std::vector<PlanRequest> SearchSpace::draw_all(uint64_t seed, size_t budget) const {
  constexpr int kPatience = 1000;
  std::vector<PlanRequest> out;
  std::set<std::string> seen;
  int in_vain = 0;
  for (uint64_t number = 0; out.size() < budget; ++number) {
    PlanRequest request = draw(seed, number);
    const auto shown = [](const auto& value) { return value ? fmt::format("{}", *value) : std::string("-"); };
    const std::string text = fmt::format("{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}", request.sampler, shown(request.stop), shown(request.temperature), shown(request.emission),
                                         request.feedback, shown(request.num_steps), shown(request.anneal_over), request.canvas_policy.value_or(shown(request.canvas_length)), shown(request.top_k),
                                         shown(request.top_p), shown(request.min_p), shown(request.stats_on), shown(request.noise_level));
    if (seen.insert(text).second) {
      out.push_back(std::move(request));
      in_vain = 0;
    } else if (++in_vain == kPatience) {
      throw usage_error("{}: [search] holds {} different configurations, but the budget is {}; lower the budget or widen the ranges", where_, out.size(), budget);
    }
  }
  return out;
}

}  // namespace canvaslab
