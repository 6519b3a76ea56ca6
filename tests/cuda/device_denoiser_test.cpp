// A checkpoint on a GPU through the program's own door: against the CPU, and the same bits in any batch. Skipped where there is no GPU.
#include <ATen/core/Tensor.h>

#include "tests/support/kernels/device.h"

#include <cmath>

#include "core/kernels/cuda/overlap.h"
#include "core/model.h"
#include "core/network/cuda_denoiser.h"
#include "samplers/engine.h"

namespace canvaslab {
namespace {

StepResult step(const Denoiser& denoiser, Sequence& sequence, const std::vector<int32_t>& canvas, int32_t index) {
  const DenoiseRow row{.sequence = &sequence,
                       .request = {.step_idx = index, .canvas = canvas, .temperature = 0.8f, .wanted = {Statistic::kMax, Statistic::kEntropy, Statistic::kCandidate}, .draw_key = DrawKey{.seed = 5}, .noise_level = {}, .revealed = {}, .given_logits = {}, .want_logits = true}};
  return std::move(denoiser.denoise(std::span(&row, 1)).front());
}

class DeviceDenoiser : public KernelTest {};

/// Whole courses: prompts past the window, steps, appended canvases. A token that stands between two experts may go to the other one, and its logits then differ by hundredths: of 32, .01 in all lets some pass.
TEST_F(DeviceDenoiser, GivesTheCpuPathsLogits) {
  const auto gpu = open_model("small", {.dtype = "bf16", .device = "cuda"}), cpu = open_model("small", {.dtype = "bf16"}), exact = open_model("small", {});
  ASSERT_EQ(gpu->facts().runs_on, "cuda") << "LibTorch's own operations have taken the kernels' place";
  for (const int32_t length : {3, 40, 300, 1500}) {
    Prompt prompt;
    for (int32_t i = 0; i < length; ++i) prompt.ids.push_back(4 + (i * 37 + length) % 240);
    const auto on_gpu = gpu->prefill(prompt), on_cpu = cpu->prefill(prompt), in_f32 = exact->prefill(prompt);
    std::vector<int32_t> canvas;
    for (int32_t i = 0; i < 32; ++i) canvas.push_back(4 + (i * 91 + length) % 240);
    for (int32_t index = 0; index < 4; ++index) {
      const auto got = step(*gpu, *on_gpu, canvas, index), by_cpu = step(*cpu, *on_cpu, canvas, index), wanted = step(*exact, *in_f32, canvas, index);
      const auto error = [&](const StepResult& of) {
        double errors = 0, squares = 0;
        for (size_t i = 0; i < wanted.logits.size(); ++i) errors += std::pow(static_cast<double>(of.logits[i]) - static_cast<double>(wanted.logits[i]), 2), squares += std::pow(static_cast<double>(wanted.logits[i]), 2);
        return std::sqrt(errors / squares);
      };
      EXPECT_LT(error(got), 3 * error(by_cpu) + 0.01) << "prompt of " << length << ", step " << index;
      RowStatistics expected;
      expected.resize(canvas.size(), {Statistic::kMax});
      compute_row_statistics(got.logits, gpu->facts().vocabulary, 0, canvas.size(), {.temperature = 0.8f, .wanted = {Statistic::kMax}, .canvas = canvas, .draw_key = {}}, expected);
      EXPECT_EQ(got.statistics.argmax, expected.argmax);
      canvas = wanted.statistics.argmax;  // the same for all
    }
    for (const auto& [denoiser, sequence] : {std::pair{gpu.get(), on_gpu.get()}, {cpu.get(), on_cpu.get()}, {exact.get(), in_f32.get()}}) denoiser->append(*sequence, canvas, false);
  }
}

TEST_F(DeviceDenoiser, GivesTheSameBitsInAnyBatch) {
  const auto gpu = open_model("small", {.dtype = "bf16", .device = "cuda"});
  std::vector<std::unique_ptr<Sequence>> sequences;
  std::vector<std::vector<int32_t>> canvases;
  std::vector<std::vector<float>> alone;
  for (int32_t i = 0; i < 8; ++i) {
    Prompt prompt;
    for (int32_t j = 0; j < 5 + 60 * i; ++j) prompt.ids.push_back(4 + (j * 37 + i) % 240);
    sequences.push_back(gpu->prefill(prompt));
    canvases.emplace_back();
    for (int32_t j = 0; j < 16 + 8 * (i % 3); ++j) canvases.back().push_back(4 + (j * 91 + i) % 240);
    alone.push_back(step(*gpu, *sequences.back()->fork(), canvases.back(), 0).logits);
  }
  std::vector<DenoiseRow> rows;
  for (size_t i = 0; i < sequences.size(); ++i) rows.push_back({sequences[i].get(), {.canvas = canvases[i], .temperature = 0.8f, .wanted = {Statistic::kMax}, .draw_key = {}, .noise_level = {}, .revealed = {}, .given_logits = {}, .want_logits = true}});
  const auto together = gpu->denoise(rows);
  for (size_t i = 0; i < rows.size(); ++i) EXPECT_EQ(together[i].logits, alone[i]) << "canvas " << i;
}

/// A canvas to its end without the host, by a graph that asks itself whether another step follows: the tokens of one step at a time.
TEST_F(DeviceDenoiser, WholeCanvasesAreStepByStepInOneGo) {
  std::string why;
  const std::shared_ptr<cuda::Device> device = cuda::open_device(why);
  ASSERT_TRUE(device) << why;
  Network network = Network::load(std::string(CANVASLAB_SOURCE_DIR) + "/experiments/models/small-1", at::kBFloat16, at::kCPU, "", QuantisedWeights::kForKernels);
  DenoiserFacts facts;
  facts.vocabulary = static_cast<int32_t>(network.config().vocab_size);
  const auto gpu = cuda_denoiser(CudaNetwork(std::move(network), device), facts);
  PlanRequest request;
  request.canvas_length = 64, request.num_steps = 24, request.max_new_tokens = 128;
  const RowInput row{.prompt = {.ids = {2, 17, 9, 33, 5, 8}, .token_types = {}, .media = {}}, .seed = 3, .init_canvas = {}, .pins = {}};
  const auto generated = [&] { return generate(*gpu, resolve_plan(request, *gpu), std::span(&row, 1)).front(); };
  const auto alone = generated();
  EXPECT_TRUE(device->looped_alone()) << "a driver before 12.4, or the graph was refused";
  if (cuda::kernels_overlap() && !device->looped_overlapping()) fmt::print("kernels overlap, but not in a loop without the host: the driver refuses them there\n");
  {
    const cuda::WithoutOverlap one_by_one;
    EXPECT_EQ(generated().canvas_ids, alone.canvas_ids);
    EXPECT_FALSE(device->looped_overlapping());
  }
  const auto bystander = gpu->prefill({.ids = {2, 5}, .token_types = {}, .media = {}});  // with another sequence alive, steps are made one by one
  const auto by_step = generated();
  EXPECT_EQ(alone.canvas_ids, by_step.canvas_ids);
  EXPECT_EQ(alone.steps_per_canvas, by_step.steps_per_canvas);
}

}  // namespace
}  // namespace canvaslab
