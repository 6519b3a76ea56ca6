// The trained models that come with the project: transformers reads their folders and gives the same logits and tokens.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "core/embedded_models.h"
#include "core/model.h"
#include "core/text/chat.h"
#include "eval/datasets/task.h"
#include "tests/network/parity.h"
#include "tests/support/temporary.h"

namespace canvaslab {
namespace {

/// Held-out questions of every kind that the models are trained on.
const std::vector<std::string> kTasks = {"arithmetic", "arithmetic(level=3)", "sudoku", "programs", "choice"};

TEST(ShippedModels, AreThereAndSmall) {
  const auto names = embedded_models();
  EXPECT_EQ(names, (std::vector<std::string>{"small-1", "small-3", "small-4"}));
  EXPECT_EQ(model_folder("small"), model_folder("small-1"));
  EXPECT_NE(model_folder("small"), "small");
  EXPECT_EQ(model_folder("hmm(states=4)"), "hmm(states=4)");
  uintmax_t bytes = 0;
  for (const auto& name : names) bytes += std::filesystem::file_size(model_folder(name) + "/model.safetensors");
  EXPECT_LE(bytes, 12'000'000u) << "together, all training seeds";
}

TEST(ShippedModels, GiveTransformersLogitsAndTokens) {
  const char* python = std::getenv("CANVASLAB_ORACLE_PYTHON");
  if (!python) GTEST_SKIP() << "left out: transformers is not installed for the tests; ./tests/run.sh --oracle includes it";
  for (const auto& name : embedded_models()) {
    const TemporaryFolder folder;
    const std::string model = model_folder(name);
    const auto text = TextModel::load(model);
    ASSERT_TRUE(text);
    std::string prompts;
    for (const auto& task : kTasks) prompts += fmt::format(" '{}'", fmt::join(text->prompt(make_task(task)->load().front().messages.front().content, true, {}), " "));
    const auto made = shell(fmt::format("'{}' -W ignore '{}/tests/network/shipped_oracle.py' '{}' '{}' 11{} 2>&1", python, CANVASLAB_SOURCE_DIR, model, folder.path(), prompts));
    ASSERT_EQ(made.exit_code, 0) << made.output;
    const auto denoiser = open_model(name, {});
    size_t steps = 0;
    for (size_t i = 0; i < kTasks.size(); ++i) {
      const parity::Recording recording(folder / fmt::format("{}.h5", i));
      // As for fresh random models: four times what the reference's back ends differ by among themselves, at least 2e-5.
      const parity::Tolerances tolerances{.logit_tolerance = std::max(2e-5, 4 * recording.self_deviation), .entropy_nats = 1e-4, .least_gap = 10 * recording.self_deviation};
      const auto result = parity::compare_generation(*denoiser, recording, tolerances);
      for (const auto& mistake : result.mistakes) ADD_FAILURE() << name << ", " << kTasks[i] << ": " << mistake;
      // A generation is followed until a choice turns on less than the back ends' own differences, which can be in its first step; that
      // step's logits are compared all the same.
      EXPECT_GT(result.worst_logit, 0) << "not one logit was compared";
      steps += result.steps_compared;
      std::printf("%s, %s: %zu of %zu steps, worst logit difference %.1e (allowed %.1e)\n", name.c_str(), kTasks[i].c_str(), result.steps_compared, result.steps_total, result.worst_logit,
                  tolerances.logit_tolerance);
    }
    EXPECT_GT(steps, 20u) << name << ": too few steps were followed token by token";
  }
}

}  // namespace
}  // namespace canvaslab
