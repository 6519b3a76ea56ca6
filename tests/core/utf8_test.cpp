// Broken UTF-8 wherever it stands among characters that are read eight at a time.
#include "core/text/utf8.h"

#include <gtest/gtest.h>

#include <random>

namespace canvaslab {
namespace {

/// One character after the other.
std::string replaced_slowly(const std::string& text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = code_point_at(text, at);
    out += c.code < 0 ? std::string("\xEF\xBF\xBD") : text.substr(at, c.length);
    at += c.length;
  }
  return out;
}

TEST(Utf8, BrokenBytesAreReplacedWhereverTheyStand) {
  const std::vector<std::string> pieces = {"a", "\n", "\xC3\xA9", "\xE2\x89\xA4", "\xF0\x9F\x98\x80", "\xFF", "\xC3", "\xED\xA0\x80", "\x80", "abcdefgh"};
  const uint32_t seed = 7;
  std::mt19937 engine(seed);
  size_t broken = 0;
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    for (size_t n = engine() % 30; n > 0; --n) text += pieces[engine() % pieces.size()];
    const std::string wanted = replaced_slowly(text);
    EXPECT_EQ(replace_broken_utf8(text), wanted) << "seed " << seed << " round " << round;
    EXPECT_EQ(first_broken_utf8(text) == std::string_view::npos, wanted == text);
    broken += wanted != text;
  }
  EXPECT_GT(broken, 100u);
  EXPECT_LT(broken, 2000u);
  for (size_t before = 0; before < 20; ++before) EXPECT_EQ(first_broken_utf8(std::string(before, 'x') + "\xFF" + std::string(20, 'y')), before);
}

}  // namespace
}  // namespace canvaslab
