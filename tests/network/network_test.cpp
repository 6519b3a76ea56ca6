// The network's loading and structure: config layouts, shards, mapping, gradients, vision blocks.
#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include <nlohmann/json.hpp>

#include "core/network/network.h"
#include "core/network/safetensors.h"
#include "tests/support/program.h"

namespace canvaslab {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using testing::TempFolder;
const std::string kGoldens = std::string(CANVASLAB_SOURCE_DIR) + "/tests/network/goldens/";

Json read_json(const std::string& path) { return Json::parse(testing::read_text(path)); }

/// config.json in the released layout: widths of full layers as fields instead of a table by layer.
Json released_layout(Json config) {
  Json& text = config["text_config"];
  for (const auto& [layer, overrides] : text["per_layer_config"].items()) {
    text["global_head_dim"] = overrides["head_dim"];
    text["num_global_key_value_heads"] = overrides.value("num_key_value_heads", text["num_key_value_heads"].get<int>());
  }
  text.erase("per_layer_config");
  text["final_logit_softcapping"] = 30.0;
  return config;
}

at::Tensor ids_of(const std::vector<int64_t>& ids) { return at::tensor(ids, at::kLong); }

at::Tensor some_logits(const Network& net, const std::vector<uint8_t>& types = {}) {
  KvCache cache = net.empty_cache(0);
  net.encode(ids_of({2, 17, 9, 33, 5, 8, 71, 14}), types, cache, false);
  return net.decode(ids_of({4, 9, 16, 25, 36, 49, 64, 7}), cache, {});
}

TEST(ModelConfig, ReadsTheReleasedLayoutAndTheOneTransformersWritesAlike) {
  for (const char* name : {"base", "heads", "layers"}) {
    const TempFolder folder;
    testing::write_text(folder.path() / "config.json", released_layout(read_json(kGoldens + name + "/config.json")).dump());
    const ModelConfig ours = ModelConfig::read(folder.path().string()), theirs = ModelConfig::read(kGoldens + name);
    ASSERT_EQ(ours.layers.size(), theirs.layers.size());
    for (size_t i = 0; i < ours.layers.size(); ++i) {
      EXPECT_EQ(ours.layers[i].sliding, theirs.layers[i].sliding) << name << " layer " << i;
      EXPECT_EQ(ours.layers[i].head_dim, theirs.layers[i].head_dim) << name << " layer " << i;
      EXPECT_EQ(ours.layers[i].num_kv_heads, theirs.layers[i].num_kv_heads) << name << " layer " << i;
    }
    EXPECT_EQ(ours.final_logit_softcapping, theirs.final_logit_softcapping);
  }
}

/// Rewrites a checkpoint as two shards with an index, tensors dealt out in turn.
void write_shards(const std::string& from, const fs::path& to) {
  fs::copy_file(from + "/config.json", to / "config.json");
  const SafetensorsFolder whole(from);
  Json headers[2] = {Json::object(), Json::object()}, map = Json::object();
  std::string data[2];
  size_t turn = 0;
  for (const auto& [name, entry] : whole.tensors()) {
    const size_t s = turn++ % 2;
    const size_t begin = data[s].size();
    data[s].append(static_cast<const char*>(entry.tensor.data_ptr()), entry.tensor.nbytes());
    headers[s][name] = {{"dtype", "F32"}, {"shape", entry.tensor.sizes().vec()}, {"data_offsets", {begin, data[s].size()}}};
    map[name] = fmt::format("model-0000{}-of-00002.safetensors", s + 1);
  }
  for (size_t s = 0; s < 2; ++s) {
    std::string header = headers[s].dump();
    header.resize((header.size() + 7) / 8 * 8, ' ');
    const uint64_t length = header.size();
    testing::write_text(to / fmt::format("model-0000{}-of-00002.safetensors", s + 1), std::string(reinterpret_cast<const char*>(&length), 8) + header + data[s]);
  }
  testing::write_text(to / "model.safetensors.index.json", Json{{"metadata", Json::object()}, {"weight_map", map}}.dump());
}

TEST(Network, ShardsAndOneFileGiveTheSameLogits) {
  const c10::NoGradGuard no_grad;
  const TempFolder folder;
  write_shards(kGoldens + "base", folder.path());
  const auto one = some_logits(Network::load(kGoldens + "base", at::kFloat, at::kCPU));
  const auto two = some_logits(Network::load(folder.path().string(), at::kFloat, at::kCPU));
  EXPECT_TRUE(at::equal(one, two));
}

TEST(Network, WeightsInTheFilesOwnTypeStayInTheMapping) {
  const Network net = Network::load(kGoldens + "base", at::kFloat, at::kCPU);
  std::vector<std::pair<uintptr_t, uintptr_t>> mapped;
  std::ifstream maps("/proc/self/maps");
  if (!maps) GTEST_SKIP() << "no /proc/self/maps on this system";
  for (std::string line; std::getline(maps, line);) {
    if (line.find("base/model.safetensors") == std::string::npos) continue;
    unsigned long begin = 0, end = 0;
    ASSERT_EQ(std::sscanf(line.c_str(), "%lx-%lx", &begin, &end), 2);
    mapped.emplace_back(begin, end);
  }
  ASSERT_FALSE(mapped.empty());
  auto parameters = const_cast<Network&>(net).parameters();
  for (const auto& [name, tensor] : parameters) {
    const auto at = reinterpret_cast<uintptr_t>(tensor.const_data_ptr());
    EXPECT_TRUE(std::any_of(mapped.begin(), mapped.end(), [&](const auto& m) { return at >= m.first && at < m.second; })) << name << " was copied";
  }
}

/// Gradients of a random projection of causal and denoised logits against central differences along one random direction of all weights.
/// f32 rounding of the 8 x 96 logits (about 1e-6 each) over a step of 2e-3 leaves some 3e-2 of noise on a slope of order
/// 10; 2% of the slope's size is asked for.
TEST(Network, IsDifferentiableInEveryWeight) {
  Network net = Network::load(kGoldens + "base", at::kFloat, at::kCPU);
  at::manual_seed(7);
  const auto projection = at::randn({8, 96});
  const auto feedback = at::randn({8, 96});
  const auto loss = [&] {
    KvCache cache = net.empty_cache(0);
    const auto causal = net.logits(net.encode(ids_of({2, 17, 9, 33, 5, 8, 71, 14}), {}, cache, true));
    const auto denoised = net.decode(ids_of({4, 9, 16, 25, 36, 49, 64, 7}), cache, feedback);
    return ((causal + denoised).to(at::kDouble) * projection).sum();
  };
  std::map<std::string, at::Tensor> direction;
  for (auto& [name, tensor] : net.parameters()) {
    tensor.requires_grad_(true);
    direction[name] = at::randn_like(tensor.detach()) * tensor.detach().abs().mean();
  }
  loss().backward();
  double slope = 0;
  for (auto& [name, tensor] : net.parameters()) {
    ASSERT_TRUE(tensor.grad().defined()) << name << " has no gradient";
    EXPECT_GT(tensor.grad().abs().max().item<double>(), 0) << name;
    slope += (tensor.grad().to(at::kDouble) * direction[name]).sum().item<double>();
  }
  const c10::NoGradGuard no_grad;
  const double step = 1e-3;
  const auto shifted = [&](double by) {
    for (auto& [name, tensor] : net.parameters()) tensor.add_(direction[name], by);
    const double value = loss().item<double>();
    for (auto& [name, tensor] : net.parameters()) tensor.sub_(direction[name], by);
    return value;
  };
  const double difference = (shifted(step) - shifted(-step)) / (2 * step);
  EXPECT_NEAR(difference, slope, 0.02 * std::abs(slope)) << "slope " << slope;
}

/// Image tokens of one run see each other in both directions, on sliding and full layers; text stays causal.
TEST(Network, TokensOfOneImageSeeEachOther) {
  const c10::NoGradGuard no_grad;
  const Network net = Network::load(kGoldens + "base", at::kFloat, at::kCPU);
  const auto keys_at = [&](int64_t third, const std::vector<uint8_t>& types, int64_t position) {
    KvCache cache = net.empty_cache(0);
    net.encode(ids_of({5, 6, 7, third}), types, cache, false);
    return cache.layers.back().k.select(1, position).clone();  // of the last layer: depends on what earlier layers attended
  };
  const std::vector<uint8_t> image = {0, 1, 1, 1}, text = {0, 0, 0, 0}, two = {1, 0, 1, 1};
  EXPECT_FALSE(at::equal(keys_at(8, image, 1), keys_at(9, image, 1)));
  EXPECT_TRUE(at::equal(keys_at(8, text, 1), keys_at(9, text, 1)));
  EXPECT_TRUE(at::equal(keys_at(8, image, 0), keys_at(9, image, 0))) << "text before the image must not see it";
  EXPECT_TRUE(at::equal(keys_at(8, two, 0), keys_at(9, two, 0))) << "another image must not be seen";
}

/// A prompt encoded in two parts leaves the cache that one part leaves, also past the window and in query chunks.
/// A cut cache is that of the kept tokens alone, also where sliding layers have begun to forget what was there before; it
/// says so where they have forgotten what it needs. Window 6: a layer remembers 5 tokens.
TEST(Network, ACutCacheIsThatOfTheKeptTokens) {
  const c10::NoGradGuard no_grad;
  const Network net = Network::load(kGoldens + "base", at::kFloat, at::kCPU);
  for (const int64_t context : {0, 2, 9}) {
    std::vector<int64_t> ids(static_cast<size_t>(context));
    for (size_t i = 0; i < ids.size(); ++i) ids[i] = 3 + static_cast<int64_t>(7 * i % 80);
    const std::vector<int64_t> draft = {11, 42, 5, 77, 30};
    KvCache before = net.empty_cache(0);
    net.encode(ids_of(ids), {}, before, false);
    KvCache after = before;
    net.encode(ids_of(draft), {}, after, false);
    for (size_t kept = 0; kept <= draft.size(); ++kept) {
      KvCache cut = before, encoded = before;
      ASSERT_TRUE(net.cut(cut, after, static_cast<int64_t>(kept)));
      net.encode(ids_of({draft.begin(), draft.begin() + static_cast<ptrdiff_t>(kept)}), {}, encoded, false);
      EXPECT_EQ(cut.length, encoded.length);
      const auto canvas = ids_of({4, 9, 16, 25});
      const double error = (net.decode(canvas, cut, {}) - net.decode(canvas, encoded, {})).abs().max().item<double>();
      EXPECT_LT(error, 1e-5) << "context " << context << ", kept " << kept << ": rows of other products may differ in the last bits";
      const double seen = (net.decode(canvas, cut, {}) - net.decode(canvas, before, {})).abs().max().item<double>();
      EXPECT_EQ(seen > 1e-3, kept > 0) << "the kept tokens must change something, or the test is blind";
    }
    KvCache longer = before, cut = before;
    net.encode(ids_of({11, 42, 5, 77, 30, 8}), {}, longer, false);
    EXPECT_FALSE(net.cut(cut, longer, 3)) << "a layer that remembers 5 of 6";
    EXPECT_EQ(cut.length, before.length);
  }
}

TEST(Network, EncodingInPartsEqualsEncodingAtOnce) {
  const c10::NoGradGuard no_grad;
  const Network net = Network::load(kGoldens + "window", at::kFloat, at::kCPU);
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < 1300; ++i) ids.push_back(1 + i * 37 % 90);
  KvCache once = net.empty_cache(0), parts = net.empty_cache(0);
  net.encode(ids_of(ids), {}, once, false);
  net.encode(ids_of({ids.begin(), ids.begin() + 700}), {}, parts, false);
  net.encode(ids_of({ids.begin() + 700, ids.end()}), {}, parts, false);
  ASSERT_EQ(once.length, parts.length);
  for (size_t i = 0; i < once.layers.size(); ++i) {
    ASSERT_EQ(once.layers[i].k.sizes(), parts.layers[i].k.sizes());
    // Same sums in another blocking: f32 rounding of sums of up to 1300 terms of order 1.
    EXPECT_LT((once.layers[i].k - parts.layers[i].k).abs().max().item<double>(), 1e-4) << "layer " << i;
  }
}

}  // namespace
}  // namespace canvaslab
