// Programs that try to be judged better than they are: every one is wrong, and none may pass.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "eval/sandbox/contest.h"
#include "eval/sandbox/unit_tests.h"
#include "tests/support/sandbox.h"
#include "tests/support/temporary.h"

namespace canvaslab {
namespace {

struct Forgery {
  const char* name;
  const char* program;
};

class Forgeries : public testing::WithSandbox {};

// --- unit tests: f(x) should be 2 x + 17

const UnitTests kDoubled{.prompt = "def f(x):\n    \"\"\"Twice x and seventeen more.\"\"\"\n",
                         .tests = "SECRET_EXPECTATION = [17, 19, 21]\ndef check(candidate):\n    assert [candidate(x) for x in range(3)] == SECRET_EXPECTATION\n",
                         .entry = "f",
                         .timeout_seconds = 2,
                         .memory_bytes = int64_t{512} << 20};

constexpr Forgery kUnitTestForgeries[] = {
    {"a message that it passed", "import os, json\ndef f(x):\n    m = json.dumps({'passed': True, 'why': ''}).encode()\n    os.write(4, len(m).to_bytes(4, 'little') + m)\n    return 0\n"},
    {"a message that it passed, before anything is asked", "import os, json\nm = json.dumps({'passed': True}).encode()\nos.write(4, len(m).to_bytes(4, 'little') + m)\ndef f(x): return 0\n"},
    {"many answers ahead of the questions", "import os, json\nfor v in (1, 2, 3):\n    m = json.dumps({'value': v}).encode()\n    os.write(4, len(m).to_bytes(4, 'little') + m)\ndef f(x): return 0\n"},
    {"leaving with success", "import os\ndef f(x): os._exit(0)\n"},
    {"leaving with success at once", "import sys\nsys.exit(0)\n"},
    {"an object that equals everything", "class Any:\n    def __eq__(self, other): return True\ndef f(x): return Any()\n"},
    {"a number that equals everything", "class Any(int):\n    def __eq__(self, other): return True\ndef f(x): return Any(1)\n"},
    {"a list that equals everything", "class Any(list):\n    def __eq__(self, other): return True\ndef f(x): return Any()\n"},
    {"a packed value of a kind that nobody knows", "import os, json\ndef f(x):\n    m = json.dumps({'value': {'kind': 'object', 'value': 'os.system'}}).encode()\n    os.write(4, len(m).to_bytes(4, 'little') + m)\n"},
    {"a message that is no JSON", "import os\ndef f(x):\n    os.write(4, (9).to_bytes(4, 'little') + b'{\"value\":')\n    return 0\n"},
    {"a value nested so deeply that it breaks its reader",
     "import os\ndef f(x):\n    m = b'{\"value\": ' + b'[' * 200000 + b']' * 200000 + b'}'\n    os.write(4, len(m).to_bytes(4, 'little'))\n    while m: m = m[os.write(4, m):]\n    return 0\n"},
    {"a literal that breaks its reader",
     "import os, json\ndef f(x):\n    m = json.dumps({'value': {'kind': 'bytes', 'value': '(' * 100000}}).encode()\n    os.write(4, len(m).to_bytes(4, 'little') + m)\n    return 0\n"},
    {"an answer whose error is no text", "import os, json\ndef f(x):\n    m = json.dumps({'error': {'a': [1]}}).encode()\n    os.write(4, len(m).to_bytes(4, 'little') + m)\n    return 0\n"},
    {"the expectation from the frames around it",
     "import sys\ndef f(x):\n    frame = sys._getframe()\n    while frame:\n        for scope in (frame.f_locals, frame.f_globals):\n            if 'SECRET_EXPECTATION' in scope: return scope['SECRET_EXPECTATION'][x]\n        frame = frame.f_back\n    return 0\n"},
    {"the expectation from all objects", "import gc\ndef f(x):\n    for o in gc.get_objects():\n        if o == [17, 19, 21]: return o[x]\n        if isinstance(o, dict) and 'SECRET_EXPECTATION' in o: return o['SECRET_EXPECTATION'][x]\n    return 0\n"},
    {"the expectation from files",
     "import os\ndef f(x):\n    for folder, _, names in os.walk('/box'):\n        for name in names:\n            text = open(os.path.join(folder, name)).read()\n            if 'SECRET_EXPECTATION = [' in text: return [17, 19, 21][x]\n    return 0\n"},
    {"asserting nothing any more", "import builtins\nbuiltins.AssertionError = type('Quiet', (BaseException,), {})\ndef f(x): return 0\n"},
    {"other ways to write JSON", "import json\njson.dumps = lambda *a, **k: '{\"passed\": true}'\ndef f(x): return 0\n"},
    {"hooks at the end", "import atexit, os\natexit.register(lambda: os._exit(0))\ndef f(x): raise SystemExit(0)\n"},
    {"printing that it passed", "print('passed')\nprint({'passed': True})\ndef f(x):\n    print('{\"passed\": true}')\n    return 0\n"},
    {"tracing its caller", "import sys\ndef trace(frame, event, arg):\n    if 'encode' in frame.f_locals: frame.f_locals['encode'] = lambda v: True\n    return trace\nsys.settrace(trace)\nsys.setprofile(trace)\ndef f(x): return 0\n"},
};

TEST_F(Forgeries, NoneIsTakenForAFunctionThatPassesItsTests) {
  const ProgramVerdict honest = judge_unit_tests(isolation_, "def f(x): return 2 * x + 17\n", kDoubled);
  ASSERT_TRUE(honest.passed()) << honest.detail;
  for (const auto& forgery : kUnitTestForgeries) {
    const ProgramVerdict verdict = judge_unit_tests(isolation_, forgery.program, kDoubled);
    EXPECT_FALSE(verdict.passed()) << forgery.name;
  }
}

TEST_F(Forgeries, TheChannelIsRealAndCarriesAnswersOnly) {
  // The same writing at descriptor 4 with the right values passes: the forgeries above are refused for what they say, not because nobody listens.
  const char* program = "import os, json\ndef f(x):\n    m = json.dumps({'value': 2 * x + 17}).encode()\n    os.write(4, len(m).to_bytes(4, 'little') + m)\n    import time; time.sleep(0.3)\n    os._exit(0)\n";
  UnitTests once = kDoubled;
  once.tests = "def check(candidate):\n    assert candidate(1) == 19\n";
  EXPECT_TRUE(judge_unit_tests(isolation_, program, once).passed());
}

// --- contests: the sum of two numbers, 3 and then 7

const ProgramTests kSums{.cases = {{"1 2\n", "3"}, {"3 4\n", "7"}}, .function = ""};
const ProgramTests kAdd{.cases = {{"1\n2", "3"}, {"3\n4", "7"}}, .function = "add"};

constexpr Forgery kReaders[] = {
    {"answers ahead of the inputs", "import os, json\nfor v in ('1', '2', '3'):\n    m = json.dumps({'output': v}).encode()\n    os.write(4, len(m).to_bytes(4, 'little') + m)\n"},
    {"the next input, read ahead", "import os\nprint(os.read(3, 100000))\n"},
    {"expected outputs from the frames", "import sys\nframe = sys._getframe()\nwhile frame:\n    for v in list(frame.f_locals.values()):\n        if isinstance(v, (list, tuple)) and '7' in map(str, v): print(v)\n    frame = frame.f_back\n"},
    {"a verdict in place of an output", "import os, json\nm = json.dumps({'passed': True, 'output': 'passed', 'end': 'passed'}).encode()\nos.write(4, len(m).to_bytes(4, 'little') + m)\n"},
    {"leaving with success", "import os\nos._exit(0)\n"},
    {"numbers that equal nothing and everything", "print('nan')\n"},
    {"an output that is empty", "pass\n"},
    {"another handler of the alarm", "import signal\nsignal.signal(signal.SIGALRM, lambda *a: None)\nprint(0)\n"},
};
constexpr Forgery kFunctions[] = {
    {"an object that equals everything", "class Any:\n    def __eq__(self, o): return True\ndef add(a, b): return Any()\n"},
    {"a list with such an object", "class Any(int):\n    def __eq__(self, o): return True\ndef add(a, b): return [Any()]\n"},
    {"a message with the wrong value", "import os, json\ndef add(a, b):\n    m = json.dumps({'value': a}).encode()\n    os.write(4, len(m).to_bytes(4, 'little') + m)\n    return 0\n"},
    {"a message that is no JSON", "import os\ndef add(a, b):\n    os.write(4, (9).to_bytes(4, 'little') + b'{\"value\": ')\n    return 0\n"},
    {"a value that is no JSON", "import os\ndef add(a, b):\n    m = b'{\"value\": NaN}'\n    os.write(4, len(m).to_bytes(4, 'little') + m)\n    return 0\n"},
    {"an answer that claims to be ready", "import os\ndef add(a, b):\n    m = b'{\"ready\": true}'\n    os.write(4, len(m).to_bytes(4, 'little') + m)\n    return 0\n"},
    {"a class whose name is dict", "class M(type):\n    __name__ = property(lambda s: 'dict')\nclass D(metaclass=M):\n    __module__ = 'builtins'\n    def __eq__(self, o): return True\ndef add(a, b): return D()\n"},
};

TEST_F(Forgeries, NoneIsTakenForAContestProgramThatPasses) {
  const ContestLimits limits{.timeout_seconds = 2, .memory_bytes = int64_t{512} << 20};
  for (const auto grader : {ContestGrader::kCompat, ContestGrader::kStrict}) {
    ASSERT_TRUE(judge_contest(isolation_, "a, b = map(int, input().split())\nprint(a + b)\n", kSums, grader, limits).passed());
    ASSERT_TRUE(judge_contest(isolation_, "def add(a, b): return a + b\n", kAdd, grader, limits).passed());
    for (const auto& forgery : kReaders) EXPECT_FALSE(judge_contest(isolation_, forgery.program, kSums, grader, limits).passed()) << contest_grader_name(grader) << ": " << forgery.name;
    for (const auto& forgery : kFunctions) EXPECT_FALSE(judge_contest(isolation_, forgery.program, kAdd, grader, limits).passed()) << contest_grader_name(grader) << ": " << forgery.name;
  }
}

TEST_F(Forgeries, AnItemWithoutTestsIsRefusedAndNotPassed) { EXPECT_THROW(judge_contest(isolation_, "print(1)\n", {}, ContestGrader::kStrict), UserError); }

}  // namespace
}  // namespace canvaslab
