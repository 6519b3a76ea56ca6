// The GPU behind cuda::Device: one stream of the machine's first device.
#include "core/kernels/cuda/device.h"

#include <cuda_runtime.h>

#include <mutex>

#include "core/kernels/cuda/overlap.h"
#include "core/kernels/cuda/warpgroup_product.h"

namespace canvaslab::cuda {

namespace {

/// Loads where the others do.
__global__ void architecture_kernel() {}

/// Whether the loop's body runs once more. Launched as it is: it waits for no earlier kernel by itself.
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
  FirstGpu(cudaStream_t stream, cudaStream_t recording, std::string name, bool loops_alone) : stream_(stream), recording_(recording), name_(std::move(name)), graphs_(loops_alone) {}
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
    cudaGetLastError();  // else whoever asks next would be told
    return nullptr;
  }
  void release(void* memory) noexcept override {
    cudaStreamSynchronize(stream_);  // kernels may still use it
    const std::lock_guard lock(no_recording_);
    if (cudaFree(memory) != cudaSuccess) cudaGetLastError();  // else who asks next in this thread would be told
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
  /// The host launches the first step and, while that runs, makes a graph ready that goes on from there.
  int denoise_loop(const LoopCall& loop, const ForwardCall& first, const ForwardCall& next, const ForwardWorkspace& work) override {
    alone_ = overlapped_ = false;
    if (const int e = loop_step(loop, first, work, stream_)) return e;
    if (graphs_) {
      // That kernels may overlap inside of a loop is nowhere said: where they are refused, once more without.
      bool refused = false;
      if (overlaps_ && kernels_overlap()) {
        const int error = loop_alone(loop, next, work);
        overlapped_ = alone_;
        if (alone_) return error;
        refused = true;
      }
      const WithoutOverlap one_by_one;
      const int error = loop_alone(loop, next, work);
      if (alone_) {
        overlaps_ = overlaps_ && !refused;
        return error;
      }
      // Nothing of the graph has run, so the host takes its place. For good only where the driver knows no such loops: before 12.4.
      graphs_ = error != cudaErrorNotSupported && error != cudaErrorCallRequiresNewerDriver && error != cudaErrorSymbolNotFound;
    }
    while (true) {
      int32_t running = 0;
      if (const int e = download(&running, loop.running, sizeof running)) return e;
      if (running == 0) return cudaSuccess;
      if (const int e = loop_step(loop, next, work, stream_)) return e;
    }
  }
  bool looped_alone() const override { return alone_; }
  bool looped_overlapping() const override { return overlapped_; }

 private:
  /// All further steps in one graph, to their end. Where alone_ is not set nothing of it has run, and the error is why.
  int loop_alone(const LoopCall& loop, const ForwardCall& next, const ForwardWorkspace& work) {
    Graph graph;
    int error = record(graph, loop, next, work);
    if (error == cudaSuccess) error = cudaGraphLaunch(graph.ready, stream_);
    alone_ = error == cudaSuccess;
    if (alone_) return cudaStreamSynchronize(stream_);  // the graph goes away behind it
    cudaGetLastError();
    return error;
  }
  /// The question whether a step follows, then a loop whose body is a step and the question again. Recording some hundred launches and making them ready takes milliseconds, a step some ten.
  int record(Graph& graph, const LoopCall& loop, const ForwardCall& next, const ForwardWorkspace& work) {
    const std::lock_guard lock(no_recording_);
    cudaGraphConditionalHandle handle{};
    if (const cudaError_t e = cudaGraphCreate(&graph.graph, 0); e != cudaSuccess) return e;
    if (const cudaError_t e = cudaGraphConditionalHandleCreate(&handle, graph.graph, 0, cudaGraphCondAssignDefault); e != cudaSuccess) return e;
    const int32_t* running = loop.running;
    void* arguments[] = {&handle, &running};
    cudaKernelNodeParams asks{};
    asks.func = reinterpret_cast<void*>(go_on_kernel);
    asks.gridDim = asks.blockDim = dim3(1);
    asks.kernelParams = arguments;
    cudaGraphNode_t question{}, node{};
    if (const cudaError_t e = cudaGraphAddKernelNode(&question, graph.graph, nullptr, 0, &asks); e != cudaSuccess) return e;
    cudaGraphNodeParams params{};
    params.type = cudaGraphNodeTypeConditional;
    params.conditional.handle = handle;
    params.conditional.type = cudaGraphCondTypeWhile;
    params.conditional.size = 1;
#if CUDART_VERSION >= 13000
    const cudaError_t added = cudaGraphAddNode(&node, graph.graph, &question, nullptr, 1, &params);
#else
    const cudaError_t added = cudaGraphAddNode(&node, graph.graph, &question, 1, &params);
#endif
    if (added != cudaSuccess) return added;
    // On a stream that no other thread waits for: waiting for one that records is an error.
    if (const cudaError_t e = cudaStreamBeginCaptureToGraph(recording_, params.conditional.phGraph_out[0], nullptr, nullptr, 0, cudaStreamCaptureModeRelaxed); e != cudaSuccess) return e;
    int error = loop_step(loop, next, work, recording_);
    if (error == cudaSuccess) {
      go_on_kernel<<<1, 1, 0, recording_>>>(handle, running);
      error = cudaGetLastError();
    }
    cudaGraph_t same{};
    const cudaError_t ended = cudaStreamEndCapture(recording_, &same);
    if (error != cudaSuccess || ended != cudaSuccess) return error != cudaSuccess ? error : ended;
    return cudaGraphInstantiate(&graph.ready, graph.graph, 0);
  }

  cudaStream_t stream_, recording_;
  std::string name_;
  std::mutex no_recording_;  // memory is not freed while a thread records
  bool graphs_, overlaps_ = true, alone_ = false, overlapped_ = false;  // overlaps_: a loop's kernels, as far as is known
};

}  // namespace

std::unique_ptr<Device> open_device(std::string& why_not, bool loops_alone) {
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
  static std::once_flag asked;
  if (e == cudaSuccess) std::call_once(asked, ask_warpgroups);  // once, before anything is on the device
  if (e == cudaSuccess) e = cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
  if (e == cudaSuccess) e = cudaStreamCreateWithFlags(&recording, cudaStreamNonBlocking);
  if (e != cudaSuccess) {
    if (stream) cudaStreamDestroy(stream);
    why_not = cudaGetErrorString(e);
    return nullptr;
  }
  return std::make_unique<FirstGpu>(stream, recording, facts.name, loops_alone);
}

}  // namespace canvaslab::cuda
