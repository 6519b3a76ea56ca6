#include "core/safetensors_header.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <tuple>


#include "core/error.h"
#include "core/gguf_header.h"
#include "core/json.h"

namespace canvaslab {
namespace {

namespace fs = std::filesystem;
constexpr uint64_t kLargestHeader = uint64_t{100} << 20;  // the format's own limit
constexpr uint64_t kLargestCount = uint64_t{1} << 50;

uint64_t bytes_per_element(const std::string& dtype, const std::string& where) {
  static const std::map<std::string, uint64_t> width = {{"F64", 8}, {"I64", 8}, {"U64", 8}, {"F32", 4}, {"I32", 4}, {"U32", 4}, {"F16", 2},
                                                        {"BF16", 2}, {"I16", 2}, {"U16", 2}, {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"I8", 1}, {"U8", 1}, {"BOOL", 1}};
  const auto found = width.find(dtype);
  if (found == width.end()) throw input_error("{}: dtype '{}' is unknown; expected F32, BF16, F16 or another dtype of the safetensors format", where, dtype);
  return found->second;
}

Json parse_header(std::ifstream& in, const std::string& path, uint64_t file_size, uint64_t* data_begin) {
  uint64_t size = 0;
  if (file_size < 8) throw input_error("{}: is truncated: {} bytes, a header needs at least 8", path, file_size);
  in.read(reinterpret_cast<char*>(&size), 8);
  if (size > file_size - 8 || size > kLargestHeader)
    throw input_error("{}: is truncated or no safetensors file: its header says {} bytes, the file has {}", path, size, file_size);
  std::string text(size, '\0');
  in.read(text.data(), static_cast<std::streamsize>(size));
  if (!in) throw input_error("{}: the header cannot be read", path);
  Json header = parse_json(text);
  if (!header.is_object()) throw input_error("{}: its header is no JSON object", path);
  *data_begin = 8 + size;
  return header;
}

TensorHeader parse_tensor(const std::string& path, const std::string& name, const Json& info, uint64_t data_begin, uint64_t data_size) {
  const std::string where = fmt::format("{}: tensor '{}'", path, name);
  const auto has = [&](const char* key) { return info.is_object() && info.contains(key); };
  if (!has("dtype") || !info["dtype"].is_string() || !has("shape") || !info["shape"].is_array() || !has("data_offsets") ||
      !info["data_offsets"].is_array() || info["data_offsets"].size() != 2)
    throw input_error("{}: expected dtype, shape and data_offsets", where);
  const Json& offsets = info["data_offsets"];
  TensorHeader out{.name = name, .dtype = info["dtype"], .shape = {}, .file = path};
  const uint64_t width = bytes_per_element(out.dtype, where);
  for (const auto& d : info["shape"]) {
    if (!d.is_number_unsigned()) throw input_error("{}: shape {} is not valid; expected whole numbers", where, json_text(info["shape"]));
    if (__builtin_mul_overflow(out.num_elements, d.get<uint64_t>(), &out.num_elements) || out.num_elements > kLargestCount || d.get<uint64_t>() > kLargestCount)
      throw input_error("{}: shape {} overflows", where, json_text(info["shape"]));
    out.shape.push_back(d.get<int64_t>());
  }
  if (!offsets[0].is_number_unsigned() || !offsets[1].is_number_unsigned()) throw input_error("{}: data_offsets must be whole numbers, got {}", where, json_text(offsets));
  const auto first = offsets[0].get<uint64_t>(), last = offsets[1].get<uint64_t>();
  if (first > last) throw input_error("{}: data_offsets {} run backwards", where, json_text(offsets));
  if (last > data_size) throw input_error("{}: its data end at byte {}, but the file holds {} (truncated?)", where, last, data_size);
  if (last - first != out.num_elements * width)
    throw input_error("{}: {} bytes for shape {} of {}; expected {}", where, last - first, json_text(info["shape"]), out.dtype, out.num_elements * width);
  out.first_byte = data_begin + first;
  out.num_bytes = last - first;
  return out;
}

/// Every byte after the header belongs to exactly one tensor. Takes them in order of place.
void check_layout(const std::vector<TensorHeader>& tensors, const std::string& path, uint64_t data_begin, uint64_t file_size) {
  uint64_t end = data_begin;
  for (const auto& tensor : tensors) {
    if (tensor.first_byte < end) throw input_error("{}: tensor '{}' overlaps the one before it (starts at byte {}, the other ends at {})", path, tensor.name, tensor.first_byte, end);
    if (tensor.first_byte > end) throw input_error("{}: {} bytes before tensor '{}' belong to no tensor", path, tensor.first_byte - end, tensor.name);
    end = tensor.first_byte + tensor.num_bytes;
  }
  if (end != file_size) throw input_error("{}: {} bytes after the last tensor belong to no tensor", path, file_size - end);
}

/// Tensor name -> shard, from the index.
std::map<std::string, std::string> read_index(const std::string& path) {
  std::ifstream in(path);
  const Json index = parse_json(std::string(std::istreambuf_iterator<char>(in), {}));
  if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object()) throw input_error("{}: expected an object with 'weight_map'", path);
  std::map<std::string, std::string> out;
  for (const auto& [name, file] : index["weight_map"].items()) {
    if (!file.is_string() || file.get<std::string>().find('/') != std::string::npos) throw input_error("{}: weight_map['{}'] must be a file name", path, name);
    out[name] = file;
  }
  if (out.empty()) throw input_error("{}: 'weight_map' is empty", path);
  return out;
}

}  // namespace

std::vector<TensorHeader> read_safetensors_header(const std::string& path) {
  std::error_code error;
  const uint64_t file_size = fs::file_size(path, error);
  std::ifstream in(path, std::ios::binary);
  if (error || !in) throw input_error("{}: cannot be opened ({})", path, error ? error.message() : std::strerror(errno));
  uint64_t data_begin = 0;
  const Json header = parse_header(in, path, file_size, &data_begin);
  std::vector<TensorHeader> out;
  for (const auto& [name, info] : header.items())
    if (name != "__metadata__") out.push_back(parse_tensor(path, name, info, data_begin, file_size - data_begin));
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return std::tie(a.first_byte, a.num_bytes, a.name) < std::tie(b.first_byte, b.num_bytes, b.name); });
  check_layout(out, path, data_begin, file_size);
  return out;
}

std::vector<TensorHeader> read_checkpoint_headers(const std::string& folder) {
  const std::string index_path = folder + "/model.safetensors.index.json";
  std::map<std::string, std::string> index;
  std::set<std::string> files;
  std::error_code unreadable;
  if (fs::exists(index_path, unreadable)) {
    index = read_index(index_path);
    for (const auto& [name, file] : index) {
      if (!fs::exists(folder + "/" + file, unreadable)) throw input_error("{}/{}: is missing; {} names it for tensor '{}'", folder, file, index_path, name);
      files.insert(folder + "/" + file);
    }
  } else {
    std::error_code error;
    std::vector<std::string> gguf;
    for (const auto& entry : fs::directory_iterator(folder, error)) {
      const std::string name = entry.path().filename().string();
      if (name.starts_with("model") && name.ends_with(".safetensors")) files.insert(entry.path().string());
      if (name.ends_with(".gguf")) gguf.push_back(entry.path().string());
    }
    if (error) throw input_error("{}: the folder cannot be read ({})", folder, error.message());
    if (files.empty() && gguf.size() == 1) return read_gguf_checkpoint(gguf.front());
    if (gguf.size() > 1) throw input_error("{}: holds {} .gguf files; expected one (split files are not read)", folder, gguf.size());
    if (files.empty()) throw input_error("{}: holds no model*.safetensors and no .gguf", folder);
  }
  std::map<std::string, TensorHeader> all;
  for (const auto& file : files) {
    for (auto& tensor : read_safetensors_header(file)) {
      const auto [at, fresh] = all.emplace(tensor.name, tensor);
      if (!fresh) throw input_error("{}: tensor '{}' also stands in {}", file, tensor.name, at->second.file);
    }
  }
  for (const auto& [name, file] : index) {
    const auto found = all.find(name);
    if (found == all.end() || found->second.file != folder + "/" + file) throw input_error("{}: says tensor '{}' stands in {}, but it does not", index_path, name, file);
  }
  std::vector<TensorHeader> out;
  for (auto& [name, tensor] : all) out.push_back(std::move(tensor));
  return out;
}

}  // namespace canvaslab
