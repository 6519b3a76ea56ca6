#include "eval/grading/respelling.h"

#include "eval/grading/scan.h"

namespace canvaslab::grading {
namespace {

size_t pair_at(std::string_view text, size_t i) { return static_cast<size_t>(static_cast<unsigned char>(text[i])) << 8 | static_cast<unsigned char>(text[i + 1]); }

constexpr size_t kShort = 1024;  // below, a search is no dearer than knowing the pairs

}  // namespace

bool Respelling::may_hold(std::string_view what) {
  if (text_.size() < kShort) return true;
  if (!known_) {
    pairs_.reset();
    for (size_t i = 0; i + 1 < text_.size(); ++i) pairs_.set(pair_at(text_, i));
    known_ = true;
  }
  for (size_t i = 0; i + 1 < what.size(); ++i)
    if (!pairs_.test(pair_at(what, i))) return false;
  return true;
}

void Respelling::replace(std::string_view from, std::string_view to) {
  if (!may_hold(from) || find_text(text_, from) == std::string::npos) return;
  text_ = replace_all(text_, from, to);
  known_ = false;
}

}  // namespace canvaslab::grading
