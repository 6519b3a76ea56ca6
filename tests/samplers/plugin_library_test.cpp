// Libraries that break the plug-in interface are refused with the reason, and nothing of them is registered.
#include "samplers/plugin_library.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fmt/format.h>

#include "core/error.h"
#include "samplers/sampler.h"
#include "tests/support/temporary.h"

namespace canvaslab {
namespace {

using ::testing::HasSubstr;

/// What loading says, and with which exit code.
std::pair<ExitCode, std::string> refusal(const std::string& path) {
  try {
    load_plugin_library(path);
    return {ExitCode::kDone, "no error"};
  } catch (const UserError& error) {
    return {error.code(), error.what()};
  }
}

struct Wrong {
  int number;  ///< of the broken rule in wrong.c
  ExitCode code;
  const char* says;
};

TEST(PluginLibraries, ThatBreakTheInterfaceAreRefusedWithTheReason) {
  const TemporaryFolder folder;
  const auto before = samplers().entries().size();
  for (const auto& [number, code, says] : std::vector<Wrong>{{1, ExitCode::kBadInput, "is built for version 99 of the plug-in interface"},
                                                            {2, ExitCode::kBadInput, "its CanvaslabSampler has"},
                                                            {3, ExitCode::kUsage, "there is a sampler 'entropy_bound' already"},
                                                            {4, ExitCode::kBadInput, "the name of a plug-in is missing"},
                                                            {5, ExitCode::kBadInput, "exports no function 'canvaslab_plugin'"},
                                                            {6, ExitCode::kBadInput, "a default is refused"},
                                                            {7, ExitCode::kBadInput, "hold bits that this program does not know"},
                                                            {8, ExitCode::kBadInput, "the function 'step' is missing"},
                                                            {9, ExitCode::kBadInput, "holds no plug-in"},
                                                            {10, ExitCode::kBadInput, "returns null"},
                                                            {11, ExitCode::kBadInput, "write the name 'wrong_one'"},
                                                            {12, ExitCode::kBadInput, "the description is missing"},
                                                            {13, ExitCode::kBadInput, "holds no number"}}) {
    const std::string library = folder / fmt::format("wrong{}.so", number);
    const ShellResult built = shell(fmt::format("'{}' -std=gnu99 -O0 -shared -fPIC -I '{}' -DWRONG={} '{}/tests/fixtures/plugins/wrong.c' -o '{}'", CANVASLAB_CC, CANVASLAB_SOURCE_DIR, number,
                                                CANVASLAB_SOURCE_DIR, library));
    ASSERT_EQ(built.exit_code, 0) << built.output;
    const auto [got, said] = refusal(library);
    EXPECT_EQ(got, code) << number << ": " << said;
    EXPECT_THAT(said, HasSubstr(says));
    EXPECT_THAT(said, HasSubstr(library));
  }
  EXPECT_EQ(samplers().entries().size(), before);
}

TEST(PluginLibraries, ThatAreNoneAreRefused) {
  const TemporaryFolder folder;
  write_file(folder / "text.so", "no library");
  for (const std::string& path : {folder / "text.so", folder / "missing.so", folder.path()}) {
    const auto [code, said] = refusal(path);
    EXPECT_EQ(code, ExitCode::kBadInput);
    EXPECT_THAT(said, HasSubstr(path));
  }
}

}  // namespace
}  // namespace canvaslab
