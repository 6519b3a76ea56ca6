// Successive halving as a user runs it, and killed at random.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <filesystem>
#include <random>
#include <thread>

#include "tests/support/h5_contents.h"
#include "tests/support/temporary.h"

namespace canvaslab {
namespace {

const std::string kProgram = CANVASLAB_PROGRAM;

TEST(HalvingCommand, AKilledRunDecidesTheSame) {
  const TemporaryFolder folder;
  // The example itself, on fewer items.
  const std::vector<std::string> words = {"canvaslab", "sweep", std::string(CANVASLAB_SOURCE_DIR) + "/experiments/halving.toml", "--threads", "2", "--set", "search.items=30", "--set", "dataset.name=source(items=300)", "--out"};
  std::string command = kProgram;
  for (size_t i = 1; i < words.size(); ++i) command += " '" + words[i] + "'";
  const auto whole = shell(command + " " + (folder / "whole"));
  ASSERT_EQ(whole.exit_code, 0) << whole.output;
  EXPECT_NE(whole.output.find("round 1 on 30 items: "), std::string::npos) << whole.output;
  EXPECT_NE(whole.output.find("a test drops at p <= 0.000126"), std::string::npos) << whole.output;  // 0.05 / (3 rounds x 12 x 11 pairs)
  EXPECT_NE(whole.output.find("confirmation on 120 unseen items"), std::string::npos) << whole.output;
  EXPECT_NE(whole.output.find("winner: configuration "), std::string::npos) << whole.output;
  const uint64_t seed = std::random_device{}();
  std::mt19937_64 random(seed);
  const std::string journal = folder / "killed/run.journal";
  const auto all = std::filesystem::file_size(folder / "whole/run.journal");
  for (int kill = 0; kill < 4; ++kill) {
    const auto when = std::uniform_int_distribution<uintmax_t>(1, all - 1)(random);
    const pid_t child = ::fork();
    if (child == 0) {
      const int null = ::open("/dev/null", O_RDWR);
      ::dup2(null, 1), ::dup2(null, 2);
      std::vector<char*> arguments;
      for (const auto& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
      const std::string out = folder / "killed";
      arguments.push_back(const_cast<char*>(out.c_str()));
      arguments.push_back(nullptr);
      ::execv(kProgram.c_str(), arguments.data());
      ::_exit(127);
    }
    bool ended = false;
    const auto reached = [&] { return std::filesystem::exists(journal) && std::filesystem::file_size(journal) >= when; };
    while (!reached() && !(ended = ::waitpid(child, nullptr, WNOHANG) != 0)) std::this_thread::yield();
    if (ended) continue;
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
  }
  const auto last = shell(command + " " + (folder / "killed"));
  EXPECT_EQ(last.exit_code, 0) << last.output;
  EXPECT_EQ(h5_difference(folder / "whole/run.h5", folder / "killed/run.h5"), "") << "seed " << seed;
}

TEST(HalvingCommand, ADryRunSaysHowAlphaIsSpentAndWhatItTakesAtMost) {
  const auto result = shell(kProgram + " sweep " + CANVASLAB_SOURCE_DIR + "/experiments/halving.toml --dry-run");
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_NE(result.output.find("rounds on 100, 200, 400 items, then the winner on 400 unseen ones"), std::string::npos) << result.output;
  EXPECT_NE(result.output.find("alpha 0.05 over 3 rounds x 132 ordered pairs"), std::string::npos) << result.output;
  // 12 candidates and the control on 400 items; two of them and the control on 400 more.
  EXPECT_NE(result.output.find("at most 6400 samples, if nothing is dropped"), std::string::npos) << result.output;
}

TEST(RandomSearchCommand, TheExampleRuns) {
  const TemporaryFolder folder;
  const auto result = shell(kProgram + " sweep " + CANVASLAB_SOURCE_DIR + "/experiments/search_random.toml --limit 5 --out " + (folder / "run"));
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_NE(result.output.find("13 configurations x 5 items"), std::string::npos) << result.output;
}

}  // namespace
}  // namespace canvaslab
