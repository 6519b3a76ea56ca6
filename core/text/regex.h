#pragma once
// Patterns over UTF-8: regular expressions by Oniguruma (the engine that tokenizer files are written for), or literals.
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace canvaslab {

/// A compiled pattern. Copies share the compiled form; matching is thread-safe.
class TextPattern {
 public:
  /// Errors: input error naming `where` and what the engine objects to.
  static TextPattern regex(const std::string& pattern, const std::string& where);
  static TextPattern literal(std::string text);

  /// Calls visit(begin, end, is_match) for the stretches of `text` in order; they cover it without gaps. An empty text is
  /// one stretch (0, 0, false). An empty match directly behind a match does not count.
  /// Errors: input error when the engine gives up (its backtracking limit).
  using Visit = std::function<void(size_t begin, size_t end, bool is_match)>;
  void for_each_stretch(std::string_view text, const Visit& visit) const;

  /// The text with every match replaced by `content`, taken literally.
  std::string replace_all(std::string_view text, std::string_view content) const;

 private:
  struct Compiled;
  std::shared_ptr<const Compiled> compiled_;  ///< null for a literal
  std::string literal_;
};

}  // namespace canvaslab
