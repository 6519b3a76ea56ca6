#pragma once
// Added tokens: texts that are cut out before anything else happens.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace canvaslab {

struct AddedToken {
  int32_t id = 0;
  std::string content;
  bool single_word = false;  ///< only between characters that are no word characters
  bool lstrip = false;       ///< takes the white space on its left along
  bool rstrip = false;
  bool normalized = false;   ///< looked for in the normalised text
  bool special = false;      ///< left out when decoding with skip_special
};

/// Finds the leftmost, and among those the longest, of a set of texts.
class AddedTokenMatcher {
 public:
  /// `pattern` of each token is looked for; `tokens` must outlive nothing (they are copied).
  /// Errors: input error when two tokens have the same pattern or one is empty; `where` names the list.
  void build(std::vector<std::pair<std::string, AddedToken>> patterns, const std::string& where);

  struct Match {
    size_t begin, end;
    int32_t id;
  };
  /// Matches in order, white space taken along as the flags say.
  std::vector<Match> find(std::string_view text) const;

 private:
  struct Node {
    int32_t token = -1;
    std::vector<std::pair<uint8_t, int32_t>> next;  // sorted by byte
  };
  int32_t child(int32_t node, uint8_t byte) const;

  std::vector<Node> nodes_;
  std::vector<AddedToken> tokens_;
  std::vector<int32_t> first_ = std::vector<int32_t>(256, -1);  // node of each first byte
};

}  // namespace canvaslab
