// Weights on their way to a GPU: what of them stands in the host's memory.
#include <gtest/gtest.h>

#include <fstream>

#include "core/network/cuda_network.h"
#include "tests/network/wide_checkpoint.h"

namespace canvaslab {
namespace {

const std::string kSmall = std::string(CANVASLAB_SOURCE_DIR) + "/tests/network/goldens/kernel_sizes/";

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
  bool looped_overlapping() const override { return false; }
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

/// Whatever the checkpoint's size, one piece of a weight is in memory at a time: here the embedding alone is 268 MB, a piece 64 MiB, and the rest of the bound is what else a loading program touches.
TEST(CudaLoading, KeepsNoWeightsInTheHostsMemory) {
  const TemporaryFolder folder;
  const int64_t bytes = write_wide_checkpoint(folder.path(), {.hidden = 512, .vocabulary = 262144, .experts = 64, .expert_width = 1024}, {});
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
