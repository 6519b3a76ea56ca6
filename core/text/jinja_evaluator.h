#pragma once
// Running a template's tree.
#include <deque>
#include <memory>
#include <optional>
#include <set>

#include "core/text/jinja_syntax.h"

namespace canvaslab::jinja {

/// Names and their values; what is not here is looked for further out.
struct Scope {
  Scope* outer = nullptr;
  bool captured = false;  ///< a macro was defined in it, so it must live on
  std::unordered_map<std::string, Value> values;
};

/// One rendering. A template cannot run without end or fill the memory: steps and bytes are counted.
class Evaluator {
 public:
  Evaluator(const std::string& name, const Value& variables);
  ~Evaluator();
  Evaluator(const Evaluator&) = delete;
  Evaluator& operator=(const Evaluator&) = delete;
  std::string run(const Node& body);

  Value call(const Value& callee, const Arguments& arguments);
  Value filter(const std::string& name, const Value& input, Arguments arguments);
  bool test(const std::string& name, const Value& input, Arguments arguments);
  /// `object.name` as Python and Jinja resolve it; undefined when there is none.
  Value attribute(const Value& object, const std::string& name);
  Value item(const Value& object, const Value& key);
  /// The elements a loop runs over. Errors: input error for what cannot be iterated.
  List elements(const Value& value);
  /// A new string, counted against the limits.
  Value text(std::string value, bool markup = false);
  /// Counts `amount` steps or bytes. Errors: input error when the template has used up its share.
  void spend(size_t amount);

 private:
  enum class Flow { kNext, kBreak, kContinue };
  struct ScopeGuard;
  struct Deeper;

  Flow execute(const Node& node, Scope& scope, std::string& out);
  Flow execute_all(const Node& body, Scope& scope, std::string& out);
  Flow run_if(const Node& node, Scope& scope, std::string& out);
  void run_for(const Node& node, Scope& scope, std::string& out, const List& values, int depth);
  Value make_macro(const Node& node, Scope& scope);
  void assign(const Node& target, const Value& value, Scope& scope);

  Value evaluate(const Node& node, Scope& scope);
  Value evaluate_node(const Node& node, Scope& scope);
  Value look_up(const std::string& name, Scope& scope);
  Value binary(const Node& node, Scope& scope);
  Value arithmetic(const std::string& op, const Value& a, const Value& b);
  bool comparison(const std::string& op, const Value& a, const Value& b);
  Value slice(const Node& node, Scope& scope);
  Value filtered(const Node& node, Scope& scope, const Value* input);
  Arguments arguments(const Node& node, size_t first, Scope& scope);

  const std::string& name_;
  int line_ = 1;
  int depth_ = 0;
  size_t spent_ = 0;
  std::deque<Scope> scopes_;
  std::set<std::shared_ptr<Dict>> changed_;  // namespaces with attributes set: what they hold may lead back to them
};

/// Errors name what was wanted: `what` is used as "TEXT expected".
std::string need_text(const Value& value, std::string_view who);
int64_t need_integer(const Value& value, std::string_view who);

using FilterFunction = Value (*)(Evaluator&, const Value& input, const Arguments&);
using TestFunction = bool (*)(Evaluator&, const Value& input, const Arguments&);
/// Null when there is none of that name.
FilterFunction find_filter(const std::string& name);
TestFunction find_test(const std::string& name);
/// The method `name` of a string, list or mapping, bound to it; nothing when there is none.
std::optional<Value> find_method(const Value& object, const std::string& name);
/// range, namespace, dict, raise_exception, strftime_now.
void add_globals(Scope& scope);

/// Python's % operator and str.format().
std::string percent_format(std::string_view format, const Value& arguments);
std::string brace_format(Evaluator& evaluator, std::string_view format, const Arguments& arguments);

}  // namespace canvaslab::jinja
