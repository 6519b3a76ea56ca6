// The GPU behind cuda::Device: one stream of the machine's first device.
#include "core/kernels/cuda/device.h"

#include <cuda_runtime.h>

namespace canvaslab::cuda {

namespace {

class FirstGpu final : public Device {
 public:
  FirstGpu(cudaStream_t stream, std::string name) : stream_(stream), name_(std::move(name)) {}
  ~FirstGpu() override { cudaStreamDestroy(stream_); }
  FirstGpu(const FirstGpu&) = delete;
  FirstGpu& operator=(const FirstGpu&) = delete;

  std::string name() const override { return name_; }
  std::string error_text(int error) const override { return cudaGetErrorString(static_cast<cudaError_t>(error)); }
  void* allocate(int64_t bytes) override {
    void* memory = nullptr;
    if (cudaMalloc(&memory, static_cast<size_t>(bytes)) == cudaSuccess) return memory;
    cudaGetLastError();  // else the next launch would report it
    return nullptr;
  }
  void release(void* memory) noexcept override { cudaFree(memory); }  // waits for the kernels that use it
  int upload(void* to, const void* from, int64_t bytes) override {
    // From pageable memory: returns when the bytes have been read, though perhaps before they have arrived.
    return cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyHostToDevice, stream_);
  }
  int download(void* to, const void* from, int64_t bytes) override {
    if (const cudaError_t e = cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDeviceToHost, stream_); e != cudaSuccess) return e;
    return cudaStreamSynchronize(stream_);
  }
  int copy(void* to, int64_t to_stride, const void* from, int64_t from_stride, int64_t bytes, int64_t count) override {
    if (bytes == 0 || count == 0) return cudaSuccess;
    return cudaMemcpy2DAsync(to, static_cast<size_t>(to_stride), from, static_cast<size_t>(from_stride), static_cast<size_t>(bytes), static_cast<size_t>(count), cudaMemcpyDeviceToDevice, stream_);
  }
  int forward(const ForwardCall& call, const ForwardWorkspace& work) override { return denoiser_forward(call, work, stream_); }
  int statistics(const StatisticsCall& call) override { return row_statistics(call, stream_); }

 private:
  cudaStream_t stream_;
  std::string name_;
};

}  // namespace

std::unique_ptr<Device> open_device(std::string& why_not) {
  int count = 0;
  cudaDeviceProp facts{};
  cudaStream_t stream{};
  cudaError_t e = cudaGetDeviceCount(&count);
  if (e == cudaSuccess && count == 0) e = cudaErrorNoDevice;
  if (e == cudaSuccess) e = cudaSetDevice(0);
  if (e == cudaSuccess) e = cudaGetDeviceProperties(&facts, 0);
  if (e == cudaSuccess && facts.major < 8) {
    why_not = std::string(facts.name) + " has compute capability " + std::to_string(facts.major) + "." + std::to_string(facts.minor) + "; the kernels need 8.0";
    return nullptr;
  }
  if (e == cudaSuccess) e = cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
  if (e != cudaSuccess) {
    why_not = cudaGetErrorString(e);
    return nullptr;
  }
  return std::make_unique<FirstGpu>(stream, facts.name);
}

}  // namespace canvaslab::cuda
