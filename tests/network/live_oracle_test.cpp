// Against transformers itself, on random models that are new each run (./tests/run.sh --oracle).
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <random>

#include "core/model.h"
#include "tests/network/parity.h"

namespace canvaslab {
namespace {

TEST(LiveOracle, FreshRandomModelsGenerateTheReferencesTokens) {
  const char* python = std::getenv("CANVASLAB_ORACLE_PYTHON");
  if (!python) GTEST_SKIP() << "left out: transformers is not installed for the tests; ./tests/run.sh --oracle includes it";
  const char* given = std::getenv("CANVASLAB_ORACLE_SEED");
  const uint32_t seed = given ? static_cast<uint32_t>(std::atol(given)) : std::random_device()() % 1000000u;
  std::printf("seed %u (CANVASLAB_ORACLE_SEED repeats it)\n", seed);
  constexpr int kModels = 10;
  const std::string folder = ::testing::TempDir() + fmt::format("canvaslab-live-{}", seed);
  std::filesystem::create_directories(folder);
  const std::string command = fmt::format("'{}' -W ignore '{}/tests/network/live_oracle.py' '{}' {} {} >'{}/log' 2>&1", python, CANVASLAB_SOURCE_DIR, folder, seed, kModels, folder);
  ASSERT_EQ(std::system(command.c_str()), 0) << "the reference failed; see " << folder << "/log";
  int cut_short = 0;
  size_t compared = 0, total = 0;
  for (int i = 0; i < kModels; ++i) {
    const std::string model = fmt::format("{}/{}", folder, i);
    const parity::Recording recording(model + "/reference.h5");
    // Four times what the reference's back ends differ by among themselves, at least 2e-5.
    const parity::Tolerances tolerances{.logit_tolerance = std::max(2e-5, 4 * recording.self_deviation), .entropy_nats = 1e-4,
                                        .least_gap = 10 * recording.self_deviation};
    const auto result = parity::compare_generation(*open_model(model, {}), recording, tolerances);
    for (const auto& mistake : result.mistakes) ADD_FAILURE() << "model " << i << ": " << mistake;
    std::printf("model %d: %zu of %zu steps, worst logit difference %.1e (allowed %.1e), entropy %.1e\n", i, result.steps_compared, result.steps_total,
                result.worst_logit, tolerances.logit_tolerance, result.worst_entropy);
    cut_short += result.cut_short();
    compared += result.steps_compared;
    total += result.steps_total;
  }
  EXPECT_LE(cut_short, kModels / 10) << "too many models were compared in part only";
  std::printf("%zu of %zu steps compared\n", compared, total);
  if (!HasFailure()) std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace canvaslab
