// The interpreter of one-line functions: what it accepts means what Python makes of it, and nothing brings it down.
#include "eval/datasets/tiny_program.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <limits>
#include <random>
#include <sstream>

#include "tests/support/temporary.h"

namespace canvaslab {
namespace {

/// "none" where there is no program or no value.
std::string value_of(std::string_view text, int64_t x) {
  const auto program = TinyProgram::parse(text);
  const auto value = program ? program->run(x) : std::nullopt;
  return value ? std::to_string(*value) : "none";
}

TEST(TinyProgram, ValuesAreThoseOfPython) {
  EXPECT_EQ(value_of("def f(x):return 6*x+7", 5), "37");
  EXPECT_EQ(value_of("def f(a):\n return 6*a+7\n", 5), "none") << "nothing may follow";
  EXPECT_EQ(value_of("def f(a):\n    return 2 + 3 * (a - 1) ", 5), "14");
  EXPECT_EQ(value_of("def f(x):return 1-2-3", 0), "-4");
  EXPECT_EQ(value_of("def f(x):return 7//2*2", 0), "6");
  EXPECT_EQ(value_of("def f(x):return -7//2", 0), "-4") << "division rounds down";
  EXPECT_EQ(value_of("def f(x):return -7%3+7%-3", 0), "0") << "the remainder has the divisor's sign";
  EXPECT_EQ(value_of("def f(x):return --x", 3), "3");
  EXPECT_EQ(value_of("def f(x):return 1 if x<2 else 2 if x<4 else 3", 3), "2");
  EXPECT_EQ(value_of("def f(x):return(1)if(x)else(2)", 0), "2");
  EXPECT_EQ(value_of("def f(x):return 1 if x==2 else 1//0", 2), "1") << "only the branch that is taken counts";
  EXPECT_EQ(value_of("def f(f):return f", 4), "4");
}

TEST(TinyProgram, WhatWouldRaiseOrGrowWithoutEndHasNoValue) {
  EXPECT_EQ(value_of("def f(x):return 1//x", 0), "none");
  EXPECT_EQ(value_of("def f(x):return 1%x", 0), "none");
  EXPECT_EQ(value_of("def f(x):return x*x*x", int64_t{1} << 40), "none");
  EXPECT_EQ(value_of("def f(x):return -x", std::numeric_limits<int64_t>::min()), "none");
  EXPECT_EQ(value_of("def f(x):return x//-1", std::numeric_limits<int64_t>::min()), "none");
}

TEST(TinyProgram, OtherTextsAreNoPrograms) {
  for (const char* text : {"", "def", "def f(x):", "def f(x):return", "def f(x):return y", "def f(x):return x x", "def f(x):return x**2", "def f(x):return x/2", "def f(x):return 07", "def f(x):return 6x",
                           "def f(x):return 1 if x<2", "def f(x):return 1 if x<2<3 else 4", "def f(x):return 1if x<2 else 3", "def f(x):\nreturn x", "def f(x) return x", "deff(x):return x", "def f(x):returnx",
                           "def f(x):return (x", "def f(x):return x)", "def f(x):return f(x)", "def f(x):return x\n", "def in(x):return x", "lambda x:x", "def f(x):return 1234567890"})
    EXPECT_FALSE(TinyProgram::parse(text)) << text;
}

TEST(TinyProgram, SizeAndNestingHaveLimits) {
  const std::string head = "def f(x):return ";
  EXPECT_TRUE(TinyProgram::parse(head + std::string(30, '(') + "x" + std::string(30, ')')));
  EXPECT_FALSE(TinyProgram::parse(head + std::string(40, '(') + "x" + std::string(40, ')')));
  EXPECT_FALSE(TinyProgram::parse(head + std::string(40, '-') + "x"));
  std::string sum = "x";
  while (sum.size() < 240 - 2) sum += "+x";
  EXPECT_EQ(value_of(head + sum, 1), std::to_string((sum.size() + 1) / 2));
  EXPECT_FALSE(TinyProgram::parse(head + sum + "+x+x"));
}

// --- random programs

class Writer {
 public:
  explicit Writer(uint32_t seed) : engine_(seed) {}
  std::string program() { return "def f(x):return " + expression(3); }
  /// A program, or one with a few characters changed.
  std::string text() {
    std::string out = program();
    const std::string characters = "0123456789x+-*/%()<>=! \nifelsedr";
    for (uint32_t changes = below(4); changes > 0; --changes) out[below(static_cast<uint32_t>(out.size()))] = characters[below(static_cast<uint32_t>(characters.size()))];
    return out;
  }
  uint32_t below(uint32_t count) { return static_cast<uint32_t>(engine_() % count); }

 private:
  std::string expression(int depth) {
    static const std::vector<std::string> kOps = {"+", "-", "*", "//", "%", " + ", " - "}, kSigns = {"<", "<=", ">", ">=", "==", "!="};
    if (depth == 0 || below(5) == 0) return below(2) ? "x" : std::to_string(below(12));
    if (below(6) == 0) return "-" + expression(depth - 1);
    if (below(6) == 0) return "(" + expression(depth - 1) + " if " + expression(0) + kSigns[below(6)] + expression(0) + " else " + expression(depth - 1) + ")";
    std::string both = expression(depth - 1) + kOps[below(7)] + expression(depth - 1);
    return below(3) == 0 ? "(" + both + ")" : both;
  }
  std::mt19937 engine_;
};

TEST(TinyProgram, AgreesWithPythonOnRandomPrograms) {
  const char* python = std::getenv("CANVASLAB_PYTHON");
  if (!python) GTEST_SKIP() << "needs CANVASLAB_PYTHON";
  const auto seed = std::random_device{}();
  Writer writer(seed);
  std::string lines;
  std::vector<std::string> texts;
  for (int i = 0; i < 20000; ++i) {
    std::string text = writer.text();
    if (!TinyProgram::parse(text)) continue;  // a part of Python only; and Python need not run what is no program here
    for (const char c : text) lines += c == '\n' ? std::string("\\n") : std::string(1, c);
    lines += '\n';
    texts.push_back(std::move(text));
  }
  ASSERT_GT(texts.size(), 5000u);
  const TemporaryFolder folder;
  write_file(folder / "programs.txt", lines);
  write_file(folder / "run.py", R"(
import sys, warnings
for kind in (SyntaxWarning, DeprecationWarning): warnings.simplefilter("error", kind)
for line in open(sys.argv[1]):
    text, out = line[:-1].replace("\\n", "\n"), []
    for x in range(-3, 8):
        try:
            names = {}
            exec(text, names)
            value = [f for name, f in names.items() if name != "__builtins__"][0](x)
            out.append(str(int(value)) if abs(value) < 2**63 else "none")
        except ZeroDivisionError:
            out.append("none")
    print(*out)
)");
  const auto run = shell(fmt::format("'{}' {} {}", python, folder / "run.py", folder / "programs.txt"));
  ASSERT_EQ(run.exit_code, 0) << run.output.substr(run.output.size() - std::min<size_t>(run.output.size(), 1000)) << "\nseed " << seed;
  std::istringstream in(run.output);
  size_t values = 0;
  for (const auto& text : texts)
    for (int64_t x = -3; x < 8; ++x) {
      std::string expected;
      in >> expected;
      EXPECT_EQ(value_of(text, x), expected) << text << " at " << x << " seed " << seed;
      values += expected != "none";
    }
  EXPECT_GT(values, 30000u);
}

TEST(TinyProgram, NonsenseIsRefusedOrRunsToItsEnd) {
  const auto seed = std::random_device{}();
  Writer writer(seed);
  const std::string characters = "defrturnx():+-*/%<>=! \n0123456789if else\xff\x01";
  size_t programs = 0;
  for (int i = 0; i < 100000; ++i) {
    std::string text = i % 2 ? writer.text() : "def f(x):return ";
    if (i % 2 == 0)
      for (uint32_t n = writer.below(40); n > 0; --n) text += characters[writer.below(static_cast<uint32_t>(characters.size()))];
    if (const auto program = TinyProgram::parse(text)) {
      ++programs;
      for (const int64_t x : {std::numeric_limits<int64_t>::min(), int64_t{-1}, int64_t{0}, std::numeric_limits<int64_t>::max()}) program->run(x);
    }
  }
  EXPECT_GT(programs, 10000u) << "seed " << seed;
}

}  // namespace
}  // namespace canvaslab
