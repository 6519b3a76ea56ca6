#pragma once
// Reading a chat template: tokens, then a tree.
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/text/jinja_value.h"

namespace canvaslab::jinja {

enum class TokenKind { kText, kPrintBegin, kPrintEnd, kBlockBegin, kBlockEnd, kName, kString, kInteger, kReal, kOperator, kEnd };

struct Token {
  TokenKind kind = TokenKind::kEnd;
  std::string text;
  int line = 1;
};

/// Cuts a template into tokens, with trim_blocks and lstrip_blocks on as chat templates expect.
/// Errors: input error naming the template and the line.
std::vector<Token> tokenize(std::string source, const std::string& name);

enum class NodeKind {
  // statements
  kBody, kText, kPrint, kIf, kFor, kSet, kSetBlock, kMacro, kCall, kFilterBlock, kWith, kBreak, kContinue,
  // expressions
  kConstant, kName, kTuple, kList, kDict, kUnary, kBinary, kCompare, kConditional, kAttribute, kItem, kSlice, kCallExpr, kFilter, kTest,
  kKeyword, kStar, kStarStar
};

/// A node of the tree. What `kids` hold depends on the kind; the parser's functions say it where they make them.
struct Node {
  NodeKind kind;
  int line = 1;
  int height = 1;       ///< of the tree below, kept small so that walking it cannot overflow the stack
  std::string text;     ///< name, operator, text
  Value constant;
  std::vector<std::unique_ptr<Node>> kids;
  bool flag = false;    ///< kFor: recursive; kTest: negated; kConditional, kFor: has an else
};
using NodePtr = std::unique_ptr<Node>;

/// Errors: input error naming the template, the line and what was expected.
NodePtr parse(std::vector<Token> tokens, const std::string& name);

}  // namespace canvaslab::jinja
