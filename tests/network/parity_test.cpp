// Against transformers 5.17.0, from recorded generations (goldens/, made by make_goldens.py).
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "core/model.h"
#include "core/network/network_denoiser.h"
#include "core/torch_random.h"
#include "tests/network/parity.h"

namespace canvaslab {
namespace {

using parity::golden_names;
using parity::kGoldens;
using parity::bf16_errors;
using parity::Recording;

class Golden : public ::testing::TestWithParam<std::string> {
 protected:
  std::string folder = kGoldens + GetParam();
  Recording recording{folder + "/reference.h5"};
};

void expect_parity(const Denoiser& denoiser, const Recording& recording) {
  const auto result = parity::compare_generation(denoiser, recording, {});
  for (const auto& mistake : result.mistakes) ADD_FAILURE() << mistake;
  EXPECT_FALSE(result.cut_short());
  std::printf("worst logit difference %.2e of the largest at %s; worst entropy difference %.1e nats\n", result.worst_logit,
              result.worst_logit_at.c_str(), result.worst_entropy);
}

/// 2e-5 of the largest logit: about ten times what the reference differs from itself by between its own back ends (at
/// most 3e-6 on these models, stored with each). Packed weights and own kernels, then the path that trains.
TEST_P(Golden, GeneratesTheReferencesTokensStepByStep) { expect_parity(*open_model(folder, {}), recording); }
TEST_P(Golden, SoDoTheNetworksTensors) { expect_parity(*tensor_denoiser(folder, {}), recording); }

/// The reference's generator afterwards: every draw of the loop is accounted for.
TEST_P(Golden, ConsumesTheReferencesStream) {
  TorchGenerator generator(static_cast<uint64_t>(recording.seed));
  const size_t draws = recording.batch * recording.length;
  int32_t canvases = 0;
  for (size_t s = 0; s < recording.num_steps; ++s) canvases += recording.step_idx[s] == 0;
  for (size_t i = 0; i < static_cast<size_t>(canvases) * draws; ++i) generator.next_raw();
  for (size_t i = 0; i < recording.num_steps * draws * (2 * recording.vocabulary + 1); ++i) generator.next_raw();
  // The recorded draw is torch.randint(0, 2^31 - 1): for ranges of 2^28 and more torch takes two outputs, high half first.
  const uint64_t high = generator.next_raw();
  EXPECT_EQ((high << 32 | generator.next_raw()) % 2147483647u, static_cast<uint64_t>(recording.next_draw));
}

INSTANTIATE_TEST_SUITE_P(Transformers, Golden, ::testing::ValuesIn(golden_names()), [](const auto& param) { return param.param; });

/// gpu.md 4.1, last row: the geometric mean over models and steps of (our error / the reference's own bf16 error) is at
/// most 1.2, and no model's is above 3.
void expect_small_bf16_errors(std::unique_ptr<Denoiser> (*open)(const std::string&, const ModelOptions&)) {
  double log_sum = 0;
  size_t count = 0;
  for (const auto& name : golden_names()) {
    const Recording r(kGoldens + name + "/reference.h5");
    const auto ours = bf16_errors(*open(kGoldens + name, {.dtype = "bf16"}), r);
    ASSERT_EQ(ours.size(), r.bf16_error.size()) << name;
    double model_log = 0;
    for (size_t s = 0; s < ours.size(); ++s) model_log += std::log(ours[s] / r.bf16_error[s]);
    const double ratio = std::exp(model_log / static_cast<double>(ours.size()));
    EXPECT_LE(ratio, 3) << name;
    std::printf("%-18s ours / reference %.3f\n", name.c_str(), ratio);
    log_sum += model_log;
    count += ours.size();
  }
  const double mean = std::exp(log_sum / static_cast<double>(count));
  std::printf("geometric mean %.3f over %zu steps\n", mean, count);
  EXPECT_LE(mean, 1.2);
}

TEST(Bf16, ErrsNoMoreThanTheReferenceDoes) { expect_small_bf16_errors(open_model); }
TEST(Bf16, NorDoTheNetworksTensors) { expect_small_bf16_errors(tensor_denoiser); }

TEST(Parity, TheGoldensDifferAndSettleAsTheirNamesSay) {
  EXPECT_GE(golden_names().size(), 12u);
  const Recording early(kGoldens + "early_stop/reference.h5"), batch(kGoldens + "batch_one_ends/reference.h5");
  EXPECT_LT(early.num_steps, 4u * 24u);
  EXPECT_NE(batch.tokens_per_forward[0], batch.tokens_per_forward[1]);
}

/// The comparator must see a wrong answer: one logit, one token, one temperature.
TEST(Parity, TheComparisonFindsAWrongLogitTokenAndTemperature) {
  const auto denoiser = open_model(kGoldens + "base", {});
  const Recording right(kGoldens + "base/reference.h5");
  Recording wrong = right;
  wrong.logits[1234] += 1e-3f;
  EXPECT_FALSE(parity::compare_generation(*denoiser, wrong, {}).mistakes.empty());
  wrong = right;
  wrong.candidate[5] ^= 1;
  EXPECT_FALSE(parity::compare_generation(*denoiser, wrong, {}).mistakes.empty());
  wrong = right;
  wrong.temperature[3] = std::nextafter(wrong.temperature[3], 1.0f);
  EXPECT_FALSE(parity::compare_generation(*denoiser, wrong, {}).mistakes.empty());
  wrong = right;
  wrong.tokens.back() ^= 1;
  EXPECT_FALSE(parity::compare_generation(*denoiser, wrong, {}).mistakes.empty());
}

}  // namespace
}  // namespace canvaslab
