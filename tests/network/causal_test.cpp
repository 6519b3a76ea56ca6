// The causal mode against transformers: encoder hidden states through the lm head, recorded and on fresh random models.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <random>

#include "core/h5.h"
#include "core/model.h"
#include "samplers/engine.h"

namespace canvaslab {
namespace {

struct Worst {
  double difference = 0;  ///< over the largest |logit|
  size_t row = 0, token = 0;
};

Worst worst_difference(std::span<const float> got, std::span<const float> wanted, size_t vocabulary) {
  double largest = 0;
  for (float value : wanted) largest = std::max(largest, std::abs(static_cast<double>(value)));
  Worst out;
  for (size_t i = 0; i < wanted.size(); ++i) {
    const double gap = std::isnan(got[i]) ? INFINITY : std::abs(static_cast<double>(got[i]) - wanted[i]) / largest;
    if (gap > out.difference) out = {.difference = gap, .row = i / vocabulary, .token = i % vocabulary};
  }
  return out;
}

/// Causal logits of all ids but those of the prompt, the canvases appended in pieces.
std::vector<float> appended_logits(const Denoiser& denoiser, const std::vector<int32_t>& ids, size_t prompt, size_t piece) {
  Prompt start;
  start.ids.assign(ids.begin(), ids.begin() + static_cast<ptrdiff_t>(prompt));
  const auto sequence = denoiser.prefill(start);
  std::vector<float> out;
  for (size_t at = prompt; at < ids.size(); at += piece) {
    const auto rows = denoiser.append(*sequence, std::span(ids).subspan(at, std::min(piece, ids.size() - at)), true);
    out.insert(out.end(), rows.begin(), rows.end());
  }
  return out;
}

/// Tolerance: four times what the reference's back ends differ by among themselves, at least 2e-5, as for canvases.
void compare(const std::string& folder) {
  const H5Reader file(folder + "/causal.h5");
  const auto ids = file.read<int32_t>("ids");
  const auto logits = file.read<float>("logits");
  const double allowed = std::max(2e-5, 4 * file.read<double>("deviation")[0]);
  const size_t vocabulary = logits.size() / ids.size();
  const auto denoiser = open_model(folder, {});
  for (const auto& [prompt, piece] : {std::pair<size_t, size_t>{1, 23}, {1, 1}, {9, 4}}) {
    const auto got = appended_logits(*denoiser, ids, prompt, piece);
    const auto wanted = std::span(logits).subspan(prompt * vocabulary);
    ASSERT_EQ(got.size(), wanted.size());
    const Worst worst = worst_difference(got, wanted, vocabulary);
    EXPECT_LE(worst.difference, allowed) << folder << ", prompt of " << prompt << ", " << piece << " at a time: row " << worst.row << ", token " << worst.token;
  }
  // Greedy decoding follows from them: the next token is the reference's likeliest, where that is no near tie.
  PlanRequest request;
  request.sampler = "ar(temperature=0)";
  request.max_new_tokens = 1;
  const auto plan = resolve_plan(request, *denoiser);
  size_t decided = 0;
  for (size_t length = 1; length <= ids.size(); ++length) {
    std::vector<float> row(logits.begin() + static_cast<ptrdiff_t>((length - 1) * vocabulary), logits.begin() + static_cast<ptrdiff_t>(length * vocabulary));
    const auto best = std::max_element(row.begin(), row.end()) - row.begin();
    std::nth_element(row.begin(), row.begin() + 1, row.end(), std::greater<>());
    if (row[0] - row[1] < 1e-3) continue;
    ++decided;
    RowInput input;
    input.prompt.ids.assign(ids.begin(), ids.begin() + static_cast<ptrdiff_t>(length));
    EXPECT_EQ(generate(*denoiser, plan, std::span(&input, 1))[0].canvas_ids.at(0), best) << folder << ", behind " << length << " tokens";
  }
  EXPECT_GT(decided, ids.size() / 2);
}

TEST(CausalParity, RecordedModelsHaveTheReferencesLogits) {
  for (const char* name : {"base", "window", "experts", "heads", "rope"}) compare(std::string(CANVASLAB_SOURCE_DIR) + "/tests/network/goldens/" + name);
}

TEST(CausalParity, FreshRandomModelsDoToo) {
  const char* python = std::getenv("CANVASLAB_ORACLE_PYTHON");
  if (!python) GTEST_SKIP() << "left out: transformers is not installed for the tests; ./tests/run.sh --oracle includes it";
  const char* given = std::getenv("CANVASLAB_ORACLE_SEED");
  const uint32_t seed = given ? static_cast<uint32_t>(std::atol(given)) : std::random_device()() % 1000000u;
  std::printf("seed %u (CANVASLAB_ORACLE_SEED repeats it)\n", seed);
  const std::string folder = ::testing::TempDir() + fmt::format("canvaslab-causal-{}", seed);
  std::filesystem::create_directories(folder);
  constexpr int kModels = 6;
  ASSERT_EQ(std::system(fmt::format("'{}' -W ignore '{}/tests/network/causal_oracle.py' --fresh '{}' {} {} >'{}/log' 2>&1", python, CANVASLAB_SOURCE_DIR, folder, seed, kModels, folder).c_str()), 0)
      << "the reference failed; see " << folder << "/log";
  for (int i = 0; i < kModels; ++i) compare(fmt::format("{}/{}", folder, i));
  if (!HasFailure()) std::filesystem::remove_all(folder);
}

TEST(CausalParity, TheComparisonSeesAWrongLogitAndNaN) {
  const std::vector<float> wanted = {1, -4, 2, 3}, off = {1, -4, 2.001f, 3}, nan = {1, NAN, 2, 3};
  const Worst worst = worst_difference(off, wanted, 2);
  EXPECT_NEAR(worst.difference, 0.001 / 4, 1e-7);
  EXPECT_EQ(worst.row, 1u);
  EXPECT_EQ(worst.token, 0u);
  EXPECT_EQ(worst_difference(nan, wanted, 2).difference, INFINITY);
}

}  // namespace
}  // namespace canvaslab
