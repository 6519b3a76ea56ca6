#pragma once
// The values of a chat template: Python's, as far as templates see them.
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/json_types.h"

namespace canvaslab::jinja {

class Evaluator;
struct Value;
using List = std::vector<Value>;

/// A mapping that keeps the order of insertion.
class Dict {
 public:
  const Value* find(const Value& key) const;
  void set(const Value& key, Value value);
  void clear();
  const std::vector<std::pair<Value, Value>>& items() const { return items_; }

 private:
  std::vector<std::pair<Value, Value>> items_;
  std::unordered_map<std::string, size_t> index_;
};

/// What a call hands over.
struct Arguments {
  List positional;
  std::vector<std::pair<std::string, Value>> named;
  /// Positional argument `i` or the one named `name`; undefined when neither is there.
  Value get(size_t i, std::string_view name) const;
};

using Function = std::function<Value(Evaluator&, const Arguments&)>;

enum class Kind { kUndefined, kNone, kBoolean, kInteger, kReal, kString, kList, kTuple, kDict, kNamespace, kFunction, kGenerator };

/// Containers are shared: copies of a value see the same list or mapping. Templates cannot change lists or mappings.
struct Value {
  Kind kind = Kind::kUndefined;
  bool markup = false;  ///< a string marked safe: joining escapes what it is joined with
  int64_t integer = 0;  ///< also booleans
  double real = 0;
  std::shared_ptr<const std::string> string;  ///< for kUndefined: what was not found
  std::shared_ptr<List> list;                 ///< a generator's is empty once it was run through
  std::shared_ptr<Dict> dict;                 ///< also namespaces
  std::shared_ptr<const Function> function;

  static Value undefined(std::string what);
  static Value none();
  static Value boolean(bool value);
  static Value number(int64_t value);
  static Value number(double value);
  static Value text(std::string value, bool markup = false);
  static Value sequence(List values, Kind kind = Kind::kList);
  static Value mapping(Dict values, Kind kind = Kind::kDict);
  static Value callable(Function function);
  static Value from_json(const OrderedJson& json);

  bool is_undefined() const { return kind == Kind::kUndefined; }
  bool is_none() const { return kind == Kind::kNone; }
  bool is_text() const { return kind == Kind::kString; }
  bool is_sequence() const { return kind == Kind::kList || kind == Kind::kTuple; }
  bool is_mapping() const { return kind == Kind::kDict; }
  bool is_integer() const { return kind == Kind::kInteger || kind == Kind::kBoolean; }
  bool is_number() const { return is_integer() || kind == Kind::kReal; }
  double as_real() const { return kind == Kind::kReal ? real : static_cast<double>(integer); }
  bool truth() const;
  /// Python's type name, for errors.
  std::string_view type() const;
};

bool equal(const Value& a, const Value& b);
/// Negative, 0 or positive. Errors: input error when the types have no order.
int compare(const Value& a, const Value& b);

/// What `{{ value }}` prints: Python's str().
std::string to_text(const Value& value);
/// Python's repr().
std::string to_repr(const Value& value);

struct JsonStyle {
  bool ascii = false, sort_keys = false;
  int indent = -1;  ///< -1: one line
  std::string item_separator = ", ", key_separator = ": ";
};
/// Python's json.dumps(). Errors: input error for values that JSON cannot hold.
std::string to_json(const Value& value, const JsonStyle& style);

std::string escape_markup(std::string_view text);

}  // namespace canvaslab::jinja
