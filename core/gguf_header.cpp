#include "core/gguf_header.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <tuple>

#include "core/error.h"
#include "core/stored_weights.h"

namespace canvaslab {
namespace {

constexpr uint64_t kSeekFrom = 4096;  // bytes; fewer are read over
constexpr uint64_t kLargestCount = uint64_t{1} << 50;

/// Reads the file's front part in order; no count or length is believed beyond the bytes that are there.
class Reader {
 public:
  explicit Reader(const std::string& path) : path_(path) {
    std::error_code error;
    size_ = std::filesystem::file_size(path, error);
    in_.open(path, std::ios::binary);
    if (error || !in_) throw input_error("{}: cannot be opened ({})", path, error ? error.message() : std::strerror(errno));
  }
  template <typename T>
  T number() {
    T x{};
    take(&x, sizeof x);
    return x;
  }
  std::string text() {
    const auto length = number<uint64_t>();
    if (length > left()) throw input_error("{}: is truncated: a text of {} bytes at byte {}, {} bytes are left", path_, length, at_, left());
    std::string out(length, '\0');
    take(out.data(), length);
    return out;
  }
  /// A count of things of at least `bytes` each.
  uint64_t count(uint64_t bytes, const char* what) {
    const auto n = number<uint64_t>();
    if (n > left() / bytes) throw input_error("{}: is truncated or no GGUF file: it claims {} {}, {} bytes are left", path_, n, what, left());
    return n;
  }
  void skip(uint64_t bytes) {
    if (bytes > left()) throw input_error("{}: is truncated: {} bytes to pass over at byte {}, {} are left", path_, bytes, at_, left());
    // A seek throws the stream's buffer away: a vocabulary's 262,144 texts would be as many reads.
    if (bytes < kSeekFrom) in_.ignore(static_cast<std::streamsize>(bytes));
    else in_.seekg(static_cast<std::streamoff>(bytes), std::ios::cur);
    at_ += bytes;
  }
  uint64_t at() const { return at_; }
  uint64_t left() const { return size_ - at_; }
  uint64_t size() const { return size_; }

 private:
  void take(void* to, uint64_t bytes) {
    if (bytes > left()) throw input_error("{}: is truncated: {} bytes, the header goes on", path_, size_);
    in_.read(static_cast<char*>(to), static_cast<std::streamsize>(bytes));
    if (!in_) throw input_error("{}: the header cannot be read", path_);
    at_ += bytes;
  }
  std::string path_;
  std::ifstream in_;
  uint64_t size_ = 0, at_ = 0;
};

/// The value types of GGUF's keys by number.
enum ValueType : uint32_t { kU8, kI8, kU16, kI16, kU32, kI32, kF32, kBool, kText, kList, kU64, kI64, kF64 };
constexpr uint64_t kBytesOfValue[] = {1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8};  // at least, for texts and lists

std::string read_value(Reader& in, uint32_t type) {
  switch (type) {
    case kU8: return std::to_string(in.number<uint8_t>());
    case kI8: return std::to_string(in.number<int8_t>());
    case kU16: return std::to_string(in.number<uint16_t>());
    case kI16: return std::to_string(in.number<int16_t>());
    case kU32: return std::to_string(in.number<uint32_t>());
    case kI32: return std::to_string(in.number<int32_t>());
    case kF32: return fmt::format("{}", in.number<float>());
    case kBool: return in.number<uint8_t>() ? "true" : "false";
    case kText: return in.text();
    case kU64: return std::to_string(in.number<uint64_t>());
    case kI64: return std::to_string(in.number<int64_t>());
    default: return fmt::format("{}", in.number<double>());
  }
}

void skip_list(Reader& in, const std::string& path, const std::string& key) {
  const auto type = in.number<uint32_t>();
  if (type > kF64 || type == kList) throw input_error("{}: key '{}' is a list of value type {}, which is not known", path, key, type);
  const uint64_t count = in.count(kBytesOfValue[type], "values in a list");
  if (type != kText) return in.skip(count * kBytesOfValue[type]);
  for (uint64_t i = 0; i < count; ++i) in.skip(in.number<uint64_t>());
}

/// ggml's tensor types by number; the others have gone or are packings that this program does not read.
const char* type_name(uint32_t type) {
  static const std::map<uint32_t, const char*> kNames = {{0, "F32"}, {1, "F16"}, {6, "Q5_0"}, {7, "Q5_1"}, {8, "Q8_0"}, {12, "Q4_K"}, {13, "Q5_K"}, {14, "Q6_K"}, {20, "IQ4_NL"}, {30, "BF16"}};
  const auto found = kNames.find(type);
  return found == kNames.end() ? nullptr : found->second;
}

/// One entry of the table of tensors; `first_byte` still counts from the start of the data.
TensorHeader read_tensor(Reader& in, const std::string& path) {
  TensorHeader out{.name = in.text(), .dtype = {}, .shape = {}, .file = path};
  const std::string where = fmt::format("{}: tensor '{}'", path, out.name);
  const auto dimensions = in.number<uint32_t>();
  if (dimensions > 4) throw input_error("{}: has {} dimensions; the format allows 4", where, dimensions);
  for (uint32_t i = 0; i < dimensions; ++i) {
    const auto d = in.number<uint64_t>();
    if (d > kLargestCount || __builtin_mul_overflow(out.num_elements, d, &out.num_elements) || out.num_elements > kLargestCount) throw input_error("{}: its dimensions overflow", where);
    out.shape.insert(out.shape.begin(), static_cast<int64_t>(d));
  }
  const auto type = in.number<uint32_t>();
  const char* name = type_name(type);
  if (!name) throw input_error("{}: ggml type {} is not supported; expected F32, F16, BF16, Q8_0, Q5_0, Q5_1, Q4_K, Q5_K, Q6_K or IQ4_NL\nconvert the file to one of these", where, type);
  out.dtype = name;
  const PackingFacts& facts = facts_of(*packing_of_dtype(out.dtype));
  const auto block = static_cast<uint64_t>(facts.block);
  if (!out.shape.empty() && static_cast<uint64_t>(out.shape.back()) % block != 0) throw input_error("{}: rows of {} do not divide into blocks of {} ({})", where, out.shape.back(), block, name);
  if (out.shape.empty() && block > 1) throw input_error("{}: a single number cannot be {}", where, name);
  out.num_bytes = out.num_elements / block * static_cast<uint64_t>(facts.block_bytes);
  out.first_byte = in.number<uint64_t>();
  return out;
}

/// Puts the tensors behind the header and checks that they are inside the file and apart.
void place(GgufHeader& header, const std::string& path, uint64_t header_end, uint64_t file_size) {
  uint64_t alignment = 32;
  if (const auto given = header.values.find("general.alignment"); given != header.values.end()) alignment = std::strtoull(given->second.c_str(), nullptr, 10);
  if (alignment == 0 || alignment % 8 != 0 || alignment > (1u << 20)) throw input_error("{}: general.alignment is {}; expected a multiple of 8", path, alignment);
  const uint64_t begin = (header_end + alignment - 1) / alignment * alignment;
  for (auto& t : header.tensors) {
    const uint64_t space = begin > file_size ? 0 : file_size - begin;
    if (t.first_byte > space || t.num_bytes > space - t.first_byte)
      throw input_error("{}: tensor '{}': {} bytes from byte {} of {} bytes of data (truncated?)", path, t.name, t.num_bytes, t.first_byte, space);
    t.first_byte += begin;
  }
  std::sort(header.tensors.begin(), header.tensors.end(), [](const auto& a, const auto& b) { return std::tie(a.first_byte, a.num_bytes, a.name) < std::tie(b.first_byte, b.num_bytes, b.name); });
  for (size_t i = 1; i < header.tensors.size(); ++i) {
    const TensorHeader &a = header.tensors[i - 1], &b = header.tensors[i];
    if (a.first_byte + a.num_bytes > b.first_byte) throw input_error("{}: tensor '{}' overlaps '{}'", path, b.name, a.name);
  }
}

/// The network's names of a layer's tensors.
const std::map<std::string, std::string>& layer_names() {
  static const std::map<std::string, std::string> kNames = {
      {"attn_norm.weight", "input_layernorm.weight"}, {"attn_q.weight", "self_attn.q_proj.weight"}, {"attn_k.weight", "self_attn.k_proj.weight"},
      {"attn_v.weight", "self_attn.v_proj.weight"}, {"attn_output.weight", "self_attn.o_proj.weight"}, {"attn_q_norm.weight", "self_attn.q_norm.weight"},
      {"attn_k_norm.weight", "self_attn.k_norm.weight"}, {"post_attention_norm.weight", "post_attention_layernorm.weight"}, {"ffn_norm.weight", "pre_feedforward_layernorm.weight"},
      {"ffn_gate.weight", "mlp.gate_proj.weight"}, {"ffn_up.weight", "mlp.up_proj.weight"}, {"ffn_down.weight", "mlp.down_proj.weight"},
      {"post_ffw_norm_1.weight", "post_feedforward_layernorm_1.weight"}, {"pre_ffw_norm_2.weight", "pre_feedforward_layernorm_2.weight"},
      {"post_ffw_norm_2.weight", "post_feedforward_layernorm_2.weight"}, {"post_ffw_norm.weight", "post_feedforward_layernorm.weight"},
      {"ffn_gate_inp.weight", "router.proj.weight"}, {"ffn_gate_inp.scale", "router.scale"}, {"ffn_down_exps.scale", "router.per_expert_scale"},
      {"ffn_gate_up_exps.weight", "experts.gate_up_proj"}, {"ffn_gate_exps.weight", "experts.gate_proj"}, {"ffn_up_exps.weight", "experts.up_proj"},
      {"ffn_down_exps.weight", "experts.down_proj"}, {"layer_output_scale.weight", "layer_scalar"}};
  return kNames;
}

/// Empty for a name that no diffusion-gemma has.
std::string network_name(const std::string& name) {
  static const std::map<std::string, std::string> kGlobal = {
      {"token_embd.weight", "model.decoder.embed_tokens.weight"}, {"output_norm.weight", "model.decoder.norm.weight"}, {"output.weight", "lm_head.weight"},
      {"self_cond_pre_norm.weight", "model.decoder.self_conditioning.pre_norm.weight"}, {"self_cond_gate.weight", "model.decoder.self_conditioning.gate_proj.weight"},
      {"self_cond_up.weight", "model.decoder.self_conditioning.up_proj.weight"}, {"self_cond_down.weight", "model.decoder.self_conditioning.down_proj.weight"}};
  if (const auto found = kGlobal.find(name); found != kGlobal.end()) return found->second;
  if (!name.starts_with("blk.")) return "";
  const auto dot = name.find('.', 4);
  if (dot == std::string::npos || dot == 4 || name.find_first_not_of("0123456789", 4) != dot) return "";
  const std::string layer = name.substr(4, dot - 4), rest = name.substr(dot + 1);
  if (rest == "enc_layer_output_scale.weight") return fmt::format("model.encoder.language_model.layers.{}.layer_scalar", layer);
  const auto found = layer_names().find(rest);
  return found == layer_names().end() ? "" : fmt::format("model.decoder.layers.{}.{}", layer, found->second);
}

}  // namespace

GgufHeader read_gguf_header(const std::string& path) {
  Reader in(path);
  if (in.size() < 24 || in.number<uint32_t>() != 0x46554747) throw input_error("{}: is no GGUF file: it does not begin with 'GGUF' and a header", path);
  const auto version = in.number<uint32_t>();
  if (version != 2 && version != 3) throw input_error("{}: GGUF version {}; expected 2 or 3 (little-endian)", path, version);
  const uint64_t tensors = in.count(1, "tensors"), values = in.count(1, "keys");
  GgufHeader out;
  for (uint64_t i = 0; i < values; ++i) {
    const std::string key = in.text();
    const auto type = in.number<uint32_t>();
    if (type > kF64) throw input_error("{}: key '{}' has value type {}, which is not known", path, key, type);
    if (type == kList) skip_list(in, path, key);
    else out.values[key] = read_value(in, type);
  }
  std::map<std::string, int> seen;
  for (uint64_t i = 0; i < tensors; ++i) {
    out.tensors.push_back(read_tensor(in, path));
    if (++seen[out.tensors.back().name] > 1) throw input_error("{}: tensor '{}' stands in the table twice", path, out.tensors.back().name);
  }
  place(out, path, in.at(), in.size());
  return out;
}

std::vector<TensorHeader> read_gguf_checkpoint(const std::string& path) {
  GgufHeader header = read_gguf_header(path);
  const std::string architecture = header.values["general.architecture"];
  if (architecture != "diffusion-gemma") throw input_error("{}: general.architecture is '{}'; this program runs 'diffusion-gemma'", path, architecture);
  std::vector<TensorHeader> out;
  for (auto& tensor : header.tensors) {
    if (tensor.name == "rope_freqs.weight") continue;  // config.json says the same
    const std::string name = network_name(tensor.name);
    if (name.empty()) throw input_error("{}: tensor '{}' belongs to no diffusion-gemma", path, tensor.name);
    tensor.name = name;
    out.push_back(std::move(tensor));
  }
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  for (size_t i = 1; i < out.size(); ++i)
    if (out[i].name == out[i - 1].name) throw input_error("{}: holds two tensors for '{}'", path, out[i].name);
  return out;
}

}  // namespace canvaslab
