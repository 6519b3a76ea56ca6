// Python's random number generator against Python itself.
#include <gtest/gtest.h>

#include "core/json.h"
#include "eval/grading/option_order.h"
#include "tests/support/temporary.h"

namespace canvaslab::grading {
namespace {

TEST(PythonRandom, AgreesWithPythonOnOrdersOfEverySize) {
  const char* python = std::getenv("CANVASLAB_PYTHON");
  if (!python) GTEST_SKIP() << "left out: CANVASLAB_PYTHON is not set";
  // A generator is used up across calls, so that the state is compared too: 624 words are drawn several times over.
  const std::string script =
      "import json, random\n"
      "out = []\n"
      "for seed in [0, 1, 42, 12345, 2**31, 2**32 - 1, 2**32, 2**53 + 1, 2**64 - 1]:\n"
      "    r = random.Random(seed)\n"
      "    rows = []\n"
      "    for n in range(1, 22):\n"
      "        order = list(range(n)); r.shuffle(order)\n"
      "        rows.append([r.sample(range(n), n), order, [r.randint(0, n - 1) for _ in range(40)]])\n"
      "    out.append([seed, rows])\n"
      "print(json.dumps(out))\n";
  const TemporaryFolder folder;
  write_file(folder / "orders.py", script);
  const auto said = shell(std::string("'") + python + "' '" + (folder / "orders.py") + "'");
  ASSERT_EQ(said.exit_code, 0) << said.output;
  for (const auto& entry : parse_json(said.output)) {
    PythonRandom random(entry[0].get<uint64_t>());
    for (size_t n = 1; n <= entry[1].size(); ++n) {
      const auto shuffled = random.shuffled(n);
      EXPECT_EQ(random.sample_all(n), entry[1][n - 1][0].get<std::vector<size_t>>()) << "seed " << entry[0] << ", n " << n;
      EXPECT_EQ(shuffled, entry[1][n - 1][1].get<std::vector<size_t>>()) << "seed " << entry[0] << ", n " << n;
      for (const auto& value : entry[1][n - 1][2]) ASSERT_EQ(random.below(static_cast<uint32_t>(n)), value.get<uint32_t>()) << "seed " << entry[0] << ", n " << n;
    }
  }
}

}  // namespace
}  // namespace canvaslab::grading
