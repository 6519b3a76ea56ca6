#include "eval/toml_table.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <sstream>

#include "core/error.h"
#include "core/params.h"

namespace canvaslab {

std::string toml_place(const std::string& path, const toml::source_region& source) {
  if (!source.begin.line) return path + " (with --set)";
  return fmt::format("{}:{}:{}", source.path ? *source.path : path, source.begin.line, source.begin.column);
}

namespace {

constexpr int kDeepestInclude = 16;

/// Moves everything of `over` into `base`. Moved nodes keep their places in the file; copies would lose them.
void overlay(toml::table& base, toml::table&& over) {
  for (auto&& [key, node] : over) {
    toml::node* below = base.get(key.str());
    if (below && below->is_table() && node.is_table()) {
      overlay(*below->as_table(), std::move(*node.as_table()));
      continue;
    }
    base.erase(key.str());
    node.visit([&, name = key](auto& value) { base.insert(name, std::move(value)); });
  }
}

toml::table parse_one(const std::string& path) {
  std::ifstream in(path);
  if (!in) throw input_error("{}: cannot be opened; expected a sweep file in TOML (see experiments/quickstart.toml)", path);
  std::stringstream text;
  text << in.rdbuf();
  if (!in || in.bad()) throw input_error("{}: cannot be read; expected a sweep file in TOML (see experiments/quickstart.toml)", path);
  try {
    return toml::parse(text.str(), path);
  } catch (const toml::parse_error& error) {
    throw usage_error("{}:{}:{}: {}", path, error.source().begin.line, error.source().begin.column, error.description());
  }
}

toml::table parse_with_base(const std::string& path, int depth) {
  toml::table file = parse_one(path);
  const toml::node* include = file.get("include");
  if (!include) return file;
  const std::string where = toml_place(path, include->source());
  const auto name = include->value<std::string>();
  if (!name) throw usage_error("{}: 'include' must be the name of one TOML file", where);
  if (depth >= kDeepestInclude) throw usage_error("{}: files include each other more than {} deep; does one include itself?", where, kDeepestInclude);
  const std::string base_path = (std::filesystem::path(path).parent_path() / *name).string();
  std::error_code ignored;
  if (!std::filesystem::exists(base_path, ignored)) throw input_error("{}: the included file {} is not there; names are relative to the file that includes", where, base_path);
  toml::table base = parse_with_base(base_path, depth + 1);
  file.erase("include");
  overlay(base, std::move(file));
  return base;
}

}  // namespace

toml::table parse_toml(const std::string& path) { return parse_with_base(path, 0); }

void apply_override(toml::table& root, const std::string& text) {
  const auto equals = text.find('=');
  if (equals == std::string::npos || equals == 0) throw usage_error("--set {}: expected key=value, for example --set run.repeats=3", text);
  const std::string value = text.substr(equals + 1);
  toml::table parsed;
  try {
    parsed = toml::parse("v = " + value);
  } catch (const toml::parse_error&) {
    parsed.insert_or_assign("v", value);
  }
  toml::table* table = &root;
  std::string key = text.substr(0, equals);
  for (size_t dot; (dot = key.find('.')) != std::string::npos; key = key.substr(dot + 1)) {
    const std::string head = key.substr(0, dot);
    if (!table->contains(head)) table->insert(head, toml::table{});
    toml::node* node = table->get(head);
    if (toml::array* list = node->as_array(); list && list->is_array_of_tables()) {
      key = key.substr(dot + 1);
      dot = std::min(key.find('.'), key.size());
      size_t index = 0;
      const bool number = std::from_chars(key.data(), key.data() + dot, index).ptr == key.data() + dot && dot > 0;
      if (!number || index >= list->size() || dot == key.size())
        throw usage_error("--set {}: '{}' is a list of {} tables in the file; say which, from 0: {}.{}.KEY=VALUE", text, head, list->size(), head, list->size() - 1);
      node = list->get(index);
    }
    table = node->as_table();
    if (!table) throw usage_error("--set {}: '{}' is no table in the file, so it has no keys to set", text, head);
  }
  table->insert_or_assign(key, *parsed.get("v"));  // a copy, which carries no line number: it came from no file
}

toml::table parse_settings(const std::string& text, const std::string& name) {
  toml::table out;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, ';');) {
    const auto trimmed = [](const std::string& word) {
      const auto begin = word.find_first_not_of(" \t\n");
      return begin == std::string::npos ? std::string() : word.substr(begin, word.find_last_not_of(" \t\n") + 1 - begin);
    };
    part = trimmed(part);
    if (part.empty()) continue;
    const auto equals = part.find('=');
    if (equals == std::string::npos || equals == 0) throw usage_error("{}: '{}' is no key=value; expected for example 'sampler=ddim; steps=16; emission=canvas'", name, part);
    const std::string key = trimmed(part.substr(0, equals)), value = trimmed(part.substr(equals + 1));
    if (out.contains(key)) throw usage_error("{}: '{}' is given twice", name, key);
    toml::table parsed;
    try {
      parsed = toml::parse(part, name);
    } catch (const toml::parse_error&) {
      try {
        parsed = toml::parse(fmt::format("{} = '''{}'''", key, value), name);
      } catch (const toml::parse_error& error) {
        throw usage_error("{}: '{}': {}", name, part, error.description());
      }
    }
    overlay(out, std::move(parsed));
  }
  return out;
}

TomlTable::TomlTable(std::string path, std::string name, const toml::table& table, std::vector<std::string> keys)
    : path_(std::move(path)), name_(std::move(name)), table_(table) {
  for (const auto& [key, node] : table_) {
    const std::string word(key.str());
    if (std::find(keys.begin(), keys.end(), word) != keys.end()) continue;
    throw usage_error("{}: unknown key '{}' in {}{}\nknown keys: {}", toml_place(path_, key.source()), word, name_, did_you_mean(word, keys), fmt::join(keys, ", "));
  }
}

std::string TomlTable::where(const toml::node& node) const {
  return toml_place(path_, node.source());
}

std::string TomlTable::at(const std::string& key) const { return has(key) ? where(*table_.get(key)) : path_; }

std::string TomlTable::text(const std::string& key, std::optional<std::string> fallback) const {
  const auto* node = table_.get(key);
  if (!node) {
    if (!fallback) throw usage_error("{}: key '{}' is missing in {}", path_, key, name_);
    return *fallback;
  }
  if (!node->is_string()) throw usage_error("{}: '{}' must be a string", where(*node), key);
  return node->value_or(std::string());
}

double TomlTable::real(const std::string& key, std::optional<double> fallback) const {
  const auto* node = table_.get(key);
  if (!node && fallback) return *fallback;
  if (!node) throw usage_error("{}: key '{}' is missing in {}", path_, key, name_);
  const auto value = node->value<double>();
  if (!node->is_number() || !value || !std::isfinite(*value)) throw usage_error("{}: '{}' must be a finite number", where(*node), key);
  return *value;
}

int64_t TomlTable::integer_of(const toml::node& node, const std::string& key, int64_t least, int64_t most) const {
  if (!node.is_integer()) throw usage_error("{}: '{}' must be a whole number", where(node), key);
  const auto value = node.value_or<int64_t>(0);
  if (value < least || value > most)
    throw usage_error("{}: '{}' is {}; expected {}", where(node), key, value,
                      most == std::numeric_limits<int64_t>::max() ? fmt::format("at least {}", least) : fmt::format("{} to {}", least, most));
  return value;
}

int64_t TomlTable::integer(const std::string& key, int64_t fallback, int64_t least, int64_t most) const {
  const auto* node = table_.get(key);
  return node ? integer_of(*node, key, least, most) : fallback;
}

template <typename Visit>
void TomlTable::each(const std::string& key, Visit visit) const {
  const auto* node = table_.get(key);
  if (!node) return;
  const auto* list = node->as_array();
  if (!list) return visit(*node);
  if (list->empty()) throw usage_error("{}: '{}' is an empty list; leave the key out or name at least one value", where(*node), key);
  for (const auto& item : *list) visit(item);
}

std::vector<std::string> TomlTable::texts(const std::string& key) const {
  std::vector<std::string> out;
  each(key, [&](const toml::node& node) {
    if (node.is_string()) out.push_back(node.value_or(std::string()));
    else if (node.is_floating_point()) out.push_back(format_real(node.value_or(0.0)));
    else if (node.is_integer()) out.push_back(std::to_string(node.value_or<int64_t>(0)));
    else throw usage_error("{}: '{}' must be a string or a list of strings", where(node), key);
  });
  return out;
}

std::vector<int64_t> TomlTable::integers(const std::string& key, int64_t least, int64_t most) const {
  std::vector<int64_t> out;
  each(key, [&](const toml::node& node) { out.push_back(integer_of(node, key, least, most)); });
  return out;
}

std::vector<std::string> TomlTable::switches(const std::string& key) const {
  std::vector<std::string> out;
  each(key, [&](const toml::node& node) {
    if (node.is_boolean()) out.push_back(node.value_or(true) ? "on" : "off");
    else if (node.is_string()) out.push_back(node.value_or(std::string()));
    else throw usage_error("{}: '{}' must be true, false, a string or a list of them", where(node), key);
  });
  return out;
}
std::vector<bool> TomlTable::booleans(const std::string& key) const {
  std::vector<bool> out;
  each(key, [&](const toml::node& node) {
    if (!node.is_boolean()) throw usage_error("{}: '{}' must be true, false or a list of them", where(node), key);
    out.push_back(node.value_or(true));
  });
  return out;
}

}  // namespace canvaslab
