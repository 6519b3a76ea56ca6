// Training: what is averaged, what is drawn, what a resumed run repeats.
#include "core/network/trainer.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "core/error.h"
#include "core/network/adamw.h"
#include "core/network/corruption.h"
#include "core/network/network.h"
#include "tests/network/training_batch.h"
#include "tests/support/temporary.h"

namespace canvaslab {
namespace {

const std::string kBase = std::string(CANVASLAB_SOURCE_DIR) + "/tests/network/goldens/base";  // 96 tokens, canvases of 16, window 6
at::Tensor row_ids(const std::vector<int32_t>& flat, size_t rows, size_t row) {
  const size_t width = flat.size() / rows;
  return at::tensor(std::vector<int64_t>(flat.begin() + static_cast<ptrdiff_t>(row * width), flat.begin() + static_cast<ptrdiff_t>((row + 1) * width)), at::kLong);
}

/// Sum over rows of -log softmax(logits)[target], in f64.
double nats(const at::Tensor& logits, const at::Tensor& targets) {
  return -at::log_softmax(logits.to(at::kDouble), -1).gather(-1, targets.unsqueeze(-1)).sum().item<double>();
}

// Sums in f32 over at most 96 tokens and 32 hidden numbers through two layers: the parity tests hold 2e-5 of the largest
// logit; a mean of losses errs by no more than twice the worst logit.
constexpr double kLossTolerance = 1e-4;

TEST(Trainer, LossesAreThoseOfEachSequenceByItself) {
  const TrainingBatch batch = some_batch(3);
  TrainerOptions options;
  options.self_conditioning_share = 0;
  Trainer trainer(kBase, options);
  const StepLosses losses = trainer.step(std::span(&batch, 1));

  const c10::NoGradGuard no_grad;
  const Network network = Network::load(kBase, at::kFloat, at::kCPU);
  const DrawKey key{.seed = options.seed};
  const int64_t L = kLength, c = key.below(2, Purpose::kTraining, 0, kTargetCanvas);
  std::vector<int64_t> clean;
  for (size_t r = 0; r < 3; ++r) {
    const auto ids = row_ids(batch.answers, 3, r).narrow(0, c * L, L).contiguous();
    clean.insert(clean.end(), ids.const_data_ptr<int64_t>(), ids.const_data_ptr<int64_t>() + L);
  }
  const auto noisy = corrupt(clean, kLength, 6, 0, kVocabulary, options.all_noise_share, key);
  double causal = 0, diffusion = 0, counted = 0;
  for (size_t r = 0; r < 3; ++r) {
    const auto prompt = row_ids(batch.prompts, 3, r), answer = row_ids(batch.answers, 3, r);
    KvCache whole = network.empty_cache(0);
    const auto hidden = network.encode(at::cat({prompt, answer}, 0), {}, whole, true);
    const int64_t length = batch.answer_lengths[r], P = prompt.size(0);
    causal += nats(network.logits(hidden.narrow(0, P - 1, length)), answer.narrow(0, 0, length));
    counted += static_cast<double>(length);
    for (const size_t row : {r, r + 3}) {
      KvCache before = network.empty_cache(0);
      network.encode(at::cat({prompt, answer.narrow(0, 0, c * L)}, 0), {}, before, false);
      const auto canvas = at::tensor(std::vector<int64_t>(noisy.canvas.begin() + static_cast<ptrdiff_t>(row * kLength), noisy.canvas.begin() + static_cast<ptrdiff_t>((row + 1) * kLength)), at::kLong);
      diffusion += nats(network.decode(canvas, before, {}), answer.narrow(0, c * L, L));
    }
  }
  EXPECT_NEAR(losses.causal, causal / counted, kLossTolerance);
  EXPECT_NEAR(losses.diffusion, diffusion / (6.0 * kLength), kLossTolerance);
  EXPECT_GT(std::abs(losses.causal - losses.diffusion), 100 * kLossTolerance) << "the two could be mistaken for each other";
  EXPECT_EQ(losses.tokens, 3 * (9 + 32) + 3 * 2 * 16);
}

TEST(Trainer, FeedbackOfTheFirstRowsIsThatOfEachByItself) {
  const c10::NoGradGuard no_grad;
  const Network network = Network::load(kBase, at::kFloat, at::kCPU);
  const TrainingBatch batch = some_batch(3, 1);
  KvCache together = network.empty_cache(0, 3);
  network.encode(at::stack({row_ids(batch.prompts, 3, 0), row_ids(batch.prompts, 3, 1), row_ids(batch.prompts, 3, 2)}), {}, together, false);
  const auto canvases = at::stack({row_ids(batch.answers, 3, 0), row_ids(batch.answers, 3, 1), row_ids(batch.answers, 3, 2)});
  const auto feedback = network.decode(canvases, together, {}).narrow(0, 0, 2) * 20;  // sharp, so that it tells
  const auto logits = network.decode(canvases, together, feedback);
  for (int64_t r = 0; r < 3; ++r) {
    KvCache alone = network.empty_cache(0);
    network.encode(row_ids(batch.prompts, 3, static_cast<size_t>(r)), {}, alone, false);
    const auto expected = network.decode(canvases.select(0, r), alone, r < 2 ? feedback.select(0, r) : at::Tensor());
    const double scale = expected.abs().max().item<double>();
    EXPECT_LE((logits.select(0, r) - expected).abs().max().item<double>(), 2e-5 * scale) << "row " << r;
    const auto other = network.decode(canvases.select(0, r), alone, r < 2 ? at::Tensor() : feedback.select(0, 0));
    EXPECT_GT((logits.select(0, r) - other).abs().max().item<double>(), 2e-3 * scale) << "row " << r << " does not show whether it has feedback";
  }
}

/// The averaged weights as a file's bytes.
std::string model_of(const Trainer& trainer) {
  const TemporaryFolder folder;
  trainer.save_model(folder.path(), "F32");
  return read_file(folder / "model.safetensors");
}

TEST(Trainer, AResumedRunEndsInTheSameBits) {
  const TemporaryFolder folder;
  const std::vector<TrainingBatch> batches{some_batch(2), some_batch(3, 1)};
  Trainer first(kBase, {});
  for (int i = 0; i < 2; ++i) first.step(batches);
  first.save_state(folder / "state", "settings", Trainer::Moments::kRounded);
  Trainer second(kBase, {});
  second.load_state(folder / "state", "settings");
  EXPECT_EQ(second.num_done(), 2);
  const std::string before = model_of(second);
  for (int i = 0; i < 2; ++i) {
    const StepLosses a = first.step(batches), b = second.step(batches);
    EXPECT_EQ(a.diffusion, b.diffusion);
    EXPECT_EQ(a.gradient_norm, b.gradient_norm);
  }
  EXPECT_TRUE(model_of(first) == model_of(second));
  EXPECT_FALSE(model_of(first) == before);
}

TEST(Trainer, LearnsOneBatchByHeart) {
  const TemporaryFolder folder;
  std::filesystem::copy_file(kBase + "/config.json", folder / "config.json");  // no weights: random ones
  TrainerOptions options;
  options.warmup_steps = 5, options.num_steps = 60, options.learning_rate = 1e-2;
  Trainer trainer(folder.path(), options);
  const TrainingBatch batch = some_batch(2, 1);
  const StepLosses first = trainer.step(std::span(&batch, 1));
  StepLosses last;
  for (int i = 1; i < 60; ++i) last = trainer.step(std::span(&batch, 1));
  EXPECT_LT(last.causal, first.causal / 4);
  EXPECT_LT(last.diffusion, first.diffusion / 2);
  EXPECT_GT(first.causal, 0.8 * std::log(kVocabulary)) << "random weights know nothing";
}

TEST(Trainer, RefusesWhatDoesNotFit) {
  const TemporaryFolder folder;
  Trainer trainer(kBase, {});
  const auto refused = [&](TrainingBatch batch, const std::string& words) {
    try {
      trainer.step(std::span(&batch, 1));
      ADD_FAILURE() << "not refused: " << words;
    } catch (const UserError& error) {
      EXPECT_NE(std::string(error.what()).find(words), std::string::npos) << error.what();
    }
  };
  TrainingBatch batch = some_batch(2);
  batch.prompts.clear();
  refused(batch, "at least 1");
  batch = some_batch(2), batch.answers.pop_back();
  refused(batch, "whole canvases of 16");
  batch = some_batch(2), batch.answer_lengths[1] = 33;
  refused(batch, "an answer of 33 tokens");
  batch = some_batch(2), batch.prompts[3] = kVocabulary;
  refused(batch, "outside the vocabulary");
  EXPECT_EQ(trainer.num_done(), 0);

  trainer.save_state(folder / "state", "one", Trainer::Moments::kRounded);
  EXPECT_THROW(trainer.load_state(folder / "state", "another"), UserError);
  const std::string whole = read_file(folder / "state");
  write_file(folder / "cut", whole.substr(0, whole.size() - 8));
  EXPECT_THROW(trainer.load_state(folder / "cut", "one"), UserError);
  EXPECT_THROW(trainer.load_state(kBase + "/model.safetensors", "one"), UserError);
}

TEST(Trainer, TheRateRisesStaysAndFalls) {
  TrainerOptions options;
  options.num_steps = 1000, options.warmup_steps = 100, options.learning_rate = 2;
  EXPECT_DOUBLE_EQ(scheduled_rate(options, 0), 0.02);
  EXPECT_DOUBLE_EQ(scheduled_rate(options, 99), 2);
  EXPECT_DOUBLE_EQ(scheduled_rate(options, 500), 2);
  EXPECT_DOUBLE_EQ(scheduled_rate(options, 750), 2 * (0.02 + 0.98 / 2));
  EXPECT_DOUBLE_EQ(scheduled_rate(options, 1000), 0.04);
}

TEST(Corruption, LevelsAreStratifiedAndTheNoisierCanvasContainsTheNoise) {
  std::vector<int64_t> clean(2 * 40, kVocabulary);  // outside the vocabulary, so that replaced positions show
  const auto noisy = corrupt(clean, 40, 8, 5, kVocabulary, 0.25, {.seed = 3});
  ASSERT_EQ(noisy.level.size(), 8u);
  ASSERT_EQ(noisy.noisier.size(), 5u * 40);
  std::vector<double> levels = noisy.level;
  std::sort(levels.begin(), levels.end());
  for (size_t k = 0; k < 6; ++k) {  // eight strata of (0, 1), the upper quarter of which means 1
    EXPECT_GE(levels[k], static_cast<double>(k) / 6);
    EXPECT_LE(levels[k], static_cast<double>(k + 1) / 6);
  }
  EXPECT_EQ(levels[6], 1);
  EXPECT_EQ(levels[7], 1);
  for (size_t r = 0; r < 8; ++r)
    for (size_t p = 0; p < 40; ++p) {
      const int64_t token = noisy.canvas[r * 40 + p];
      const bool replaced = token != kVocabulary;
      EXPECT_TRUE(!replaced || token < kVocabulary) << token;
      EXPECT_TRUE(replaced || noisy.level[r] < 1) << "row " << r << ", position " << p;
      EXPECT_TRUE(!replaced || r >= 5 || noisy.noisier[r * 40 + p] == token) << "row " << r << ", position " << p;
    }
  for (const float temperature : noisy.temperature) EXPECT_TRUE(temperature > 0.4f && temperature < 0.8f) << temperature;
}

/// The step by the kernel, which a CPU uses, and by LibTorch's operations, for other devices.
class AdamW : public ::testing::TestWithParam<bool> {};

TEST_P(AdamW, IsTheFormulaInDoublePrecision) {
  const AdamWStep step{.learning_rate = 0.1f, .beta1 = 0.9f, .beta2 = 0.98f, .epsilon = 1e-8f, .weight_decay = 0.3f, .correction1 = 0.271f, .correction2 = 0.0588f, .gradient_scale = 0.5f, .average_decay = 0.75f};
  std::vector<float> g{3, -2, 0.001f, 0}, w{1, 2, 3, 4}, m{0.5f, 0, -1, 0}, v{0.25f, 1, 4, 0}, a{0, 1, 2, 3};
  const auto w0 = w, m0 = m, v0 = v, a0 = a;
  const auto tensor = [](std::vector<float>& x) { return at::from_blob(x.data(), {4}, at::kFloat); };
  const AdamWTensors tensors{.weights = tensor(w), .moment1 = tensor(m), .moment2 = tensor(v), .average = tensor(a)};
  if (GetParam()) adamw_by_operations(step, tensor(g), tensors);
  else adamw_step(step, tensor(g), tensors);
  for (size_t i = 0; i < 4; ++i) {
    const double gradient = 0.5 * g[i], moment1 = 0.9 * m0[i] + 0.1 * gradient, moment2 = 0.98 * v0[i] + 0.02 * gradient * gradient;
    const double weight = w0[i] * (1 - 0.1 * 0.3) - 0.1 * (moment1 / 0.271) / (std::sqrt(moment2 / 0.0588) + 1e-8);
    // A dozen roundings of 6e-8 each.
    EXPECT_NEAR(m[i], moment1, 1e-6 * std::max(1.0, std::abs(moment1)));
    EXPECT_NEAR(v[i], moment2, 1e-6 * std::max(1.0, moment2));
    EXPECT_NEAR(w[i], weight, 1e-6 * std::max(1.0, std::abs(weight)));
    EXPECT_NEAR(a[i], 0.75 * a0[i] + 0.25 * weight, 1e-6 * 4);
  }
}

INSTANTIATE_TEST_SUITE_P(Both, AdamW, ::testing::Bool(), [](const auto& which) { return which.param ? "Operations" : "Kernel"; });

}  // namespace
}  // namespace canvaslab
