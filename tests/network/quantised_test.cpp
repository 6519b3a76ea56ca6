// Quantised checkpoints: what an independent script wrote is read out to the bit, and the CPU path runs on it packed.
#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <filesystem>

#include <nlohmann/json.hpp>

#include "core/digest.h"
#include "core/error.h"
#include "core/gguf_header.h"
#include "core/network/cpu_network.h"
#include "core/network/network.h"
#include "tests/support/temporary.h"

namespace canvaslab {
namespace {

const std::string kFolder = std::string(CANVASLAB_SOURCE_DIR) + "/tests/network/quantised/";
const char* const kLayouts[] = {"fp8", "nvfp4", "modelopt", "int4", "gguf"};

std::string sha256_of(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.contiguous();
  return hex(sha256({static_cast<const char*>(flat.const_data_ptr()), flat.nbytes()}));
}

TEST(Quantised, EveryWeightIsReadOutToTheBit) {
  for (const char* layout : kLayouts) {
    const auto expected = nlohmann::json::parse(read_file(kFolder + layout + "/expected.json"));
    Network network = Network::load(kFolder + layout, at::kFloat, at::kCPU);
    EXPECT_EQ(network.parameters().size(), expected.size()) << layout;
    for (const auto& [name, hash] : expected.items()) {
      ASSERT_TRUE(network.parameters().contains(name)) << layout << " " << name;
      EXPECT_EQ(sha256_of(network.parameters().at(name)), hash.get<std::string>()) << layout << " " << name;
    }
    at::Tensor wrong = network.parameters().at("model.decoder.layers.0.experts.down_proj").clone();
    wrong.view({-1})[7] += 1e-4;
    EXPECT_NE(sha256_of(wrong), expected["model.decoder.layers.0.experts.down_proj"].get<std::string>()) << "the comparison sees a wrong element";
  }
}

TEST(Quantised, InBf16WeightsAreRoundedOnce) {
  for (const char* layout : kLayouts) {
    Network exact = Network::load(kFolder + layout, at::kFloat, at::kCPU), rounded = Network::load(kFolder + layout, at::kBFloat16, at::kCPU);
    EXPECT_FALSE(rounded.is_packed());
    for (const auto& [name, tensor] : exact.parameters()) EXPECT_TRUE(at::equal(tensor.to(at::kBFloat16), rounded.parameters().at(name))) << layout << " " << name;
  }
}

/// Logits of a prompt and a canvas that feeds back, by the CPU path.
std::vector<float> logits_of(const CpuNetwork& network, const std::vector<int32_t>& canvas) {
  const std::vector<int32_t> prompt = {2, 17, 9, 33, 5, 8, 61, 14};
  const auto rows = static_cast<int64_t>(canvas.size());
  KvCache cache = network.empty_cache(0);
  network.encode(prompt, {}, cache, nullptr);
  RopeTables tables;
  const auto width = static_cast<size_t>(network.config().hidden_size);
  std::vector<float> hidden(canvas.size() * width), soft(hidden.size()), logits(canvas.size() * static_cast<size_t>(network.config().vocab_size));
  network.decode(canvas, cache, nullptr, tables, hidden.data());
  network.head(hidden.data(), rows, logits.data());
  network.soft_embedding(logits.data(), rows, 0.7f, soft.data());
  network.decode(canvas, cache, soft.data(), tables, hidden.data());
  network.head(hidden.data(), rows, logits.data());
  return logits;
}

TEST(Quantised, PackedWeightsGiveTheUnpackedOnesLogitsToTheBit) {
  const std::vector<int32_t> canvas = {4, 9, 16, 25, 36, 49, 63, 7};
  for (const char* layout : kLayouts) {
    Network plain = Network::load(kFolder + layout, at::kFloat, at::kCPU), packed = Network::load(kFolder + layout, at::kFloat, at::kCPU, "", QuantisedWeights::kPacked);
    ASSERT_TRUE(packed.is_packed()) << layout;
    EXPECT_TRUE(CpuNetwork::serves(packed));
    EXPECT_FALSE(packed.parameters().contains("model.decoder.layers.0.experts.down_proj")) << "no unpacked copy stays";
    const CpuNetwork unpacked(std::move(plain)), as_stored(std::move(packed));
    const auto expected = logits_of(unpacked, canvas), got = logits_of(as_stored, canvas);
    EXPECT_EQ(got, expected) << layout;
    EXPECT_TRUE(std::all_of(got.begin(), got.end(), [](float x) { return std::isfinite(x); })) << layout;
    EXPECT_NE(logits_of(as_stored, {4, 9, 16, 25, 36, 49, 63, 8}), expected) << "the canvas matters";
  }
}

TEST(Quantised, PackedWeightsRefuseWhatNeedsTensors) {
  const c10::NoGradGuard no_grad;
  const Network packed = Network::load(kFolder + "fp8", at::kFloat, at::kCPU, "", QuantisedWeights::kPacked);
  KvCache cache = packed.empty_cache(0);
  EXPECT_THROW(packed.encode(at::tensor({2, 17, 9}, at::kLong), {0, 1, 0}, cache, false), UserError);
  EXPECT_THROW(packed.decode(at::tensor({2, 17, 9}, at::kLong), cache, {}), UserError);
}

TEST(Gguf, ReadsKeysAndPlacesOfAForeignFile) {
  const auto header = read_gguf_header(kFolder + "gguf/model-mixed.gguf");
  EXPECT_EQ(header.values.at("general.architecture"), "diffusion-gemma");
  EXPECT_EQ(header.values.at("general.alignment"), "64");
  EXPECT_FALSE(header.values.contains("tokenizer.ggml.tokens"));
  for (const auto& tensor : header.tensors) EXPECT_EQ(tensor.first_byte % 64, 0u) << tensor.name;
}

/// Cut anywhere, or with any byte of the header replaced, a file is read or refused with a message.
TEST(Gguf, BrokenFilesGiveClearErrors) {
  const TemporaryFolder folder;
  const std::string whole = read_file(kFolder + "gguf/model-mixed.gguf"), path = folder / "model.gguf";
  const auto refused = [&](const std::string& bytes) {
    write_file(path, bytes);
    try {
      read_gguf_checkpoint(path);
      return false;
    } catch (const UserError& error) {
      EXPECT_NE(std::string(error.what()).find(path), std::string::npos) << error.what();
      return true;
    }
  };
  EXPECT_FALSE(refused(whole));
  for (size_t size : {size_t{0}, size_t{3}, size_t{23}, size_t{24}, size_t{100}, size_t{1000}, size_t{3000}, whole.size() / 2, whole.size() - 1}) EXPECT_TRUE(refused(whole.substr(0, size))) << size;
  for (const auto& [at, byte, what] : {std::tuple<size_t, char, const char*>{0, 'X', "magic"}, {4, 9, "version"}, {14, 1, "count of tensors"}, {23, 1, "count of keys"}, {31, 1, "length of a key"}}) {
    std::string broken = whole;
    broken[at] = byte;
    EXPECT_TRUE(refused(broken)) << what;
  }
  size_t num_refused = 0;
  for (size_t at = 0; at < 4000; at += 37) {
    std::string broken = whole;
    broken[at] = static_cast<char>(~broken[at]);
    num_refused += refused(broken);
  }
  EXPECT_GT(num_refused, 20u);
}

}  // namespace
}  // namespace canvaslab
