// The GPU behind cuda::Device: one stream of the machine's first device.
#include "core/kernels/cuda/device.h"

#include <cuda_runtime.h>

#include "core/kernels/cuda/warpgroup_product.h"

namespace canvaslab::cuda {

namespace {

/// Loads where the others do.
__global__ void architecture_kernel() {}

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
  void release(void* memory) noexcept override {
    cudaStreamSynchronize(stream_);  // kernels may still use it
    cudaFree(memory);
  }
  int upload(void* to, const void* from, int64_t bytes) override {
    if (const cudaError_t e = cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyHostToDevice, stream_); e != cudaSuccess) return e;
    return cudaStreamSynchronize(stream_);  // where the GPU reads pageable memory itself, nothing is staged
  }
  int download(void* to, const void* from, int64_t bytes) override {
    if (const cudaError_t e = cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDeviceToHost, stream_); e != cudaSuccess) return e;
    return cudaStreamSynchronize(stream_);
  }
  int copy(void* to, int64_t to_stride, const void* from, int64_t from_stride, int64_t bytes, int64_t count) override {
    if (bytes == 0 || count == 0) return cudaSuccess;
    if (count == 1) return cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDeviceToDevice, stream_);
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
  // Tiles of attention and products fit the shared memory of 8.0, 9.0 and 10.0; the code is for these alone.
  cudaFuncAttributes code{};
  if (e == cudaSuccess && (facts.sharedMemPerBlockOptin < size_t{163} << 10 || cudaFuncGetAttributes(&code, architecture_kernel) != cudaSuccess)) {
    cudaGetLastError();
    why_not = std::string(facts.name) + " has compute capability " + std::to_string(facts.major) + "." + std::to_string(facts.minor) + "; the kernels are for 8.0, 9.0 and 10.0";
    return nullptr;
  }
  if (e == cudaSuccess) warpgroup_products_agree();  // products use them from here on if so
  if (e == cudaSuccess) e = cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
  if (e != cudaSuccess) {
    why_not = cudaGetErrorString(e);
    return nullptr;
  }
  return std::make_unique<FirstGpu>(stream, facts.name);
}

}  // namespace canvaslab::cuda
