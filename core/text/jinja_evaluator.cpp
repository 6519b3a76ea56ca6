#include "core/text/jinja_evaluator.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/error.h"
#include "core/text/utf8.h"

namespace canvaslab::jinja {
namespace {

#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
constexpr size_t kMaxSpent = size_t{1} << 20;
#else
constexpr size_t kMaxSpent = size_t{1} << 28;  // bytes of one rendering; steps count as the bytes that take as long to make
#endif
constexpr size_t kStepCost = 16, kTurnCost = 64, kLoopVariableCost = 512;
constexpr int kMaxDepth = 900;                 // of calls and expressions within one another

bool mentions(const Node& node, std::string_view name) {
  if (node.kind == NodeKind::kName && node.text == name) return true;
  return std::any_of(node.kids.begin(), node.kids.end(), [&](const auto& kid) { return mentions(*kid, name); });
}

[[noreturn]] void undefined_error(const Value& value) { throw input_error("'{}' is undefined", *value.string); }

}  // namespace

std::string need_text(const Value& value, std::string_view who) {
  if (value.is_undefined()) return "";
  if (!value.is_text()) throw input_error("{}: expected a string, got {}", who, value.type());
  return *value.string;
}

int64_t need_integer(const Value& value, std::string_view who) {
  if (!value.is_integer()) throw input_error("{}: expected a whole number, got {}", who, value.type());
  return value.integer;
}

struct Evaluator::ScopeGuard {
  ScopeGuard(Evaluator& e, Scope* outer) : evaluator(e), scope(&e.scopes_.emplace_back()) {
    scope->outer = outer;
    e.spend(64);
  }
  ~ScopeGuard() {
    if (!scope->captured && &evaluator.scopes_.back() == scope) evaluator.scopes_.pop_back();
  }
  Evaluator& evaluator;
  Scope* scope;
};

/// One level deeper into statements and expressions.
struct Evaluator::Deeper {
  explicit Deeper(Evaluator& e) : evaluator(e) {
    e.spend(kStepCost);
    if (e.depth_ >= kMaxDepth) throw input_error("calls, tags and expressions are nested more than {} deep", kMaxDepth);
    ++e.depth_;
  }
  ~Deeper() { --evaluator.depth_; }
  Evaluator& evaluator;
};

Evaluator::Evaluator(const std::string& name, const Value& variables) : name_(name) {
  Scope& globals = scopes_.emplace_back();
  add_globals(globals);
  for (const auto& [key, value] : variables.dict->items()) globals.values[*key.string] = value;
  scopes_.emplace_back().outer = &globals;
}

/// Namespaces are all that a template can change, so every circle of values goes through one.
Evaluator::~Evaluator() {
  for (const auto& dict : changed_) dict->clear();
}

std::string Evaluator::run(const Node& body) {
  std::string out;
  try {
    execute_all(body, scopes_[1], out);
  } catch (const UserError& error) {
    throw UserError(error.code(), fmt::format("{}:{}: {}", name_, line_, error.what()));
  }
  return out;
}

void Evaluator::spend(size_t amount) {
  spent_ += amount;
  if (spent_ > kMaxSpent) throw input_error("the template runs too long or makes too much text (limit: {} bytes, or {} steps)", kMaxSpent, kMaxSpent / kStepCost);
}

Value Evaluator::text(std::string value, bool markup) {
  spend(value.size() + 32);
  return Value::text(std::move(value), markup);
}

Evaluator::Flow Evaluator::execute_all(const Node& body, Scope& scope, std::string& out) {
  for (const auto& kid : body.kids)
    if (const Flow flow = execute(*kid, scope, out); flow != Flow::kNext) return flow;
  return Flow::kNext;
}

Evaluator::Flow Evaluator::execute(const Node& node, Scope& scope, std::string& out) {
  line_ = node.line;
  const Deeper deeper(*this);
  switch (node.kind) {
    case NodeKind::kBody: return execute_all(node, scope, out);
    case NodeKind::kText: spend(node.text.size()); out += node.text; break;
    case NodeKind::kPrint: {
      const std::string printed = to_text(evaluate(*node.kids[0], scope));
      spend(printed.size());
      out += printed;
      break;
    }
    case NodeKind::kIf: return run_if(node, scope, out);
    case NodeKind::kFor: run_for(node, scope, out, elements(evaluate(*node.kids[1], scope)), 1); break;
    case NodeKind::kSet: assign(*node.kids[0], evaluate(*node.kids[1], scope), scope); break;
    case NodeKind::kSetBlock:
    case NodeKind::kFilterBlock: {
      const bool sets = node.kind == NodeKind::kSetBlock;
      std::string body;
      {
        const ScopeGuard inner(*this, &scope);
        execute_all(*node.kids.back(), *inner.scope, body);
      }
      const Value whole = text(std::move(body));
      const Value result = filtered(*node.kids[sets ? 1 : 0], scope, &whole);
      if (sets) assign(*node.kids[0], result, scope);
      else out += to_text(result);
      break;
    }
    case NodeKind::kMacro: scope.values[node.text] = make_macro(node, scope); break;
    case NodeKind::kCall: {
      const Node& call_node = *node.kids[0];
      Arguments given = arguments(call_node, 1, scope);
      given.named.emplace_back("caller", make_macro(*node.kids[1], scope));
      out += to_text(call(evaluate(*call_node.kids[0], scope), given));
      break;
    }
    case NodeKind::kWith: {
      const ScopeGuard inner(*this, &scope);
      for (size_t i = 0; i + 1 < node.kids.size(); ++i) assign(*node.kids[i]->kids[0], evaluate(*node.kids[i]->kids[1], scope), *inner.scope);
      return execute_all(*node.kids.back(), *inner.scope, out);
    }
    case NodeKind::kBreak: return Flow::kBreak;
    case NodeKind::kContinue: return Flow::kContinue;
    default: throw input_error("unexpected expression");
  }
  return Flow::kNext;
}

Evaluator::Flow Evaluator::run_if(const Node& node, Scope& scope, std::string& out) {
  for (const Node* branch = &node; branch;) {
    if (branch->kind != NodeKind::kIf) return execute_all(*branch, scope, out);
    if (evaluate(*branch->kids[0], scope).truth()) return execute_all(*branch->kids[1], scope, out);
    branch = branch->kids.size() > 2 ? branch->kids[2].get() : nullptr;
  }
  return Flow::kNext;
}

void Evaluator::run_for(const Node& node, Scope& scope, std::string& out, const List& all, int depth) {
  const Node& target = *node.kids[0];
  const Node& condition = *node.kids[2];
  const ScopeGuard inner(*this, &scope);
  Scope& local = *inner.scope;
  List kept;
  const bool filters = condition.kind != NodeKind::kName || !condition.text.empty();
  for (const Value& value : all) {
    if (!filters) break;
    assign(target, value, local);
    if (evaluate(condition, local).truth()) kept.push_back(value);
  }
  const List& values = filters ? kept : all;
  if (values.empty()) {
    local.values.clear();
    if (node.flag) execute_all(*node.kids[4], local, out);
    return;
  }
  const bool wants_loop = mentions(*node.kids[3], "loop");
  auto last_changed = std::make_shared<std::optional<List>>();
  for (size_t i = 0; i < values.size(); ++i) {
    local.values.clear();
    spend(kTurnCost + (wants_loop ? kLoopVariableCost : 0));
    if (wants_loop) {
      const auto count = static_cast<int64_t>(values.size()), at = static_cast<int64_t>(i);
      Dict loop;
      const auto set = [&](const char* key, Value value) { loop.set(Value::text(key), std::move(value)); };
      set("index", Value::number(at + 1));
      set("index0", Value::number(at));
      set("revindex", Value::number(count - at));
      set("revindex0", Value::number(count - at - 1));
      set("first", Value::boolean(i == 0));
      set("last", Value::boolean(i + 1 == values.size()));
      set("length", Value::number(count));
      set("depth", Value::number(static_cast<int64_t>(depth)));
      set("depth0", Value::number(static_cast<int64_t>(depth - 1)));
      set("previtem", i > 0 ? values[i - 1] : Value::undefined("there is no previous item"));
      set("nextitem", i + 1 < values.size() ? values[i + 1] : Value::undefined("there is no next item"));
      set("cycle", Value::callable([i](Evaluator&, const Arguments& a) {
        if (a.positional.empty()) throw input_error("loop.cycle: expected at least one value");
        return a.positional[i % a.positional.size()];
      }));
      set("changed", Value::callable([last_changed](Evaluator&, const Arguments& a) {
        const bool same = *last_changed && std::equal(a.positional.begin(), a.positional.end(), (*last_changed)->begin(), (*last_changed)->end(), equal);
        *last_changed = a.positional;
        return Value::boolean(!same);
      }));
      Value value = Value::mapping(std::move(loop), Kind::kNamespace);
      if (node.text == "recursive") {
        value.function = std::make_shared<const Function>([this, &node, &scope, depth](Evaluator&, const Arguments& a) {
          std::string body;
          run_for(node, scope, body, elements(a.get(0, "iterable")), depth + 1);
          return text(std::move(body));
        });
      }
      local.values["loop"] = std::move(value);
    }
    assign(target, values[i], local);
    if (execute_all(*node.kids[3], local, out) == Flow::kBreak) break;
  }
  if (!local.captured) local.values.clear();
}

Value Evaluator::make_macro(const Node& node, Scope& scope) {
  for (Scope* s = &scope; s; s = s->outer) s->captured = true;
  const Node& body = *node.kids.back();
  const bool takes_more = mentions(body, "varargs"), takes_names = mentions(body, "kwargs"), takes_caller = mentions(body, "caller");
  return Value::callable([this, &node, &scope, takes_more, takes_names, takes_caller](Evaluator&, const Arguments& given) {
    const ScopeGuard inner(*this, &scope);
    Scope& local = *inner.scope;
    const size_t count = node.kids.size() - 1;
    List more;
    for (size_t i = count; i < given.positional.size(); ++i) more.push_back(given.positional[i]);
    if (!more.empty() && !takes_more) throw input_error("macro '{}' takes at most {} arguments, got {}", node.text, count, given.positional.size());
    Dict names;
    std::vector<const Value*> named(count, nullptr);
    for (const auto& [key, value] : given.named) {
      const auto found = std::find_if(node.kids.begin(), node.kids.end() - 1, [&key = key](const auto& kid) { return kid->text == key; });
      if (found != node.kids.end() - 1) named[static_cast<size_t>(found - node.kids.begin())] = &value;
      else if (key == "caller" && takes_caller) local.values["caller"] = value;
      else if (takes_names) names.set(Value::text(key), value);
      else throw input_error("macro '{}' has no parameter '{}'", node.text, key);
    }
    for (size_t i = 0; i < count; ++i) {
      const Node& parameter = *node.kids[i];
      if (i < given.positional.size() && named[i]) throw input_error("macro '{}' got '{}' twice", node.text, parameter.text);
      if (i < given.positional.size()) local.values[parameter.text] = given.positional[i];
      else if (named[i]) local.values[parameter.text] = *named[i];
      else if (!parameter.kids.empty()) local.values[parameter.text] = evaluate(*parameter.kids[0], local);
      else local.values[parameter.text] = Value::undefined(parameter.text);
    }
    if (takes_more) local.values["varargs"] = Value::sequence(std::move(more), Kind::kTuple);
    if (takes_names) local.values["kwargs"] = Value::mapping(std::move(names));
    if (takes_caller && !local.values.contains("caller")) local.values["caller"] = Value::undefined("No caller defined");
    std::string out;
    const int line = line_;
    execute_all(*node.kids.back(), local, out);
    line_ = line;
    return text(std::move(out));
  });
}

void Evaluator::assign(const Node& target, const Value& value, Scope& scope) {
  if (target.kind == NodeKind::kName) {
    scope.values[target.text] = value;
  } else if (target.kind == NodeKind::kAttribute) {
    const Value object = evaluate(*target.kids[0], scope);
    if (object.kind != Kind::kNamespace) throw input_error("attributes can only be set on a namespace, and '{}' is {}", target.kids[0]->text, object.type());
    object.dict->set(Value::text(target.text), value);
    changed_.insert(object.dict);
  } else {
    const List values = elements(value);
    if (values.size() != target.kids.size()) throw input_error("{} names cannot take {} values", target.kids.size(), values.size());
    for (size_t i = 0; i < values.size(); ++i) assign(*target.kids[i], values[i], scope);
  }
}

Value Evaluator::look_up(const std::string& name, Scope& scope) {
  for (Scope* s = &scope; s; s = s->outer)
    if (const auto found = s->values.find(name); found != s->values.end()) return found->second;
  return Value::undefined(name);
}

Value Evaluator::evaluate(const Node& node, Scope& scope) {
  const Deeper deeper(*this);
  return evaluate_node(node, scope);
}

Value Evaluator::evaluate_node(const Node& node, Scope& scope) {
  switch (node.kind) {
    case NodeKind::kConstant: return node.constant;
    case NodeKind::kName: return look_up(node.text, scope);
    case NodeKind::kTuple:
    case NodeKind::kList: {
      List values;
      for (const auto& kid : node.kids) values.push_back(evaluate(*kid, scope));
      return Value::sequence(std::move(values), node.kind == NodeKind::kTuple ? Kind::kTuple : Kind::kList);
    }
    case NodeKind::kDict: {
      Dict dict;
      for (size_t i = 0; i < node.kids.size(); i += 2) {
        const Value key = evaluate(*node.kids[i], scope);
        dict.set(key, evaluate(*node.kids[i + 1], scope));
      }
      return Value::mapping(std::move(dict));
    }
    case NodeKind::kUnary: {
      const Value value = evaluate(*node.kids[0], scope);
      if (node.text == "not") return Value::boolean(!value.truth());
      return arithmetic(node.text, Value::number(int64_t{0}), value);
    }
    case NodeKind::kBinary: return binary(node, scope);
    case NodeKind::kCompare: {
      Value left = evaluate(*node.kids[0], scope);
      for (size_t i = 1; i < node.kids.size(); ++i) {
        Value right = evaluate(*node.kids[i]->kids[0], scope);
        if (!comparison(node.kids[i]->text, left, right)) return Value::boolean(false);
        left = std::move(right);
      }
      return Value::boolean(true);
    }
    case NodeKind::kConditional:
      if (evaluate(*node.kids[0], scope).truth()) return evaluate(*node.kids[1], scope);
      return node.flag ? evaluate(*node.kids[2], scope) : Value::undefined("the inline if-expression without else");
    case NodeKind::kAttribute: return attribute(evaluate(*node.kids[0], scope), node.text);
    case NodeKind::kItem: {
      const Value object = evaluate(*node.kids[0], scope);
      return item(object, evaluate(*node.kids[1], scope));
    }
    case NodeKind::kSlice: return slice(node, scope);
    case NodeKind::kCallExpr: {
      const Value callee = evaluate(*node.kids[0], scope);
      Arguments given = arguments(node, 1, scope);
      line_ = node.line;
      return call(callee, given);
    }
    case NodeKind::kFilter: return filtered(node, scope, nullptr);
    case NodeKind::kTest: {
      const Value value = evaluate(*node.kids[0], scope);
      return Value::boolean(test(node.text, value, arguments(node, 1, scope)) != node.flag);
    }
    default: throw input_error("a value is expected here");
  }
}

/// `input`: what stands for the empty name at the chain's begin (set blocks and filter blocks).
Value Evaluator::filtered(const Node& node, Scope& scope, const Value* input) {
  if (node.kind == NodeKind::kName && input) return *input;
  const Value value = input ? filtered(*node.kids[0], scope, input) : evaluate(*node.kids[0], scope);
  return filter(node.text, value, arguments(node, 1, scope));
}

Arguments Evaluator::arguments(const Node& node, size_t first, Scope& scope) {
  Arguments out;
  for (size_t i = first; i < node.kids.size(); ++i) {
    const Node& kid = *node.kids[i];
    if (kid.kind == NodeKind::kKeyword) {
      out.named.emplace_back(kid.text, evaluate(*kid.kids[0], scope));
    } else if (kid.kind == NodeKind::kStar) {
      for (auto& value : elements(evaluate(*kid.kids[0], scope))) out.positional.push_back(std::move(value));
    } else if (kid.kind == NodeKind::kStarStar) {
      const Value dict = evaluate(*kid.kids[0], scope);
      if (!dict.is_mapping()) throw input_error("** needs a mapping, got {}", dict.type());
      for (const auto& [key, value] : dict.dict->items()) out.named.emplace_back(to_text(key), value);
    } else {
      out.positional.push_back(evaluate(kid, scope));
    }
  }
  return out;
}

Value Evaluator::call(const Value& callee, const Arguments& given) {
  if (callee.is_undefined()) undefined_error(callee);
  if (!callee.function) throw input_error("a value of type {} cannot be called", callee.type());
  return (*callee.function)(*this, given);
}

Value Evaluator::filter(const std::string& name, const Value& input, Arguments given) {
  const FilterFunction function = find_filter(name);
  if (!function) throw input_error("filter '{}' is not known or not supported", name);
  return function(*this, input, given);
}

bool Evaluator::test(const std::string& name, const Value& input, Arguments given) {
  const TestFunction function = find_test(name);
  if (!function) throw input_error("test '{}' is not known or not supported", name);
  return function(*this, input, given);
}

Value Evaluator::attribute(const Value& object, const std::string& name) {
  if (object.is_undefined()) undefined_error(object);
  if (auto method = find_method(object, name)) return *method;
  if (object.is_mapping() || object.kind == Kind::kNamespace)
    if (const Value* found = object.dict->find(Value::text(name))) return *found;
  return Value::undefined(fmt::format("{} object has no attribute '{}'", object.type(), name));
}

Value Evaluator::item(const Value& object, const Value& key) {
  if (object.is_undefined()) undefined_error(object);
  if (object.is_mapping() && (key.is_text() || key.is_number() || key.is_none())) {
    if (const Value* found = object.dict->find(key)) return *found;
  } else if (key.is_integer() && (object.is_sequence() || object.is_text())) {
    const List all = object.is_text() ? elements(object) : List();
    const List& values = object.is_text() ? all : *object.list;
    const auto count = static_cast<int64_t>(values.size());
    const int64_t at = key.integer < 0 ? key.integer + count : key.integer;
    if (at >= 0 && at < count) return values[static_cast<size_t>(at)];
    return Value::undefined(fmt::format("{} object has no element {}", object.type(), key.integer));
  }
  if (key.is_text()) return attribute(object, *key.string);
  return Value::undefined(fmt::format("{} object has no element {}", object.type(), to_repr(key)));
}

List Evaluator::elements(const Value& value) {
  if (value.is_undefined()) return {};
  if (value.is_sequence()) {
    spend(value.list->size());
    return *value.list;
  }
  if (value.kind == Kind::kGenerator) return std::exchange(*value.list, {});
  List out;
  if (value.is_text()) {
    spend(value.string->size() * 8);
    for (size_t at = 0; at < value.string->size();) {
      const CodePoint c = code_point_at(*value.string, at);
      out.push_back(Value::text(value.string->substr(at, c.length)));
      at += c.length;
    }
  } else if (value.is_mapping()) {
    for (const auto& [key, unused] : value.dict->items()) out.push_back(key);
    spend(out.size());
  } else {
    throw input_error("a value of type {} cannot be iterated over", value.type());
  }
  return out;
}

Value Evaluator::binary(const Node& node, Scope& scope) {
  const Value left = evaluate(*node.kids[0], scope);
  if (node.text == "and") return left.truth() ? evaluate(*node.kids[1], scope) : left;
  if (node.text == "or") return left.truth() ? left : evaluate(*node.kids[1], scope);
  return arithmetic(node.text, left, evaluate(*node.kids[1], scope));
}

Value Evaluator::arithmetic(const std::string& op, const Value& a, const Value& b) {
  if (op == "~") return text(to_text(a) + to_text(b));
  if (op == "+" && a.is_text() && b.is_text()) {
    const bool markup = a.markup || b.markup;
    const auto part = [&](const Value& v) { return markup && !v.markup ? escape_markup(to_text(v)) : to_text(v); };
    return text(part(a) + part(b), markup);
  }
  if (a.is_undefined()) undefined_error(a);
  if (b.is_undefined()) undefined_error(b);
  if (op == "%" && a.is_text()) return text(percent_format(*a.string, b));
  if (op == "+" && a.is_sequence() && a.kind == b.kind) {
    spend((a.list->size() + b.list->size()) * sizeof(Value));
    List values = *a.list;
    values.insert(values.end(), b.list->begin(), b.list->end());
    return Value::sequence(std::move(values), a.kind);
  }
  if (op == "*" && (a.is_integer() != b.is_integer()) && (a.is_text() || b.is_text() || a.is_sequence() || b.is_sequence())) {
    const Value& thing = a.is_integer() ? b : a;
    const int64_t times = std::max<int64_t>(0, a.is_integer() ? a.integer : b.integer);
    const size_t unit = thing.is_text() ? thing.string->size() : thing.list->size() * sizeof(Value);
    if (unit > 0 && static_cast<size_t>(times) > kMaxSpent / unit) spend(kMaxSpent);
    spend(unit * static_cast<size_t>(times));
    if (thing.is_text()) {
      std::string out;
      for (int64_t i = 0; i < times && unit > 0; ++i) out += *thing.string;
      return Value::text(std::move(out), thing.markup);
    }
    List values;
    for (int64_t i = 0; i < times && unit > 0; ++i) values.insert(values.end(), thing.list->begin(), thing.list->end());
    return Value::sequence(std::move(values), thing.kind);
  }
  if (!a.is_number() || !b.is_number()) throw input_error("'{}' does not work between {} and {}", op, a.type(), b.type());
  if ((op == "/" || op == "//" || op == "%") && b.as_real() == 0) throw input_error("division by zero");
  if (a.is_integer() && b.is_integer() && op != "/") {
    int64_t out = 0;
    bool overflow = false;
    if (op == "+") overflow = __builtin_add_overflow(a.integer, b.integer, &out);
    else if (op == "-") overflow = __builtin_sub_overflow(a.integer, b.integer, &out);
    else if (op == "*") overflow = __builtin_mul_overflow(a.integer, b.integer, &out);
    else if (op == "**") {
      if (b.integer < 0) return Value::number(std::pow(a.as_real(), b.as_real()));
      out = 1;
      const int64_t most = std::abs(a.integer) < 2 ? 2 + b.integer % 2 : 64;  // powers of -1, 0 and 1 repeat
      for (int64_t i = 0; i < std::min(b.integer, most) && !overflow; ++i) overflow = __builtin_mul_overflow(out, a.integer, &out);
    } else if (a.integer == std::numeric_limits<int64_t>::min() && b.integer == -1) {
      overflow = op == "//";
    } else {
      const int64_t quotient = a.integer / b.integer, rest = a.integer % b.integer;
      const bool down = rest != 0 && (rest < 0) != (b.integer < 0);  // Python rounds down
      out = op == "//" ? quotient - down : rest + (down ? b.integer : 0);
    }
    if (overflow) throw input_error("the result of '{}' does not fit 64 bits", op);
    return Value::number(out);
  }
  const double x = a.as_real(), y = b.as_real();
  if (op == "+") return Value::number(x + y);
  if (op == "-") return Value::number(x - y);
  if (op == "*") return Value::number(x * y);
  if (op == "/") return Value::number(x / y);
  if (op == "//") return Value::number(std::floor(x / y));
  if (op == "**") return Value::number(std::pow(x, y));
  const double rest = std::fmod(x, y);
  return Value::number(rest != 0 && (rest < 0) != (y < 0) ? rest + y : rest);
}

bool Evaluator::comparison(const std::string& op, const Value& a, const Value& b) {
  if (op == "==") return equal(a, b);
  if (op == "!=") return !equal(a, b);
  if (op == "in" || op == "not in") {
    bool found = false;
    if (b.is_text()) {
      if (!a.is_text()) throw input_error("'in' a string needs a string on its left, got {}", a.type());
      spend(b.string->size() / 8);
      found = b.string->find(*a.string) != std::string::npos;
    } else if (b.is_mapping()) {
      found = b.dict->find(a) != nullptr;
    } else {
      const List values = elements(b);
      found = std::any_of(values.begin(), values.end(), [&](const Value& v) { return equal(a, v); });
    }
    return found == (op == "in");
  }
  if (a.is_undefined()) undefined_error(a);
  if (b.is_undefined()) undefined_error(b);
  const int order = compare(a, b);
  return op == "<" ? order < 0 : op == ">" ? order > 0 : op == "<=" ? order <= 0 : order >= 0;
}

Value Evaluator::slice(const Node& node, Scope& scope) {
  const Value object = evaluate(*node.kids[0], scope);
  if (object.is_undefined()) undefined_error(object);
  if (!object.is_text() && !object.is_sequence()) return Value::undefined(fmt::format("a slice of {}", object.type()));
  const List values = elements(object);
  const auto count = static_cast<int64_t>(values.size());
  const auto bound = [&](size_t kid, int64_t fallback, int64_t low, int64_t high) {
    const Value value = evaluate(*node.kids[kid], scope);
    if (value.is_none()) return fallback;
    const int64_t at = need_integer(value, "slice");
    return std::clamp(at < 0 ? at + count : at, low, high);
  };
  const Value step_value = evaluate(*node.kids[3], scope);
  const int64_t step = step_value.is_none() ? 1 : need_integer(step_value, "slice");
  if (step == 0) throw input_error("a slice's step cannot be 0");
  const int64_t begin = step > 0 ? bound(1, 0, 0, count) : bound(1, count - 1, -1, count - 1);
  const int64_t end = step > 0 ? bound(2, count, 0, count) : bound(2, -1, -1, count - 1);
  List kept;
  for (int64_t i = begin; step > 0 ? i < end : i > end;) {
    kept.push_back(values[static_cast<size_t>(i)]);
    if (std::abs(step) > count) break;
    i += step;
  }
  if (object.is_sequence()) return Value::sequence(std::move(kept), object.kind);
  std::string out;
  for (const auto& value : kept) out += *value.string;
  return text(std::move(out), object.markup);
}

}  // namespace canvaslab::jinja
