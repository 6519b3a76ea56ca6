#include <charconv>
#include <utility>

#include "core/error.h"
#include "core/text/jinja_syntax.h"

namespace canvaslab::jinja {
namespace {

constexpr int kMaxHeight = 600;
constexpr int kMaxNesting = 150;  // of tags and parentheses: deeper ones would overflow the stack

class Parser {
 public:
  Parser(std::vector<Token> tokens, const std::string& name) : tokens_(std::move(tokens)), name_(name) {}

  NodePtr run() {
    auto body = statements({});
    if (now().kind != TokenKind::kEnd) fail("the end of the template");
    return body;
  }

 private:
  struct Deeper {
    explicit Deeper(Parser& p) : parser(p) {
      if (++parser.depth_ > kMaxNesting) throw input_error("{}:{}: tags and parentheses are nested more than {} deep", p.name_, p.now().line, kMaxNesting);
    }
    ~Deeper() { --parser.depth_; }
    Parser& parser;
  };

  const Token& now() const { return tokens_[at_]; }
  const Token& ahead() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  static std::string shown(const Token& token) {
    switch (token.kind) {
      case TokenKind::kText: return "text";
      case TokenKind::kPrintBegin: return "'{{'";
      case TokenKind::kPrintEnd: return "'}}'";
      case TokenKind::kBlockBegin: return "'{%'";
      case TokenKind::kBlockEnd: return "'%}'";
      case TokenKind::kEnd: return "the end of the template";
      case TokenKind::kString: return "a string";
      default: return "'" + token.text + "'";
    }
  }
  [[noreturn]] void fail(const std::string& expected) const { throw input_error("{}:{}: expected {}, got {}", name_, now().line, expected, shown(now())); }
  bool is(std::string_view symbol) const { return now().kind == TokenKind::kOperator && now().text == symbol; }
  bool is_word(std::string_view word) const { return now().kind == TokenKind::kName && now().text == word; }
  bool take(std::string_view symbol) { return is(symbol) && (++at_, true); }
  bool take_word(std::string_view word) { return is_word(word) && (++at_, true); }
  void need(std::string_view symbol) {
    if (!take(symbol)) fail(fmt::format("'{}'", symbol));
  }
  std::string need_name() {
    if (now().kind != TokenKind::kName) fail("a name");
    return tokens_[at_++].text;
  }
  void end_block() {
    if (now().kind != TokenKind::kBlockEnd) fail("'%}'");
    ++at_;
  }
  NodePtr make(NodeKind kind, std::string text = "") const {
    auto out = std::make_unique<Node>();
    out->kind = kind;
    out->line = now().line;
    out->text = std::move(text);
    return out;
  }
  NodePtr make(NodeKind kind, std::string text, NodePtr a, NodePtr b = nullptr) const {
    auto out = make(kind, std::move(text));
    out->line = a->line;
    out->height = a->height + 1;
    if (out->height > kMaxHeight) throw input_error("{}:{}: the expression is longer than {} operations", name_, out->line, kMaxHeight);
    out->kids.push_back(std::move(a));
    if (b) out->kids.push_back(std::move(b));
    return out;
  }
  NodePtr constant(Value value) const {
    auto out = make(NodeKind::kConstant);
    out->constant = std::move(value);
    return out;
  }

  /// Statements up to a tag that begins with one of `ends`; that tag's `{%` is taken, its name is not.
  NodePtr statements(const std::vector<std::string_view>& ends) {
    const Deeper deeper(*this);
    auto body = make(NodeKind::kBody);
    while (true) {
      if (now().kind == TokenKind::kEnd) {
        if (ends.empty()) return body;
        fail(fmt::format("'{{% {} %}}'", ends.back()));
      }
      if (now().kind == TokenKind::kText) {
        body->kids.push_back(make(NodeKind::kText, now().text));
        ++at_;
      } else if (now().kind == TokenKind::kPrintBegin) {
        ++at_;
        body->kids.push_back(make(NodeKind::kPrint, "", tuple_or_expression()));
        if (now().kind != TokenKind::kPrintEnd) fail("'}}'");
        ++at_;
      } else if (now().kind == TokenKind::kBlockBegin) {
        ++at_;
        for (auto end : ends)
          if (is_word(end)) return body;
        body->kids.push_back(statement());
      } else {
        fail("text or a tag");
      }
    }
  }

  void finish(std::string_view end) {
    if (!take_word(end)) fail(fmt::format("'{}'", end));
    end_block();
  }

  NodePtr statement() {
    const std::string word = need_name();
    if (word == "if") return if_statement();
    if (word == "for") return for_statement();
    if (word == "set") return set_statement();
    if (word == "macro") return macro_statement();
    if (word == "call") return call_statement();
    if (word == "with") return with_statement();
    if (word == "break" || word == "continue") {
      --at_;
      if (loops_ == 0) fail(fmt::format("a loop around {}", word));
      auto out = make(word == "break" ? NodeKind::kBreak : NodeKind::kContinue);
      ++at_;
      end_block();
      return out;
    }
    if (word == "filter") {
      auto out = make(NodeKind::kFilterBlock);
      auto filter = filters(make(NodeKind::kName, ""), true);
      end_block();
      auto body = statements({"endfilter"});
      finish("endfilter");
      out->kids.push_back(std::move(filter));
      out->kids.push_back(std::move(body));
      return out;
    }
    if (word == "generation") {  // marks what the model wrote; prints as it is
      end_block();
      auto body = statements({"endgeneration"});
      finish("endgeneration");
      return body;
    }
    --at_;
    fail("one of the tags if, for, set, macro, call, with, filter, break, continue, generation, raw");
  }

  /// kIf: condition, body and optionally what else there is.
  NodePtr if_statement() {
    const Deeper deeper(*this);
    auto out = make(NodeKind::kIf);
    out->kids.push_back(tuple_or_expression());
    end_block();
    out->kids.push_back(statements({"elif", "else", "endif"}));
    Node* last = out.get();  // elif chains are flat here, so that long ones do not nest
    for (int branches = 1;; ++branches) {
      if (branches > kMaxHeight) throw input_error("{}:{}: more than {} elif branches", name_, now().line, kMaxHeight);
      if (take_word("elif")) {
        auto next = make(NodeKind::kIf);
        next->kids.push_back(tuple_or_expression());
        end_block();
        next->kids.push_back(statements({"elif", "else", "endif"}));
        Node* next_last = next.get();
        last->kids.push_back(std::move(next));
        last = next_last;
      } else if (take_word("else")) {
        end_block();
        last->kids.push_back(statements({"endif"}));
      } else {
        finish("endif");
        return out;
      }
    }
  }

  /// kFor: target, iterable, condition (or an empty name), body and, with `flag`, what stands for an empty loop. `text`:
  /// "recursive" or empty.
  NodePtr for_statement() {
    auto out = make(NodeKind::kFor);
    out->kids.push_back(target(true));
    if (!take_word("in")) fail("'in'");
    out->kids.push_back(tuple_or_expression(false));
    out->kids.push_back(take_word("if") ? expression() : make(NodeKind::kName, ""));
    if (take_word("recursive")) out->text = "recursive";
    end_block();
    ++loops_;
    out->kids.push_back(statements({"else", "endfor"}));
    --loops_;
    if (take_word("else")) {
      end_block();
      out->flag = true;
      out->kids.push_back(statements({"endfor"}));
    }
    finish("endfor");
    return out;
  }

  /// A name, `namespace.name`, or a tuple of names.
  NodePtr target(bool names_only) {
    const auto one = [&]() -> NodePtr {
      if (take("(")) {
        auto inner = target(true);
        need(")");
        return inner;
      }
      auto name = make(NodeKind::kName, need_name());
      for (const char* word : {"true", "false", "none", "True", "False", "None", "loop"})
        if (name->text == word && (names_only || name->text != "loop")) throw input_error("{}:{}: '{}' cannot be assigned to", name_, name->line, name->text);
      if (!names_only && take(".")) return make(NodeKind::kAttribute, need_name(), std::move(name));
      return name;
    };
    auto first = one();
    if (!is(",")) return first;
    auto out = make(NodeKind::kTuple, "", std::move(first));
    while (take(",")) {
      if (is_word("in") || is("=") || is(")")) break;
      out->kids.push_back(one());
    }
    return out;
  }

  /// kSet: target, value. kSetBlock: target, filter chain over an empty name, body.
  NodePtr set_statement() {
    auto place = target(false);
    if (take("=")) {
      auto out = make(NodeKind::kSet, "", std::move(place), tuple_or_expression());
      end_block();
      return out;
    }
    auto out = make(NodeKind::kSetBlock, "", std::move(place));
    out->kids.push_back(filters(make(NodeKind::kName, ""), false));
    end_block();
    out->kids.push_back(statements({"endset"}));
    finish("endset");
    return out;
  }

  /// Parameters as kKeyword nodes: name, and the default as their only kid if there is one.
  void parameters(Node& out) {
    need("(");
    while (!take(")")) {
      auto parameter = make(NodeKind::kKeyword, need_name());
      if (take("=")) parameter->kids.push_back(expression());
      out.kids.push_back(std::move(parameter));
      if (!is(")")) need(",");
    }
  }

  /// kMacro: parameters, then the body as the last kid.
  NodePtr macro_statement() {
    auto out = make(NodeKind::kMacro, need_name());
    parameters(*out);
    end_block();
    const int loops = std::exchange(loops_, 0);
    out->kids.push_back(statements({"endmacro"}));
    loops_ = loops;
    finish("endmacro");
    return out;
  }

  /// kCall: the call, then a kMacro with the parameters and body of caller().
  NodePtr call_statement() {
    auto out = make(NodeKind::kCall);
    auto macro = make(NodeKind::kMacro, "caller");
    if (is("(")) parameters(*macro);
    out->kids.push_back(unary(true));
    if (out->kids[0]->kind != NodeKind::kCallExpr) fail("a call");
    end_block();
    const int loops = std::exchange(loops_, 0);
    macro->kids.push_back(statements({"endcall"}));
    loops_ = loops;
    finish("endcall");
    out->kids.push_back(std::move(macro));
    return out;
  }

  /// kWith: kSet nodes, then the body.
  NodePtr with_statement() {
    auto out = make(NodeKind::kWith);
    while (now().kind != TokenKind::kBlockEnd) {
      if (!out->kids.empty()) need(",");
      auto place = make(NodeKind::kName, need_name());
      need("=");
      out->kids.push_back(make(NodeKind::kSet, "", std::move(place), expression()));
    }
    end_block();
    out->kids.push_back(statements({"endwith"}));
    finish("endwith");
    return out;
  }

  // --- expressions, loosest first

  NodePtr tuple_or_expression(bool conditional = true) {
    const auto one = [&] { return conditional ? expression() : disjunction(); };
    auto first = one();
    if (!is(",")) return first;
    auto out = make(NodeKind::kTuple, "", std::move(first));
    while (take(",")) {
      if (now().kind == TokenKind::kPrintEnd || now().kind == TokenKind::kBlockEnd || is(")")) break;
      out->kids.push_back(one());
    }
    return out;
  }

  /// kConditional: condition, value and, with `flag`, the other value.
  NodePtr expression() {
    const Deeper deeper(*this);
    auto value = disjunction();
    while (take_word("if")) {
      auto out = make(NodeKind::kConditional, "", disjunction(), std::move(value));
      if (take_word("else")) {
        out->flag = true;
        out->kids.push_back(expression());
      }
      value = std::move(out);
    }
    return value;
  }

  NodePtr disjunction() {
    auto left = conjunction();
    while (take_word("or")) left = make(NodeKind::kBinary, "or", std::move(left), conjunction());
    return left;
  }
  NodePtr conjunction() {
    auto left = negation();
    while (take_word("and")) left = make(NodeKind::kBinary, "and", std::move(left), negation());
    return left;
  }
  NodePtr negation() {
    const Deeper deeper(*this);
    if (take_word("not")) return make(NodeKind::kUnary, "not", negation());
    return comparison();
  }

  /// kCompare: first operand, then kUnary nodes of operator and operand.
  NodePtr comparison() {
    auto first = sum();
    NodePtr out;
    while (true) {
      std::string op;
      for (std::string_view candidate : {"==", "!=", "<=", ">=", "<", ">"})
        if (op.empty() && take(candidate)) op = candidate;
      if (op.empty() && take_word("in")) op = "in";
      if (op.empty() && is_word("not") && ahead().kind == TokenKind::kName && ahead().text == "in") at_ += 2, op = "not in";
      if (op.empty()) return out ? std::move(out) : std::move(first);
      if (!out) out = make(NodeKind::kCompare, "", std::move(first));
      out->kids.push_back(make(NodeKind::kUnary, op, sum()));
    }
  }

  NodePtr sum() {
    auto left = joined();
    while (is("+") || is("-")) {
      const std::string op = tokens_[at_++].text;
      left = make(NodeKind::kBinary, op, std::move(left), joined());
    }
    return left;
  }
  NodePtr joined() {
    auto left = product();
    while (take("~")) left = make(NodeKind::kBinary, "~", std::move(left), product());
    return left;
  }
  NodePtr product() {
    auto left = power();
    while (is("*") || is("/") || is("//") || is("%")) {
      const std::string op = tokens_[at_++].text;
      left = make(NodeKind::kBinary, op, std::move(left), power());
    }
    return left;
  }
  NodePtr power() {
    auto left = unary(true);
    while (take("**")) left = make(NodeKind::kBinary, "**", std::move(left), unary(true));
    return left;
  }
  NodePtr unary(bool with_filters) {
    const Deeper deeper(*this);
    NodePtr out;
    if (take("-")) out = make(NodeKind::kUnary, "-", unary(false));
    else if (take("+")) out = make(NodeKind::kUnary, "+", unary(false));
    else out = primary();
    out = postfix(std::move(out));
    return with_filters ? filters_and_tests(std::move(out)) : std::move(out);
  }

  NodePtr primary() {
    const Token token = now();
    if (token.kind == TokenKind::kName) {
      ++at_;
      if (token.text == "true" || token.text == "True") return constant(Value::boolean(true));
      if (token.text == "false" || token.text == "False") return constant(Value::boolean(false));
      if (token.text == "none" || token.text == "None") return constant(Value::none());
      auto out = make(NodeKind::kName, token.text);
      out->line = token.line;
      return out;
    }
    if (token.kind == TokenKind::kString) {
      std::string text;
      while (now().kind == TokenKind::kString) text += tokens_[at_++].text;
      return constant(Value::text(std::move(text)));
    }
    if (token.kind == TokenKind::kInteger) {
      int64_t value = 0;
      const auto result = std::from_chars(token.text.data(), token.text.data() + token.text.size(), value);
      if (result.ec != std::errc() || result.ptr != token.text.data() + token.text.size()) fail("a number below 2^63");
      ++at_;
      return constant(Value::number(value));
    }
    if (token.kind == TokenKind::kReal) {
      ++at_;
      return constant(Value::number(std::strtod(token.text.c_str(), nullptr)));
    }
    if (take("(")) {
      if (take(")")) return make(NodeKind::kTuple);
      auto out = tuple_or_expression();
      need(")");
      return out;
    }
    if (take("[")) {
      auto out = make(NodeKind::kList);
      while (!take("]")) {
        out->kids.push_back(expression());
        if (!is("]")) need(",");
      }
      return out;
    }
    if (take("{")) {  // kDict: keys and values in turn
      auto out = make(NodeKind::kDict);
      while (!take("}")) {
        out->kids.push_back(expression());
        need(":");
        out->kids.push_back(expression());
        if (!is("}")) need(",");
      }
      return out;
    }
    fail("an expression");
  }

  NodePtr postfix(NodePtr out) {
    while (true) {
      if (take(".")) {
        if (now().kind == TokenKind::kInteger) {
          auto index = primary();
          out = make(NodeKind::kItem, "", std::move(out), std::move(index));
        } else {
          out = make(NodeKind::kAttribute, need_name(), std::move(out));
        }
      } else if (take("[")) {
        out = subscript(std::move(out));
      } else if (is("(")) {
        out = make(NodeKind::kCallExpr, "", std::move(out));
        call_arguments(*out);
      } else {
        return out;
      }
    }
  }

  /// kItem: object, index. kSlice: object, begin, end, step (constants of none where left out).
  NodePtr subscript(NodePtr object) {
    const auto bound = [&] { return is(":") || is("]") ? constant(Value::none()) : expression(); };
    auto first = bound();
    if (is(":")) {
      auto out = make(NodeKind::kSlice, "", std::move(object), std::move(first));
      need(":");
      out->kids.push_back(bound());
      out->kids.push_back(take(":") ? bound() : constant(Value::none()));
      need("]");
      return out;
    }
    if (is(",")) {
      auto tuple = make(NodeKind::kTuple, "", std::move(first));
      while (take(",")) tuple->kids.push_back(expression());
      first = std::move(tuple);
    }
    need("]");
    return make(NodeKind::kItem, "", std::move(object), std::move(first));
  }

  void call_arguments(Node& out) {
    need("(");
    while (!take(")")) {
      if (take("**")) {
        out.kids.push_back(make(NodeKind::kStarStar, "", expression()));
      } else if (take("*")) {
        out.kids.push_back(make(NodeKind::kStar, "", expression()));
      } else if (now().kind == TokenKind::kName && ahead().kind == TokenKind::kOperator && ahead().text == "=") {
        std::string key = need_name();
        ++at_;
        out.kids.push_back(make(NodeKind::kKeyword, std::move(key), expression()));
      } else {
        out.kids.push_back(expression());
      }
      if (!is(")")) need(",");
    }
  }

  NodePtr filters_and_tests(NodePtr out) {
    while (true) {
      if (is("|")) out = filters(std::move(out), false);
      else if (is_word("is")) out = test(std::move(out));
      else if (is("(")) {
        out = make(NodeKind::kCallExpr, "", std::move(out));
        call_arguments(*out);
      } else {
        return out;
      }
    }
  }

  /// kFilter: what it works on, then its arguments. `bare`: the first filter comes without its bar.
  NodePtr filters(NodePtr out, bool bare) {
    while (bare || take("|")) {
      bare = false;
      out = make(NodeKind::kFilter, dotted_name(), std::move(out));
      if (is("(")) call_arguments(*out);
    }
    return out;
  }

  std::string dotted_name() {
    std::string name = need_name();
    while (take(".")) name += "." + need_name();
    return name;
  }

  /// kTest: what it is about, then its arguments; `flag`: negated.
  NodePtr test(NodePtr object) {
    ++at_;
    const bool negated = take_word("not");
    auto out = make(NodeKind::kTest, dotted_name(), std::move(object));
    out->flag = negated;
    const bool word_follows = now().kind == TokenKind::kName && now().text != "else" && now().text != "or" && now().text != "and" && now().text != "if" &&
                              now().text != "is" && now().text != "in" && now().text != "not" && now().text != "recursive";
    if (is("(")) call_arguments(*out);
    else if (word_follows || now().kind == TokenKind::kString || now().kind == TokenKind::kInteger || now().kind == TokenKind::kReal || is("[") || is("{"))
      out->kids.push_back(postfix(primary()));
    return out;
  }

  std::vector<Token> tokens_;
  const std::string& name_;
  size_t at_ = 0;
  int depth_ = 0, loops_ = 0;
};

}  // namespace

NodePtr parse(std::vector<Token> tokens, const std::string& name) { return Parser(std::move(tokens), name).run(); }

}  // namespace canvaslab::jinja
