// Plug-in libraries through the real program: what they add, what they may not do, and what a new one starts from.
#include <gtest/gtest.h>

#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "tests/support/program.h"

namespace canvaslab {
namespace {

using Json = nlohmann::json;
using testing::Outcome;
using testing::TempFolder;

const std::string kFixtures = CANVASLAB_SOURCE_DIR "/tests/fixtures/plugins/";

Outcome canvaslab(const TempFolder& folder, const std::vector<std::string>& arguments) { return testing::run_program(CANVASLAB_PROGRAM, arguments, folder.path()); }

/// Compiles a fixture as a C library; its path.
std::string build(const TempFolder& folder, const std::string& source, int wrong = 0) {
  const std::string out = folder.file(fmt::format("{}{}.so", source, wrong));
  const Outcome got = testing::run_program("/bin/sh", {"-c", fmt::format("'{}' -std=gnu99 -O1 -shared -fPIC -I '{}' -DWRONG={} '{}{}.c' -o '{}' -lm", CANVASLAB_CC, CANVASLAB_SOURCE_DIR, wrong,
                                                                         kFixtures, source, out)}, folder.path());
  EXPECT_EQ(got.exit_code, 0) << got.err;
  return out;
}

Json tokens(const Outcome& outcome) {
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  return outcome.exit_code == 0 ? Json::parse(outcome.out)["token_ids"] : Json();
}

TEST(PluginLibraries, GiveTheTokensOfTheBuiltInPluginsTheyRepeat) {
  const TempFolder folder;
  const std::string library = build(folder, "twin");
  const auto generate = [&](const std::string& sampler, const std::string& stop, const std::string& temperature) {
    return canvaslab(folder, {"generate", "--model", "hmm(states=6, alphabet=12)", "--prompt-ids", "1 2", "--steps", sampler.find("left") == std::string::npos ? "7" : "24", "--canvas-length", "24", "--max-new-tokens", "48", "--seed", "3", "--pin", "30=4",
                              "--plugin", library, "--sampler", sampler, "--stop", stop, "--temperature", temperature, "--json"});
  };
  const auto equal = [&](const std::string& theirs, const std::string& ours, const std::string& stop = "never", const std::string& our_stop = "never",
                         const std::string& temperature = "1", const std::string& our_temperature = "1") {
    const Json a = tokens(generate(theirs, stop, temperature)), b = tokens(generate(ours, our_stop, our_temperature));
    EXPECT_EQ(a, b) << theirs;
    EXPECT_EQ(a.size(), 48u);
  };
  equal("twin_entropy_bound(entropy_bound=cosine(0.1, 0.5))", "entropy_bound(entropy_bound=cosine(0.1, 0.5))");
  equal("twin_ddim", "ddim");
  equal("twin_left", "leftmost");  // an even quota of 24 steps is one position a step
  equal("spacing(inner=twin_entropy_bound(0.5), distance=3)", "spacing(inner=entropy_bound(0.5), distance=3)");
  equal("entropy_bound(0.5)", "entropy_bound(0.5)", "any_of(twin_stability(stability=2), max_steps(6))", "any_of(stable_and_confident(2, 100), max_steps(6))");
  equal("entropy_bound(0.5)", "entropy_bound(0.5)", "never", "never", "twin_linear(1, 0.2)", "linear(1, 0.2)");
  equal("entropy_bound(entropy_bound=twin_linear(from=0.1, to=1))", "entropy_bound(entropy_bound=linear(from=0.1, to=1))");
}

TEST(PluginLibraries, AreListedCheckedAndRefusedLikeBuiltInPlugins) {
  const TempFolder folder;
  const std::string library = build(folder, "twin");
  const Outcome list = canvaslab(folder, {"list", "--plugin", library, "samplers", "--json"});
  std::set<std::string> names;
  const Json listed = Json::parse(list.out);
  for (const auto& entry : listed["samplers"]) names.insert(entry["name"]);
  EXPECT_TRUE(names.contains("twin_ddim") && names.contains("twin_entropy_bound") && names.contains("entropy_bound"));
  const Outcome check = canvaslab(folder, {"check", library});
  EXPECT_EQ(check.exit_code, 0) << check.out << check.err;
  EXPECT_NE(check.out.find("schedule twin_linear"), std::string::npos) << check.out;
  const auto refusal = [&](const std::string& option, const std::string& text) {
    const Outcome got = canvaslab(folder, {"generate", "--model", "hmm", "--plugin", library, option, text});
    EXPECT_EQ(got.exit_code, 2) << got.err;
    return got.err;
  };
  EXPECT_NE(refusal("--sampler", "twin_entropy_bound(entropy_bond=1)").find("did you mean 'entropy_bound'"), std::string::npos);
  EXPECT_NE(refusal("--sampler", "twin_entropy_bound(-1)").find("-1 is out of range"), std::string::npos);
  EXPECT_NE(refusal("--stop", "twin_stability(stability=2000)").find("out of range"), std::string::npos);
  EXPECT_NE(refusal("--stop", "twin_stability(stability=13)").find("13 brings bad luck"), std::string::npos);
  EXPECT_NE(refusal("--sampler", "twin_entropy_bond").find("did you mean 'twin_entropy_bound'"), std::string::npos);
}

struct Wrong {
  int number;
  int exit_code;
  std::string says;
};

TEST(PluginLibraries, ThatAnswerNonsenseFailTheirSample) {
  const TempFolder folder;
  for (const auto& [number, exit_code, says] : std::vector<Wrong>{{20, 4, "9 at position 0 is no action, canvas 0, step 0"},
                                                                  {21, 4, "no token of the vocabulary for position 0"},
                                                                  {22, 4, "failed: the moon is not full"},
                                                                  {23, 4, "asks for a draw that there is not: purpose 2, position 0"},
                                                                  {24, 4, "is revealed, which its facts do not declare"},
                                                                  {25, 4, "is nan at step 1 of 3"},
                                                                  {26, 4, "failed with 7"},
                                                                  {27, 4, "asks for -1 doubles"},
                                                                  {28, 2, "its range [nan, 1] is none"}}) {
    const std::string library = build(folder, "wrong", number);
    std::vector<std::string> arguments = {"generate", "--model", "hmm(states=3, alphabet=5)", "--steps", "3", "--canvas-length", "4", "--plugin", library, "--sampler", "wrong"};
    if (number == 25 || number == 28) arguments.back() = "entropy_bound(wrong_schedule)";
    if (number == 26) arguments.insert(arguments.end(), {"--stop", "wrong_stop"});
    const Outcome got = canvaslab(folder, arguments);
    EXPECT_EQ(got.exit_code, exit_code) << number << got.err;
    EXPECT_NE(got.err.find(says), std::string::npos) << number << ": " << got.err;
  }
}

TEST(PluginLibraries, CheckSaysWhichClauseIsBrokenAndSurvivesCrashesAndHangs) {
  const TempFolder folder;
  for (const auto& [number, exit_code, says] : std::vector<Wrong>{{30, 4, "FAIL  decides alike twice"},
                                                                  {31, 4, "it crashed the program with signal 11"},
                                                                  {32, 4, "it did not end within 1 s"},
                                                                  {33, 4, "it ended the program with exit code 5"},
                                                                  {20, 4, "is no action"}}) {
    const std::string library = build(folder, "wrong", number);
    const Outcome got = canvaslab(folder, {"check", library, "--timeout", "1"});
    EXPECT_EQ(got.exit_code, exit_code) << number << got.err;
    EXPECT_NE(got.out.find(says), std::string::npos) << number << ": " << got.out;
    EXPECT_NE(got.out.find("broken"), std::string::npos);
  }
}

TEST(PluginLibraries, AreNamedBySweepFilesAndPartOfTheContentKey) {
  const TempFolder folder;
  std::filesystem::create_directory(folder.path() / "libraries");
  const std::string good = build(folder, "wrong", 40), bad = build(folder, "wrong", 22), library = folder.file("libraries/mine.so");
  testing::write_text(folder.file("plan/plan.toml"), "plugins = [\"../libraries/mine.so\"]\n[denoiser]\nmodel = \"hmm(states=3, alphabet=5)\"\n[dataset]\nname = \"source(items=3)\"\n"
                                                     "[grid]\nsampler = [\"wrong\", \"fixed_step\"]\nsteps = 2\ncanvas_length = 4\n");
  const auto sweep = [&] { return canvaslab(folder, {"sweep", "plan/plan.toml", "--out", "run", "--quiet"}); };
  std::filesystem::copy_file(good, library);
  const Outcome first = sweep();
  EXPECT_EQ(first.exit_code, 0) << first.err;
  EXPECT_NE(first.err.find("9 samples run"), std::string::npos) << first.err;  // 2 configurations and the control row
  EXPECT_NE(sweep().err.find("nothing to do"), std::string::npos);
  const Outcome dry = canvaslab(folder, {"sweep", "plan/plan.toml", "--dry-run"});
  EXPECT_NE(dry.out.find("code=wrong sha256:"), std::string::npos) << dry.out;
  EXPECT_EQ(dry.out.find("code=", dry.out.find("code=") + 1), std::string::npos) << "only the configuration that uses it:\n" << dry.out;
  std::filesystem::remove(library);
  std::filesystem::copy_file(bad, library);
  const Outcome changed = sweep();
  EXPECT_EQ(changed.exit_code, 2) << changed.err;
  EXPECT_NE(changed.err.find("code=wrong sha256:"), std::string::npos) << "another plan, and where it differs: " << changed.err;
  const Outcome fails = canvaslab(folder, {"sweep", "plan/plan.toml", "--out", "other", "--quiet"});
  EXPECT_EQ(fails.exit_code, 4) << fails.err;
  EXPECT_NE(fails.err.find("9 samples run, 0 found done, 3 failed"), std::string::npos) << "the others are not touched: " << fails.err;
  EXPECT_NE(fails.err.find("the moon is not full"), std::string::npos) << fails.err;
  testing::write_text(folder.file("plan/missing.toml"), "plugins = [\"nowhere.so\"]\n");
  const Outcome missing = canvaslab(folder, {"sweep", "plan/missing.toml"});
  EXPECT_EQ(missing.exit_code, 3);
  EXPECT_NE(missing.err.find("plan/missing.toml:1:"), std::string::npos) << missing.err;
}

TEST(NewPlugin, IsBuiltCheckedAndRunAsWritten) {
  const TempFolder folder;
  const Outcome made = canvaslab(folder, {"plugin", "new", "foo"});
  EXPECT_EQ(made.exit_code, 0) << made.err;
  EXPECT_EQ(testing::read_text(folder.file("foo/plugin_abi.h")), testing::read_text(CANVASLAB_SOURCE_DIR "/samplers/plugin_abi.h"));
  const Outcome built = testing::run_program("/bin/sh", {"foo/build.sh"}, folder.path());
  EXPECT_EQ(built.exit_code, 0) << built.err;
  EXPECT_EQ(built.err, "") << "without a warning";
  const Outcome check = canvaslab(folder, {"check", "foo/foo.so"});
  EXPECT_EQ(check.exit_code, 0) << check.out << check.err;
  EXPECT_EQ(tokens(canvaslab(folder, {"generate", "--plugin", "foo/foo.so", "--model", "hmm(states=4, alphabet=6)", "--canvas-length", "8", "--sampler", "foo(share=linear(0.2, 1))", "--json"})).size(), 8u);
  EXPECT_EQ(canvaslab(folder, {"check", "foo(share=0.2, keep_rest=true)", "--plugin", "foo/foo.so"}).exit_code, 0);
  const auto refused = [&](const std::vector<std::string>& arguments, const std::string& says) {
    const Outcome got = canvaslab(folder, arguments);
    EXPECT_EQ(got.exit_code, 2) << got.err;
    EXPECT_NE(got.err.find(says), std::string::npos) << got.err;
  };
  refused({"plugin", "new", "foo"}, "is there already");
  refused({"plugin", "new", "psi"}, "there is a sampler 'psi' already");
  refused({"plugin", "new", "../up"}, "is no name");
  refused({"plugin", "old", "bar"}, "expected: plugin new");
  refused({"check", "no_such_thing"}, "there is no plug-in 'no_such_thing'");
}

}  // namespace
}  // namespace canvaslab
