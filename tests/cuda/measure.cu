// Times the kernels at the checkpoint's sizes beside cuBLAS and the memory's own speed, one JSON object a line. Run by experiments/gpu_check.sh.
//   measure [--only probe,experts,dense,head,attention,rows,soft,step] [--repeats N] [--inner N]
//
// Rules: random numbers, never zeros (which run faster); weights rotate over three sets, more than the second-level cache holds; calls are captured in a graph of `inner` and replayed: launches cost what
// they cost in a step, and a call that cannot be captured fails here. Median, least and most of the replays; clocks are left alone.
#include <cublas_v2.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <numeric>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "core/kernels/cuda/device.h"
#include "core/kernels/cuda/overlap.h"
#include "core/kernels/cuda/warpgroup_product.h"

namespace canvaslab::cuda {
namespace {

void check(int error, const char* what) {
  if (error == 0) return;
  std::fprintf(stderr, "measure: %s: %s\n", what, cudaGetErrorString(static_cast<cudaError_t>(error)));
  std::exit(1);
}
void check_cublas(cublasStatus_t status) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  std::fprintf(stderr, "measure: cuBLAS: status %d\n", static_cast<int>(status));
  std::exit(1);
}

constexpr int kRows = 256, kHidden = 2816, kExperts = 128, kSlots = 8, kExpertWidth = 704, kDenseWidth = 2112, kVocabulary = 262144, kSets = 3;

__device__ uint32_t mixed(uint64_t i, uint32_t seed) {
  uint64_t x = (i + 1) * 0x9E3779B97F4A7C15ull + seed * 0xD1B54A32D192ED03ull;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
  return static_cast<uint32_t>(x >> 32);
}
/// Roughly normal: the sum of four uniform bytes.
__device__ float rough_normal(uint64_t i, uint32_t seed) {
  const uint32_t bits = mixed(i, seed);
  const float sum = static_cast<float>((bits & 255) + (bits >> 8 & 255) + (bits >> 16 & 255) + (bits >> 24));
  return (sum - 510.0f) / 147.8f;
}
__global__ void fill_bf16(uint16_t* to, uint64_t count, float scale, uint32_t seed) {
  for (uint64_t i = blockIdx.x * uint64_t{blockDim.x} + threadIdx.x; i < count; i += uint64_t{gridDim.x} * blockDim.x) to[i] = nearest_bf16(scale * rough_normal(i, seed));
}
__global__ void fill_f32(float* to, uint64_t count, float mean, float scale, uint32_t seed) {
  for (uint64_t i = blockIdx.x * uint64_t{blockDim.x} + threadIdx.x; i < count; i += uint64_t{gridDim.x} * blockDim.x) to[i] = mean + scale * rough_normal(i, seed);
}
/// Codes of e4m3 or e2m1 without NaN, magnitudes below 2.
__global__ void fill_codes(uint8_t* to, uint64_t count, uint8_t mask, uint32_t seed) {
  for (uint64_t i = blockIdx.x * uint64_t{blockDim.x} + threadIdx.x; i < count; i += uint64_t{gridDim.x} * blockDim.x) to[i] = static_cast<uint8_t>(mixed(i, seed)) & mask;
}
__global__ void read_stream(const uint4* from, uint64_t count, uint32_t* out) {
  uint32_t sum = 0;
  for (uint64_t i = blockIdx.x * uint64_t{blockDim.x} + threadIdx.x; i < count; i += uint64_t{gridDim.x} * blockDim.x) sum += from[i].x ^ from[i].y ^ from[i].z ^ from[i].w;
  if (sum == 0x12345678u) *out = sum;  // keeps the loads
}

template <typename T>
struct Array {
  Array() = default;
  explicit Array(uint64_t n) : count(n) { check(cudaMalloc(reinterpret_cast<void**>(&data), n * sizeof(T) + 256), "allocating"); }
  explicit Array(const std::vector<T>& values) : Array(values.size()) { check(cudaMemcpy(data, values.data(), count * sizeof(T), cudaMemcpyHostToDevice), "copying"); }
  Array(Array&& other) noexcept : data(std::exchange(other.data, nullptr)), count(other.count) {}
  Array& operator=(Array&& other) noexcept {
    std::swap(data, other.data);
    std::swap(count, other.count);
    return *this;
  }
  ~Array() { cudaFree(data); }
  T* data = nullptr;
  uint64_t count = 0;
};
Array<uint16_t> random_bf16(uint64_t count, float scale, uint32_t seed) {
  Array<uint16_t> out(count);
  fill_bf16<<<4096, 256>>>(out.data, count, scale, seed);
  return out;
}
Array<float> random_f32(uint64_t count, float mean, float scale, uint32_t seed) {
  Array<float> out(count);
  fill_f32<<<4096, 256>>>(out.data, count, mean, scale, seed);
  return out;
}

int repeats = 30, inner = 10;
cudaStream_t stream;
cublasHandle_t cublas;

struct Times {
  double median_us, least_us, most_us;
};

/// Microseconds of one of `calls` calls of run(i), i counting them.
Times time_calls(int calls, const std::function<void(int)>& run) {
  run(0);  // first-time work of the libraries stays outside the graph
  check(cudaStreamSynchronize(stream), "a first call");
  cudaGraph_t graph;
  cudaGraphExec_t ready;
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "beginning a capture");
  for (int i = 0; i < calls; ++i) run(i);
  check(cudaStreamEndCapture(stream, &graph), "capturing");
  check(cudaGraphInstantiate(&ready, graph, 0), "instantiating");
  cudaEvent_t begin, end;
  check(cudaEventCreate(&begin), "an event");
  check(cudaEventCreate(&end), "an event");
  std::vector<double> us;
  for (int r = -3; r < repeats; ++r) {
    check(cudaEventRecord(begin, stream), "recording");
    check(cudaGraphLaunch(ready, stream), "launching");
    check(cudaEventRecord(end, stream), "recording");
    check(cudaEventSynchronize(end), "running");
    float ms = 0;
    check(cudaEventElapsedTime(&ms, begin, end), "timing");
    if (r >= 0) us.push_back(static_cast<double>(ms) * 1e3 / calls);
  }
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  cudaGraphExecDestroy(ready);
  cudaGraphDestroy(graph);
  std::sort(us.begin(), us.end());
  return {us[us.size() / 2], us.front(), us.back()};
}

/// One measurement as a line. bytes, flop: what the call has to move and to compute; 0 where that says nothing.
void report(const std::string& what, const std::string& by, const Times& t, double bytes, double flop, const std::string& more = "") {
  std::printf("{\"what\": \"%s\", \"by\": \"%s\", \"us\": %.3f, \"least_us\": %.3f, \"most_us\": %.3f, \"bytes\": %.0f, \"flop\": %.0f%s}\n", what.c_str(), by.c_str(), t.median_us, t.least_us, t.most_us, bytes, flop, more.c_str());
  std::fflush(stdout);
}

/// y [m, n] f32 = x [m, k] times w [n, k] transposed, by cuBLAS.
void cublas_product(const uint16_t* x, const uint16_t* w, void* y, int m, int n, int k, cudaDataType out) {
  const float one = 1, zero = 0;
  check_cublas(cublasGemmEx(cublas, CUBLAS_OP_T, CUBLAS_OP_N, n, m, k, &one, w, CUDA_R_16BF, k, x, CUDA_R_16BF, k, &zero, y, out, n, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
}

void probe() {
  cudaDeviceProp p;
  int device = 0, clock_khz = 0;
  check(cudaGetDevice(&device), "the device");
  check(cudaGetDeviceProperties(&p, device), "the device");
  check(cudaDeviceGetAttribute(&clock_khz, cudaDevAttrClockRate, device), "the clock");
  std::printf("{\"what\": \"device\", \"by\": \"driver\", \"name\": \"%s\", \"multiprocessors\": %d, \"memory_bytes\": %zu, \"l2_bytes\": %d, \"shared_bytes_per_block\": %zu, \"clock_mhz\": %d, \"capability\": \"%d.%d\"}\n", p.name,
              p.multiProcessorCount, p.totalGlobalMem, p.l2CacheSize, p.sharedMemPerBlockOptin, clock_khz / 1000, p.major, p.minor);
  {
    constexpr uint64_t kBytes = uint64_t{4} << 30;
    const auto from = random_bf16(kBytes / 2, 1, 1);
    Array<uint16_t> to(kBytes / 2);
    Array<uint32_t> out(1);
    report("memory", "copy", time_calls(2, [&](int) { check(cudaMemcpyAsync(to.data, from.data, kBytes, cudaMemcpyDeviceToDevice, stream), "copying"); }), 2.0 * kBytes, 0);
    report("memory", "read", time_calls(2, [&](int) { read_stream<<<4 * static_cast<unsigned>(p.multiProcessorCount), 512, 0, stream>>>(reinterpret_cast<const uint4*>(from.data), kBytes / 16, out.data); }), 1.0 * kBytes, 0);
  }
  constexpr int kSize = 8192;
  const auto a = random_bf16(uint64_t{kSize} * kSize, 1, 2), b = random_bf16(uint64_t{kSize} * kSize, 1, 3);
  Array<uint16_t> c(uint64_t{kSize} * kSize);
  report("product 8192", "cublas", time_calls(2, [&](int) { cublas_product(a.data, b.data, c.data, kSize, kSize, kSize, CUDA_R_16BF); }), 0, 2.0 * kSize * kSize * kSize);
  const auto x = random_f32(kRows, 0, 1, 4);
  report("empty kernels", "graph", time_calls(200, [&](int) { fill_f32<<<1, 32, 0, stream>>>(x.data, 1, 0, 1, 1); }), 0, 0);
  const auto smallest = [&](int) { check(soft_cap_rows({.num_rows = 1, .width = 32, .cap = 30, .x = {x.data, 32, Storage::kF32}, .out = {x.data, 32, Storage::kF32}}, stream), "the smallest kernel"); };
  report("smallest kernels", "ours", time_calls(200, smallest), 0, 0);
  const WithoutOverlap one_by_one;
  report("smallest kernels", "ours one by one", time_calls(200, smallest), 0, 0);
}

/// Experts of every token: distinct ones, drawn by weights.
std::vector<int32_t> routing(const std::string& kind) {
  std::mt19937_64 random(1);
  std::vector<double> weight(kExperts);
  for (int e = 0; e < kExperts; ++e) weight[static_cast<size_t>(e)] = kind == "zipf" ? 1.0 / (e + 1) : kind == "hot32" ? (e % 4 == 0) : 1.0;
  std::vector<int32_t> out;
  for (int r = 0; r < kRows; ++r) {
    auto left = weight;
    for (int s = 0; s < kSlots; ++s) {
      std::discrete_distribution<int> draw(left.begin(), left.end());
      out.push_back(draw(random));
      left[static_cast<size_t>(out.back())] = 0;
    }
  }
  return out;
}

/// Weights of one format with everything they need.
struct AnyWeights {
  AnyWeights(WeightFormat as, uint64_t rows, uint64_t k, uint32_t seed) : format(as) {
    if (format == WeightFormat::kBf16) {
      codes16 = random_bf16(rows * k, 1 / std::sqrt(static_cast<float>(k)), seed);
      return;
    }
    const uint64_t bytes = format == WeightFormat::kE4m3 ? rows * k : rows * k / 2;
    codes8 = Array<uint8_t>(bytes);
    fill_codes<<<4096, 256>>>(codes8.data, bytes, format == WeightFormat::kE4m3 ? 0xBF : 0xFF, seed);  // e4m3: exponents below 2^1
    groups = Array<uint8_t>(rows * k / 16);
    fill_codes<<<4096, 256>>>(groups.data, rows * k / 16, 0x3F, seed + 1);
    scales = random_f32(rows, 1 / std::sqrt(static_cast<float>(k)), 0, seed);
  }
  Weights get() const {
    if (format == WeightFormat::kBf16) return {format, codes16.data, nullptr, nullptr};
    return {format, codes8.data, format == WeightFormat::kE2m1 ? groups.data : nullptr, scales.data};
  }
  double bytes() const { return static_cast<double>(codes16.count) * 2 + static_cast<double>(codes8.count) + (format == WeightFormat::kE2m1 ? static_cast<double>(groups.count) : 0); }
  WeightFormat format;
  Array<uint16_t> codes16;
  Array<uint8_t> codes8, groups;
  Array<float> scales;
};
const char* name_of(WeightFormat format) { return format == WeightFormat::kBf16 ? "bf16" : format == WeightFormat::kE4m3 ? "fp8" : "4bit"; }

void experts() {
  const auto x = random_bf16(uint64_t{kRows} * kHidden, 1, 1);
  Array<uint16_t> middle(uint64_t{kRows} * kSlots * kExpertWidth);
  Array<float> out(uint64_t{kRows} * kSlots * kHidden), both(uint64_t{kRows} * kSlots * 2 * kExpertWidth);
  Array<int32_t> begin(kExperts + 1), place(kRows * kSlots), source(kRows * kSlots);
  for (const WeightFormat format : {WeightFormat::kBf16, WeightFormat::kE4m3, WeightFormat::kE2m1}) {
    std::vector<AnyWeights> up, down;
    for (uint32_t s = 0; s < kSets; ++s) {
      up.emplace_back(format, uint64_t{kExperts} * 2 * kExpertWidth, kHidden, 10 + s);
      down.emplace_back(format, uint64_t{kExperts} * kHidden, kExpertWidth, 20 + s);
    }
    for (const char* kind : {"uniform", "zipf", "hot32"}) {
      const auto ids = routing(kind);
      Array<int32_t> expert(ids);
      const GroupCall group{.num_routed = kRows * kSlots, .num_experts = kExperts, .expert = expert.data, .begin = begin.data, .place = place.data, .source = source.data};
      if (format == WeightFormat::kBf16) report("grouping", std::string("ours ") + kind, time_calls(inner, [&](int) { check(group_by_expert(group, stream), "grouping"); }), 0, 0);
      check(group_by_expert(group, stream), "grouping");
      std::vector<int32_t> first(kExperts + 1);
      check(cudaStreamSynchronize(stream), "grouping");
      check(cudaMemcpy(first.data(), begin.data, first.size() * 4, cudaMemcpyDeviceToHost), "copying");
      int active = 0;
      for (int e = 0; e < kExperts; ++e) active += first[static_cast<size_t>(e) + 1] > first[static_cast<size_t>(e)];
      const double share = static_cast<double>(active) / kExperts, bytes = share * (up[0].bytes() + down[0].bytes()), flop = 6.0 * kRows * kSlots * kExpertWidth * kHidden;
      const std::string more = ", \"active\": " + std::to_string(active);
      report(std::string("experts ") + kind, std::string("ours ") + name_of(format), time_calls(inner, [&](int i) {
               ProductCall a{.rows = kRows * kSlots, .n = kExpertWidth, .k = kHidden, .x = x.data, .ldx = kHidden, .w = up[static_cast<size_t>(i % kSets)].get(), .gated = 1,
                             .out = {middle.data, kExpertWidth, Storage::kBf16}, .begin = begin.data, .num_groups = kExperts, .source = source.data, .slots_per_row = kSlots};
               check(matrix_product(a, stream), "gate and up");
               ProductCall b{.rows = kRows * kSlots, .n = kHidden, .k = kExpertWidth, .x = middle.data, .ldx = kExpertWidth, .w = down[static_cast<size_t>(i % kSets)].get(), .out = {out.data, kHidden, Storage::kF32},
                             .begin = begin.data, .num_groups = kExperts};
               check(matrix_product(b, stream), "down");
             }), bytes, flop, more);
      if (format != WeightFormat::kBf16) continue;
      report(std::string("experts ") + kind, "cublas loop", time_calls(2, [&](int i) {
               for (int e = 0; e < kExperts; ++e) {
                 const int at = first[static_cast<size_t>(e)], rows = first[static_cast<size_t>(e) + 1] - at;
                 if (rows == 0) continue;
                 const auto &w = up[static_cast<size_t>(i % kSets)].codes16, &v = down[static_cast<size_t>(i % kSets)].codes16;
                 // The first rows of x stand for those that would have been gathered; the activation is left out: both to cuBLAS's good.
                 cublas_product(x.data, w.data + uint64_t(e) * 2 * kExpertWidth * kHidden, both.data + uint64_t(at) * 2 * kExpertWidth, std::min(rows, kRows), 2 * kExpertWidth, kHidden, CUDA_R_32F);
                 cublas_product(middle.data + uint64_t(at) * kExpertWidth, v.data + uint64_t(e) * kHidden * kExpertWidth, out.data + uint64_t(at) * kHidden, rows, kHidden, kExpertWidth, CUDA_R_32F);
               }
             }), bytes, flop, more);
    }
  }
}

/// The product by every kernel there is, whichever matrix_product() takes: product(run) makes the calls by run(call).
template <typename Product>
void report_ways(const std::string& what, int calls, Product product, double bytes, double flop) {
  const auto by = [&](const std::string& name, const std::function<int(const ProductCall&)>& run) { report(what, "ours " + name, time_calls(calls, [&](int i) { check(run(product(i)), what.c_str()); }), bytes, flop); };
  by("by warps", [](const ProductCall& call) { return matrix_product_by_warps(call, stream); });
  if (!has_warpgroups()) return;
  for (const int tokens : kWarpgroupTokens) by("by warpgroups, tile " + std::to_string(tokens), [&](const ProductCall& call) { return warpgroup_product(call, tokens, 0, stream); });
}

void dense() {
  struct Shape {
    const char* name;
    int n, k;
    bool gated;
  };
  for (const Shape& s : {Shape{"qkv sliding", 8192, kHidden, false}, Shape{"qk full", 9216, kHidden, false}, Shape{"o sliding", kHidden, 4096, false}, Shape{"o full", kHidden, 8192, false},
                         Shape{"dense gate up", kDenseWidth, kHidden, true}, Shape{"dense down", kHidden, kDenseWidth, false}, Shape{"router", kExperts, kHidden, false}}) {
    const int weight_rows = s.gated ? 2 * s.n : s.n;
    const auto x = random_bf16(uint64_t{kRows} * static_cast<uint64_t>(s.k), 1, 1);
    // As a layer asks for them: sums in f32, in pieces where features are few; the gated one in bf16.
    const int32_t pieces = s.gated ? 1 : product_pieces(s.n, s.k);
    Array<float> out(uint64_t{kRows} * static_cast<uint64_t>(weight_rows) * static_cast<uint64_t>(pieces));
    std::vector<AnyWeights> bf16, fp8;
    for (uint32_t set = 0; set < 8; ++set) bf16.emplace_back(WeightFormat::kBf16, weight_rows, s.k, set), fp8.emplace_back(WeightFormat::kE4m3, weight_rows, s.k, set);
    const double flop = 2.0 * kRows * weight_rows * s.k;
    const auto product = [&](const std::vector<AnyWeights>& sets, int i) {
      return ProductCall{.rows = kRows, .n = s.n, .k = s.k, .x = x.data, .ldx = s.k, .w = sets[static_cast<size_t>(i % 8)].get(), .gated = s.gated, .out = {out.data, s.n, s.gated ? Storage::kBf16 : Storage::kF32}, .pieces = pieces,
                         .piece_stride = int64_t{kRows} * s.n};
    };
    for (const auto* sets : {&bf16, &fp8}) report(s.name, std::string("ours ") + name_of((*sets)[0].format), time_calls(inner, [&](int i) { check(matrix_product(product(*sets, i), stream), s.name); }), (*sets)[0].bytes(), flop);
    report_ways(s.name, inner, [&](int i) { return product(bf16, i); }, bf16[0].bytes(), flop);
    report(s.name, "cublas", time_calls(inner, [&](int i) { cublas_product(x.data, bf16[static_cast<size_t>(i % 8)].codes16.data, out.data, kRows, weight_rows, s.k, CUDA_R_16BF); }), bf16[0].bytes(), flop);
  }
}

std::vector<StatisticsRow> requests() {
  std::vector<StatisticsRow> rows(kRows);
  for (int r = 0; r < kRows; ++r) rows[static_cast<size_t>(r)] = {.draws = {.seed = 1}, .position = static_cast<uint32_t>(r), .current = 0, .inverse_temperature = 1.25, .greedy = 0};
  return rows;
}

void head() {
  const auto x = random_bf16(uint64_t{kRows} * kHidden, 1, 1), w = random_bf16(uint64_t{kVocabulary} * kHidden, 0.05f, 2);
  Array<float> logits(uint64_t{kRows} * kVocabulary), entropy(kRows);
  Array<StatisticsRow> rows(requests());
  Array<int32_t> argmax(kRows), candidate(kRows), bad(std::vector<int32_t>{std::numeric_limits<int32_t>::max()});
  const double bytes = 2.0 * kVocabulary * kHidden, flop = 2.0 * kRows * kVocabulary * kHidden;
  const ProductCall call{.rows = kRows, .n = kVocabulary, .k = kHidden, .x = x.data, .ldx = kHidden, .w = {.codes = w.data}, .soft_cap = 30, .out = {logits.data, kVocabulary, Storage::kF32}};
  const auto product = [&](int) { check(matrix_product(call, stream), "head"); };
  const auto sampler = [&](int) {
    check(row_statistics({.logits = logits.data, .rows = rows.data, .num_rows = kRows, .vocabulary = kVocabulary, .out = {.argmax = argmax.data, .entropy_nats = entropy.data, .candidate = candidate.data}, .bad_row = bad.data}, stream), "statistics");
  };
  report("head", "ours", time_calls(3, product), bytes, flop);
  report_ways("head", 3, [&](int) { return call; }, bytes, flop);
  report("head", "cublas", time_calls(3, [&](int) { cublas_product(x.data, w.data, logits.data, kRows, kVocabulary, kHidden, CUDA_R_16BF); }), bytes, flop);
  report("statistics", "ours", time_calls(3, sampler), 4.0 * kRows * kVocabulary, 0);
  report("head and statistics", "ours", time_calls(3, [&](int i) { product(i), sampler(i); }), bytes, flop);
}

void attention_times() {
  struct Shape {
    const char* name;
    int width, kv_heads, cached;
  };
  for (const Shape& s : {Shape{"attention sliding", 256, 8, 1023}, Shape{"attention full 1k", 512, 2, 1024}, Shape{"attention full 8k", 512, 2, 8192}, Shape{"attention full 64k", 512, 2, 65536}}) {
    const int heads = 16;
    const auto q = random_bf16(uint64_t{kRows} * heads * static_cast<uint64_t>(s.width), 2 / std::sqrt(static_cast<float>(s.width)), 1);
    const uint64_t old = uint64_t(s.kv_heads) * static_cast<uint64_t>(s.cached) * static_cast<uint64_t>(s.width), fresh = uint64_t(s.kv_heads) * kRows * static_cast<uint64_t>(s.width);
    std::vector<Array<uint16_t>> caches;
    std::vector<Array<AttentionSequence>> sequences;
    for (uint32_t set = 0; set < 8; ++set) {
      caches.push_back(random_bf16(2 * (old + fresh), 1, set));
      const uint16_t* k = caches.back().data;
      sequences.emplace_back(std::vector<AttentionSequence>{{.first_row = 0, .num_rows = kRows, .cached = {k, k + old, s.width, int64_t{s.cached} * s.width, s.cached},
                                                            .fresh = {k + 2 * old, k + 2 * old + fresh, int64_t{s.kv_heads} * s.width, s.width, kRows}}});
    }
    Array<uint16_t> out(q.count);
    AttentionCall call{.num_sequences = 1, .most_rows = kRows, .most_keys = s.cached + kRows, .num_heads = heads, .num_kv_heads = s.kv_heads, .head_width = s.width, .q = q.data, .q_stride = int64_t{heads} * s.width,
                       .out = {out.data, int64_t{heads} * s.width, Storage::kBf16}};
    Array<float> workspace(static_cast<uint64_t>(attention_workspace(call, kRows)) + 1);
    call.workspace = workspace.data;
    report(s.name, "ours", time_calls(inner, [&](int i) {
             call.sequences = sequences[static_cast<size_t>(i % 8)].data;
             check(attention(call, stream), s.name);
           }), 4.0 * static_cast<double>(old + fresh), 4.0 * kRows * heads * (s.cached + kRows) * s.width);
  }
}

/// A layer's random weights with everything around them.
struct Layer {
  Layer(bool full, WeightFormat format, uint32_t seed)
      : shape{.hidden = kHidden, .num_heads = 16, .num_kv_heads = full ? 2 : 8, .head_width = full ? 512 : 256, .has_values = !full, .dense_width = kDenseWidth, .num_experts = kExperts, .slots = kSlots, .expert_width = kExpertWidth},
        qkv(format, static_cast<uint64_t>(shape.qkv_width()), kHidden, seed), o(format, kHidden, static_cast<uint64_t>(shape.q_width()), seed + 1), gate_up(format, 2 * kDenseWidth, kHidden, seed + 2),
        down(format, kHidden, kDenseWidth, seed + 3), router(WeightFormat::kBf16, kExperts, kHidden, seed + 4), experts_gate_up(format, uint64_t{kExperts} * 2 * kExpertWidth, kHidden, seed + 5),
        experts_down(format, uint64_t{kExperts} * kHidden, kExpertWidth, seed + 6), ones(random_f32(16384, 1, 0, 1)) {}
  LayerWeights weights() const {
    const float* one = ones.data;
    return {.qkv = qkv.get(), .o = o.get(), .gate_up = gate_up.get(), .down = down.get(), .router = router.get(), .experts_gate_up = experts_gate_up.get(), .experts_down = experts_down.get(), .q_norm = one, .k_norm = one,
            .post_attention_norm = one, .pre_ffn_norm = one, .pre_ffn_norm_2 = one, .post_ffn_norm_1 = one, .post_ffn_norm_2 = one, .post_ffn_norm = one, .router_scale = one, .per_expert_scale = one, .scalar = 0.2f};
  }
  double bytes() const { return qkv.bytes() + o.bytes() + gate_up.bytes() + down.bytes() + router.bytes() + experts_gate_up.bytes() + experts_down.bytes(); }
  LayerShape shape;
  AnyWeights qkv, o, gate_up, down, router, experts_gate_up, experts_down;
  Array<float> ones;
};

void row_times() {
  const uint64_t count = uint64_t{kRows} * kHidden;
  const auto branch = random_f32(count, 0, 1, 1), gain = random_f32(kHidden, 1, 0.1f, 2), parts = random_f32(count * kSlots, 0, 1, 3), weight = random_f32(kRows * kSlots, 0.1f, 0.01f, 4);
  auto x = random_f32(count, 0, 1, 5);
  std::vector<int32_t> order(kRows * kSlots);
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), std::mt19937_64(1));
  Array<int32_t> place(order);
  Array<uint16_t> normed(count), normed_2(count), routed(count);
  const auto bf16 = [](Array<uint16_t>& d) { return RowsOut{d.data, kHidden, Storage::kBf16}; };
  RowGlueCall call{.num_rows = kRows, .width = kHidden, .branch = {branch.data, kHidden, Storage::kF32}, .branch_gain = gain.data, .experts_gain = gain.data, .gain = gain.data, .residual = {x.data, kHidden, Storage::kF32},
                   .outs = {{bf16(normed), gain.data, 1}, {bf16(normed_2), gain.data, 1}, {bf16(routed), gain.data, 1}}};
  report("glue after attention", "ours", time_calls(inner, [&](int) { check(row_glue(call, stream), "glue"); }), 4.0 * 3 * static_cast<double>(count) + 6.0 * static_cast<double>(count), 0);
  call.experts = {{parts.data, kHidden, Storage::kF32}, place.data, weight.data, kSlots};
  call.outs[1] = call.outs[2] = {};
  report("glue at the layer's end", "ours", time_calls(inner, [&](int) { check(row_glue(call, stream), "glue"); }), 4.0 * (3 + kSlots) * static_cast<double>(count) + 2.0 * static_cast<double>(count), 0);
}

void soft() {
  const auto table = random_bf16(uint64_t{kVocabulary} * kHidden, 1, 1);
  Array<float> out(uint64_t{kRows} * kHidden), skipped(kRows);
  Array<int32_t> kept(1);
  Array<uint8_t> workspace(static_cast<uint64_t>(soft_embedding_workspace(kRows, kVocabulary, kHidden)));
  for (const float sharpness : {0.5f, 2.0f, 6.0f}) {
    const auto logits = random_f32(uint64_t{kRows} * kVocabulary, 0, sharpness, 2);
    for (const float least : {0.0f, 0x1p-24f}) {
      const SoftEmbeddingCall call{.rows = kRows, .vocabulary = kVocabulary, .width = kHidden, .logits = logits.data, .inverse_temperature = 1.25f, .table = table.data, .scale = 53, .least = least,
                                   .out = {out.data, kHidden, Storage::kF32}, .skipped = skipped.data, .num_kept = kept.data, .workspace = workspace.data};
      const Times t = time_calls(2, [&](int) { check(soft_embedding(call, stream), "self-conditioning"); });
      int32_t count = 0;
      std::vector<float> lost(kRows);
      check(cudaMemcpy(&count, kept.data, 4, cudaMemcpyDeviceToHost), "copying");
      check(cudaMemcpy(lost.data(), skipped.data, lost.size() * 4, cudaMemcpyDeviceToHost), "copying");
      char more[160];
      std::snprintf(more, sizeof more, ", \"sharpness\": %g, \"least\": %g, \"kept\": %d, \"most_skipped\": %g", static_cast<double>(sharpness), static_cast<double>(least), count, static_cast<double>(*std::max_element(lost.begin(), lost.end())));
      report(least == 0 ? "soft embedding dense" : "soft embedding compacted", "ours", t, 2.0 * count * kHidden, 2.0 * kRows * count * kHidden, more);
    }
  }
}

/// A canvas of 16 steps without the host: what a step takes by the clock on the wall, recording and making ready the graph included. Its record has to be that of the host's own loop, bit for bit, and is returned.
std::vector<uint8_t> whole_canvas(const std::string& by, int context, const ForwardCall& next, const ForwardWorkspace& work, float* logits, double bytes, const Times& one_step) {
  constexpr int kSteps = 16;
  std::string why;
  const auto gpu = open_device(why), with_host = open_device(why, false);
  if (!gpu || !with_host) std::fprintf(stderr, "measure: no loop: %s\n", why.c_str()), std::exit(1);
  Array<uint8_t> memory(static_cast<uint64_t>(LoopMemory(nullptr, 1, kRows, kSteps, 0).bytes));
  const LoopMemory there(memory.data, 1, kRows, kSteps, 0);
  std::vector<uint8_t> sent(static_cast<size_t>(there.sent_bytes));
  const LoopMemory here(sent.data(), 1, kRows, kSteps, 0);
  here.canvases[0] = {.draws = {.seed = 1}, .first = 0, .length = kRows, .num_steps = kSteps};  // confidence 0: never stops
  for (int i = 0; i < kSteps; ++i) here.steps[i] = {.inverse_temperature = 1.25, .feedback_inverse_temperature = 1.25f, .bound = 0.1f, .greedy = 0};
  std::fill_n(here.canvas, kRows, 7);
  std::fill_n(here.allowed, kRows, uint8_t{1});
  here.equal_steps[0] = -1;
  *here.bad_row = kNoBadRow;
  const auto column = [&](int i) { return there.columns + i * kRows; };
  const auto real = [&](int i) { return reinterpret_cast<float*>(column(i)); };
  const StatisticsArrays columns{.argmax = column(0), .argmax_logprob = real(1), .entropy_nats = real(4), .candidate = column(5), .candidate_logprob = real(6)};
  const LoopCall loop{.canvases = there.canvases, .num_canvases = 1, .num_rows = kRows, .most_steps = kSteps, .steps = there.steps, .step = there.step, .finished = there.finished, .running = there.running,
                      .feedback_inverse_temperature = there.feedback_inverse_temperature, .statistics_rows = there.statistics_rows, .accept_canvases = there.accept_canvases,
                      .statistics = {.logits = logits, .rows = there.statistics_rows, .num_rows = kRows, .vocabulary = kVocabulary, .out = columns, .bad_row = there.bad_row},
                      .accept = {.canvases = there.accept_canvases, .num_canvases = 1, .vocabulary = kVocabulary, .entropy_nats = columns.entropy_nats, .candidate = columns.candidate, .argmax = columns.argmax, .allowed = there.allowed,
                                 .canvas = there.canvas, .accepted = there.accepted, .last_argmax = there.last_argmax, .equal_steps = there.equal_steps, .stop = there.stop},
                      .columns = there.columns, .wanted = 1u | 1u << 1 | 1u << 4 | 1u << 5 | 1u << 6, .record = there.record};
  ForwardCanvas alone = next.canvases[0];
  alone.feedback = nullptr;
  ForwardCall fed = next, first = next;
  fed.ids = first.ids = there.canvas;
  first.canvases = &alone;
  std::vector<double> us;
  const auto record_of = [&](cuda::Device& on) {
    check(on.upload(memory.data, sent.data(), there.sent_bytes), "sending a loop");
    const auto begin = std::chrono::steady_clock::now();
    check(on.denoise_loop(loop, first, fed, work), "a loop");
    int32_t steps = 0;
    check(on.download(&steps, there.step, sizeof steps), "the end of a loop");
    us.push_back(std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count() / std::max(steps, 1));
    if (steps != kSteps) std::fprintf(stderr, "measure: a loop ended behind step %d of %d\n", steps, kSteps), std::exit(1);
    std::vector<uint8_t> record(static_cast<size_t>(there.back_end - there.back_at));
    check(on.download(record.data(), reinterpret_cast<uint8_t*>(memory.data) + there.back_at, there.back_end - there.back_at), "a record");
    return record;
  };
  check(cudaMemset(memory.data, 0, memory.count), "clearing a record");  // columns that nobody wants
  const auto record = record_of(*with_host);
  if (record_of(*gpu) != record) std::fprintf(stderr, "measure: a loop without the host made other steps than one with it\n"), std::exit(1);
  us.clear();
  for (int r = 0; r < 5; ++r) record_of(*gpu);
  std::sort(us.begin(), us.end());
  char more[160];
  std::snprintf(more, sizeof more, ", \"steps\": %d, \"alone\": %s, \"overlapping\": %s, \"over_step\": %.4f", kSteps, gpu->looped_alone() ? "true" : "false", gpu->looped_overlapping() ? "true" : "false", us[us.size() / 2] / one_step.median_us);
  report("canvas " + std::to_string(context), by, {us[us.size() / 2], us.front(), us.back()}, bytes, 2.53e12, more);
  return record;
}

/// Whole denoise steps: a forward of 30 layers (3 sets of weights of each kind in turn) with self-conditioning, statistics, acceptance. Kernels that overlap have to give the bits of those one by one.
void step() {
  const auto table = random_bf16(uint64_t{kVocabulary} * kHidden, 0.05f, 1);
  Array<float> logits(uint64_t{kRows} * kVocabulary), entropy(kRows);
  fill_f32<<<4096, 256>>>(logits.data, logits.count, 0, 3, 9);
  Array<int32_t> argmax(kRows), candidate(kRows), last(std::vector<int32_t>(kRows, 0)), canvas(std::vector<int32_t>(kRows, 7)), equal(std::vector<int32_t>{-1}), stop(1), bad(std::vector<int32_t>{std::numeric_limits<int32_t>::max()});
  Array<uint8_t> accepted(kRows);
  Array<StatisticsRow> rows(requests());
  Array<CanvasRow> canvases(std::vector<CanvasRow>{{.draws = {.seed = 1}, .first = 0, .length = kRows, .bound = 0.1f, .confidence = 0, .stability = 1}});
  const auto gains = random_f32(kHidden, 1, 0.1f, 3), angles = random_f32(uint64_t{kRows} * 256, 0.5f, 0.2f, 4);
  const AnyWeights sc_up(WeightFormat::kBf16, 2 * kDenseWidth, kHidden, 5), sc_down(WeightFormat::kBf16, kHidden, kDenseWidth, 6);
  for (const WeightFormat format : {WeightFormat::kBf16, WeightFormat::kE4m3, WeightFormat::kE2m1}) {
    std::vector<std::unique_ptr<Layer>> sliding, full;
    for (uint32_t s = 0; s < kSets; ++s) sliding.push_back(std::make_unique<Layer>(false, format, 100 * s)), full.push_back(std::make_unique<Layer>(true, format, 100 * s + 50));
    for (const int context : {1024, 8192}) {
      std::vector<Array<uint16_t>> caches;
      std::vector<Array<AttentionSequence>> sequences(30);
      std::vector<ForwardLayer> layers;
      double bytes = 2.0 * 2 * kVocabulary * kHidden + sc_up.bytes() + sc_down.bytes();
      const auto cached_of = [&](int i) { return i % 6 == 5 ? context : 1023; };
      for (int i = 0; i < 30; ++i) {
        const Layer& layer = i % 6 == 5 ? *full[static_cast<size_t>(i / 6 % kSets)] : *sliding[static_cast<size_t>(i % kSets)];
        layers.push_back({.shape = layer.shape, .w = layer.weights(), .input_norm = gains.data, .cos = angles.data, .sin = angles.data, .table_stride = 256, .most_keys = cached_of(i) + kRows});
        bytes += layer.bytes() + 4.0 * layer.shape.kv_width() * cached_of(i);
      }
      const ForwardCanvas one{.first_row = 0, .num_rows = kRows, .feedback = logits.data, .inverse_temperature = 1.25f};
      const ForwardCall call{.layers = layers.data(), .num_layers = 30, .canvases = &one, .num_canvases = 1, .num_rows = kRows, .hidden = kHidden, .vocabulary = kVocabulary, .conditioning_width = kDenseWidth,
                             .embedding_scale = 53, .ids = canvas.data, .embedding = table.data, .head = table.data, .final_norm = gains.data, .conditioning_norm = gains.data, .conditioning_gate_up = sc_up.get(), .conditioning_down = sc_down.get(),
                             .logits = logits.data};
      Array<uint8_t> memory(static_cast<uint64_t>(ForwardWorkspace(nullptr, call).bytes));
      const ForwardWorkspace work(memory.data, call);
      for (size_t i = 0; i < 30; ++i) {
        const LayerShape& shape = layers[i].shape;
        const int cached = cached_of(static_cast<int>(i));
        const uint64_t count = uint64_t(shape.kv_width()) * static_cast<uint64_t>(cached);
        caches.push_back(random_bf16(2 * count, 1, static_cast<uint32_t>(i)));
        const uint16_t* k = caches.back().data;
        sequences[i] = Array<AttentionSequence>(std::vector<AttentionSequence>{{.first_row = 0, .num_rows = kRows, .cached = {k, k + count, shape.head_width, int64_t{cached} * shape.head_width, cached},
                                                                                 .fresh = fresh_keys(work.of(shape, kRows), shape, 0, kRows)}});
        layers[i].sequences = sequences[i].data;
      }
      const auto whole_step = [&](int) {
        check(denoiser_forward(call, work, stream), "a forward");
        check(row_statistics({.logits = logits.data, .rows = rows.data, .num_rows = kRows, .vocabulary = kVocabulary, .out = {.argmax = argmax.data, .entropy_nats = entropy.data, .candidate = candidate.data}, .bad_row = bad.data}, stream), "statistics");
        check(entropy_bound_step({.canvases = canvases.data, .num_canvases = 1, .vocabulary = kVocabulary, .entropy_nats = entropy.data, .candidate = candidate.data, .argmax = argmax.data, .canvas = canvas.data, .accepted = accepted.data,
                                  .last_argmax = last.data, .equal_steps = equal.data, .stop = stop.data}, stream), "acceptance");
      };
      /// Logits and canvas after one step of the same beginning.
      const auto results = [&] {
        fill_f32<<<4096, 256, 0, stream>>>(logits.data, logits.count, 0, 3, 9);
        const std::vector<int32_t> sevens(kRows, 7);
        check(cudaMemcpyAsync(canvas.data, sevens.data(), kRows * 4, cudaMemcpyHostToDevice, stream), "a canvas");
        whole_step(0);
        std::vector<float> made(logits.count);
        std::vector<int32_t> tokens(kRows);
        check(cudaMemcpyAsync(made.data(), logits.data, made.size() * 4, cudaMemcpyDeviceToHost, stream), "logits");
        check(cudaMemcpyAsync(tokens.data(), canvas.data, kRows * 4, cudaMemcpyDeviceToHost, stream), "a canvas");
        check(cudaStreamSynchronize(stream), "a step");
        return std::pair(std::move(made), std::move(tokens));
      };
      const auto measured = [&](const std::string& by) {
        const Times t = time_calls(1, whole_step);
        int32_t first_bad = 0;
        check(cudaMemcpy(&first_bad, bad.data, 4, cudaMemcpyDeviceToHost), "copying");
        // 2.53e12 operations: the projections, experts, attention at 1k, head and self-conditioning of 256 rows.
        report("step " + std::to_string(context), by, t, bytes, 2.53e12, first_bad == std::numeric_limits<int32_t>::max() ? "" : ", \"no_distribution_in_row\": " + std::to_string(first_bad));
        return whole_canvas(by, context, call, work, logits.data, bytes, t);
      };
      const std::string name = std::string("ours ") + name_of(format);
      const auto overlapping = results();
      const auto record = measured(name);
      if (!kernels_overlap()) continue;
      const WithoutOverlap one_by_one;
      const auto plain = results();
      if (std::memcmp(plain.first.data(), overlapping.first.data(), plain.first.size() * 4) != 0 || plain.second != overlapping.second || measured(name + " one by one") != record)
        std::fprintf(stderr, "measure: kernels that overlap gave other numbers than one by one\n"), std::exit(1);
    }
  }
}

}  // namespace
}  // namespace canvaslab::cuda

int main(int argc, char** argv) {
  using namespace canvaslab::cuda;
  std::string only = "probe,experts,dense,head,attention,rows,soft,step";
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (i + 1 < argc && name == "--only") only = argv[++i];
    else if (i + 1 < argc && name == "--repeats") repeats = std::max(1, std::atoi(argv[++i]));
    else if (i + 1 < argc && name == "--inner") inner = std::max(1, std::atoi(argv[++i]));
    else return std::fprintf(stderr, "measure: unknown argument '%s'; known: --only LIST, --repeats N, --inner N\n", argv[i]), 2;
  }
  const char* const uses[] = {"never", "always", "many rows"};
  std::printf("{\"what\": \"warpgroups\", \"by\": \"driver\", \"used\": \"%s\"}\n", uses[static_cast<int>(ask_warpgroups())]);  // first of all: it may reset the device
  check(cudaStreamCreate(&stream), "a stream");
  check_cublas(cublasCreate(&cublas));
  check_cublas(cublasSetStream(cublas, stream));
  Array<uint8_t> cublas_workspace(uint64_t{32} << 20);
  check_cublas(cublasSetWorkspace(cublas, cublas_workspace.data, cublas_workspace.count));
  const std::pair<const char*, void (*)()> parts[] = {{"probe", probe}, {"experts", experts}, {"dense", dense}, {"head", head}, {"attention", attention_times}, {"rows", row_times}, {"soft", soft}, {"step", step}};
  const auto listed = [&](const std::string& name) {
    std::stringstream list(only);
    for (std::string one; std::getline(list, one, ',');)
      if (one == name) return true;
    return false;
  };
  for (const auto& [name, run] : parts)
    if (listed(name)) run();
  return 0;
}
