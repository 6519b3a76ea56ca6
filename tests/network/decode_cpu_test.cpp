// The CPU path of the forward against the tensor path, and what must not change a result.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <thread>
#include <tuple>

#include <nlohmann/json.hpp>

#include "core/model.h"
#include "core/network/cpu_network.h"
#include "tests/network/parity.h"
#include "tests/support/temporary.h"

namespace canvaslab {
namespace {

using parity::golden_names;
using parity::kGoldens;
using parity::Recording;

at::Tensor ids_of(std::span<const int32_t> ids) { return at::tensor(std::vector<int64_t>(ids.begin(), ids.end()), at::kLong); }

/// Logits of one forward of the CPU path, fed back `last` [L, V] at a temperature, or nothing.
std::vector<float> forward(const CpuNetwork& network, std::span<const int32_t> canvas, const KvCache& cache, const float* last, float temperature, RopeTables& tables) {
  const auto L = canvas.size(), D = static_cast<size_t>(network.config().hidden_size);
  std::vector<float> soft(last ? L * D : 0), hidden(L * D), logits(L * static_cast<size_t>(network.config().vocab_size));
  if (last) network.soft_embedding(last, static_cast<int64_t>(L), temperature, soft.data());
  network.decode(canvas, cache, last ? soft.data() : nullptr, tables, hidden.data());
  network.head(hidden.data(), static_cast<int64_t>(L), logits.data());
  return logits;
}

/// 2e-5 of the largest logit, as against the reference: both are roundings of the same sums.
TEST(DecodeCpu, GivesTheTensorPathsLogits) {
  const c10::NoGradGuard no_grad;
  at::set_num_threads(1);
  double worst = 0;
  for (const auto& name : golden_names()) {
    const Recording r(kGoldens + name + "/reference.h5");
    const Network network = Network::load(kGoldens + name, at::kFloat, at::Device("cpu"));
    ASSERT_TRUE(CpuNetwork::serves(network));
    const CpuNetwork fast(network);
    for (int64_t padding : {0, 3}) {
      auto cache = network.empty_cache(padding);
      network.encode(ids_of(r.prompts[0]), {}, cache, false);
      RopeTables tables;
      for (size_t s = 0; s < std::min<size_t>(r.num_steps, 6); ++s) {
        const auto canvas = std::span(r.canvas_in).subspan(s * r.batch * r.length, r.length);
        const float* last = s == 0 ? nullptr : r.logits.data() + (s - 1) * r.batch * r.length * r.vocabulary;
        const float t = s == 0 ? 1 : r.temperature[s - 1];
        const std::vector<int64_t> shape = {static_cast<int64_t>(r.length), static_cast<int64_t>(r.vocabulary)};
        const auto feedback = last ? at::from_blob(const_cast<float*>(last), shape, at::kFloat) / t : at::Tensor();
        const auto expected = network.decode(ids_of(canvas), cache, feedback);
        auto logits = forward(fast, canvas, cache, last, t, tables);
        const auto ours = at::from_blob(logits.data(), shape, at::kFloat);
        const double error = ((ours - expected).abs().max() / expected.abs().max()).item<double>();
        EXPECT_LT(error, 2e-5) << name << " step " << s << " padding " << padding;
        worst = std::max(worst, error);
      }
      // Wrong feedback must show.
      const auto canvas = std::span(r.canvas_in).first(r.length);
      EXPECT_NE(forward(fast, canvas, cache, nullptr, 1, tables), forward(fast, canvas, cache, r.logits.data(), 1, tables)) << name;
    }
  }
  std::printf("worst difference %.1e of the largest logit\n", worst);
}

/// How far apart the two paths are when they encode random tokens piece by piece: of the hidden states, over the largest; of keys and values. Infinite where caches differ in shape.
struct Apart {
  double hidden = 0, cached = 0;
};
Apart encoded_apart(const Network& network, const CpuNetwork& fast, uint64_t seed, int64_t padding, bool images) {
  at::manual_seed(seed);
  const auto ids = at::randint(4, network.config().vocab_size - 8, {957}, at::kLong);
  auto ours = fast.empty_cache(padding), theirs = network.empty_cache(padding);
  Apart out;
  for (auto [first, last] : {std::pair<int64_t, int64_t>{0, 1}, {1, 4}, {4, 150}, {150, 157}, {157, 957}}) {
    const auto piece = ids.slice(0, first, last);
    const std::vector<int32_t> tokens(piece.const_data_ptr<int64_t>(), piece.const_data_ptr<int64_t>() + piece.size(0));
    std::vector<uint8_t> types;
    if (images) types.assign(tokens.size(), 0);
    for (size_t i = 0; i < types.size(); ++i) types[i] = (i > 20 && i < 90) || (i > 480 && i < 530) || i > 700 ? 1 : 0;  // one across the border of two pieces
    auto a = at::empty({piece.size(0), network.config().hidden_size});
    fast.encode(tokens, types, ours, a.mutable_data_ptr<float>());
    const auto b = network.encode(piece, types, theirs, true);
    out.hidden = std::max(out.hidden, ((a - b).abs().max() / b.abs().max()).item<double>());
    EXPECT_EQ(ours.length, theirs.length);
    for (size_t i = 0; i < ours.layers.size(); ++i) {
      if (ours.layers[i].k.sizes() != theirs.layers[i].k.sizes()) return {INFINITY, INFINITY};
      out.cached = std::max({out.cached, (ours.layers[i].k - theirs.layers[i].k).abs().max().item<double>(), (ours.layers[i].v - theirs.layers[i].v).abs().max().item<double>()});
    }
  }
  return out;
}

/// Encoding in pieces of any size, past the sliding window and the pieces of a long call, with padding and images. LibTorch's sums may differ from run to run by where its memory lies, and a token that stands
/// between two experts then goes to the other one, hundredths away; so one of two draws of tokens has to agree.
TEST(DecodeCpu, EncodesLikeTheTensorPath) {
  const c10::NoGradGuard no_grad;
  at::set_num_threads(1);
  for (const auto& name : golden_names()) {
    const Network network = Network::load(kGoldens + name, at::kFloat, at::Device("cpu"));
    const CpuNetwork fast(network);
    for (const auto& [padding, images] : {std::pair{0, false}, {5, false}, {0, true}}) {
      Apart apart = encoded_apart(network, fast, 1, padding, images);
      if (apart.hidden >= 5e-5 || apart.cached >= 5e-4) apart = encoded_apart(network, fast, 2, padding, images);
      EXPECT_LT(apart.hidden, 5e-5) << name << " padding " << padding << " images " << images;
      EXPECT_LT(apart.cached, 5e-4) << name << " padding " << padding << " images " << images;
    }
  }
}

/// What is left out of a soft embedding holds at most 2^-24 of a row, with bf16 2^-12: against f64 sums over all tokens, on rows from one
/// certain token to all alike, with their bits independent of the rows around them.
TEST(DecodeCpu, SoftEmbeddingsLeaveOutLessThanRounding) {
  const c10::NoGradGuard no_grad;
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const Network network = Network::load(kGoldens + "base", dtype, at::Device("cpu"));
    const CpuNetwork fast(network);
    const int64_t V = network.config().vocab_size, D = network.config().hidden_size, rows = 9;
    auto logits = at::randn({rows, V});
    for (int64_t r = 0; r < rows; ++r) logits[r] *= std::pow(4.0, static_cast<double>(r) - 4);  // spreads 1/256 to 256
    logits[3].fill_(-INFINITY);
    logits[3][5] = 2;
    auto soft = at::empty({rows, D}), alone = at::empty({1, D});
    fast.soft_embedding(logits.const_data_ptr<float>(), rows, 0.7f, soft.mutable_data_ptr<float>());
    const auto table = network.parameters().at("model.decoder.embed_tokens.weight").to(at::kDouble) * static_cast<double>(at::scalar_tensor(std::sqrt(static_cast<double>(D))).to(dtype).item<float>());
    const auto weights = at::softmax(logits.to(at::kDouble) / static_cast<double>(0.7f), -1);
    const auto expected = at::mm(weights, table), size = at::mm(weights, table.abs());
    // f32: roundings of the weights (2e-7 each) and of V sums; bf16: one rounding of each weight more.
    const double bound = dtype == at::kFloat ? 1e-6 + 0x1p-24 * static_cast<double>(V) : 0x1p-8;
    const double left_out = (dtype == at::kFloat ? 0x1p-24 : 0x1p-12) * table.abs().max().item<double>();
    EXPECT_LE(((soft - expected).abs() - bound * size).max().item<double>(), left_out);
    for (int64_t r = 0; r < rows; ++r) {
      fast.soft_embedding(logits.const_data_ptr<float>() + r * V, 1, 0.7f, alone.mutable_data_ptr<float>());
      EXPECT_TRUE(at::equal(alone[0], soft[r])) << "row " << r;
    }
    soft[2][1] += 0.05;
    EXPECT_GT(((soft - expected).abs() - bound * size).max().item<double>(), left_out) << "a wrong embedding must show";
  }
}

/// A few steps of one sequence with the canvases of a recording.
std::vector<float> steps(const Denoiser& denoiser, Sequence& sequence, const Recording& r, size_t from, size_t to) {
  std::vector<float> out;
  for (size_t s = from; s < to; ++s) {
    DenoiseRow row{.sequence = &sequence, .request = {}};
    row.request.step_idx = static_cast<int32_t>(s);
    row.request.canvas = std::span(r.canvas_in).subspan(s * r.batch * r.length, r.length);
    row.request.temperature = r.temperature[s];
    row.request.want_logits = true;
    const auto logits = denoiser.denoise(std::span(&row, 1)).front().logits;
    out.insert(out.end(), logits.begin(), logits.end());
  }
  return out;
}

/// One, some or all experts for each token; one token alone, whose other experts stay empty, and many alike, who crowd into the
/// same ones; hidden widths that no vector divides.
TEST(DecodeCpu, EmptyAndCrowdedExpertsGiveTheTensorPathsLogits) {
  const c10::NoGradGuard no_grad;
  at::set_num_threads(1);
  std::ifstream in(kGoldens + "base/config.json");
  const auto original = nlohmann::json::parse(in);
  for (const auto& [experts, chosen, moe_width] : {std::tuple{5, 1, 13}, {5, 2, 16}, {5, 5, 21}, {1, 1, 16}}) {
    auto json = original;
    auto& text = json["text_config"];
    text["num_experts"] = experts;
    text["top_k_experts"] = chosen;
    text["moe_intermediate_size"] = moe_width;
    text["intermediate_size"] = 37;
    const TemporaryFolder folder;
    std::ofstream(folder.path() + "/config.json") << json;
    const Network network = Network::fresh(folder.path(), 3);
    const CpuNetwork fast(network);
    auto cache = network.empty_cache(0);
    network.encode(ids_of(std::vector<int32_t>{5, 9, 11}), {}, cache, false);
    for (const auto& canvas : {std::vector<int32_t>{7}, std::vector<int32_t>(40, 21), std::vector<int32_t>{4, 8, 15, 16, 23, 42, 5, 6, 7, 8, 9, 10, 11}}) {
      RopeTables tables;
      const auto expected = network.decode(ids_of(canvas), cache, {});
      auto logits = forward(fast, canvas, cache, nullptr, 1, tables);
      const auto ours = at::from_blob(logits.data(), expected.sizes(), at::kFloat);
      EXPECT_LT(((ours - expected).abs().max() / expected.abs().max()).item<double>(), 2e-5) << experts << " experts, " << chosen << " chosen, " << canvas.size() << " tokens";
    }
  }
}

/// Weights used in place, as those of large models are, give the bits of packed ones.
TEST(DecodeCpu, WeightsInPlaceGiveTheSameBits) {
  const c10::NoGradGuard no_grad;
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    for (const auto& name : golden_names()) {
      const Network network = Network::load(kGoldens + name, dtype, at::Device("cpu"));
      const CpuNetwork packed(network), in_place(network, 0);
      std::vector<std::vector<float>> logits;
      for (const CpuNetwork* one : {&packed, &in_place}) {
        auto cache = one->empty_cache(0);
        one->encode(std::vector<int32_t>{4, 5, 9, 4, 30, 11, 12}, {}, cache, nullptr);
        RopeTables tables;
        logits.push_back(forward(*one, std::vector<int32_t>{7, 4, 9, 21, 5}, cache, nullptr, 1, tables));
      }
      EXPECT_EQ(logits[0], logits[1]) << name;
    }
  }
}

class DecodeCpuIn : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Dtypes, DecodeCpuIn, ::testing::Values("f32", "bf16"), [](const auto& param) { return param.param; });

TEST_P(DecodeCpuIn, ForksThreadsAndOtherSequencesChangeNoBit) {
  const Recording r(kGoldens + "base/reference.h5"), other(kGoldens + "base/reference.h5");
  const auto denoiser = open_model(kGoldens + "base", {.dtype = GetParam()});
  const auto start = [&] { return denoiser->prefill({.ids = r.prompts[0], .token_types = {}, .media = {}, .left_padding = 0}); };
  const auto sequence = start();
  const auto expected = steps(*denoiser, *sequence, r, 0, 6);

  auto forked = start();
  steps(*denoiser, *forked, r, 0, 2);
  const auto fork = forked->fork();
  const auto of_original = steps(*denoiser, *forked, r, 2, 6), of_fork = steps(*denoiser, *fork, r, 2, 6);
  EXPECT_EQ(of_original, of_fork) << "a fork and its original must not write into each other's feedback";
  EXPECT_TRUE(std::equal(of_fork.rbegin(), of_fork.rend(), expected.rbegin()));

  std::vector<std::vector<float>> results(4);
  std::vector<std::thread> threads;
  for (auto& result : results)
    threads.emplace_back([&] {
      const auto own = start();
      result = steps(*denoiser, *own, r, 0, 6);
    });
  for (auto& thread : threads) thread.join();
  for (const auto& result : results) EXPECT_EQ(result, expected);
}

/// A prediction that is fed back later than the step after it comes from the states before the head: the same bits.
TEST_P(DecodeCpuIn, APredictionMayBeAskedForLater) {
  const Recording r(kGoldens + "base/reference.h5");
  const auto denoiser = open_model(kGoldens + "base", {.dtype = GetParam()});
  const auto run = [&](SelfConditioning first) {
    const auto sequence = denoiser->prefill({.ids = r.prompts[0], .token_types = {}, .media = {}, .left_padding = 0});
    DenoiseRow row{.sequence = sequence.get(), .request = {}};
    row.request.canvas = std::span(r.canvas_in).first(r.length);
    row.request.temperature = 0.6f;
    row.request.self_conditioning = first;
    denoiser->denoise(std::span(&row, 1));
    row.request.step_idx = 1;
    row.request.want_logits = true;
    row.request.self_conditioning = SelfConditioning::kPrevious;
    const auto with = denoiser->denoise(std::span(&row, 1)).front().logits;
    row.request.self_conditioning = SelfConditioning::kNone;
    EXPECT_NE(denoiser->denoise(std::span(&row, 1)).front().logits, with);
    return with;
  };
  EXPECT_EQ(run(SelfConditioning::kNone), run(SelfConditioning::kPrevious));
}

TEST(DecodeCpu, AHeldPredictionStaysTheFeedback) {
  const Recording r(kGoldens + "base/reference.h5");
  const auto denoiser = open_model(kGoldens + "base", {});
  const auto a = denoiser->prefill({.ids = r.prompts[0], .token_types = {}, .media = {}, .left_padding = 0});
  const auto b = a->fork();
  steps(*denoiser, *a, r, 0, 2);
  steps(*denoiser, *b, r, 0, 2);
  for (int again = 0; again < 3; ++again) {
    DenoiseRow row{.sequence = b.get(), .request = {}};
    row.request.step_idx = 5;
    row.request.canvas = std::span(r.canvas_in).first(r.length);
    row.request.hold_prediction = true;
    denoiser->denoise(std::span(&row, 1));
  }
  EXPECT_EQ(steps(*denoiser, *a, r, 2, 4), steps(*denoiser, *b, r, 2, 4));
}

/// transformers 5.17 writes "05" for layer 5 of 12.
TEST(ModelConfig, LayerNumbersMayBePaddedWithZeros) {
  std::ifstream in(kGoldens + "base/config.json");
  auto json = nlohmann::json::parse(in);
  auto& text = json["text_config"];
  text["num_hidden_layers"] = 12;
  text["layer_types"] = std::vector<std::string>(12, "full_attention");
  text["num_key_value_heads"] = 2;
  text["per_layer_config"] = {{"05", {{"num_key_value_heads", 1}}}, {"11", {{"num_key_value_heads", 1}}}, {"3", {{"num_key_value_heads", 1}}}};
  const TemporaryFolder folder;
  std::ofstream(folder.path() + "/config.json") << json;
  const auto config = ModelConfig::read(folder.path());
  for (size_t i = 0; i < 12; ++i) EXPECT_EQ(config.layers[i].num_kv_heads, i == 3 || i == 5 || i == 11 ? 1 : 2) << "layer " << i;
}

}  // namespace
}  // namespace canvaslab
