#pragma once
// A text out of which spellings are taken, one after another.
#include <bitset>
#include <string>
#include <string_view>

namespace canvaslab::grading {

/// Knows which pairs of neighbouring bytes occur in a long text, so that a spelling that cannot be in it costs no search.
class Respelling {
 public:
  explicit Respelling(std::string text) : text_(std::move(text)) {}
  const std::string& text() const { return text_; }
  std::string take() { return std::move(text_); }
  /// False only where `what` does not occur.
  bool may_hold(std::string_view what);
  /// Every occurrence of `from` (not empty) replaced, left to right.
  void replace(std::string_view from, std::string_view to);
  void drop(std::string_view what) { replace(what, ""); }

 private:
  std::string text_;
  std::bitset<1 << 16> pairs_;
  bool known_ = false;  ///< pairs_ is that of text_
};

}  // namespace canvaslab::grading
