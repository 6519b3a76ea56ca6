// What canvaslab quantize writes, read back by the network.
#include "core/network/quantise_checkpoint.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include <nlohmann/json.hpp>

#include "core/checkpoint_facts.h"
#include "core/error.h"
#include "core/network/network.h"
#include "tests/support/temporary.h"

namespace canvaslab {
namespace {

using ::testing::HasSubstr;
const std::string kBase = std::string(CANVASLAB_SOURCE_DIR) + "/tests/network/goldens/base";
const std::string kSmall = std::string(CANVASLAB_SOURCE_DIR) + "/experiments/models/small-1";
const auto kQuiet = [](uint64_t, uint64_t) {};

std::string message(const std::function<void()>& run) {
  try {
    run();
  } catch (const UserError& error) {
    return error.what();
  }
  return "";
}

struct Case {
  const char* name;
  QuantisedFormat format;
  std::string from;
  double most;  ///< of the Frobenius error
};

/// For numbers spread smoothly over an interval between codes, the error's root mean square is the interval over sqrt(12). FP8: at most
/// 2^-3 of the number below it, so 2^-3 / sqrt(12) = 0.036 of its size. 4 bits: groups of 32 normal numbers have a largest of some 2.1
/// (of 16: 1.8) standard deviations; int4's step is that over 7.5, 0.28 / sqrt(12) = 0.08, NVFP4's below 2 in 6 half of 0.30, above more:
/// below 0.11 each, with room for tails 0.15.
const Case kCases[] = {{"fp8", QuantisedFormat::kFp8, kBase, 0.036}, {"nvfp4", QuantisedFormat::kNvfp4, kBase, 0.15}, {"int4", QuantisedFormat::kInt4, kSmall, 0.15}};

TEST(QuantiseCheckpoint, WhatIsReadBackIsWhatTheReportSays) {
  for (const Case& c : kCases) {
    const TemporaryFolder folder;
    const std::string to = folder / "quantised";
    uint64_t done = 0, all = 1;
    const auto report = quantise_checkpoint(c.from, to, c.format, [&](uint64_t d, uint64_t a) { done = d, all = a; });
    EXPECT_EQ(done, all);
    EXPECT_EQ(all, report.bytes_after);
    Network before = Network::load(c.from, at::kFloat, at::kCPU), after = Network::load(to, at::kFloat, at::kCPU);
    std::map<std::string, std::pair<double, double>> squares;
    for (const auto& [name, weight] : before.parameters()) {
      const at::Tensor& got = after.parameters().at(name);
      const std::string kind = tensor_group(name);
      const bool quantised = kind == "attention" || kind == "dense" || kind == "experts";
      EXPECT_EQ(at::equal(got, weight), !quantised) << c.name << " " << name;
      if (!quantised) continue;
      squares[kind].first += (got - weight).to(at::kDouble).square().sum().item<double>();
      squares[kind].second += weight.to(at::kDouble).square().sum().item<double>();
    }
    EXPECT_EQ(squares.size(), 3u);
    for (const auto& [kind, s] : squares) {
      const double relative = std::sqrt(s.first / s.second);
      EXPECT_NEAR(report.by_kind.at(kind).relative(), relative, 1e-6 * relative) << c.name << " " << kind;
      EXPECT_LT(relative, c.most) << c.name << " " << kind;
      EXPECT_GT(relative, 0.01) << c.name << " " << kind;
    }
  }
}

TEST(QuantiseCheckpoint, OtherProgramsFindTheirWay) {
  const TemporaryFolder folder;
  for (const Case& c : kCases) {
    const std::string to = folder / c.name;
    quantise_checkpoint(kSmall, to, c.format, kQuiet);
    const auto config = nlohmann::json::parse(read_file(to + "/config.json"));
    EXPECT_EQ(config["quantization_config"]["quant_method"], "compressed-tensors");
    EXPECT_EQ(config["quantization_config"]["config_groups"]["group_0"]["weights"]["num_bits"], std::string(c.name) == "fp8" ? 8 : 4);
    EXPECT_TRUE(std::filesystem::exists(to + "/tokenizer.json"));
    const auto facts = read_checkpoint_facts(to, 100), plain = read_checkpoint_facts(kSmall, 100);
    EXPECT_EQ(facts.num_parameters, plain.num_parameters);
    EXPECT_EQ(facts.active_parameters, plain.active_parameters);
    EXPECT_EQ(facts.warning, "");
    EXPECT_EQ(facts.packings.size(), 1u);
    EXPECT_LT(facts.packed_weights, plain.num_bytes);
    std::set<std::string> names;
    for (const auto& tensor : facts.tensors) names.insert(tensor.name);
    const std::string expert = "model.decoder.layers.1.experts.2.up_proj.", packed = std::string(c.name) == "fp8" ? "weight" : "weight_packed";
    EXPECT_TRUE(names.contains(expert + packed)) << c.name;
    EXPECT_TRUE(names.contains(expert + "weight_scale")) << c.name;
    EXPECT_EQ(names.contains(expert + "weight_global_scale"), c.format == QuantisedFormat::kNvfp4);
    EXPECT_EQ(names.contains(expert + "weight_shape"), c.format == QuantisedFormat::kInt4);
  }
}

TEST(QuantiseCheckpoint, NothingStaysOfWhatFails) {
  const TemporaryFolder folder;
  const std::string to = folder / "out";
  struct Stop {};
  EXPECT_THROW(quantise_checkpoint(kBase, to, QuantisedFormat::kFp8, [](uint64_t done, uint64_t all) { if (done * 2 > all) throw Stop{}; }), Stop);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  EXPECT_THAT(message([&] { quantise_checkpoint(kBase, to, QuantisedFormat::kInt4, kQuiet); }), HasSubstr("groups of 32 do not divide"));
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  quantise_checkpoint(kBase, to, QuantisedFormat::kFp8, kQuiet);
  EXPECT_THAT(message([&] { quantise_checkpoint(kBase, to, QuantisedFormat::kFp8, kQuiet); }), HasSubstr("exists already"));
  EXPECT_THAT(message([&] { quantise_checkpoint(to, folder / "twice", QuantisedFormat::kFp8, kQuiet); }), HasSubstr("is quantised already"));
}

TEST(QuantiseCheckpoint, ClearsAwayWhatAKilledRunLeftAndNothingElse) {
  const TemporaryFolder folder;
  const std::string to = folder / "out", mine = to + ".tmp/mine.txt";
  std::filesystem::create_directories(to + ".tmp");
  std::ofstream(mine) << "precious";
  EXPECT_THAT(message([&] { quantise_checkpoint(kBase, to, QuantisedFormat::kFp8, kQuiet); }), HasSubstr("out.tmp: is in the way"));
  EXPECT_TRUE(std::filesystem::exists(mine));
  std::ofstream(to + ".tmp/unfinished") << "";
  quantise_checkpoint(kBase, to, QuantisedFormat::kFp8, kQuiet);
  EXPECT_FALSE(std::filesystem::exists(to + ".tmp"));
  EXPECT_FALSE(std::filesystem::exists(to + "/unfinished"));
}

/// More bits, less difference; none between a checkpoint and itself.
TEST(QuantiseCheckpoint, LogitsAreComparedOnRandomCanvases) {
  const TemporaryFolder folder;
  const auto none = compare_logits(kSmall, kSmall, 2, 1);
  EXPECT_EQ(none.relative, 0);
  EXPECT_EQ(none.mean_divergence, 0);
  EXPECT_EQ(none.same_argmax, 1);
  std::vector<LogitDifference> differences;
  for (const QuantisedFormat format : {QuantisedFormat::kFp8, QuantisedFormat::kInt4}) {
    const std::string to = folder / std::to_string(differences.size());
    quantise_checkpoint(kSmall, to, format, kQuiet);
    differences.push_back(compare_logits(kSmall, to, 4, 1));
  }
  EXPECT_GT(differences[0].relative, 1e-4);
  EXPECT_GT(differences[1].relative, 1.1 * differences[0].relative);
  EXPECT_GT(differences[1].mean_divergence, differences[0].mean_divergence);
}

}  // namespace
}  // namespace canvaslab
