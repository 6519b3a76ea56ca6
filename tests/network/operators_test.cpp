// The CPU's operators, called through torch's dispatcher, against f64: the checks of the kernels, and of what these leave to the operators.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <numeric>
#include <random>

#include <fmt/format.h>

#include "tests/support/kernels/host.h"

namespace canvaslab {
inline at::Device operators_device() { return at::kCPU; }
inline void operators_done() {}
}  // namespace canvaslab

#include "tests/support/kernels/operator_calls.h"

#include "tests/support/kernels/attention_checks.h"
#include "tests/support/kernels/matrix_product_checks.h"
#include "tests/support/kernels/row_glue_checks.h"
#include "tests/support/kernels/operator_checks.h"

namespace canvaslab {
namespace {

TEST(Operators, PassTorchsOwnChecksInPython) {
  const char* python = std::getenv("CANVASLAB_ORACLE_PYTHON");
  if (!python) GTEST_SKIP() << "left out: CANVASLAB_ORACLE_PYTHON names no Python with torch; ./tests/run.sh --oracle includes it";
  const uint32_t seed = std::random_device()() % 1000000u;
  SCOPED_TRACE(fmt::format("seed {}", seed));
  const std::string log = ::testing::TempDir() + fmt::format("canvaslab-operators-{}.log", seed);
  const int status = std::system(fmt::format("'{}' -W ignore '{}/tests/network/operators_oracle.py' '{}' {} >'{}' 2>&1", python, CANVASLAB_SOURCE_DIR, CANVASLAB_OPERATORS, seed, log).c_str());
  EXPECT_EQ(status, 0) << "see " << log;
  if (status == 0) std::remove(log.c_str());
}

}  // namespace
}  // namespace canvaslab
