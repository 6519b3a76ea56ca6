// The GPU's denoiser, its kernels thread by thread on the processor: against transformers' recordings, the CPU path and itself.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <numeric>
#include <random>
#include <span>
#include <thread>

#include "core/error.h"
#include "core/model.h"
#include "core/network/cuda_denoiser.h"
#include "tests/network/parity.h"
#include "tests/network/wide_checkpoint.h"
// The simulator's words are macros: after torch's headers.
#include "tests/support/kernels/simulated_device.h"

namespace canvaslab {
namespace {

const std::string kSmall = std::string(CANVASLAB_SOURCE_DIR) + "/experiments/models/small-1", kQuantised = std::string(CANVASLAB_SOURCE_DIR) + "/tests/network/quantised/";

struct OnDevice {
  std::shared_ptr<cuda::SimulatedDevice> device = std::make_shared<cuda::SimulatedDevice>();
  std::unique_ptr<Denoiser> denoiser;
};

OnDevice on_device(const std::string& folder, int64_t piece = 1024) {
  OnDevice out;
  Network network = Network::load(folder, at::kBFloat16, at::kCPU, "", QuantisedWeights::kForKernels);
  DenoiserFacts facts;
  facts.vocabulary = static_cast<int32_t>(network.config().vocab_size);
  EXPECT_EQ(CudaNetwork::unsuitable(network.config()), "");
  out.denoiser = cuda_denoiser(CudaNetwork(std::move(network), out.device, piece), facts);
  return out;
}

class Tokens {
 public:
  explicit Tokens(uint64_t seed) : random_(seed) {}
  std::vector<int32_t> operator()(size_t count, int32_t vocabulary = 250) {
    std::vector<int32_t> ids(count);
    for (int32_t& id : ids) id = static_cast<int32_t>(4 + random_() % static_cast<uint64_t>(vocabulary - 4));
    return ids;
  }

 private:
  std::mt19937_64 random_;
};

constexpr StatisticSet kByKernels = {Statistic::kMax, Statistic::kTop2, Statistic::kEntropy, Statistic::kCandidate, Statistic::kCurrent, Statistic::kUntempered};

StepRequest request_of(std::span<const int32_t> canvas, int32_t step, StatisticSet wanted = kByKernels) {
  return {.canvas_idx = 0, .step_idx = step, .canvas = canvas, .temperature = 0.8f, .wanted = wanted, .draw_key = DrawKey{.seed = 5, .item = 1}, .noise_level = {}, .revealed = {}, .given_logits = {}, .want_logits = true};
}
StepResult step(const Denoiser& denoiser, Sequence& sequence, const StepRequest& request) {
  const DenoiseRow row{.sequence = &sequence, .request = request};
  return std::move(denoiser.denoise(std::span(&row, 1)).front());
}
Prompt prompt_of(std::vector<int32_t> ids) { return {.ids = std::move(ids), .token_types = {}, .media = {}}; }

double relative_error(std::span<const float> a, std::span<const float> b) {
  double errors = 0, squares = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    errors += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
    squares += std::pow(static_cast<double>(b[i]), 2);
  }
  return std::sqrt(errors / squares);
}

/// The median over positions, vocabulary `width`: a token between two experts may go to the other one under any rounding, and its logits then differ by hundredths.
double typical_error(std::span<const float> a, std::span<const float> b, size_t width) {
  std::vector<double> each;
  for (size_t at = 0; at < a.size(); at += width) each.push_back(relative_error(a.subspan(at, width), b.subspan(at, width)));
  std::nth_element(each.begin(), each.begin() + static_cast<ptrdiff_t>(each.size() / 2), each.end());
  return each[each.size() / 2];
}

/// How far from f32 the kernels may be where the CPU's bf16 path is so far: they round keys, values, queries and what is gathered as well, as many roundings again of the same size; 1e-3, a quarter of one
/// rounding to bf16, is for where the path's own errors happen to cancel.
double as_exact_as(std::span<const float> by_cpu, std::span<const float> exact, size_t width) { return 2 * typical_error(by_cpu, exact, width) + 1e-3; }

/// The same quantity and bound as for the CPU's bf16 path (parity_test.cpp): no more than 1.2 times the error of the reference's own bf16 run.
TEST(CudaDenoiser, ErrsNoMoreThanTheReferenceInBf16) {
  const parity::Recording recording(parity::kGoldens + "kernel_sizes/reference.h5");
  const auto ours = parity::bf16_errors(*on_device(parity::kGoldens + "kernel_sizes").denoiser, recording), cpu = parity::bf16_errors(*open_model(parity::kGoldens + "kernel_sizes", {.dtype = "bf16"}), recording);
  ASSERT_EQ(ours.size(), recording.bf16_error.size());
  double log_sum = 0, cpu_log_sum = 0;
  for (size_t s = 0; s < ours.size(); ++s) log_sum += std::log(ours[s] / recording.bf16_error[s]), cpu_log_sum += std::log(cpu[s] / recording.bf16_error[s]);
  const double ratio = std::exp(log_sum / static_cast<double>(ours.size()));
  fmt::print("error over the reference's own in bf16, geometric mean of {} steps: {:.3f} by the kernels, {:.3f} by the CPU path\n", ours.size(), ratio, std::exp(cpu_log_sum / static_cast<double>(cpu.size())));
  EXPECT_LE(ratio, 1.2);
}

/// Canvases at different steps and lengths in one call, behind a prompt longer than the window and a short one: against f32, and the same bits one by one.
TEST(CudaDenoiser, GivesTheCpuPathsLogitsAndTheSameBitsInAnyBatch) {
  const OnDevice gpu = on_device(kSmall, 64);
  const auto exact = open_model(kSmall, {}), cpu = open_model(kSmall, {.dtype = "bf16"});
  Tokens tokens(7);
  struct Row {
    std::unique_ptr<Sequence> gpu, alone, exact, cpu;
    std::vector<int32_t> canvas;
    int32_t steps = 0;
  };
  std::vector<Row> rows(2);
  for (size_t i = 0; i < 2; ++i) {
    Row& row = rows[i];
    const Prompt prompt = prompt_of(tokens(i == 0 ? 150 : 5));
    row.gpu = gpu.denoiser->prefill(prompt);
    row.alone = gpu.denoiser->prefill(prompt);
    row.exact = exact->prefill(prompt);
    row.cpu = cpu->prefill(prompt);
    row.canvas = tokens(i == 0 ? 9 : 6);
    if (i == 0) {  // one step ahead
      for (const auto& [denoiser, sequence] : {std::pair{gpu.denoiser.get(), row.gpu.get()}, {gpu.denoiser.get(), row.alone.get()}, {exact.get(), row.exact.get()}, {cpu.get(), row.cpu.get()}}) step(*denoiser, *sequence, request_of(row.canvas, 0));
      row.steps = 1;
    }
  }
  std::vector<DenoiseRow> batch;
  for (Row& row : rows) batch.push_back({row.gpu.get(), request_of(row.canvas, row.steps)});
  const auto together = gpu.denoiser->denoise(batch);
  EXPECT_EQ(gpu.device->most_canvases, 2);
  std::vector<std::vector<float>> expected;
  for (size_t i = 0; i < rows.size(); ++i) {
    Row& row = rows[i];
    const StepRequest request = request_of(row.canvas, row.steps);
    const auto alone = step(*gpu.denoiser, *row.alone, request), in_f32 = step(*exact, *row.exact, request), by_cpu = step(*cpu, *row.cpu, request);
    EXPECT_EQ(together[i].logits, alone.logits) << "canvas " << i;
    EXPECT_EQ(together[i].statistics.candidate, alone.statistics.candidate);
    const size_t V = together[i].logits.size() / row.canvas.size();
    const auto errors = [&](const StepResult& of) {
      std::vector<double> each;
      for (size_t r = 0; r < row.canvas.size(); ++r) each.push_back(relative_error(std::span(of.logits).subspan(r * V, V), std::span(in_f32.logits).subspan(r * V, V)));
      std::sort(each.begin(), each.end());
      return each;
    };
    const auto ours = errors(together[i]), theirs = errors(by_cpu);
    const size_t middle = ours.size() / 2;
    fmt::print("canvas {}: errors of a position's logits against f32, median and largest: {:.1e}, {:.1e} by the CPU's bf16 path, {:.1e}, {:.1e} by the kernels\n", i, theirs[middle], theirs.back(), ours[middle], ours.back());
    // Keys, values, queries and what is gathered are rounded as well: more roundings of the same size than the CPU's path has. A norm, gain or rotation left out costs tens of percent. A token between two
    // experts may go to the other one, and differs by hundredths then: one in a canvas is let pass.
    EXPECT_LT(ours[middle], 2 * theirs[middle] + 1e-3);
    EXPECT_LT(ours[ours.size() - 2], 3 * theirs.back() + 1e-3);
    expected.push_back(in_f32.logits);
  }
  EXPECT_GT(relative_error(std::span(expected[0]).first(384), std::span(together[1].logits).first(384)), 0.05) << "another canvas's logits would show";
}

/// Bit for bit those of core/row_statistics.h from the same logits.
TEST(CudaDenoiser, MakesTheStatisticsOfItsLogits) {
  const OnDevice gpu = on_device(parity::kGoldens + "kernel_sizes");
  const int32_t V = gpu.denoiser->facts().vocabulary;
  const auto sequence = gpu.denoiser->prefill(prompt_of({2, 17, 9}));
  const std::vector<int32_t> canvas = {4, 9, 16, 25, 36};
  for (const float temperature : {0.7f, 0.0f})
    for (const bool filtered : {false, true}) {  // filters and the last two statistics: from logits on the host
      StepRequest request = request_of(canvas, 0, filtered ? StatisticSet::all() : kByKernels);
      request.temperature = temperature;
      if (filtered) request.filters.top_k = 3;
      const auto got = step(*gpu.denoiser, *sequence, request);
      RowStatistics expected;
      expected.resize(canvas.size(), request.wanted);
      compute_row_statistics(got.logits, V, 0, canvas.size(), request.statistics_request(), expected);
      EXPECT_EQ(got.statistics.argmax, expected.argmax);
      EXPECT_EQ(got.statistics.second, expected.second);
      EXPECT_EQ(got.statistics.candidate, expected.candidate);
      EXPECT_EQ(got.statistics.argmax_logprob, expected.argmax_logprob);
      EXPECT_EQ(got.statistics.second_logprob, expected.second_logprob);
      EXPECT_EQ(got.statistics.entropy_nats, expected.entropy_nats);
      EXPECT_EQ(got.statistics.candidate_logprob, expected.candidate_logprob);
      EXPECT_EQ(got.statistics.current_logprob, expected.current_logprob);
      EXPECT_EQ(got.statistics.argmax_logprob_t1, expected.argmax_logprob_t1);
      EXPECT_EQ(got.statistics.entropy_t1_nats, expected.entropy_t1_nats);
      EXPECT_EQ(got.statistics.alternative, expected.alternative);
      EXPECT_EQ(got.statistics.kl_nats, expected.kl_nats);
    }
  StepRequest few = request_of(canvas, 0, {Statistic::kEntropy});
  few.want_logits = false;
  const auto got = step(*gpu.denoiser, *sequence, few);
  EXPECT_TRUE(got.logits.empty() && got.statistics.argmax.empty());
  EXPECT_EQ(got.statistics.entropy_nats.size(), canvas.size());
}

/// Every way to feed a prediction back, against the CPU's bf16 path on the same canvases.
TEST(CudaDenoiser, FeedsBackWhatIsAskedFor) {
  const OnDevice gpu = on_device(kSmall);
  const auto cpu = open_model(kSmall, {.dtype = "bf16"});
  const auto V = static_cast<size_t>(gpu.denoiser->facts().vocabulary);
  Tokens tokens(3);
  const auto a = tokens(6), b = tokens(6), c = tokens(6);
  std::vector<float> given(6 * V, 0.0f);
  for (size_t p = 0; p < 6; ++p) given[p * V + 7 * p] = 6;
  const auto course = [&](const Denoiser& denoiser) {
    std::vector<std::vector<float>> logits;
    const auto sequence = denoiser.prefill(prompt_of({2, 17, 9, 33}));
    const auto take = [&](std::span<const int32_t> canvas, int32_t index, auto change) {
      StepRequest request = request_of(canvas, index, {});
      change(request);
      logits.push_back(step(denoiser, *sequence, request).logits);
    };
    take(a, 0, [](StepRequest&) {});
    take(b, 1, [](StepRequest&) {});
    take(a, 2, [](StepRequest& r) { r.hold_prediction = true; });
    take(a, 3, [](StepRequest&) {});                                             // sees the prediction of step 1: equal to the step before
    take(b, 4, [](StepRequest& r) { r.self_conditioning = SelfConditioning::kNone; });
    take(b, 5, [&](StepRequest& r) { r.self_conditioning = SelfConditioning::kGiven, r.given_logits = given; });
    take(c, 6, [](StepRequest&) {});
    return logits;
  };
  const auto ours = course(*gpu.denoiser), theirs = course(*cpu);
  EXPECT_EQ(ours[2], ours[3]);
  // Each step's logits are nearer to the CPU's of that step than half the way to any other's.
  for (size_t i = 0; i < ours.size(); ++i)
    for (size_t j = 0; j < ours.size(); ++j)
      EXPECT_TRUE(i == j || (i + j == 5 && i * j == 6) || relative_error(ours[i], theirs[i]) < 0.5 * relative_error(theirs[j], theirs[i])) << "steps " << i << " and " << j;
}

TEST(CudaDenoiser, ForksShareMemoryAndNothingElse) {
  const OnDevice gpu = on_device(kSmall);
  Tokens tokens(11);
  const auto prompt = tokens(20), first = tokens(8), second = tokens(8), other = tokens(8);
  const auto logits = [&](Sequence& sequence, std::span<const int32_t> canvas, int32_t index) { return step(*gpu.denoiser, sequence, request_of(canvas, index, {})).logits; };
  // What a sequence of its own gives.
  const auto alone = gpu.denoiser->prefill(prompt_of(prompt));
  logits(*alone, first, 0);
  const auto expected_step = logits(*alone, second, 1);
  gpu.denoiser->append(*alone, second, false);
  const auto expected_next = logits(*alone, first, 0);
  // The same beside a fork that goes another way at every point.
  const auto sequence = gpu.denoiser->prefill(prompt_of(prompt));
  logits(*sequence, first, 0);
  const int64_t before = gpu.device->ever_allocated;
  const auto fork = sequence->fork();
  EXPECT_EQ(gpu.device->ever_allocated, before) << "a fork copies nothing";
  EXPECT_NE(logits(*fork, other, 1), expected_step);
  EXPECT_EQ(logits(*sequence, second, 1), expected_step);
  gpu.denoiser->append(*fork, other, false);
  gpu.denoiser->append(*sequence, second, false);
  EXPECT_NE(logits(*fork, first, 0), expected_next);
  EXPECT_EQ(logits(*sequence, first, 0), expected_next);
  const auto late = sequence->fork();
  gpu.denoiser->append(*late, other, false);
  EXPECT_EQ(logits(*sequence, first, 0), expected_next);
}

/// Prompts in one piece or in many, crossing the window; causal logits of appended tokens; caches cut back.
TEST(CudaDenoiser, PiecesAppendsAndCutsGiveTheSameBits) {
  const std::string folder = parity::kGoldens + "kernel_sizes";  // a window of 8
  const OnDevice whole = on_device(folder), pieces = on_device(folder, 8);
  const auto cpu = open_model(folder, {.dtype = "bf16"}), exact = open_model(folder, {});
  Tokens tokens(2);
  const auto prompt = tokens(23, 90), canvas = tokens(6, 90), next = tokens(6, 90);
  const auto logits = [&](const Denoiser& denoiser, Sequence& sequence) { return step(denoiser, sequence, request_of(next, 0, {})).logits; };
  const auto by_whole = whole.denoiser->prefill(prompt_of(prompt)), by_pieces = pieces.denoiser->prefill(prompt_of(prompt)), by_cpu = cpu->prefill(prompt_of(prompt)), in_f32 = exact->prefill(prompt_of(prompt));
  EXPECT_EQ(logits(*whole.denoiser, *by_whole), logits(*pieces.denoiser, *by_pieces));
  const auto before = by_pieces->fork();
  const auto causal = whole.denoiser->append(*by_whole, canvas, true), causal_pieces = pieces.denoiser->append(*by_pieces, canvas, true), causal_cpu = cpu->append(*by_cpu, canvas, true), causal_exact = exact->append(*in_f32, canvas, true);
  EXPECT_EQ(causal, causal_pieces);
  EXPECT_LT(typical_error(causal, causal_exact, 96), as_exact_as(causal_cpu, causal_exact, 96));
  EXPECT_EQ(logits(*whole.denoiser, *by_whole), logits(*pieces.denoiser, *by_pieces));
  const auto expected = logits(*exact, *in_f32);
  EXPECT_LT(typical_error(logits(*whole.denoiser, *by_whole), expected, 96), as_exact_as(logits(*cpu, *by_cpu), expected, 96));
  for (size_t kept = 1; kept <= canvas.size(); ++kept) {
    const auto cut = pieces.denoiser->cut(*before, *by_pieces, std::span(canvas).first(kept));
    ASSERT_NE(cut, nullptr) << kept;
    const auto appended = before->fork();
    pieces.denoiser->append(*appended, std::span(canvas).first(kept), false);
    EXPECT_EQ(logits(*pieces.denoiser, *cut), logits(*pieces.denoiser, *appended)) << kept;
    pieces.denoiser->append(*cut, next, false);  // must not write into what by_pieces reads
    pieces.denoiser->append(*appended, next, false);
    EXPECT_EQ(logits(*pieces.denoiser, *cut), logits(*pieces.denoiser, *appended)) << kept;
  }
  EXPECT_EQ(logits(*whole.denoiser, *by_whole), logits(*pieces.denoiser, *by_pieces)) << "cuts and what followed them left it alone";
  // So far back that a sliding layer has dropped rows: refused.
  const auto far = before->fork();
  for (int i = 0; i < 4; ++i) pieces.denoiser->append(*far, canvas, false);
  EXPECT_EQ(pieces.denoiser->cut(*before, *far, std::span(canvas).first(1)), nullptr);
}

/// Tokens of an image see each other, left padding shifts positions: as on the CPU.
TEST(CudaDenoiser, KnowsImagesAndPadding) {
  const std::string folder = parity::kGoldens + "kernel_sizes";
  const OnDevice gpu = on_device(folder, 5);
  const auto cpu = open_model(folder, {.dtype = "bf16"}), exact = open_model(folder, {});
  Prompt prompt = prompt_of({2, 17, 9, 33, 5, 8, 71, 14, 60, 3, 21, 22});
  const auto canvas = Tokens(9)(6, 90);
  const auto logits = [&](const Denoiser& denoiser) { return step(denoiser, *denoiser.prefill(prompt), request_of(canvas, 0, {})).logits; };
  const auto expect_as_exact = [&] {
    const auto expected = logits(*exact);
    const double most = as_exact_as(logits(*cpu), expected, 96);
    EXPECT_LT(typical_error(logits(*gpu.denoiser), expected, 96), most);
    return std::pair{expected, most};
  };
  const auto plain = expect_as_exact().first;
  prompt.left_padding = 7;
  expect_as_exact();
  prompt.token_types = {0, 0, 0, 1, 1, 1, 1, 1, 1, 0, 0, 0};  // across the end of a piece
  const auto [with_image, most] = expect_as_exact();
  EXPECT_GT(typical_error(with_image, plain, 96), 2 * most) << "the image could be left out unseen";
}

/// Deep products of few features go in pieces, whose sums the next kernel adds: attention's output, router, dense block, self-conditioning.
TEST(CudaDenoiser, AddsUpProductsInPieces) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  const TemporaryFolder folder;
  const WideSizes sizes{.hidden = 512, .vocabulary = 96, .dense_width = 512, .experts = 4, .expert_width = 16};
  ASSERT_GT(cuda::product_pieces(512, 512), 1);
  write_wide_checkpoint(folder.path(), sizes, seed);
  const OnDevice gpu = on_device(folder.path());
  const auto exact = open_model(folder.path(), {}), cpu = open_model(folder.path(), {.dtype = "bf16"});
  const auto a = Tokens(seed)(5, 90), b = Tokens(seed + 1)(5, 90);
  const auto logits = [&](const Denoiser& denoiser) {
    const auto sequence = denoiser.prefill(prompt_of({2, 17, 9, 33}));
    step(denoiser, *sequence, request_of(a, 0, {}));
    return step(denoiser, *sequence, request_of(b, 1, {})).logits;  // with self-conditioning
  };
  const auto expected = logits(*exact);
  const double ours = typical_error(logits(*gpu.denoiser), expected, 96), theirs = typical_error(logits(*cpu), expected, 96);
  fmt::print("errors of the logits {:.1e} by the kernels, {:.1e} by the CPU's bf16 path\n", ours, theirs);
  EXPECT_LT(ours, 4 * theirs) << "medians of five positions of a random model are 0.7 to 1.6 times each other; a piece left out costs tens of percent";
  StepRequest alone = request_of(b, 1, {});
  alone.self_conditioning = SelfConditioning::kNone;
  EXPECT_GT(typical_error(step(*exact, *exact->prefill(prompt_of({2, 17, 9, 33})), alone).logits, expected, 96), 0.01) << "self-conditioning could be left out unseen";
}

/// Codes stay as they are stored where a kernel reads them.
TEST(CudaDenoiser, RunsQuantisedCheckpoints) {
  for (const char* layout : {"fp8", "nvfp4", "int4", "modelopt", "gguf"}) {
    const OnDevice gpu = on_device(kQuantised + layout);
    const auto exact = open_model(kQuantised + layout, {}), cpu = open_model(kQuantised + layout, {.dtype = "bf16"});
    const auto canvas = Tokens(4)(8, 60);
    const auto logits = [&](const Denoiser& denoiser) { return step(denoiser, *denoiser.prefill(prompt_of({2, 17, 9, 33})), request_of(canvas, 0, {})).logits; };
    const auto expected = logits(*exact);
    const double ours = typical_error(logits(*gpu.denoiser), expected, 64), theirs = typical_error(logits(*cpu), expected, 64);
    fmt::print("{}: errors of the logits {:.1e} by the kernels, {:.1e} by the CPU with weights read out in bf16\n", layout, ours, theirs);
    EXPECT_LT(ours, as_exact_as(logits(*cpu), expected, 64)) << layout;
    EXPECT_GT(ours, 0) << layout;
  }
}

/// A denoiser's logits with statistics made of them on the host.
class HostStatistics final : public Denoiser {
 public:
  explicit HostStatistics(const Denoiser& inner) : inner_(inner) {}
  const DenoiserFacts& facts() const override { return inner_.facts(); }
  std::unique_ptr<Sequence> prefill(const Prompt& prompt) const override { return inner_.prefill(prompt); }
  std::vector<float> append(Sequence& sequence, std::span<const int32_t> canvas, bool causal) const override { return inner_.append(sequence, canvas, causal); }
  std::string content_hash() const override { return inner_.content_hash(); }
  std::vector<StepResult> denoise(std::span<const DenoiseRow> rows) const override {
    std::vector<DenoiseRow> asking(rows.begin(), rows.end());
    for (DenoiseRow& row : asking) row.request.want_logits = true;
    auto results = inner_.denoise(asking);
    for (size_t i = 0; i < rows.size(); ++i) compute_row_statistics(results[i].logits, facts().vocabulary, 0, rows[i].request.canvas.size(), rows[i].request.statistics_request(), results[i].statistics);
    return results;
  }

 private:
  const Denoiser& inner_;
};

/// Whole generations: the tokens that the CPU's statistics lead to wherever these agree, which is everywhere; beside the CPU's own network the roundings differ, and it is counted where tokens do.
TEST(CudaDenoiser, GeneratesTheTokensOfTheCpusStatistics) {
  const OnDevice gpu = on_device(kSmall);
  const HostStatistics by_host(*gpu.denoiser);
  const auto cpu = open_model(kSmall, {.dtype = "bf16"});
  PlanRequest request;
  request.sampler = "entropy_bound(0.1)";
  request.canvas_length = 16, request.num_steps = 5, request.max_new_tokens = 32;
  const auto tokens_of = [&](const Denoiser& denoiser) {
    std::vector<RowInput> rows(3);
    Tokens tokens(21);
    for (size_t r = 0; r < rows.size(); ++r) rows[r] = {.prompt = prompt_of(tokens(6 + 5 * r)), .seed = 3, .item = r, .init_canvas = {}, .pins = {}};
    std::vector<int32_t> all;
    for (const RowResult& row : generate(denoiser, resolve_plan(request, denoiser), rows, nullptr)) all.insert(all.end(), row.canvas_ids.begin(), row.canvas_ids.end());
    return all;
  };
  const auto ours = tokens_of(*gpu.denoiser), on_host = tokens_of(by_host), on_cpu = tokens_of(*cpu);
  EXPECT_EQ(ours, on_host);
  size_t differ = ours.size() == on_cpu.size() ? 0 : ours.size();
  for (size_t i = 0; i < std::min(ours.size(), on_cpu.size()); ++i) differ += ours[i] != on_cpu[i];
  fmt::print("{} of {} tokens differ from the CPU network's in bf16\n", differ, ours.size());
  EXPECT_LT(differ, ours.size() / 2);  // one decision that falls otherwise may change all after it in its row; other logits would change nearly all
}

/// A denoiser that is not told what comes.
class OneStepAtATime final : public Denoiser {
 public:
  explicit OneStepAtATime(const Denoiser& inner) : inner_(inner), facts_(inner.facts()) { facts_.runs_ahead = false; }
  const DenoiserFacts& facts() const override { return facts_; }
  std::unique_ptr<Sequence> prefill(const Prompt& prompt) const override { return inner_.prefill(prompt); }
  std::vector<StepResult> denoise(std::span<const DenoiseRow> rows) const override { return inner_.denoise(rows); }
  std::vector<float> append(Sequence& sequence, std::span<const int32_t> canvas, bool causal) const override { return inner_.append(sequence, canvas, causal); }
  std::string content_hash() const override { return inner_.content_hash(); }

 private:
  const Denoiser& inner_;
  DenoiserFacts facts_;
};

/// Everything that the engine shows of a generation.
class Everything final : public Observer {
 public:
  explicit Everything(bool watches = false) : watches_(watches) {}
  bool watches() const override { return watches_; }
  void on_step(const StepRecord& record) override {
    for (const auto& column : {record.canvas_in, record.canvas_out, std::span<const int32_t>(record.statistics->argmax), std::span<const int32_t>(record.statistics->candidate)}) seen.insert(seen.end(), column.begin(), column.end());
    for (const auto* column : {&record.statistics->entropy_nats, &record.statistics->argmax_logprob, &record.statistics->candidate_logprob, &record.statistics->second_logprob, &record.statistics->entropy_t1_nats})
      for (const float x : *column) seen.push_back(std::bit_cast<int32_t>(x));
    for (const uint8_t x : record.accepted) seen.push_back(x);
    ++num_steps;
  }
  std::vector<int32_t> seen;
  int32_t num_steps = 0;

 private:
  bool watches_;
};

struct LoopCase {
  const char *name, *sampler, *stop, *temperature;
  bool conditioned, pinned;
  int32_t steps;
};
void PrintTo(const LoopCase& c, std::ostream* out) { *out << c.name; }

class CudaLoop : public ::testing::TestWithParam<LoopCase> {};

/// Canvases whose steps are made in one go: bit for bit what one step at a time gives, in as many forwards.
TEST_P(CudaLoop, IsStepByStepInOneGo) {
  const LoopCase& setting = GetParam();
  OnDevice gpu = on_device(parity::kGoldens + "kernel_sizes");
  PlanRequest request;
  request.sampler = setting.sampler;
  request.stop = setting.stop;
  request.temperature = setting.temperature;
  request.feedback = setting.conditioned ? "on" : "off";
  request.canvas_length = 12, request.num_steps = setting.steps, request.max_new_tokens = 24;
  RowInput row{.prompt = prompt_of({2, 17, 9, 33}), .seed = 11, .item = 4, .repeat = 1, .init_canvas = {}, .pins = {}};
  if (setting.pinned) row.pins = {{0, 7}, {5, 8}, {13, 3}};
  const auto generated = [&](const Denoiser& denoiser, Everything& everything) { return generate(denoiser, resolve_plan(request, denoiser), std::span(&row, 1), &everything).front(); };
  Everything by_step, at_once, watched(true);
  const RowResult expected = generated(OneStepAtATime(*gpu.denoiser), by_step);
  EXPECT_EQ(gpu.device->num_loops, 0);
  const int32_t num_forwards = std::exchange(gpu.device->num_forwards, 0);
  const RowResult got = generated(*gpu.denoiser, at_once);
  EXPECT_EQ(gpu.device->num_loops, 2) << "one a canvas";
  EXPECT_EQ(gpu.device->num_forwards, num_forwards);
  EXPECT_EQ(got.canvas_ids, expected.canvas_ids);
  EXPECT_EQ(got.steps_per_canvas, expected.steps_per_canvas);
  EXPECT_EQ(got.canvas_stop, expected.canvas_stop);
  EXPECT_EQ(at_once.seen, by_step.seen);
  if (std::string(setting.stop) != "never") EXPECT_LT(at_once.num_steps, 2 * setting.steps) << "the stop rule never met";
  else EXPECT_EQ(at_once.num_steps, 2 * setting.steps);
  EXPECT_EQ(generated(*gpu.denoiser, watched).canvas_ids, expected.canvas_ids);
  EXPECT_EQ(gpu.device->num_loops, 2) << "who watches sees every step when it is made";
}

INSTANTIATE_TEST_SUITE_P(Plans, CudaLoop,
                         ::testing::Values(LoopCase{"plain", "entropy_bound(1.5)", "never", "0.8", true, false, 4}, LoopCase{"schedules", "entropy_bound(linear(0.2, 6))", "never", "linear(1.1, 0.4)", true, false, 5},
                                           LoopCase{"confident", "entropy_bound(2)", "stable_and_confident(0, 3)", "linear(2, 0.02)", true, false, 7}, LoopCase{"stable", "entropy_bound(1)", "stable_and_confident(1, 0.005)", "0", true, true, 9}, LoopCase{"unconditioned", "entropy_bound(3)", "never", "0.9", false, false, 4},
                                           LoopCase{"greedy", "entropy_bound(0.1)", "never", "0", true, false, 3}, LoopCase{"pinned", "entropy_bound(4)", "never", "1", true, true, 4}),
                         [](const auto& of) { return std::string(of.param.name); });

/// What entropy_bound makes of a canvas, written out once more.
std::vector<int32_t> accepted_canvas(const RowStatistics& statistics, float bound, const DrawKey& draws, int32_t vocabulary) {
  std::vector<size_t> order(statistics.entropy_nats.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return statistics.entropy_nats[a] < statistics.entropy_nats[b]; });
  std::vector<int32_t> canvas(order.size());
  for (size_t p = 0; p < canvas.size(); ++p) canvas[p] = static_cast<int32_t>(draws.below(static_cast<uint32_t>(vocabulary), Purpose::kNoise, static_cast<uint32_t>(p)));
  double sum = 0;
  for (const size_t p : order) {
    sum += statistics.entropy_nats[p];
    if (static_cast<float>(sum) - statistics.entropy_nats[p] > bound) break;
    canvas[p] = statistics.candidate[p];
  }
  return canvas;
}

/// Canvases of several lengths and numbers of steps in one loop, with statistics beyond what the acceptance needs: at every step those of each alone, taken one step at a time.
TEST(CudaDenoiser, SeveralCanvasesGoToTheirEndsTogether) {
  const OnDevice gpu = on_device(parity::kGoldens + "kernel_sizes");
  constexpr size_t kCanvases = 3;
  const int32_t V = gpu.denoiser->facts().vocabulary;
  const std::vector<size_t> lengths = {9, 4, 17}, steps = {2, 5, 3};
  const std::vector<float> temperatures = {0.9f, 0.8f, 0.7f, 0.6f, 0.5f}, bounds = {1, 2, 3, 4, 5};
  const std::vector<uint8_t> allowed(17, 1);
  const auto request_at = [&](size_t c, size_t index, std::span<const int32_t> canvas) {
    StepRequest request = request_of(canvas, static_cast<int32_t>(index));
    request.want_logits = false;
    request.temperature = temperatures[index];
    request.draw_key = DrawKey{.seed = 5, .item = c, .canvas_idx = 2, .step_idx = static_cast<uint32_t>(index)};
    return request;
  };
  std::vector<std::unique_ptr<Sequence>> sequences, alone;
  std::vector<std::vector<int32_t>> canvases;
  std::vector<Outlook> ahead;
  for (size_t c = 0; c < kCanvases; ++c) {
    sequences.push_back(gpu.denoiser->prefill(prompt_of(Tokens(40 + c)(3 + 4 * c, 90))));
    canvases.push_back(Tokens(c)(lengths[c], 90));
    ahead.push_back({.temperatures = std::span(temperatures).first(steps[c]), .bounds = std::span(bounds).first(steps[c]), .allowed = std::span(allowed).first(lengths[c])});
  }
  std::vector<DenoiseRow> rows;
  for (size_t c = 0; c < kCanvases; ++c) {
    rows.push_back({sequences[c].get(), request_at(c, 0, canvases[c])});
    rows.back().request.outlook = &ahead[c];
  }
  gpu.device->num_forwards = 0;
  auto together = gpu.denoiser->denoise(rows);
  EXPECT_EQ(gpu.device->num_loops, 1);
  EXPECT_EQ(gpu.device->num_forwards, 5) << "as many as the longest takes";
  for (size_t c = 0; c < kCanvases; ++c) {
    alone.push_back(gpu.denoiser->prefill(prompt_of(Tokens(40 + c)(3 + 4 * c, 90))));
    for (size_t index = 0; index < steps[c]; ++index) {
      const auto expected = step(*gpu.denoiser, *alone[c], request_at(c, index, canvases[c])).statistics;
      gpu.device->num_forwards = 0;
      const auto got = index == 0 ? together[c].statistics : step(*gpu.denoiser, *sequences[c], request_at(c, index, canvases[c])).statistics;
      EXPECT_EQ(gpu.device->num_forwards, 0) << "canvas " << c << ", step " << index << " was not foreseen";
      EXPECT_EQ(got.candidate, expected.candidate) << c << " " << index;
      EXPECT_EQ(got.entropy_nats, expected.entropy_nats) << c << " " << index;
      EXPECT_EQ(got.second, expected.second) << c << " " << index;
      EXPECT_EQ(got.current_logprob, expected.current_logprob) << c << " " << index;
      EXPECT_EQ(got.argmax_logprob_t1, expected.argmax_logprob_t1) << c << " " << index;
      canvases[c] = accepted_canvas(expected, bounds[index], *request_at(c, index, canvases[c]).draw_key, V);
    }
  }
  // With a sequence more than rows, somebody may come in between.
  gpu.device->num_loops = 0;
  for (size_t c = 0; c < kCanvases; ++c) rows[c].request.canvas = canvases[c];
  gpu.denoiser->denoise(rows);
  EXPECT_EQ(gpu.device->num_loops, 0);
}

/// Requests that were not foreseen, in the middle of a canvas: the same answers as if nothing had been.
TEST(CudaDenoiser, AnswersWhatWasNotForeseen) {
  const OnDevice gpu = on_device(parity::kGoldens + "kernel_sizes");
  const int32_t V = gpu.denoiser->facts().vocabulary;
  const std::vector<float> temperatures(4, 0.8f), bounds(4, 2.0f);
  const std::vector<uint8_t> allowed(6, 1);
  const Outlook outlook{.temperatures = temperatures, .bounds = bounds, .allowed = allowed};
  static constexpr StatisticSet kWanted = {Statistic::kMax, Statistic::kEntropy, Statistic::kCandidate};
  const auto start = Tokens(1)(6, 90), other = Tokens(2)(6, 90);
  // Two steps as they are foreseen, `between`, and the third.
  const auto course = [&](bool told, auto between) {
    std::vector<std::vector<float>> out;
    const auto sequence = gpu.denoiser->prefill(prompt_of({2, 17, 9}));
    std::vector<int32_t> canvas = start;
    const auto take = [&](int32_t index) {
      StepRequest request = request_of(canvas, index, kWanted);
      request.want_logits = false;
      request.draw_key->step_idx = static_cast<uint32_t>(index);
      if (told && index == 0) request.outlook = &outlook;
      const auto statistics = step(*gpu.denoiser, *sequence, request).statistics;
      canvas = accepted_canvas(statistics, 2.0f, *request.draw_key, V);
      out.push_back(statistics.entropy_nats);
    };
    take(0);
    take(1);
    between(*sequence, canvas, out);
    take(2);
    return out;
  };
  const auto expect_alike = [&](const char* what, auto between) {
    gpu.device->num_loops = 0;
    const auto expected = course(false, between);
    EXPECT_EQ(gpu.device->num_loops, 0);
    EXPECT_EQ(course(true, between), expected) << what;
    EXPECT_EQ(gpu.device->num_loops, 1) << what;
  };
  expect_alike("nothing", [](Sequence&, const std::vector<int32_t>&, auto&) {});
  const auto asks = [&](auto change) {
    return [&gpu, &other, change](Sequence& sequence, const std::vector<int32_t>&, std::vector<std::vector<float>>& out) {
      StepRequest request = request_of(other, 1, kWanted);
      change(request);
      out.push_back(step(*gpu.denoiser, sequence, request).logits);
    };
  };
  expect_alike("a look at another canvas", asks([](StepRequest& r) { r.hold_prediction = true; }));
  expect_alike("a look without feedback", asks([](StepRequest& r) { r.hold_prediction = true, r.self_conditioning = SelfConditioning::kNone; }));
  expect_alike("a look at a first step", asks([](StepRequest& r) { r.hold_prediction = true, r.step_idx = 0; }));
  expect_alike("the step again", asks([](StepRequest&) {}));
  expect_alike("another canvas's number", asks([](StepRequest& r) { r.canvas_idx = 3, r.step_idx = 2; }));
  expect_alike("a fork's course", [&](Sequence& sequence, const std::vector<int32_t>& canvas, auto& out) { out.push_back(step(*gpu.denoiser, *sequence.fork(), request_of(canvas, 2, kWanted)).logits); });
  // Another length is a mistake, with or without a loop behind it.
  const auto sequence = gpu.denoiser->prefill(prompt_of({2, 17, 9}));
  StepRequest first = request_of(start, 0, kWanted);
  first.want_logits = false;
  first.outlook = &outlook;
  step(*gpu.denoiser, *sequence, first);
  EXPECT_THROW(step(*gpu.denoiser, *sequence, request_of(std::span(other).first(5), 1, kWanted)), std::logic_error);
  // What fails leaves the sequence as it was.
  gpu.device->room = 16;
  EXPECT_THROW(step(*gpu.denoiser, *sequence, request_of(other, 1, kWanted)), UserError);
  gpu.device->room = std::numeric_limits<int64_t>::max();
  const auto untold = gpu.denoiser->prefill(prompt_of({2, 17, 9}));
  first.outlook = nullptr;
  step(*gpu.denoiser, *untold, first);
  EXPECT_EQ(step(*gpu.denoiser, *sequence, request_of(other, 1, kWanted)).logits, step(*gpu.denoiser, *untold, request_of(other, 1, kWanted)).logits);
}

/// Generations beside each other: some canvases go to their ends by themselves, some step by step, as it happens; the tokens are the same.
TEST(CudaDenoiser, GenerationsOnSeveralThreadsGetTheirOwnTokens) {
  const OnDevice gpu = on_device(parity::kGoldens + "kernel_sizes");
  PlanRequest request;
  request.sampler = "entropy_bound(2)", request.stop = "never";
  request.canvas_length = 6, request.num_steps = 3, request.max_new_tokens = 12;
  const auto tokens_of = [&](uint64_t item) {
    const RowInput row{.prompt = prompt_of({2, 17, 9, static_cast<int32_t>(20 + item)}), .seed = 11, .item = item, .init_canvas = {}, .pins = {}};
    return generate(*gpu.denoiser, resolve_plan(request, *gpu.denoiser), std::span(&row, 1)).front().canvas_ids;
  };
  constexpr size_t kItems = 6;
  std::vector<std::vector<int32_t>> expected(kItems), got(kItems);
  for (size_t i = 0; i < kItems; ++i) expected[i] = tokens_of(i);
  EXPECT_EQ(gpu.device->num_loops, 2 * static_cast<int32_t>(kItems));
  {
    std::vector<std::jthread> threads;
    for (size_t t = 0; t < 3; ++t)
      threads.emplace_back([&, t] {
        for (size_t i = t; i < kItems; i += 3) got[i] = tokens_of(i);
      });
  }
  EXPECT_EQ(got, expected);
  EXPECT_NE(expected[0], expected[1]);
}

/// A canvas that goes another way than was foreseen: as if nothing had been.
TEST(CudaDenoiser, GoesAnotherWayThanForeseen) {
  const OnDevice gpu = on_device(parity::kGoldens + "kernel_sizes");
  const std::vector<float> temperatures(4, 0.8f), bounds(4, 2.0f);
  const std::vector<uint8_t> allowed(6, 1);
  const Outlook outlook{.temperatures = temperatures, .bounds = bounds, .allowed = allowed};
  const auto start = Tokens(1)(6, 90), other = Tokens(2)(6, 90);
  const auto course = [&](bool told) {
    const auto sequence = gpu.denoiser->prefill(prompt_of({2, 17, 9}));
    StepRequest first = request_of(start, 0, {Statistic::kMax, Statistic::kEntropy, Statistic::kCandidate});
    first.want_logits = false;
    if (told) first.outlook = &outlook;
    std::vector<std::vector<float>> out = {step(*gpu.denoiser, *sequence, first).statistics.entropy_nats};
    out.push_back(step(*gpu.denoiser, *sequence, request_of(other, 1)).logits);
    out.push_back(step(*gpu.denoiser, *sequence, request_of(start, 2)).logits);
    return out;
  };
  const auto expected = course(false);
  EXPECT_EQ(gpu.device->num_loops, 0);
  EXPECT_EQ(course(true), expected);
  EXPECT_EQ(gpu.device->num_loops, 1);
}

/// A number that is none in a later step's logits is found where step by step finds it.
TEST(CudaDenoiser, BadLogitsInALoopAreFoundWhereTheyAre) {
  const OnDevice gpu = on_device(parity::kGoldens + "kernel_sizes");
  int32_t forwards = 0;
  gpu.device->after_forward = [&](const cuda::ForwardCall& call) {
    if (call.logits && ++forwards % 3 == 0) call.logits[2 * int64_t{call.vocabulary} + 5] = NAN;  // of every third step
  };
  PlanRequest request;
  request.sampler = "entropy_bound(1)", request.stop = "never";
  request.canvas_length = 8, request.num_steps = 5, request.max_new_tokens = 8;
  const RowInput row{.prompt = prompt_of({2, 17, 9, 33}), .seed = 11, .init_canvas = {}, .pins = {}};
  const auto said = [&](const Denoiser& denoiser) -> std::string {
    forwards = 0;
    try {
      generate(denoiser, resolve_plan(request, denoiser), std::span(&row, 1));
    } catch (const UserError& error) {
      return error.what();
    }
    return "nothing";
  };
  const std::string expected = said(OneStepAtATime(*gpu.denoiser));
  EXPECT_NE(expected.find("step 2, position 2"), std::string::npos) << expected;
  EXPECT_EQ(said(*gpu.denoiser), expected);
  EXPECT_EQ(gpu.device->num_loops, 1);
}

TEST(CudaDenoiser, CallersOnSeveralThreadsGetTheirOwnResults) {
  const OnDevice gpu = on_device(parity::kGoldens + "kernel_sizes");
  constexpr size_t kThreads = 4;
  std::vector<std::vector<std::vector<float>>> got(kThreads), expected(kThreads);
  const auto course = [&](size_t t, std::vector<std::vector<float>>& out) {
    Tokens tokens(t);
    const auto sequence = gpu.denoiser->prefill(prompt_of(tokens(4 + 3 * t, 90)));
    for (int32_t i = 0; i < 4; ++i) out.push_back(step(*gpu.denoiser, *sequence, request_of(tokens(5 + t, 90), i % 2, {})).logits);
  };
  for (size_t t = 0; t < kThreads; ++t) course(t, expected[t]);
  {
    std::vector<std::jthread> threads;
    for (size_t t = 0; t < kThreads; ++t) threads.emplace_back([&, t] { course(t, got[t]); });
  }
  EXPECT_EQ(got, expected);
  fmt::print("at most {} canvases in one forward\n", gpu.device->most_canvases);
}

TEST(CudaDenoiser, MistakesAreSaidAndOthersGoOn) {
  const OnDevice gpu = on_device(parity::kGoldens + "kernel_sizes");
  const auto& denoiser = *gpu.denoiser;
  EXPECT_THROW(denoiser.prefill(prompt_of({2, 96})), UserError);
  const auto sequence = denoiser.prefill(prompt_of({2, 17, 9})), other = denoiser.prefill(prompt_of({2, 17, 9}));
  const std::vector<int32_t> canvas = {4, 9, 16, 25};
  const auto expected = step(denoiser, *other, request_of(canvas, 0)).logits;
  // A number that is none in one of two canvases' logits, at its position 1.
  gpu.device->after_forward = [&](const cuda::ForwardCall& call) { call.logits[(call.num_rows - 3) * int64_t{call.vocabulary} + 5] = NAN; };
  std::vector<DenoiseRow> rows = {{other.get(), request_of(canvas, 0)}, {sequence.get(), request_of(canvas, 0)}};
  try {
    denoiser.denoise(rows);
    ADD_FAILURE() << "NaN went unseen";
  } catch (const NonFiniteLogits& error) {
    EXPECT_EQ(error.position(), 1u);
  }
  gpu.device->after_forward = nullptr;
  EXPECT_EQ(step(denoiser, *other, request_of(canvas, 0)).logits, expected);
  gpu.device->failure = 700;
  try {
    step(denoiser, *other, request_of(canvas, 0));
    ADD_FAILURE() << "an error of the device went unseen";
  } catch (const std::runtime_error& error) {
    EXPECT_STREQ(error.what(), "the simulated GPU failed: error 700");
  }
  gpu.device->failure = 0;
  gpu.device->room = 1 << 10;
  try {
    denoiser.prefill(prompt_of({2, 17, 9, 4}));
    ADD_FAILURE() << "found room where there is none";
  } catch (const UserError& error) {
    EXPECT_NE(std::string(error.what()).find("the simulated GPU has no room for 1 MiB of keys and values"), std::string::npos) << error.what();
  }
  // A cache that holds part of what was appended is no context.
  EXPECT_THROW(denoiser.append(*other, std::vector<int32_t>(600, 7), false), UserError);
  gpu.device->room = std::numeric_limits<int64_t>::max();
  EXPECT_THROW(step(denoiser, *other, request_of(canvas, 0)), std::logic_error);
  EXPECT_THROW(denoiser.append(*other, canvas, false), std::logic_error);
  // No room for several canvases' logits together, but for each of them alone: they are answered all the same.
  gpu.device->room = std::numeric_limits<int64_t>::max();
  std::vector<std::unique_ptr<Sequence>> sequences;
  std::vector<DenoiseRow> many;
  for (int i = 0; i < 6; ++i) many.push_back({sequences.emplace_back(denoiser.prefill(prompt_of({2, 17, 9}))).get(), request_of(canvas, 0)});
  gpu.device->room = 3 * 4 * 96 * 4;
  for (const StepResult& result : denoiser.denoise(many)) EXPECT_EQ(result.logits, expected);
}

/// What the stand-in for a device is for: the host's memory is refused, the device's cannot be read.
TEST(SimulatedDevice, FindsMemoryOfTheWrongKind) {
  cuda::SimulatedDevice device;
  auto* there = static_cast<float*>(device.allocate(64));
  float here[4] = {1, 2, 3, 4}, back[4] = {};
  EXPECT_THROW(device.upload(here, here, 16), std::logic_error);
  EXPECT_THROW(device.download(here, here, 16), std::logic_error);
  EXPECT_EQ(device.upload(there, here, 16), 0);
  EXPECT_EQ(device.download(back, there, 16), 0);
  EXPECT_EQ(back[3], 4);
  EXPECT_EXIT(std::exit(there[0] > 0), ::testing::KilledBySignal(SIGSEGV), ".*");
}

}  // namespace
}  // namespace canvaslab
