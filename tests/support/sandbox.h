#pragma once
// The sandbox in tests: where programs cannot be isolated, tests that run some are left out and say why.
#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <string>

#include "core/error.h"
#include "eval/sandbox/isolation.h"

namespace canvaslab::testing {

class WithSandbox : public ::testing::Test {
 protected:
  void SetUp() override {
    try {
      isolation_ = find_isolation();
    } catch (const UserError& problem) {
      // run.sh sets it where bubblewrap works by itself: then what fails is ours.
      if (std::getenv("CANVASLAB_NEED_SANDBOX")) FAIL() << problem.what();
      GTEST_SKIP() << "left out: " << problem.what();
    }
  }
  std::shared_ptr<const Isolation> isolation_;
};

}  // namespace canvaslab::testing
