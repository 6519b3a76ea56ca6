#include "core/text/added_tokens.h"

#include <algorithm>

#include "core/error.h"
#include "core/text/utf8.h"

namespace canvaslab {
namespace {

/// The character that ends just before byte `end`.
CodePoint code_point_before(std::string_view text, size_t end) {
  size_t begin = end - 1;
  while (begin > 0 && (static_cast<uint8_t>(text[begin]) & 0xC0) == 0x80) --begin;
  return code_point_at(text, begin);
}

}  // namespace

void AddedTokenMatcher::build(std::vector<std::pair<std::string, AddedToken>> patterns, const std::string& where) {
  nodes_.assign(1, {});
  for (auto& [pattern, token] : patterns) {
    if (pattern.empty()) throw input_error("{}: token {} is empty once normalised", where, token.id);
    int32_t node = 0;
    for (char c : pattern) {
      int32_t next = child(node, static_cast<uint8_t>(c));
      if (next < 0) {
        next = static_cast<int32_t>(nodes_.size());
        nodes_.emplace_back();
        auto& edges = nodes_[static_cast<size_t>(node)].next;
        edges.insert(std::lower_bound(edges.begin(), edges.end(), std::pair(static_cast<uint8_t>(c), int32_t{0})), {static_cast<uint8_t>(c), next});
      }
      node = next;
    }
    if (nodes_[static_cast<size_t>(node)].token >= 0) throw input_error("{}: two tokens are written '{}'", where, pattern);
    nodes_[static_cast<size_t>(node)].token = static_cast<int32_t>(tokens_.size());
    tokens_.push_back(std::move(token));
  }
  for (const auto& [byte, node] : nodes_[0].next) first_[byte] = node;
}

int32_t AddedTokenMatcher::child(int32_t node, uint8_t byte) const {
  const auto& edges = nodes_[static_cast<size_t>(node)].next;
  const auto found = std::lower_bound(edges.begin(), edges.end(), std::pair(byte, int32_t{0}));
  return found != edges.end() && found->first == byte ? found->second : -1;
}

std::vector<AddedTokenMatcher::Match> AddedTokenMatcher::find(std::string_view text) const {
  std::vector<Match> out;
  if (tokens_.empty()) return out;
  size_t behind = 0;  // end of the last match, white space included
  for (size_t at = 0; at < text.size();) {
    int32_t best = -1;
    size_t best_end = 0;
    size_t end = at + 1;
    for (int32_t node = first_[static_cast<uint8_t>(text[at])]; node >= 0; node = end < text.size() ? child(node, static_cast<uint8_t>(text[end++])) : -1)
      if (nodes_[static_cast<size_t>(node)].token >= 0) best = nodes_[static_cast<size_t>(node)].token, best_end = end;
    if (best < 0) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_[static_cast<size_t>(best)];
    size_t begin = at;
    at = end = best_end;
    if (token.single_word && ((begin > 0 && is_word_character(code_point_before(text, begin).code)) ||
                              (end < text.size() && is_word_character(code_point_at(text, end).code))))
      continue;
    if (token.lstrip) {
      while (begin > behind && is_white_space(code_point_before(text, begin).code)) begin -= code_point_before(text, begin).length;
      begin = std::max(begin, behind);
    }
    if (token.rstrip)
      while (end < text.size() && is_white_space(code_point_at(text, end).code)) end += code_point_at(text, end).length;
    out.push_back({begin, end, token.id});
    behind = end;
  }
  return out;
}

}  // namespace canvaslab
