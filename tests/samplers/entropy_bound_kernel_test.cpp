// The GPU's acceptance step, run thread by thread on the processor beside the engine: at every step of every canvas the same decisions, the same noise, the same stop.
#include "tests/support/simt.h"

#include <gtest/gtest.h>

#include <random>

#include "core/kernels/cuda/entropy_bound.cuh"
#include "samplers/engine.h"

namespace canvaslab {
namespace {

struct Setting {
  const char* denoiser;
  int32_t length;
  float bound, confidence;
  int32_t stability;
  bool pinned;
};

/// Runs the kernel on what the engine saw at each step.
class KernelBeside final : public Observer {
 public:
  KernelBeside(const Setting& setting, const DenoiserFacts& facts, const RowInput& row)
      : setting_(setting), facts_(facts), row_(row), last_argmax_(static_cast<size_t>(setting.length), -5), allowed_(static_cast<size_t>(setting.length), 1) {
    for (const auto& [position, token] : row.pins) allowed_.at(static_cast<size_t>(position)) = 0;
  }

  void on_step(const StepRecord& record) override {
    if (record.step_idx == 0) equal_ = -1;
    const size_t length = record.canvas_in.size();
    std::vector<int32_t> canvas(record.canvas_in.begin(), record.canvas_in.end());
    std::vector<uint8_t> accepted(length, 99);
    int32_t stop = -1;
    const cuda::CanvasRow row{.draws = {.seed = row_.seed, .item = row_.item, .repeat = row_.repeat, .canvas_idx = static_cast<uint32_t>(record.canvas_idx), .step_idx = static_cast<uint32_t>(record.step_idx)},
                              .first = 0, .length = static_cast<int32_t>(length), .bound = setting_.bound, .confidence = setting_.confidence, .stability = setting_.stability};
    const cuda::AcceptCall call{.canvases = &row, .num_canvases = 1, .vocabulary = facts_.vocabulary, .entropy_nats = record.statistics->entropy_nats.data(),
                                .candidate = record.statistics->candidate.data(), .argmax = record.statistics->argmax.data(), .allowed = setting_.pinned ? allowed_.data() : nullptr,
                                .banned_ids = facts_.banned_ids.data(), .num_banned = static_cast<int32_t>(facts_.banned_ids.size()), .mask_id = facts_.absorbing ? facts_.mask_id : -1,
                                .canvas = canvas.data(), .accepted = accepted.data(), .last_argmax = last_argmax_.data(), .equal_steps = &equal_, .stop = &stop};
    simt::launch(1, cuda::AcceptTile::kThreads, cuda::kMaxCanvas * sizeof(uint64_t), [&] { cuda::entropy_bound_kernel(call); }, record.step_idx % 2 == 1);
    stops_.push_back({record.canvas_idx, stop});
    const std::string where = fmt::format("canvas {}, step {}", record.canvas_idx, record.step_idx);
    for (size_t p = 0; p < length; ++p) {
      if (accepted[p] != record.accepted[p]) ADD_FAILURE() << where << ": position " << p << " is " << (accepted[p] ? "accepted" : "left") << " by the kernel alone";
      if (canvas[p] != record.canvas_out[p]) ADD_FAILURE() << where << ": position " << p << " holds " << record.canvas_out[p] << ", by the kernel " << canvas[p];
      num_accepted_ += accepted[p];
    }
    num_positions_ += length;
  }

  /// Per canvas: after how many steps the kernel said stop; 0 where it never did.
  std::map<int32_t, int32_t> stops() const {
    std::map<int32_t, int32_t> steps, out;
    for (const auto& [canvas, stop] : stops_) {
      ++steps[canvas];
      if (stop && !out.contains(canvas)) out[canvas] = steps[canvas];
    }
    return out;
  }
  size_t num_accepted_ = 0, num_positions_ = 0;

 private:
  const Setting& setting_;
  const DenoiserFacts& facts_;
  const RowInput& row_;
  std::vector<int32_t> last_argmax_;
  std::vector<uint8_t> allowed_;
  std::vector<std::pair<int32_t, int32_t>> stops_;
  int32_t equal_ = -1;
};

class AcceptanceKernel : public ::testing::TestWithParam<Setting> {};

TEST_P(AcceptanceKernel, DecidesAsTheEngineDoes) {
  const Setting& setting = GetParam();
  const auto denoiser = denoisers().make(setting.denoiser);
  PlanRequest request;
  request.sampler = fmt::format("entropy_bound({})", setting.bound);
  request.stop = fmt::format("stable_and_confident(stability_threshold={}, confidence_threshold={})", setting.stability, setting.confidence);
  request.canvas_length = setting.length, request.num_steps = 10, request.max_new_tokens = 3 * setting.length;
  const auto plan = resolve_plan(request, *denoiser);
  size_t num_stops = 0, accepted = 0, positions = 0;
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  for (uint64_t item = 0; item < 6; ++item) {
    RowInput row{.prompt = {}, .seed = seed, .item = item, .repeat = 1, .init_canvas = {}, .pins = {}};
    if (setting.pinned)
      for (int32_t canvas = 0; canvas < 3; ++canvas) row.pins[0] = 1, row.pins[setting.length - 1] = 2;
    KernelBeside kernel(setting, denoiser->facts(), row);
    const auto result = generate(*denoiser, plan, std::span(&row, 1), &kernel).front();
    const auto stops = kernel.stops();
    for (size_t c = 0; c < result.steps_per_canvas.size(); ++c) {
      const auto stopped = stops.find(static_cast<int32_t>(c));
      if (result.canvas_stop[c] == "step_limit") continue;
      ASSERT_NE(stopped, stops.end()) << "canvas " << c << " stopped after " << result.steps_per_canvas[c] << " steps, never by the kernel";
      EXPECT_EQ(stopped->second, result.steps_per_canvas[c]);
      ++num_stops;
    }
    for (const auto& [canvas, steps] : stops) EXPECT_EQ(steps, result.steps_per_canvas.at(static_cast<size_t>(canvas)));
    accepted += kernel.num_accepted_, positions += kernel.num_positions_;
  }
  EXPECT_GT(accepted, 0u);
  EXPECT_LT(accepted, positions) << "some positions must be left, or nothing is tested";
  if (setting.confidence > 0.5f) {
    EXPECT_GT(num_stops, 0u) << "some canvas must stop early";
  }
}

INSTANTIATE_TEST_SUITE_P(Settings, AcceptanceKernel,
                         ::testing::Values(Setting{"hmm(states=6, alphabet=9)", 12, 0.5f, 0.0f, 1, false}, Setting{"hmm(states=6, alphabet=9, sharpness=6)", 16, 3, 2, 1, false},
                                           Setting{"hmm(states=6, alphabet=9, sharpness=6)", 5, 0.2f, 5, 2, false}, Setting{"hmm(states=4, alphabet=6, corruption=absorbing)", 9, 1, 5, 0, false},
                                           Setting{"markov(alphabet=50, sharpness=4)", 37, 2, 5, 1, false}));

/// Positions with equal entropies, pins, and entropies at the edges, against a sort written out.
TEST(AcceptanceKernelEdges, TiesGoToTheLowerPositionAndPinsTakeNoPart) {
  struct Edge {
    std::vector<float> entropy;
    std::vector<uint8_t> allowed;
    float bound;
    std::vector<uint8_t> accepted;
  };
  for (const Edge& edge : {Edge{{1, 1, 1, 1}, {1, 1, 1, 1}, 1, {1, 1, 0, 0}}, Edge{{0, 0, 0}, {1, 1, 1}, 0, {1, 1, 1}}, Edge{{-0.0f, 0, 2}, {1, 1, 1}, 0, {1, 1, 1}}, Edge{{3, 2, 1}, {1, 1, 1}, 0, {0, 0, 1}},
                           Edge{{3, 2, 1}, {1, 1, 0}, 0, {0, 1, 0}}, Edge{{1, 2, 3}, {0, 0, 0}, 9, {0, 0, 0}}, Edge{{1}, {1}, 0, {1}}, Edge{{5, 1, 4, 2, 3}, {1, 1, 1, 1, 1}, INFINITY, {1, 1, 1, 1, 1}}}) {
    const auto length = static_cast<int32_t>(edge.entropy.size());
    std::vector<int32_t> candidate(edge.entropy.size(), 3), argmax(edge.entropy.size(), 2), canvas(edge.entropy.size(), 7), last(edge.entropy.size(), 2);
    std::vector<uint8_t> accepted(edge.entropy.size(), 99);
    int32_t equal = 0, stop = -1;
    const cuda::CanvasRow row{.draws = {.seed = 1}, .first = 0, .length = length, .bound = edge.bound, .confidence = 100, .stability = 1};
    const cuda::AcceptCall call{.canvases = &row, .num_canvases = 1, .vocabulary = 3, .entropy_nats = edge.entropy.data(), .candidate = candidate.data(), .argmax = argmax.data(), .allowed = edge.allowed.data(),
                                .banned_ids = nullptr, .num_banned = 0, .mask_id = 1, .canvas = canvas.data(), .accepted = accepted.data(), .last_argmax = last.data(), .equal_steps = &equal, .stop = &stop};
    simt::launch(1, cuda::AcceptTile::kThreads, cuda::kMaxCanvas * sizeof(uint64_t), [&] { cuda::entropy_bound_kernel(call); });
    EXPECT_EQ(accepted, edge.accepted) << fmt::format("entropies {}, bound {}", fmt::join(edge.entropy, " "), edge.bound);
    for (size_t p = 0; p < canvas.size(); ++p) EXPECT_EQ(canvas[p], !edge.allowed[p] ? 7 : edge.accepted[p] ? 3 : 1) << p;
    EXPECT_EQ(equal, 1);
    EXPECT_EQ(stop, 1);
  }
}

TEST(AcceptanceKernelEdges, CanvasesOfABatchDoNotMeet) {
  std::vector<float> entropy = {1, 2, 9, 8, 7};
  std::vector<int32_t> candidate(5, 3), argmax = {1, 1, 1, 1, 1}, canvas(5, 7), last = {1, 1, 1, 1, 0}, equal = {4, 4}, stop = {-1, -1};
  std::vector<uint8_t> accepted(5, 99);
  const cuda::CanvasRow rows[] = {{.draws = {}, .first = 0, .length = 2, .bound = 1, .confidence = 100, .stability = 5}, {.draws = {}, .first = 2, .length = 3, .bound = 0, .confidence = 100, .stability = 1}};
  const cuda::AcceptCall call{.canvases = rows, .num_canvases = 2, .vocabulary = 5, .entropy_nats = entropy.data(), .candidate = candidate.data(), .argmax = argmax.data(), .allowed = nullptr,
                              .banned_ids = nullptr, .num_banned = 0, .mask_id = 0, .canvas = canvas.data(), .accepted = accepted.data(), .last_argmax = last.data(), .equal_steps = equal.data(), .stop = stop.data()};
  simt::launch(2, cuda::AcceptTile::kThreads, cuda::kMaxCanvas * sizeof(uint64_t), [&] { cuda::entropy_bound_kernel(call); });
  EXPECT_EQ(accepted, (std::vector<uint8_t>{1, 1, 0, 0, 1}));
  EXPECT_EQ(equal, (std::vector<int32_t>{5, 0}));
  EXPECT_EQ(stop, (std::vector<int32_t>{1, 0}));
}

}  // namespace
}  // namespace canvaslab
