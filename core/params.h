#pragma once
// How every plug-in is written and configured: name(key=value, ...), checked against one typed table.
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace canvaslab {

/// A parsed plug-in expression: `name`, or `name(key=value, ...)`, or positional values `name(a, b)`.
/// A value is a number, a quoted or bare word, or again an expression (`cosine(0.05, 0.3)`, `all_of(a, b(c=1))`).
struct PluginExpr {
  struct Argument {
    std::string key;    ///< empty when positional
    PluginExpr* operator->() { return value.get(); }
    const PluginExpr* operator->() const { return value.get(); }
    std::shared_ptr<PluginExpr> value;
  };
  std::string name;                 ///< the word as written (a number is a word too)
  bool has_parentheses = false;     ///< distinguishes `never` from `never()`; both mean the same plug-in
  std::vector<Argument> arguments;

  /// Canonical text: what parses back to the same expression.
  std::string text() const;
};

/// Parses one expression. Errors (usage) show the text with the offending column.
PluginExpr parse_plugin(std::string_view text);

enum class ParamType { kReal, kInteger, kBoolean, kText, kSchedule, kPlugin, kPlugins };
/// "float", "int", "bool", "string", "float or schedule", "plug-in", "plug-ins".
std::string_view param_type_name(ParamType type);

/// One row of a plug-in's parameter table. Bounds are inclusive unless `above_min` is set; NaN is always refused.
struct ParamSpec {
  std::string name;
  ParamType type = ParamType::kReal;
  std::string default_text;  ///< empty: must be given (for kPlugins: may be empty only if given)
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  std::string unit;
  std::string doc;
  bool above_min = false;            ///< the lower bound itself is excluded
  std::vector<std::string> choices;  ///< for kText: the words allowed; empty = any
  bool required = false;             ///< must be given even though its type allows an empty default
  /// For kPlugin and kPlugins: checks an inner expression against its registry and writes out its parameters. Throws
  /// usage errors. Core does not know which registry: the owner of the table passes it.
  std::function<std::string(const PluginExpr&)> canonical_inner = nullptr;
  /// Added after texts without it were stored: left out of the canonical text while it has its default, so that those
  /// texts keep naming the same thing.
  bool late = false;
};

ParamSpec real_param(std::string name, double fallback, double min, double max, std::string unit, std::string doc);
ParamSpec schedule_param(std::string name, double fallback, double min, double max, std::string unit, std::string doc);
ParamSpec int_param(std::string name, int64_t fallback, double min, double max, std::string unit, std::string doc);
ParamSpec bool_param(std::string name, bool fallback, std::string doc);
ParamSpec text_param(std::string name, std::string fallback, std::string doc, std::vector<std::string> choices = {});
/// The same parameter, left out of the canonical text at its default.
ParamSpec added_late(ParamSpec spec);
/// A text that has no default.
ParamSpec required_text_param(std::string name, std::string doc);
/// One inner plug-in, written as an expression: checking(a=hmm(states=4), b=...). It has no default.
ParamSpec plugin_param(std::string name, std::function<std::string(const PluginExpr&)> canonical_inner, std::string doc);
/// Positional list of inner plug-ins, as all_of(...) takes.
ParamSpec plugins_param(std::string name, std::function<std::string(const PluginExpr&)> canonical_inner, std::string doc);

/// The resolved values of one plug-in: every key of its table has a value, checked for type and bounds.
class Options {
 public:
  double real(std::string_view name) const;
  int64_t integer(std::string_view name) const;
  bool boolean(std::string_view name) const;
  const std::string& text(std::string_view name) const;
  /// A float that may vary over a canvas: a number or a schedule expression.
  const PluginExpr& schedule(std::string_view name) const;
  /// An inner plug-in's expression, already checked against its registry.
  const PluginExpr& inner(std::string_view name) const;
  const std::vector<PluginExpr>& plugins(std::string_view name) const;

  /// `name(key=value, ...)` with every key (late ones only away from their default), in table order: what is stored with
  /// results.
  std::string canonical() const;

  std::string plugin;  ///< canonical plug-in name

 private:
  friend Options resolve_options(const std::string& kind, const std::string& plugin, const std::vector<ParamSpec>& table,
                                 const PluginExpr& expr);
  struct Value {
    std::string name;
    ParamType type;
    std::string text;
    double number = 0;
    std::vector<PluginExpr> exprs;
    bool unsaid = false;  ///< left out of the canonical text
  };
  const Value& find(std::string_view name, ParamType type) const;
  std::vector<Value> values_;
};

/// Checks an expression against a table. Unknown key, wrong type, NaN, out of range: a usage error that names plug-in,
/// key, what is allowed and the nearest valid name. Positional values fill the table in order.
Options resolve_options(const std::string& kind, const std::string& plugin, const std::vector<ParamSpec>& table,
                        const PluginExpr& expr);

/// Strict number parsing (whole text, no NaN); throws usage_error naming `what`.
double parse_real(std::string_view text, const std::string& what);
int64_t parse_integer(std::string_view text, const std::string& what);
/// Shortest text that reads back to the same double.
std::string format_real(double value);

}  // namespace canvaslab
