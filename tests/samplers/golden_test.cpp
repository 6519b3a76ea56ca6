// Golden trajectories: what every sampler does to a scripted denoiser, step by step, in tests/golden/samplers.txt.
// A change of behaviour shows there in review. To write the file anew:
//   CANVASLAB_WRITE_GOLDENS=1 build/samplers_tests --gtest_filter='Golden.*'
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "core/denoiser.h"
#include "samplers/contract.h"
#include "samplers/engine.h"

namespace canvaslab {
namespace {

/// One line a step: what was fed in, which positions took a token (x), what came out.
struct Transcript final : Observer {
  std::string text;
  void on_step(const StepRecord& record) override {
    std::string accepted;
    for (uint8_t a : record.accepted) accepted += a ? 'x' : '.';
    text += fmt::format("  {} {}  {:2}  {}  {:2}\n", record.canvas_idx, record.step_idx,
                        fmt::join(record.canvas_in, " "), accepted, fmt::join(record.canvas_out, " "));
  }
};

std::string trajectories() {
  std::string out =
      "# canvas step  fed in  accepted  canvas after; seed 7, temperature 1 to 0.6 over 6 steps, position 4 pinned to "
      "3\n";
  const auto denoiser = denoisers().make("scripted(\"" CANVASLAB_SOURCE_DIR "/tests/golden/script.json\")");
  for (const auto& entry : samplers().entries()) {
    if (!contract::has_defaults(entry)) continue;
    PlanRequest request;
    request.sampler = entry.name;
    request.temperature = "linear_remaining(t_min=0.6, t_max=1)";
    GenerationPlan plan;
    try {
      plan = resolve_plan(request, *denoiser);
    } catch (const UserError& error) {
      out += fmt::format("{} refused: {}\n", entry.name, error.what());
      continue;
    }
    std::vector<RowInput> rows(1);
    rows[0].seed = 7;
    rows[0].pins = {{4, 3}};
    Transcript transcript;
    const auto result = generate(*denoiser, plan, rows, &transcript)[0];
    out += fmt::format("{} stop {}\n{}  -> {} ({})\n", plan.sampler.canonical, plan.stop.canonical, transcript.text,
                       fmt::join(result.token_ids, " "), fmt::join(result.canvas_stop, ", "));
  }
  return out;
}

TEST(Golden, TrajectoriesOfEverySampler) {
  const std::string path = CANVASLAB_SOURCE_DIR "/tests/golden/samplers.txt", got = trajectories();
  if (std::getenv("CANVASLAB_WRITE_GOLDENS")) std::ofstream(path) << got;
  std::ifstream in(path);
  const std::string expected((std::istreambuf_iterator<char>(in)), {});
  std::istringstream a(got), b(expected);
  std::string x, y;
  for (int line = 1; std::getline(b, y); ++line) {
    ASSERT_TRUE(std::getline(a, x)) << path << ":" << line << ": missing: " << y;
    ASSERT_EQ(x, y) << path << ":" << line;
  }
  ASSERT_EQ(got, expected) << "there is more than " << path << " holds; its head says how to write it anew";
}

}  // namespace
}  // namespace canvaslab
