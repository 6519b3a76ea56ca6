#pragma once
// Messages of sandboxed programs, read with suspicion: anybody in there may have written them.
#include <map>
#include <string>
#include <string_view>

namespace canvaslab {

/// The texts and truth values that stand directly in a message, which is a JSON object. What is nested in them is passed over
/// without being kept, however deep or large it is.
class Message {
 public:
  /// Not a JSON object: nothing is in it.
  explicit Message(std::string_view json);
  bool has(const std::string& key) const { return members_.contains(key); }
  bool is_true(const std::string& key) const;
  /// "" for what is missing or no text.
  std::string text(const std::string& key) const;

 private:
  struct Member {
    bool is_text = false, is_true = false;
    std::string text;
  };
  class Reader;
  std::map<std::string, Member> members_;
};

}  // namespace canvaslab
