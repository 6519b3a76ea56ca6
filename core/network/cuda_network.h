#pragma once
// Inference on a GPU by the kernels of core/kernels/cuda: both forwards, weights and caches in the device's memory. Knows LibTorch on the host only.
#include <algorithm>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/kernels/cuda/device.h"
#include "core/kernels/packed_matrix.h"
#include "core/network/network.h"

namespace canvaslab {

/// Memory of a device that gives itself back.
class DeviceMemory {
 public:
  /// Errors: usage error when there is no room, naming `what` it was for.
  DeviceMemory(std::shared_ptr<cuda::Device> device, int64_t bytes, const std::string& what);
  ~DeviceMemory() { device_->release(data_); }
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;
  int64_t bytes() const { return bytes_; }
  template <typename T>
  T* as(int64_t at_byte = 0) const {
    return reinterpret_cast<T*>(static_cast<char*>(data_) + at_byte);
  }

 private:
  std::shared_ptr<cuda::Device> device_;
  int64_t bytes_;
  void* data_;
};

/// Makes `memory` hold at least so many bytes; what it held is lost.
DeviceMemory& grown(std::unique_ptr<DeviceMemory>& memory, const std::shared_ptr<cuda::Device>& device, int64_t bytes, const char* what);

/// One layer's keys and values: two of [Hkv, capacity, Dh] bf16. Forks of a sequence share the memory; what is shared is never written.
struct DeviceKeys {
  std::shared_ptr<DeviceMemory> memory;
  int64_t capacity = 0;    ///< rows there is room for
  int64_t first = 0;       ///< position of the first row
  int64_t count = 0;       ///< rows that are filled
};

/// What KvCache is to Network. Sliding layers keep somewhat more than the window shows.
struct DeviceCache {
  std::vector<DeviceKeys> layers;
  int64_t length = 0, padding = 0;  ///< of KvCache
};

/// Rotary tables of so many positions lie one behind the other: cosines and sines of sliding layers, then of full ones, [rows, Dh] each.
struct TableLayout {
  int64_t sliding_width = 0, full_width = 0;
  int64_t width(size_t table) const { return table < 2 ? sliding_width : full_width; }
  /// In floats.
  int64_t start(size_t table, int64_t rows) const { return rows * (static_cast<int64_t>(std::min<size_t>(table, 2)) * sliding_width + (table == 3 ? full_width : 0)); }
  int64_t floats(int64_t rows) const { return 2 * rows * (sliding_width + full_width); }
};

/// Tables of the positions [first, first + count), made once per canvas.
struct DeviceTables {
  std::shared_ptr<DeviceMemory> memory;
  int64_t first = -1, count = 0;
};

/// One canvas of a denoiser forward.
struct DeviceCanvas {
  std::span<const int32_t> ids;          ///< [L]
  const DeviceCache* cache = nullptr;
  DeviceTables* tables = nullptr;        ///< refilled when positions change
  const float* feedback = nullptr;       ///< [L, V] logits on the device, or null; may be where this canvas's are written
  float inverse_temperature = 1;         ///< of the feedback
  const float* inverse_temperature_at = nullptr;  ///< [1] on the device, instead of the number
};

/// A network that only infers. Factors of products in bf16, quantised weights as they are stored where a kernel reads them so, all sums in f32, caches in bf16.
/// A sequence's results depend on nothing but itself. Calls are not thread-safe. Errors: std::runtime_error for those of the device.
class CudaNetwork {
 public:
  /// Why the kernels cannot run a network of these sizes; empty when they can.
  static std::string unsuitable(const ModelConfig& config);
  /// Puts the weights of a network on the CPU, in bf16 or packed, on the device; mapped pages are given back on the way. `piece`: tokens encoded at once.
  CudaNetwork(Network network, std::shared_ptr<cuda::Device> device, int64_t piece = 1024);

  const ModelConfig& config() const { return network_.config(); }
  const std::string& content_hash() const { return network_.content_hash(); }
  const std::shared_ptr<cuda::Device>& device() const { return device_; }

  DeviceCache empty_cache(int64_t left_padding) const;
  /// Network::encode, piece by piece; logits [S, V] of the tokens that follow, on the host, when not null. An error leaves the cache with some of the pieces.
  void encode(std::span<const int32_t> ids, const std::vector<uint8_t>& token_types, DeviceCache& cache, float* causal_logits);
  /// One denoiser forward of all canvases: logits [rows of all canvases, V] on the device, after the soft-cap.
  void decode(std::span<const DeviceCanvas> canvases, float* logits);
  /// Steps of `loop`, whose canvases these are in their order, until none goes on. Every step but the first is given the prediction of the step before, where `feeds_back` says so, else none is.
  void decode_loop(std::span<const DeviceCanvas> canvases, float* logits, const cuda::LoopCall& loop, bool feeds_back);
  /// Network::cut, by sharing the memory of `after`.
  bool cut(DeviceCache& cache, const DeviceCache& after, int64_t count) const;

  /// Memory for logits of a call, kept for the next one; what it held is lost.
  float* logits(int64_t bytes) { return grown(logits_, device_, bytes, "logits").as<float>(); }
  void drop_logits() { logits_.reset(); }
  /// Throws what an error of the device says.
  void check(int error) const;

 private:
  struct Layer {
    cuda::LayerShape shape;
    cuda::LayerWeights decoder, encoder;
    const float *decoder_norm = nullptr, *encoder_norm = nullptr;  // [D] of the input
  };
  struct Piece {
    std::span<const int32_t> ids;
    std::span<const int64_t> block;  // vision_blocks of these tokens, or empty
    int64_t num_left;                // tokens still to come, these included
  };
  class Staging;
  /// A denoiser forward that only has to be called: what of it lies on the host, and where. Good until the next call of this object.
  struct Forward {
    std::vector<cuda::ForwardLayer> layers;
    std::vector<cuda::ForwardCanvas> canvases;
    cuda::ForwardCall call = {};
    std::unique_ptr<cuda::ForwardWorkspace> work;
  };
  Forward prepare(std::span<const DeviceCanvas> canvases, float* logits);

  void take_weights();
  cuda::LayerWeights take_layer(const LayerWeights& w, bool encoder);
  cuda::Weights place(const std::vector<at::Tensor>& parts);
  cuda::Weights place_packed(std::span<const PackedMatrix> parts);
  const float* place_f32(const at::Tensor& tensor);
  std::byte* reserve(int64_t bytes);
  void send(std::byte* to, const void* from, int64_t bytes);
  std::vector<float> rope_tables(int64_t first, int64_t count) const;  // in the order of TableLayout
  const float* tables_of(DeviceTables& tables, int64_t first, int64_t count);
  void encode_piece(const Piece& piece, DeviceCache& cache, float* causal_logits);
  void make_room(DeviceKeys& keys, const LayerConfig& shape, int64_t new_rows, int64_t rows_to_come);
  int64_t visible(const DeviceKeys& keys, const LayerConfig& shape) const;
  cuda::ForwardCall call_of(std::vector<cuda::ForwardLayer>& layers, const std::vector<cuda::ForwardCanvas>& canvases, size_t num_rows) const;

  Network network_;                       // configuration alone
  std::shared_ptr<cuda::Device> device_;
  int64_t piece_;
  std::vector<std::unique_ptr<DeviceMemory>> weights_;
  std::map<std::vector<const void*>, cuda::Weights> placed_;  // by tensors, while weights are taken
  std::map<const void*, const float*> placed_vectors_;
  std::vector<Layer> layers_;
  TableLayout tables_;
  cuda::Weights embedding_, head_, conditioning_gate_up_, conditioning_down_;
  const float *final_norm_ = nullptr, *conditioning_norm_ = nullptr;
  float embedding_scale_ = 1;
  std::unique_ptr<DeviceMemory> staging_, workspace_, logits_;
};

}  // namespace canvaslab
