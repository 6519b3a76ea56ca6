#include "core/network/cuda_network.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "core/kernels/stored_scale.h"
#include "core/network/packed_layers.h"
#include "core/network/packed_weights.h"
#include "core/network/safetensors.h"

namespace canvaslab {
namespace {

constexpr int64_t kRoomStep = 256;     // caches grow by so many rows
constexpr int64_t kRowsAtOnce = 256;   // of a packed matrix, while it is read out
constexpr int64_t kSentAtOnce = int64_t{64} << 20;  // bytes of weights, whose pages are given back behind them

// Of V tokens, so that a row loses at most this much of its mass: the probabilities' own rounding to bf16 is eight times as much.
constexpr float kSkippedMass = 0x1p-12f;

int32_t narrow(int64_t x) { return static_cast<int32_t>(x); }

/// The format in which a kernel reads a matrix as it is stored; kBf16 where it has to be read out.
cuda::WeightFormat format_of(const PackedMatrix& m) {
  const auto fits = [&](cuda::WeightFormat format) { return m.columns % cuda::depth_step(format) == 0; };
  const int64_t group = m.scales_per_row > 0 ? m.columns / m.scales_per_row : m.columns;
  if (m.packing == Packing::kE4m3 && m.scales_per_row <= 1 && fits(cuda::WeightFormat::kE4m3)) return cuda::WeightFormat::kE4m3;
  if (m.packing == Packing::kNvfp4 && group == 16 && m.scale_packing == Packing::kE4m3 && fits(cuda::WeightFormat::kE2m1)) return cuda::WeightFormat::kE2m1;
  if (m.packing == Packing::kInt4 && m.scales_per_row > 0 && group % 32 == 0 && m.scale_packing == Packing::kBf16 && fits(cuda::WeightFormat::kInt4)) return cuda::WeightFormat::kInt4;
  return cuda::WeightFormat::kBf16;
}

PackedMatrix as_packed(const at::Tensor& tensor) {
  return {.packing = tensor.scalar_type() == at::kBFloat16 ? Packing::kBf16 : Packing::kF32, .rows = tensor.numel() / tensor.size(-1), .columns = tensor.size(-1),
          .codes = static_cast<const uint8_t*>(tensor.const_data_ptr())};
}

}  // namespace

DeviceMemory::DeviceMemory(std::shared_ptr<cuda::Device> device, int64_t bytes, const std::string& what) : device_(std::move(device)), bytes_(bytes), data_(device_->allocate(std::max<int64_t>(bytes, 1))) {
  if (!data_) throw usage_error("{} has no room for {} MiB of {}\nchoose fewer --threads or a smaller --batch, shorter prompts, or quantised weights (canvaslab quantize)", device_->name(), (bytes >> 20) + 1, what);
}

DeviceMemory& grown(std::unique_ptr<DeviceMemory>& memory, const std::shared_ptr<cuda::Device>& device, int64_t bytes, const char* what) {
  if (!memory || memory->bytes() < bytes) {
    memory.reset();
    memory = std::make_unique<DeviceMemory>(device, bytes, what);
  }
  return *memory;
}

/// What one forward needs from the host, sent in one piece.
class CudaNetwork::Staging {
 public:
  /// Where these values will stand.
  template <typename T>
  size_t add(std::span<const T> values) {
    const size_t at = bytes_.size();
    bytes_.resize(at + (values.size_bytes() + 255) / 256 * 256);
    std::memcpy(bytes_.data() + at, values.data(), values.size_bytes());
    return at;
  }
  const std::vector<std::byte>& bytes() const { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

std::string CudaNetwork::unsuitable(const ModelConfig& c) {
  const auto multiple = [](int64_t x, const char* what) { return x % 8 == 0 ? "" : fmt::format("{} {} is no multiple of 8", what, x); };
  for (const auto& [x, what] : {std::pair{c.hidden_size, "hidden_size"}, {c.intermediate_size, "intermediate_size"}, {c.moe_intermediate_size, "moe_intermediate_size"}})
    if (const std::string why = multiple(x, what); !why.empty()) return why;
  if (c.final_logit_softcapping <= 0) return "there is no final_logit_softcapping";
  if (c.hidden_size > 20000) return fmt::format("hidden_size {} is above 20000", c.hidden_size);
  if (c.vocab_size > cuda::kMaxVocabulary) return fmt::format("vocab_size {} is above {}", c.vocab_size, cuda::kMaxVocabulary);
  if (c.num_experts > cuda::kMaxExperts) return fmt::format("num_experts {} is above {}", c.num_experts, cuda::kMaxExperts);
  std::map<bool, int64_t> widths;
  for (const LayerConfig& layer : c.layers)
    if (widths.emplace(layer.sliding, layer.head_dim).first->second != layer.head_dim) return "layers of one kind have heads of different widths";
  for (const LayerConfig& layer : c.layers)
    if (layer.head_dim < 16 || layer.head_dim > cuda::kMaxHeadWidth || (layer.head_dim & (layer.head_dim - 1)) != 0) return fmt::format("head width {} is none of 16, 32, 64, 128, 256, 512", layer.head_dim);
  return "";
}

CudaNetwork::CudaNetwork(Network network, std::shared_ptr<cuda::Device> device, int64_t piece) : network_(std::move(network)), device_(std::move(device)), piece_(piece) {
  for (const LayerConfig& shape : config().layers) (shape.sliding ? tables_.sliding_width : tables_.full_width) = shape.head_dim;
  take_weights();
}

void CudaNetwork::check(int error) const {
  if (error != 0) throw std::runtime_error(fmt::format("{} failed: {}", device_->name(), device_->error_text(error)));
}

// Weights

std::byte* CudaNetwork::reserve(int64_t bytes) {
  weights_.push_back(std::make_unique<DeviceMemory>(device_, bytes, "weights"));
  return weights_.back()->as<std::byte>();
}

/// Weights as they are stored. A mapped file's pages are given back piece by piece: an embedding of gigabytes never stands in the host's memory.
void CudaNetwork::send(std::byte* to, const void* from, int64_t bytes) {
  for (int64_t at = 0; at < bytes; at += kSentAtOnce) {
    const int64_t count = std::min(kSentAtOnce, bytes - at);
    const auto* piece = static_cast<const std::byte*>(from) + at;
    check(device_->upload(to + at, piece, count));
    drop_pages(piece, static_cast<size_t>(count));
  }
}

const float* CudaNetwork::place_f32(const at::Tensor& tensor) {
  const float*& placed = placed_vectors_[tensor.unsafeGetTensorImpl()];
  if (placed) return placed;
  const std::vector<float> values = to_f32_vector(tensor);
  const auto bytes = static_cast<int64_t>(values.size() * sizeof(float));
  std::byte* to = reserve(bytes);
  check(device_->upload(to, values.data(), bytes));
  return placed = reinterpret_cast<const float*>(to);
}

/// Matrices [n, K] one below another, or one tensor [E, n, K].
cuda::Weights CudaNetwork::place(const std::vector<at::Tensor>& parts) {
  std::vector<const void*> key;
  for (const auto& part : parts) key.push_back(part.unsafeGetTensorImpl());
  if (const auto found = placed_.find(key); found != placed_.end()) return found->second;
  std::vector<PackedMatrix> matrices;
  std::vector<at::Tensor> kept;
  for (const auto& part : parts) {
    if (part.is_meta()) {
      const PackedWeight& packed = *network_.packed_.at(part.unsafeGetTensorImpl());
      matrices.insert(matrices.end(), packed.parts.begin(), packed.parts.end());
      kept.insert(kept.end(), packed.keeps.begin(), packed.keeps.end());
    } else {
      matrices.push_back(as_packed(kept.emplace_back(part.contiguous())));
    }
  }
  const cuda::Weights placed = place_packed(matrices);
  for (const auto& part : kept) drop_pages(part);
  return placed_[key] = placed;
}

cuda::Weights CudaNetwork::place_packed(std::span<const PackedMatrix> parts) {
  const int64_t K = parts.front().columns;
  int64_t rows = 0;
  for (const PackedMatrix& part : parts) rows += part.rows;
  auto format = format_of(parts.front());
  if (std::any_of(parts.begin(), parts.end(), [&](const PackedMatrix& part) { return format_of(part) != format; })) format = cuda::WeightFormat::kBf16;
  if (format == cuda::WeightFormat::kBf16) {
    std::byte* to = reserve(rows * K * 2);
    const cuda::Weights out{.codes = to};
    std::vector<float> wide;
    std::vector<uint16_t> halves;
    for (const PackedMatrix& part : parts) {
      if (part.packing == Packing::kBf16) {
        send(to, part.codes, part.rows * K * 2);
        to += part.rows * K * 2;
        continue;
      }
      for (int64_t first = 0; first < part.rows; first += kRowsAtOnce) {
        const int64_t count = std::min(kRowsAtOnce, part.rows - first);
        wide.resize(static_cast<size_t>(count * K));
        halves.resize(wide.size());
        unpack_kernel().unpack(part, first, count, 0, K, wide.data(), K);
        std::transform(wide.begin(), wide.end(), halves.begin(), nearest_bf16);
        check(device_->upload(to, halves.data(), count * K * 2));
        drop_pages(part.codes + first * part.row_bytes(), static_cast<size_t>(count * part.row_bytes()));
        to += count * K * 2;
      }
    }
    return out;
  }
  const int64_t row_bytes = parts.front().row_bytes();
  std::byte* codes = reserve(rows * row_bytes);
  cuda::Weights out{.format = format, .codes = codes};
  std::vector<float> row_scales;
  std::vector<uint8_t> group_scales;
  for (const PackedMatrix& part : parts) {
    send(codes, part.codes, part.rows * row_bytes);
    codes += part.rows * row_bytes;
    if (format == cuda::WeightFormat::kE4m3) {
      for (int64_t r = 0; r < part.rows; ++r) row_scales.push_back(part.scales ? stored_scale(part, part.scales_per_row * r) : 1.0f);
    } else if (format == cuda::WeightFormat::kE2m1) {
      group_scales.insert(group_scales.end(), part.scales, part.scales + part.rows * part.scales_per_row);
      row_scales.insert(row_scales.end(), static_cast<size_t>(part.rows), part.divides ? 1 / part.matrix_scale : part.matrix_scale);
    } else {
      const int64_t repeats = K / part.scales_per_row / 32;  // the kernel's groups are of 32
      for (int64_t i = 0; i < part.rows * part.scales_per_row; ++i)
        for (int64_t repeat = 0; repeat < repeats; ++repeat) group_scales.insert(group_scales.end(), part.scales + 2 * i, part.scales + 2 * i + 2);
    }
  }
  const auto placed = [&](const void* from, size_t bytes) {
    std::byte* to = reserve(static_cast<int64_t>(bytes));
    check(device_->upload(to, from, static_cast<int64_t>(bytes)));
    return to;
  };
  if (!group_scales.empty()) out.group_scales = placed(group_scales.data(), group_scales.size());
  if (!row_scales.empty()) out.row_scales = reinterpret_cast<const float*>(placed(row_scales.data(), row_scales.size() * sizeof(float)));
  return out;
}

cuda::LayerWeights CudaNetwork::take_layer(const LayerWeights& w, bool encoder) {
  return {.qkv = place(w.v_proj.defined() ? std::vector{w.q_proj, w.k_proj, w.v_proj} : std::vector{w.q_proj, w.k_proj}),
          .o = place({w.o_proj}),
          .gate_up = place({w.gate_proj, w.up_proj}),
          .down = place({w.down_proj}),
          .router = place({w.router_proj}),
          .experts_gate_up = place({w.experts_gate_up}),
          .experts_down = place({w.experts_down}),
          .q_norm = place_f32(w.q_norm),
          .k_norm = place_f32(w.k_norm),
          .post_attention_norm = place_f32(w.post_attention_norm),
          .pre_ffn_norm = place_f32(w.pre_ffn_norm),
          .pre_ffn_norm_2 = place_f32(w.pre_ffn_norm_2),
          .post_ffn_norm_1 = place_f32(w.post_ffn_norm_1),
          .post_ffn_norm_2 = place_f32(w.post_ffn_norm_2),
          .post_ffn_norm = place_f32(w.post_ffn_norm),
          .router_scale = place_f32(w.router_scale),
          .per_expert_scale = place_f32(w.per_expert_scale),
          .scalar = to_f32_vector(encoder ? w.encoder_scalar : w.decoder_scalar).front()};
}

void CudaNetwork::take_weights() {
  Network& n = network_;
  const ModelConfig& c = n.config();
  n.parameters_.clear();
  embedding_ = place({n.embedding_});
  head_ = place({n.lm_head_});
  final_norm_ = place_f32(n.final_norm_);
  conditioning_norm_ = place_f32(n.sc_pre_norm_);
  conditioning_gate_up_ = place({n.sc_gate_, n.sc_up_});
  conditioning_down_ = place({n.sc_down_});
  embedding_scale_ = to_f32_vector(n.embedding_scale_).front();
  for (size_t i = 0; i < c.layers.size(); ++i) {
    LayerWeights& decoder = n.layers_[i];
    LayerWeights& encoder = n.encoder_layers_.empty() ? decoder : n.encoder_layers_[i];
    const LayerConfig& shape = c.layers[i];
    layers_.push_back({.shape = {.hidden = narrow(c.hidden_size), .num_heads = narrow(c.num_heads), .num_kv_heads = narrow(shape.num_kv_heads), .head_width = narrow(shape.head_dim),
                                 .has_values = decoder.v_proj.defined(), .dense_width = narrow(c.intermediate_size), .num_experts = narrow(c.num_experts), .slots = narrow(c.top_k_experts),
                                 .expert_width = narrow(c.moe_intermediate_size), .eps = static_cast<float>(c.rms_norm_eps)},
                       .decoder = take_layer(decoder, false),
                       .encoder = take_layer(encoder, true),
                       .decoder_norm = place_f32(decoder.input_norm),
                       .encoder_norm = place_f32(encoder.input_norm)});
    decoder = encoder = {};  // the next layer's tensors may get these addresses
    placed_.clear();
    placed_vectors_.clear();
  }
  n.layers_.clear();
  n.encoder_layers_.clear();
  n.packed_.clear();
  for (at::Tensor* tensor : {&n.lm_head_, &n.final_norm_, &n.sc_pre_norm_, &n.sc_gate_, &n.sc_up_, &n.sc_down_}) *tensor = at::Tensor();
  n.embedding_ = at::empty({0}, at::kFloat);  // says where tables are made
}

// Caches

DeviceCache CudaNetwork::empty_cache(int64_t left_padding) const {
  DeviceCache cache{.layers = std::vector<DeviceKeys>(layers_.size()), .length = left_padding, .padding = left_padding};
  for (DeviceKeys& keys : cache.layers) keys.first = left_padding;
  return cache;
}

int64_t CudaNetwork::visible(const DeviceKeys& keys, const LayerConfig& shape) const { return shape.sliding ? std::min(keys.count, config().sliding_window - 1) : keys.count; }

namespace {

/// Rows [first, first + count) of a layer's memory.
cuda::KeySpan span_of(const DeviceKeys& keys, const LayerConfig& shape, int64_t first, int64_t count) {
  if (count == 0) return {};
  const uint16_t* k = keys.memory->as<uint16_t>() + first * shape.head_dim;
  return {k, k + shape.num_kv_heads * keys.capacity * shape.head_dim, shape.head_dim, keys.capacity * shape.head_dim, narrow(count)};
}

}  // namespace

/// Makes the memory this sequence's own, with room for new_rows more; rows_to_come: how many the call will add in all. Room grows by steps, so that it is seldom copied.
void CudaNetwork::make_room(DeviceKeys& keys, const LayerConfig& shape, int64_t new_rows, int64_t rows_to_come) {
  if (keys.memory && keys.memory.use_count() == 1 && keys.count + new_rows <= keys.capacity) return;
  const int64_t kept = visible(keys, shape), row_bytes = shape.head_dim * 2;
  int64_t capacity = std::max((kept + rows_to_come + kRoomStep - 1) / kRoomStep * kRoomStep, keys.capacity + keys.capacity / 4);
  if (shape.sliding) capacity = std::max(std::min(capacity + piece_, config().sliding_window - 1 + piece_), kept + new_rows);
  auto memory = std::make_shared<DeviceMemory>(device_, 2 * shape.num_kv_heads * capacity * row_bytes, "keys and values");
  if (kept > 0)
    check(device_->copy(memory->as<std::byte>(), capacity * row_bytes, keys.memory->as<std::byte>((keys.count - kept) * row_bytes), keys.capacity * row_bytes, kept * row_bytes, 2 * shape.num_kv_heads));
  keys = {.memory = std::move(memory), .capacity = capacity, .first = keys.first + keys.count - kept, .count = kept};
}

bool CudaNetwork::cut(DeviceCache& cache, const DeviceCache& after, int64_t count) const {
  const int64_t length = cache.length + count;
  for (size_t i = 0; i < layers_.size(); ++i) {
    const int64_t seen = config().layers[i].sliding ? length - config().sliding_window + 1 : 0;
    if (after.layers[i].first > std::max(seen, cache.padding)) return false;
  }
  cache.layers = after.layers;
  for (DeviceKeys& keys : cache.layers) keys.count = length - keys.first;
  cache.length = length;
  return true;
}

// Forwards

const float* CudaNetwork::tables_of(DeviceTables& tables, int64_t first, int64_t count) {
  if (tables.first != first || tables.count != count) {
    const std::vector<float> values = rope_tables(first, count);
    tables = {.memory = std::make_shared<DeviceMemory>(device_, tables_.floats(count) * 4, "rotary tables"), .first = first, .count = count};
    check(device_->upload(tables.memory->as<float>(), values.data(), tables.memory->bytes()));
  }
  return tables.memory->as<float>();
}

std::vector<float> CudaNetwork::rope_tables(int64_t first, int64_t count) const {
  std::vector<float> out;
  for (const bool sliding : {true, false}) {
    const auto [cos, sin] = network_.rope_tables(sliding, first, count, at::kFloat);
    for (const at::Tensor& table : {cos, sin}) out.insert(out.end(), table.const_data_ptr<float>(), table.const_data_ptr<float>() + table.numel());
  }
  return out;
}

cuda::ForwardCall CudaNetwork::call_of(std::vector<cuda::ForwardLayer>& layers, const std::vector<cuda::ForwardCanvas>& canvases, size_t num_rows) const {
  const ModelConfig& c = config();
  return {.layers = layers.data(), .num_layers = narrow(static_cast<int64_t>(layers.size())), .canvases = canvases.data(), .num_canvases = narrow(static_cast<int64_t>(canvases.size())),
          .num_rows = narrow(static_cast<int64_t>(num_rows)), .hidden = narrow(c.hidden_size), .vocabulary = narrow(c.vocab_size), .conditioning_width = narrow(c.intermediate_size),
          .eps = static_cast<float>(c.rms_norm_eps), .embedding_scale = embedding_scale_, .soft_cap = static_cast<float>(c.final_logit_softcapping),
          .embedding = static_cast<const uint16_t*>(embedding_.codes), .head = static_cast<const uint16_t*>(head_.codes), .final_norm = final_norm_, .conditioning_norm = conditioning_norm_,
          .conditioning_gate_up = conditioning_gate_up_, .conditioning_down = conditioning_down_, .least = kSkippedMass / static_cast<float>(c.vocab_size)};
}

CudaNetwork::Forward CudaNetwork::prepare(std::span<const DeviceCanvas> canvases, float* logits) {
  Forward out;
  const std::vector<LayerConfig>& shapes = config().layers;
  std::vector<int32_t> ids;
  std::vector<cuda::ForwardCanvas>& rows = out.canvases;
  for (const DeviceCanvas& canvas : canvases) {
    rows.push_back({.first_row = narrow(static_cast<int64_t>(ids.size())), .num_rows = narrow(static_cast<int64_t>(canvas.ids.size())), .feedback = canvas.feedback, .inverse_temperature = canvas.inverse_temperature, .inverse_temperature_at = canvas.inverse_temperature_at});
    ids.insert(ids.end(), canvas.ids.begin(), canvas.ids.end());
  }
  std::vector<cuda::ForwardLayer>& layers = out.layers;
  for (size_t i = 0; i < shapes.size(); ++i) {
    layers.push_back({.shape = layers_[i].shape, .w = layers_[i].decoder, .input_norm = layers_[i].decoder_norm, .table_stride = shapes[i].head_dim});
    for (const DeviceCanvas& canvas : canvases) layers[i].most_keys = std::max(layers[i].most_keys, narrow(visible(canvas.cache->layers[i], shapes[i]) + static_cast<int64_t>(canvas.ids.size())));
  }
  cuda::ForwardCall& call = out.call = call_of(layers, rows, ids.size());
  call.logits = logits;
  const cuda::ForwardWorkspace& work = *(out.work = std::make_unique<cuda::ForwardWorkspace>(grown(workspace_, device_, cuda::ForwardWorkspace(nullptr, call).bytes, "intermediate results").as<void>(), call));
  Staging staging;
  const size_t ids_at = staging.add(std::span<const int32_t>(ids));
  std::vector<size_t> sequences_at;
  for (size_t i = 0; i < shapes.size(); ++i) {
    std::vector<cuda::AttentionSequence> sequences;
    for (size_t c = 0; c < canvases.size(); ++c) {
      const DeviceKeys& keys = canvases[c].cache->layers[i];
      const int64_t seen = visible(keys, shapes[i]);
      sequences.push_back({.first_row = rows[c].first_row, .num_rows = rows[c].num_rows, .cached = span_of(keys, shapes[i], keys.count - seen, seen),
                           .fresh = cuda::fresh_keys(work.of(layers[i].shape, call.num_rows), layers[i].shape, rows[c].first_row, rows[c].num_rows)});
    }
    sequences_at.push_back(staging.add(std::span<const cuda::AttentionSequence>(sequences)));
  }
  // One canvas's tables are read where they are; those of several are joined on the device, behind what is sent.
  const auto sent = static_cast<int64_t>(staging.bytes().size()), S = static_cast<int64_t>(ids.size());
  const bool joins = canvases.size() > 1;
  std::byte* base = grown(staging_, device_, sent + (joins ? tables_.floats(S) * 4 : 0), "a step's arguments").as<std::byte>();
  check(device_->upload(base, staging.bytes().data(), sent));
  const auto* tables = reinterpret_cast<const float*>(base + sent);
  for (size_t c = 0; c < canvases.size(); ++c) {
    const float* own = tables_of(*canvases[c].tables, canvases[c].cache->length, rows[c].num_rows);
    if (!joins) tables = own;
    for (size_t t = 0; joins && t < 4; ++t) {
      const int64_t width = tables_.width(t), count = rows[c].num_rows;
      check(device_->copy(const_cast<float*>(tables) + tables_.start(t, S) + rows[c].first_row * width, 0, own + tables_.start(t, count), 0, count * width * 4, 1));
    }
  }
  call.ids = reinterpret_cast<const int32_t*>(base + ids_at);
  for (size_t i = 0; i < shapes.size(); ++i) {
    const size_t kind = shapes[i].sliding ? 0 : 2;
    layers[i].cos = tables + tables_.start(kind, S);
    layers[i].sin = tables + tables_.start(kind + 1, S);
    layers[i].sequences = reinterpret_cast<const cuda::AttentionSequence*>(base + sequences_at[i]);
  }
  return out;
}

void CudaNetwork::decode(std::span<const DeviceCanvas> canvases, float* logits) {
  const Forward forward = prepare(canvases, logits);
  check(device_->forward(forward.call, *forward.work));
}

void CudaNetwork::decode_loop(std::span<const DeviceCanvas> canvases, float* logits, const cuda::LoopCall& loop, bool feeds_back) {
  std::vector<DeviceCanvas> fed(canvases.begin(), canvases.end());
  int64_t at = 0;
  for (size_t c = 0; feeds_back && c < fed.size(); ++c) {
    fed[c].feedback = logits + at * config().vocab_size;
    fed[c].inverse_temperature_at = loop.feedback_inverse_temperature + c;
    at += static_cast<int64_t>(fed[c].ids.size());
  }
  Forward next = prepare(fed, logits);
  next.call.ids = loop.accept.canvas;
  std::vector<cuda::ForwardCanvas> alone = next.canvases;
  for (cuda::ForwardCanvas& canvas : alone) canvas.feedback = nullptr;
  cuda::ForwardCall first = next.call;
  first.canvases = alone.data();
  check(device_->denoise_loop(loop, first, next.call, *next.work));
}

void CudaNetwork::encode(std::span<const int32_t> ids, const std::vector<uint8_t>& token_types, DeviceCache& cache, float* causal_logits) {
  const auto S = static_cast<int64_t>(ids.size());
  const auto block = vision_blocks(token_types);
  for (int64_t begin = 0, end = 0; begin < S; begin = end) {
    end = piece_end(block, begin, S, piece_);
    const auto first = static_cast<size_t>(begin), count = static_cast<size_t>(end - begin);
    encode_piece({.ids = ids.subspan(first, count), .block = block.empty() ? std::span<const int64_t>() : std::span(block).subspan(first, count), .num_left = S - begin}, cache,
                 causal_logits ? causal_logits + begin * config().vocab_size : nullptr);
  }
}

void CudaNetwork::encode_piece(const Piece& piece, DeviceCache& cache, float* causal_logits) {
  const std::vector<LayerConfig>& shapes = config().layers;
  const auto S = static_cast<int64_t>(piece.ids.size());
  std::vector<int32_t> ids(piece.ids.begin(), piece.ids.end());
  std::replace(ids.begin(), ids.end(), narrow(config().image_token_id), narrow(config().pad_token_id));
  Staging staging;
  const size_t ids_at = staging.add(std::span<const int32_t>(ids)), tables_at = staging.add(std::span<const float>(rope_tables(cache.length, S)));
  // What the tokens see, the same in all layers of a kind: keys from[row] to to[row] of those that its span holds.
  const auto limits = [&](bool sliding, int64_t seen) {
    std::vector<int64_t> from(ids.size()), to(ids.size());
    seen_keys(piece.block, seen, sliding ? config().sliding_window : 0, from, to);
    const auto send = [&](const std::vector<int64_t>& keys) { return staging.add(std::span<const int32_t>(std::vector<int32_t>(keys.begin(), keys.end()))); };
    return std::pair{send(from), send(to)};
  };
  std::map<bool, std::pair<size_t, size_t>> limits_at;
  std::vector<size_t> sequences_at;
  std::vector<cuda::ForwardLayer> layers;
  for (size_t i = 0; i < shapes.size(); ++i) {
    const LayerConfig& shape = shapes[i];
    DeviceKeys& keys = cache.layers[i];
    make_room(keys, shape, S, piece.num_left);
    const int64_t seen = visible(keys, shape);
    if (!limits_at.contains(shape.sliding)) limits_at[shape.sliding] = limits(shape.sliding, seen);
    const cuda::AttentionSequence sequence{.first_row = 0, .num_rows = narrow(S), .cached = span_of(keys, shape, keys.count - seen, seen + S), .fresh = {}};
    sequences_at.push_back(staging.add(std::span(&sequence, 1)));
    const cuda::KeySpan free_rows = span_of(keys, shape, keys.count, S);
    layers.push_back({.shape = layers_[i].shape, .w = layers_[i].encoder, .input_norm = layers_[i].encoder_norm, .table_stride = shape.head_dim, .most_keys = narrow(seen + S),
                      .append = {const_cast<uint16_t*>(free_rows.k), const_cast<uint16_t*>(free_rows.v), free_rows.row_stride, free_rows.head_stride, Storage::kBf16}});
  }
  std::byte* base = grown(staging_, device_, static_cast<int64_t>(staging.bytes().size()), "a step's arguments").as<std::byte>();
  check(device_->upload(base, staging.bytes().data(), static_cast<int64_t>(staging.bytes().size())));
  const float* tables = reinterpret_cast<const float*>(base + tables_at);
  for (size_t i = 0; i < shapes.size(); ++i) {
    const size_t kind = shapes[i].sliding ? 0 : 2;
    layers[i].cos = tables + tables_.start(kind, S);
    layers[i].sin = tables + tables_.start(kind + 1, S);
    layers[i].sequences = reinterpret_cast<const cuda::AttentionSequence*>(base + sequences_at[i]);
    layers[i].from = reinterpret_cast<const int32_t*>(base + limits_at.at(shapes[i].sliding).first);
    layers[i].to = reinterpret_cast<const int32_t*>(base + limits_at.at(shapes[i].sliding).second);
  }
  const std::vector<cuda::ForwardCanvas> all = {{.first_row = 0, .num_rows = narrow(S)}};
  cuda::ForwardCall call = call_of(layers, all, ids.size());
  call.ids = reinterpret_cast<const int32_t*>(base + ids_at);
  call.normed = 0;
  const int64_t logit_bytes = S * config().vocab_size * 4;
  if (causal_logits) call.logits = logits(logit_bytes);
  check(device_->forward(call, cuda::ForwardWorkspace(grown(workspace_, device_, cuda::ForwardWorkspace(nullptr, call).bytes, "intermediate results").as<void>(), call)));
  if (causal_logits) check(device_->download(causal_logits, call.logits, logit_bytes));
  for (DeviceKeys& keys : cache.layers) keys.count += S;
  cache.length += S;
}

}  // namespace canvaslab
