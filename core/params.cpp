#include "core/params.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "core/error.h"

namespace canvaslab {
namespace {

constexpr int kMaxDepth = 32;  // deep enough for any real composition, shallow enough for any stack

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  PluginExpr whole() {
    PluginExpr expr = expression(0);
    skip_space();
    if (at_ != text_.size()) fail("end of text");
    return expr;
  }

 private:
  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n')) ++at_;
  }
  [[noreturn]] void fail(std::string_view expected) const {
    throw usage_error("cannot read the plug-in expression '{}': expected {} at column {}{}\nwrite name, or name(key=value, ...)",
                      text_, expected, at_ + 1,
                      at_ < text_.size() ? fmt::format(", found '{}'", text_[at_]) : ", found the end");
  }
  static bool word_char(char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-' || c == '+' || c == '.' || c == '/' || c == '~' || c == ':';
  }
  std::string word() {
    skip_space();
    if (at_ < text_.size() && (text_[at_] == '"' || text_[at_] == '\'')) {
      const char quote = text_[at_++];
      std::string out;
      while (at_ < text_.size() && text_[at_] != quote) {
        if (text_[at_] == '\\' && at_ + 1 < text_.size()) ++at_;
        out += text_[at_++];
      }
      if (at_ == text_.size()) fail("a closing quote");
      ++at_;
      quoted_ = true;
      return out;
    }
    quoted_ = false;
    const size_t begin = at_;
    while (at_ < text_.size() && word_char(text_[at_])) ++at_;
    if (begin == at_) fail("a name or a number");
    return std::string(text_.substr(begin, at_ - begin));
  }
  PluginExpr expression(int depth) {
    if (depth > kMaxDepth) fail("at most 32 levels of parentheses");
    PluginExpr expr;
    expr.name = word();
    const bool quoted = quoted_;
    skip_space();
    if (!quoted && at_ < text_.size() && text_[at_] == '(') {
      expr.has_parentheses = true;
      ++at_;
      skip_space();
      if (at_ < text_.size() && text_[at_] == ')') {
        ++at_;
        return expr;
      }
      while (true) {
        expr.arguments.push_back(argument(depth + 1));
        skip_space();
        if (at_ < text_.size() && text_[at_] == ',') {
          ++at_;
          continue;
        }
        if (at_ < text_.size() && text_[at_] == ')') {
          ++at_;
          return expr;
        }
        fail("',' or ')'");
      }
    }
    return expr;
  }
  PluginExpr::Argument argument(int depth) {
    PluginExpr first = expression(depth);
    skip_space();
    if (at_ < text_.size() && text_[at_] == '=') {
      if (first.has_parentheses || first.name.empty()) fail("a key before '='");
      ++at_;
      return {first.name, std::make_shared<PluginExpr>(expression(depth))};
    }
    return {"", std::make_shared<PluginExpr>(std::move(first))};
  }

  std::string_view text_;
  size_t at_ = 0;
  bool quoted_ = false;
};

bool plain_word(const std::string& word) {
  if (word.empty()) return false;
  for (char c : word)
    if (!std::isalnum(static_cast<unsigned char>(c)) && std::string_view("_-+./~:").find(c) == std::string_view::npos) return false;
  return true;
}

// A word as the parser reads it back: itself where it can stand bare, or in quotes.
std::string written_word(const std::string& word) {
  if (plain_word(word)) return word;
  std::string out = "\"";
  for (char c : word) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

std::string bounds_text(const ParamSpec& spec) {
  const bool low = std::isfinite(spec.min), high = std::isfinite(spec.max);
  if (low && high) return fmt::format("{}{}, {}]", spec.above_min ? "(" : "[", format_real(spec.min), format_real(spec.max));
  if (low) return fmt::format("{} {}", spec.above_min ? ">" : ">=", format_real(spec.min));
  if (high) return fmt::format("<= {}", format_real(spec.max));
  return "any number";
}

void check_bounds(const std::string& where, const ParamSpec& spec, double value) {
  if (value < spec.min || value > spec.max || (spec.above_min && value == spec.min)) {
    throw usage_error("{}: {} is out of range; allowed: {}{}{}", where, format_real(value), bounds_text(spec),
                      spec.unit.empty() ? "" : " ", spec.unit);
  }
}

}  // namespace

std::string PluginExpr::text() const {
  std::string out = written_word(name);
  if (arguments.empty()) return out;
  out += '(';
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (i) out += ", ";
    if (!arguments[i].key.empty()) out += written_word(arguments[i].key) + "=";
    out += arguments[i]->text();
  }
  return out + ')';
}

PluginExpr parse_plugin(std::string_view text) { return Parser(text).whole(); }

std::string_view param_type_name(ParamType type) {
  switch (type) {
    case ParamType::kReal: return "float";
    case ParamType::kInteger: return "int";
    case ParamType::kBoolean: return "bool";
    case ParamType::kText: return "string";
    case ParamType::kSchedule: return "float or schedule";
    case ParamType::kPlugin: return "plug-in";
    case ParamType::kPlugins: return "plug-ins";
  }
  return "?";
}

std::string format_real(double value) {
  char buffer[40];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value).ptr;
  return std::string(buffer, end);
}

double parse_real(std::string_view text, const std::string& what) {
  double value = 0;
  const char* begin = text.data() + (!text.empty() && text[0] == '+' ? 1 : 0);
  const auto [end, error] = std::from_chars(begin, text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || std::isnan(value))
    throw usage_error("{}: '{}' is not a number", what, text);
  return value;
}

int64_t parse_integer(std::string_view text, const std::string& what) {
  int64_t value = 0;
  const char* begin = text.data() + (!text.empty() && text[0] == '+' ? 1 : 0);
  const auto [end, error] = std::from_chars(begin, text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    throw usage_error("{}: '{}' is not a whole number", what, text);
  return value;
}

ParamSpec real_param(std::string name, double fallback, double min, double max, std::string unit, std::string doc) {
  return {.name = std::move(name), .type = ParamType::kReal, .default_text = format_real(fallback), .min = min, .max = max,
          .unit = std::move(unit), .doc = std::move(doc), .choices = {}};
}
ParamSpec schedule_param(std::string name, double fallback, double min, double max, std::string unit, std::string doc) {
  ParamSpec spec = real_param(std::move(name), fallback, min, max, std::move(unit), std::move(doc));
  spec.type = ParamType::kSchedule;
  return spec;
}
ParamSpec int_param(std::string name, int64_t fallback, double min, double max, std::string unit, std::string doc) {
  ParamSpec spec = real_param(std::move(name), 0, min, max, std::move(unit), std::move(doc));
  spec.type = ParamType::kInteger;
  spec.default_text = std::to_string(fallback);
  return spec;
}
ParamSpec bool_param(std::string name, bool fallback, std::string doc) {
  return {.name = std::move(name), .type = ParamType::kBoolean, .default_text = fallback ? "true" : "false", .unit = "",
          .doc = std::move(doc), .choices = {}};
}
ParamSpec text_param(std::string name, std::string fallback, std::string doc, std::vector<std::string> choices) {
  return {.name = std::move(name), .type = ParamType::kText, .default_text = std::move(fallback), .unit = "",
          .doc = std::move(doc), .choices = std::move(choices)};
}
ParamSpec added_late(ParamSpec spec) {
  spec.late = true;
  return spec;
}
ParamSpec required_text_param(std::string name, std::string doc) {
  ParamSpec spec = text_param(std::move(name), "", std::move(doc));
  spec.required = true;
  return spec;
}
ParamSpec plugin_param(std::string name, std::function<std::string(const PluginExpr&)> canonical_inner, std::string doc) {
  return {.name = std::move(name), .type = ParamType::kPlugin, .default_text = "", .unit = "", .doc = std::move(doc), .choices = {},
          .required = true, .canonical_inner = std::move(canonical_inner)};
}
ParamSpec plugins_param(std::string name, std::function<std::string(const PluginExpr&)> canonical_inner, std::string doc) {
  ParamSpec spec = plugin_param(std::move(name), std::move(canonical_inner), std::move(doc));
  spec.type = ParamType::kPlugins;
  return spec;
}

const Options::Value& Options::find(std::string_view name, ParamType type) const {
  for (const auto& value : values_)
    if (value.name == name && value.type == type) return value;
  throw std::logic_error(fmt::format("plug-in {} has no {} parameter '{}' in its table", plugin, param_type_name(type), name));
}

double Options::real(std::string_view name) const { return find(name, ParamType::kReal).number; }
int64_t Options::integer(std::string_view name) const { return static_cast<int64_t>(find(name, ParamType::kInteger).number); }
bool Options::boolean(std::string_view name) const { return find(name, ParamType::kBoolean).number != 0; }
const std::string& Options::text(std::string_view name) const { return find(name, ParamType::kText).text; }
const PluginExpr& Options::schedule(std::string_view name) const { return find(name, ParamType::kSchedule).exprs.front(); }
const PluginExpr& Options::inner(std::string_view name) const { return find(name, ParamType::kPlugin).exprs.front(); }
const std::vector<PluginExpr>& Options::plugins(std::string_view name) const { return find(name, ParamType::kPlugins).exprs; }

std::string Options::canonical() const {
  std::string out = plugin;
  if (std::all_of(values_.begin(), values_.end(), [](const Value& value) { return value.unsaid; })) return out;
  out += '(';
  bool first = true;
  for (const auto& value : values_) {
    if (value.unsaid) continue;
    if (value.type == ParamType::kPlugins) {
      if (!first) out += ", ";
      first = false;
      out += value.text;
      continue;
    }
    if (!first) out += ", ";
    first = false;
    out += value.name + "=" + (value.type == ParamType::kText ? written_word(value.text) : value.text);
  }
  return out + ')';
}

Options resolve_options(const std::string& kind, const std::string& plugin, const std::vector<ParamSpec>& table,
                        const PluginExpr& expr) {
  std::map<std::string, PluginExpr> given;
  std::vector<PluginExpr> inner;
  std::vector<std::string> names;
  for (const auto& spec : table) names.push_back(spec.name);
  const bool takes_plugins = !table.empty() && table.front().type == ParamType::kPlugins;
  size_t position = 0;
  for (const auto& argument : expr.arguments) {
    if (argument.key.empty() && takes_plugins) {
      inner.push_back(*argument.value);
      continue;
    }
    std::string key = canonical_name(argument.key);
    if (argument.key.empty()) {
      if (position >= table.size())
        throw usage_error("{} '{}' takes at most {} values, got one more: '{}'", kind, plugin, table.size(), argument->text());
      key = table[position++].name;
    }
    bool known = false;
    for (const auto& name : names) known = known || name == key;
    if (!known) {
      throw usage_error("{} '{}' has no parameter '{}'{}\nits parameters: {}", kind, plugin, argument.key,
                        did_you_mean(argument.key, names), names.empty() ? "(none)" : joined(names));
    }
    if (takes_plugins && key == table.front().name)
      throw usage_error("{} '{}': write the inner plug-ins without '{}=', as {}(first, second)", kind, plugin, key, plugin);
    if (!given.emplace(key, *argument.value).second)
      throw usage_error("{} '{}': parameter '{}' is given twice", kind, plugin, key);
  }
  Options options;
  options.plugin = plugin;
  for (const auto& spec : table) {
    Options::Value value{.name = spec.name, .type = spec.type, .text = "", .number = 0, .exprs = {}, .unsaid = false};
    const std::string where = fmt::format("{} '{}', parameter '{}'", kind, plugin, spec.name);
    if (spec.type == ParamType::kPlugins) {
      if (inner.empty()) throw usage_error("{} '{}' needs at least one plug-in in its parentheses", kind, plugin);
      for (const auto& child : inner) value.text += (value.text.empty() ? "" : ", ") + spec.canonical_inner(child);
      value.exprs = inner;
      options.values_.push_back(std::move(value));
      continue;
    }
    const auto found = given.find(spec.name);
    if (found == given.end() && (spec.required || (spec.default_text.empty() && spec.type != ParamType::kText)))
      throw usage_error("{} must be given: {}", where, spec.doc);
    PluginExpr fallback;
    fallback.name = spec.default_text;
    const PluginExpr& written = found == given.end() ? fallback : found->second;
    if (written.has_parentheses && spec.type != ParamType::kSchedule && spec.type != ParamType::kPlugin)
      throw usage_error("{}: expected {}, got '{}'", where, param_type_name(spec.type), written.text());
    switch (spec.type) {
      case ParamType::kReal:
        value.number = parse_real(written.name, where);
        check_bounds(where, spec, value.number);
        value.text = format_real(value.number);
        break;
      case ParamType::kInteger: {
        const int64_t integer = parse_integer(written.name, where);
        value.number = static_cast<double>(integer);
        check_bounds(where, spec, value.number);
        value.text = std::to_string(integer);
        break;
      }
      case ParamType::kBoolean: {
        const std::string word = canonical_name(written.name);
        if (word == "true" || word == "on" || word == "yes" || word == "1") value.number = 1;
        else if (word != "false" && word != "off" && word != "no" && word != "0")
          throw usage_error("{}: '{}' is neither true nor false", where, written.name);
        value.text = value.number != 0 ? "true" : "false";
        break;
      }
      case ParamType::kText: {
        value.text = written.name;
        if (!spec.choices.empty()) {
          bool allowed = false;
          for (const auto& choice : spec.choices) allowed = allowed || choice == written.name;
          if (!allowed)
            throw usage_error("{}: '{}' is not one of {}{}", where, written.name, joined(spec.choices),
                              did_you_mean(written.name, spec.choices));
        }
        break;
      }
      case ParamType::kSchedule: {
        PluginExpr schedule = written;
        if (!schedule.has_parentheses) {
          const bool numeric = !schedule.name.empty() && (std::isdigit(static_cast<unsigned char>(schedule.name[0])) ||
                                                          std::string_view("+-.").find(schedule.name[0]) != std::string_view::npos ||
                                                          schedule.name == "inf" || canonical_name(schedule.name) == "nan");
          if (numeric) {
            value.number = parse_real(schedule.name, where);
            check_bounds(where, spec, value.number);
            schedule.name = format_real(value.number);
          }
        }
        value.text = schedule.text();
        value.exprs.push_back(std::move(schedule));
        break;
      }
      case ParamType::kPlugin:
        value.text = spec.canonical_inner(written);
        value.exprs.push_back(written);
        break;
      case ParamType::kPlugins: break;
    }
    value.unsaid = spec.late && value.text == spec.default_text;
    options.values_.push_back(std::move(value));
  }
  return options;
}

}  // namespace canvaslab
