// Weights on their way to a GPU: what of them stands in the host's memory.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <map>

#include <nlohmann/json.hpp>

#include "core/network/cuda_network.h"
#include "tests/support/temporary.h"

namespace canvaslab {
namespace {

const std::string kSmall = std::string(CANVASLAB_SOURCE_DIR) + "/tests/network/goldens/kernel_sizes/";
constexpr int64_t kHidden = 512, kVocabulary = 262144, kExperts = 64, kExpertWidth = 1024;

/// A device that reads what it is sent and keeps nothing.
class Sink final : public cuda::Device {
 public:
  std::string name() const override { return "a sink"; }
  std::string error_text(int) const override { return "an error"; }
  void* allocate(int64_t bytes) override { return reinterpret_cast<void*>(next_ += static_cast<uintptr_t>(bytes + 255) / 256 * 256); }
  void release(void*) noexcept override {}
  int upload(void*, const void* from, int64_t bytes) override {
    for (int64_t i = 0; i < bytes; i += 512) sum = sum + static_cast<const uint8_t*>(from)[i];  // every page
    sent += bytes;
    return 0;
  }
  int download(void*, const void*, int64_t) override { return 1; }
  int copy(void*, int64_t, const void*, int64_t, int64_t, int64_t) override { return 1; }
  int forward(const cuda::ForwardCall&, const cuda::ForwardWorkspace&) override { return 1; }
  int statistics(const cuda::StatisticsCall&) override { return 1; }
  int denoise_loop(const cuda::LoopCall&, const cuda::ForwardCall&, const cuda::ForwardCall&, const cuda::ForwardWorkspace&) override { return 1; }
  bool looped_alone() const override { return false; }
  int64_t sent = 0;
  volatile int64_t sum = 0;

 private:
  uintptr_t next_ = uintptr_t{1} << 40;
};

/// A line of /proc/self/status in bytes.
int64_t status_bytes(const std::string& key) {
  std::ifstream in("/proc/self/status");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with(key + ":")) return std::stoll(line.substr(key.size() + 1)) << 10;
  return 0;
}

/// kernel_sizes with wide experts and a large vocabulary, in bf16; all zeros, so that the file takes no room on the disk. Its bytes.
int64_t write_wide_checkpoint(const std::string& folder) {
  nlohmann::json config = nlohmann::json::parse(read_file(kSmall + "config.json"));
  auto& text = config["text_config"];
  text["hidden_size"] = kHidden, text["vocab_size"] = kVocabulary, text["num_experts"] = kExperts, text["moe_intermediate_size"] = kExpertWidth;
  write_file(folder + "/config.json", config.dump());
  std::ifstream in(kSmall + "model.safetensors", std::ios::binary);
  uint64_t size = 0;
  in.read(reinterpret_cast<char*>(&size), sizeof size);
  std::string header(size, ' ');
  in.read(header.data(), static_cast<std::streamsize>(size));
  nlohmann::json tensors = nlohmann::json::parse(header), wide;
  int64_t at = 0;
  for (const auto& [name, facts] : tensors.items()) {
    if (name == "__metadata__") continue;
    auto shape = facts.at("shape").get<std::vector<int64_t>>();
    const bool vision = name.find("vision_tower") != std::string::npos, per_head = name.ends_with("q_norm.weight") || name.ends_with("k_norm.weight");
    if (name.find("embed_tokens") != std::string::npos) shape = {kVocabulary, kHidden};
    else if (name.ends_with("experts.gate_up_proj")) shape = {kExperts, 2 * kExpertWidth, kHidden};
    else if (name.ends_with("experts.down_proj")) shape = {kExperts, kHidden, kExpertWidth};
    else if (name.ends_with("router.proj.weight")) shape = {kExperts, kHidden};
    else if (name.ends_with("per_expert_scale")) shape = {kExperts};
    else if (name.ends_with("o_proj.weight") || name.ends_with("down_proj.weight") || name.ends_with("embedding_projection.weight")) shape[0] = vision ? shape[0] : kHidden;
    else if (!vision && !per_head && shape.back() == 32) shape.back() = kHidden;
    int64_t bytes = 2;
    for (const int64_t n : shape) bytes *= n;
    wide[name] = {{"dtype", "BF16"}, {"shape", shape}, {"data_offsets", {at, at + bytes}}};
    at += bytes;
  }
  std::string text_of = wide.dump();
  text_of.resize((text_of.size() + 7) / 8 * 8, ' ');
  const uint64_t length = text_of.size();
  const std::string path = folder + "/model.safetensors";
  {
    std::ofstream out(path, std::ios::binary);
    out.write(reinterpret_cast<const char*>(&length), sizeof length);
    out << text_of;
  }
  EXPECT_EQ(::truncate(path.c_str(), static_cast<off_t>(sizeof length + length) + at), 0);
  return at;
}

/// Whatever the checkpoint's size, one piece of a weight is in memory at a time: here the embedding alone is 268 MB, a piece 64 MiB, and the rest of the bound is what else a loading program touches.
TEST(CudaLoading, KeepsNoWeightsInTheHostsMemory) {
  const TemporaryFolder folder;
  const int64_t bytes = write_wide_checkpoint(folder.path());
  ASSERT_GT(bytes, int64_t{600} << 20);
  auto device = std::make_shared<Sink>();
  { const CudaNetwork warm(Network::load(kSmall, at::kBFloat16, at::kCPU, "", QuantisedWeights::kForKernels), device); }  // libraries are loaded
  const int64_t before = status_bytes("VmRSS"), sent_before = device->sent;
  std::ofstream("/proc/self/clear_refs") << "5";  // the high-water mark falls to what is there now
  if (status_bytes("VmHWM") > before + (int64_t{16} << 20)) GTEST_SKIP() << "left out: this system does not let a process reset its high-water mark";
  const CudaNetwork network(Network::load(folder.path(), at::kBFloat16, at::kCPU, "", QuantisedWeights::kForKernels), device);
  const int64_t most = status_bytes("VmHWM") - before, stays = status_bytes("VmRSS") - before;
  fmt::print("{} MiB of weights sent; at most {} MiB of the host's memory meanwhile, {} MiB stay\n", (device->sent - sent_before) >> 20, most >> 20, stays >> 20);
  EXPECT_GE(device->sent - sent_before, bytes * 9 / 10);
  EXPECT_LT(most, int64_t{96} << 20);
  EXPECT_LT(stays, int64_t{16} << 20);
}

}  // namespace
}  // namespace canvaslab
