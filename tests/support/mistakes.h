#pragma once
// Users' mistakes: what each must answer.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <initializer_list>
#include <string>

#include "tests/support/temporary.h"

namespace canvaslab::testing {

struct Mistake {
  std::string arguments;
  int exit_code = 0;
  std::string words;   ///< part of what is said
};

/// Runs the program in `folder` with the arguments of each.
inline void expect_mistakes(const std::string& folder, std::initializer_list<Mistake> mistakes) {
  for (const auto& mistake : mistakes) {
    const auto result = shell("cd " + folder + " && " + CANVASLAB_PROGRAM + " " + mistake.arguments);
    EXPECT_EQ(result.exit_code, mistake.exit_code) << mistake.arguments << "\n" << result.output;
    EXPECT_THAT(result.output, ::testing::HasSubstr(mistake.words)) << mistake.arguments;
  }
}

}  // namespace canvaslab::testing
