// The GPU behind cuda::Device: one stream of the machine's first device.
#include "core/kernels/cuda/device.h"

#include <cuda_runtime.h>

#include "core/kernels/cuda/warpgroup_product.h"

namespace canvaslab::cuda {

namespace {

/// Loads where the others do.
__global__ void architecture_kernel() {}

/// Whether the loop's body runs once more.
__global__ void go_on_kernel(cudaGraphConditionalHandle handle, const int32_t* running) { cudaGraphSetConditional(handle, *running > 0); }

/// A graph and what was made of it.
struct Graph {
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t ready = nullptr;
  Graph() = default;
  ~Graph() {
    if (ready) cudaGraphExecDestroy(ready);
    if (graph) cudaGraphDestroy(graph);
  }
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;
};

class FirstGpu final : public Device {
 public:
  FirstGpu(cudaStream_t stream, cudaStream_t recording, std::string name) : stream_(stream), recording_(recording), name_(std::move(name)) {}
  ~FirstGpu() override {
    cudaStreamDestroy(stream_);
    cudaStreamDestroy(recording_);
  }
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
  int denoise_loop(const LoopCall& loop, const ForwardCall& first, const ForwardCall& next, const ForwardWorkspace& work) override {
    if (graphs_) {
      Graph graph;
      if (record(graph, loop, first, next, work) == cudaSuccess) {
        const cudaError_t launched = cudaGraphLaunch(graph.ready, stream_), done = cudaStreamSynchronize(stream_);  // the graph goes away behind it
        return launched != cudaSuccess ? launched : done;
      }
      cudaGetLastError();
      graphs_ = false;  // a driver before 12.4
    }
    for (const ForwardCall* forward = &first;; forward = &next) {
      if (const int e = loop_step(loop, *forward, work, stream_)) return e;
      int32_t running = 0;
      if (const int e = download(&running, loop.running, sizeof running)) return e;
      if (running == 0) return cudaSuccess;
    }
  }
  bool looped_alone() const override { return graphs_; }

 private:
  /// The first step, then a loop whose body is a step and the question whether another follows. Recording some hundred launches and making them ready takes milliseconds, a canvas some hundred.
  int record(Graph& graph, const LoopCall& loop, const ForwardCall& first, const ForwardCall& next, const ForwardWorkspace& work) {
    cudaGraphConditionalHandle handle{};
    if (const cudaError_t e = cudaGraphCreate(&graph.graph, 0); e != cudaSuccess) return e;
    if (const cudaError_t e = cudaGraphConditionalHandleCreate(&handle, graph.graph, 0, cudaGraphCondAssignDefault); e != cudaSuccess) return e;
    cudaGraphNode_t last{};
    if (const int e = record_step(graph.graph, handle, loop, first, work, &last)) return e;
    cudaGraphNodeParams params{};
    params.type = cudaGraphNodeTypeConditional;
    params.conditional.handle = handle;
    params.conditional.type = cudaGraphCondTypeWhile;
    params.conditional.size = 1;
    cudaGraphNode_t node{};
#if CUDART_VERSION >= 13000
    const cudaError_t added = cudaGraphAddNode(&node, graph.graph, &last, nullptr, 1, &params);
#else
    const cudaError_t added = cudaGraphAddNode(&node, graph.graph, &last, 1, &params);
#endif
    if (added != cudaSuccess) return added;
    if (const int e = record_step(params.conditional.phGraph_out[0], handle, loop, next, work, nullptr)) return e;
    return cudaGraphInstantiate(&graph.ready, graph.graph, 0);
  }

  /// One step's launches into `graph`, one behind the other; `last`, if wanted, is the node of the last. On a stream that no other thread waits for, as waiting for a stream that records is an error.
  int record_step(cudaGraph_t graph, cudaGraphConditionalHandle handle, const LoopCall& loop, const ForwardCall& forward, const ForwardWorkspace& work, cudaGraphNode_t* last) {
    if (const cudaError_t e = cudaStreamBeginCaptureToGraph(recording_, graph, nullptr, nullptr, 0, cudaStreamCaptureModeThreadLocal); e != cudaSuccess) return e;
    int error = loop_step(loop, forward, work, recording_);
    if (error == cudaSuccess) {
      go_on_kernel<<<1, 1, 0, recording_>>>(handle, loop.running);
      error = cudaGetLastError();
    }
    if (error == cudaSuccess && last) error = last_recorded(*last);
    cudaGraph_t same{};
    const cudaError_t ended = cudaStreamEndCapture(recording_, &same);
    return error != cudaSuccess ? error : ended;
  }

  /// What the next launch would wait for.
  int last_recorded(cudaGraphNode_t& last) {
    cudaStreamCaptureStatus status{};
    const cudaGraphNode_t* waits_for = nullptr;
    size_t count = 0;
#if CUDART_VERSION >= 13000
    const cudaError_t asked = cudaStreamGetCaptureInfo(recording_, &status, nullptr, nullptr, &waits_for, nullptr, &count);
#else
    const cudaError_t asked = cudaStreamGetCaptureInfo_v2(recording_, &status, nullptr, nullptr, &waits_for, &count);
#endif
    if (asked != cudaSuccess) return asked;
    if (count != 1) return cudaErrorUnknown;
    last = waits_for[0];
    return cudaSuccess;
  }

  cudaStream_t stream_, recording_;
  std::string name_;
  bool graphs_ = true;
};

}  // namespace

std::unique_ptr<Device> open_device(std::string& why_not) {
  int count = 0;
  cudaDeviceProp facts{};
  cudaStream_t stream{}, recording{};
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
  if (e == cudaSuccess) e = cudaStreamCreateWithFlags(&recording, cudaStreamNonBlocking);
  if (e != cudaSuccess) {
    why_not = cudaGetErrorString(e);
    return nullptr;
  }
  return std::make_unique<FirstGpu>(stream, recording, facts.name);
}

}  // namespace canvaslab::cuda
