// Our samplers beside the schedulers of diffusers 0.42.1, which run as external samplers on the same statistics, candidates
// and draws (tests/run.sh --oracle). Decisions are compared exactly, as the tokens they leave.
#include <gtest/gtest.h>

#include <cstdlib>

#include "core/denoiser.h"
#include "samplers/contract.h"
#include "samplers/engine.h"

namespace canvaslab {
namespace {

constexpr int32_t kFresh = -1;

struct Pair {
  const char *ours, *theirs;  ///< theirs: name and parameters, as the script reads them
};
constexpr Pair kPairs[] = {{"entropy_bound(0.1)", "entropy_bound/0.1"},
                           {"entropy_bound(1.5)", "entropy_bound/1.5"},
                           {"entropy_bound(0)", "entropy_bound/0"},
                           {"ddim", "ddim"},
                           {"block_refinement(0.95)", "block_refinement/0.95"},
                           {"block_refinement(threshold=0.5, editing_threshold=0.6)", "block_refinement/0.5/0.6"},
                           {"block_refinement(threshold=1)", "block_refinement/1"}};

/// The oracle's Python, when it has diffusers.
std::string oracle_python() {
  const char* python = std::getenv("CANVASLAB_ORACLE_PYTHON");
  static const bool there = python && std::system(fmt::format("'{}' -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec(\"diffusers\") is None)'", python).c_str()) == 0;
  return there ? python : "";
}
/// The scheduler of kPairs[index]; one process serves all.
std::string theirs(size_t index) {
  std::string settings;
  for (const auto& pair : kPairs) settings += fmt::format("{}{}", settings.empty() ? "" : ",", pair.theirs);
  return fmt::format("external(command=\"'{}' -W ignore '{}/tests/samplers/diffusers_schedulers.py'\", parameters=\"settings={}\", knob={}, processes=1, start_timeout_s=600)", oracle_python(),
                     CANVASLAB_SOURCE_DIR, settings, index);
}

/// The canvas that a decision leaves; fresh noise is one token.
std::vector<int32_t> after(const contract::Step& step, const StepDecision& decision) {
  std::vector<int32_t> out;
  for (size_t p = 0; p < step.canvas.size(); ++p) {
    switch (decision.action[p]) {
      case Action::kKeep: out.push_back(step.canvas[p]); break;
      case Action::kCandidate: out.push_back(step.statistics.candidate[p]); break;
      case Action::kNoise: out.push_back(kFresh); break;
      default: ADD_FAILURE() << "neither takes, keeps nor renoises"; out.push_back(-2);
    }
  }
  return out;
}

class Diffusers : public ::testing::Test {
 protected:
  void SetUp() override {
    if (oracle_python().empty()) GTEST_SKIP() << "left out: CANVASLAB_ORACLE_PYTHON names no Python with diffusers; ./tests/run.sh --oracle includes it";
  }
};

/// Both sides compute in f32 (their probabilities, our log-probabilities and sums), so a value within rounding of a bound
/// could be decided differently: about 1e-7 a position and decision. The steps come from a fixed seed, so the
/// outcome is the same in every run.
TEST_F(Diffusers, DecidesAsWeDoStepByStepOnTheSameStatistics) {
  for (size_t pair = 0; pair < std::size(kPairs); ++pair) {
    const std::string ours = kPairs[pair].ours;
    const auto a = configure_sampler(parse_plugin(ours)), b = configure_sampler(parse_plugin(theirs(pair)));
    std::mt19937 engine(contract::kSeed);
    size_t positions = 0, took = 0, kept = 0, renoised = 0;
    for (int canvas = 0; canvas < 60; ++canvas) {
      const size_t L = 1 + engine() % (canvas % 3 == 0 ? 256 : 48);
      const int32_t steps = 1 + static_cast<int32_t>(engine() % 12);
      CanvasState x, y;
      a.sampler->begin(x, L, steps);
      b.sampler->begin(y, L, steps);
      for (int32_t i = 0; i < steps; ++i) {
        contract::Step step(L, engine);
        step.allowed.assign(L, 1);  // there are no pinned positions in diffusers
        for (size_t p = 0; p < L; p += 3) step.statistics.candidate[p] = step.canvas[p];
        step.knobs = a.knob_values({.step_idx = i, .num_steps = steps});
        StepDecision first, second;
        a.decide(step.view(i, steps), x, first);
        step.knobs = b.knob_values({.step_idx = i, .num_steps = steps});
        b.decide(step.view(i, steps), y, second);
        ASSERT_EQ(after(step, first), after(step, second)) << ours << ", canvas " << canvas << ", step " << i << " of " << steps << ", seed " << contract::kSeed;
        ASSERT_EQ(x.revealed, y.revealed) << ours << ", canvas " << canvas << ", step " << i;
        positions += L;
        for (const Action action : first.action) took += action == Action::kCandidate, kept += action == Action::kKeep, renoised += action == Action::kNoise;
      }
    }
    std::printf("%s: %zu positions, %zu taken, %zu kept, %zu renoised\n", ours.c_str(), positions, took, kept, renoised);
    EXPECT_GT(took, 0u);
    EXPECT_GT(renoised, 0u);
  }
}

TEST_F(Diffusers, LeavesTheTokensThatWeLeaveWhenItRunsInTheEngine) {
  const auto denoiser = denoisers().make("hmm(states=6, alphabet=20, use_level=off)");  // the script asks for the level, for all
  for (size_t pair = 0; pair < std::size(kPairs); ++pair) {
    const auto tokens = [&](const std::string& sampler) {
      PlanRequest request;
      request.sampler = sampler;
      request.stop = "never";
      request.emission = "canvas";
      request.num_steps = 10;
      request.canvas_length = 24;
      request.max_new_tokens = 48;
      std::vector<RowInput> rows(3);
      for (size_t r = 0; r < rows.size(); ++r) rows[r].seed = 11, rows[r].item = r;
      std::vector<std::vector<int32_t>> out;
      for (const auto& row : generate(*denoiser, resolve_plan(request, *denoiser), rows)) out.push_back(row.canvas_ids);
      return out;
    };
    EXPECT_EQ(tokens(kPairs[pair].ours), tokens(theirs(pair))) << kPairs[pair].ours;
  }
}

TEST_F(Diffusers, TheComparisonSeesAnotherRule) {
  const auto a = configure_sampler(parse_plugin("entropy_bound(0.1)")), b = configure_sampler(parse_plugin(theirs(1)));
  std::mt19937 engine(contract::kSeed);
  contract::Step step(64, engine);
  CanvasState x, y;
  a.sampler->begin(x, 64, 4);
  b.sampler->begin(y, 64, 4);
  StepDecision first, second;
  step.knobs = a.knob_values({.step_idx = 0, .num_steps = 4});
  a.decide(step.view(0, 4), x, first);
  b.decide(step.view(0, 4), y, second);
  EXPECT_NE(after(step, first), after(step, second));
}

}  // namespace
}  // namespace canvaslab
