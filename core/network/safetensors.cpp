#include "core/network/safetensors.h"

#include <ATen/ATen.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>

#include <nlohmann/json.hpp>

#include "core/digest.h"
#include "core/error.h"

namespace canvaslab {
namespace {

/// A private mapping of a whole file; unmapped with its last view.
struct Mapping {
  char* data = nullptr;
  size_t size = 0;
  explicit Mapping(const std::string& path) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) throw input_error("{}: cannot be opened ({})", path, std::strerror(errno));
    struct stat info {};
    ::fstat(fd, &info);
    size = static_cast<size_t>(info.st_size);
    void* at = size ? ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0) : MAP_FAILED;
    ::close(fd);
    if (at == MAP_FAILED) throw input_error("{}: is empty or cannot be mapped", path);
    data = static_cast<char*>(at);
  }
  ~Mapping() { ::munmap(data, size); }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
};

at::ScalarType dtype_of(const std::string& name, const std::string& where) {
  if (name == "F32") return at::kFloat;
  if (name == "BF16") return at::kBFloat16;
  if (name == "F16") return at::kHalf;
  if (name == "F64") return at::kDouble;
  if (name == "I64") return at::kLong;
  if (name == "I32") return at::kInt;
  if (name == "U8") return at::kByte;
  if (name == "I8") return at::kChar;
  if (name == "BOOL") return at::kBool;
  throw input_error("{}: dtype '{}' is not supported; expected F32, BF16 or F16", where, name);
}

}  // namespace

void SafetensorsFolder::read_file(const std::string& path) {
  const auto map = std::make_shared<Mapping>(path);
  uint64_t header_size = 0;
  if (map->size < 8) throw input_error("{}: is truncated: {} bytes, a header needs at least 8", path, map->size);
  std::memcpy(&header_size, map->data, 8);
  if (header_size > map->size - 8 || header_size > (uint64_t{100} << 20))
    throw input_error("{}: is truncated or no safetensors file: its header says {} bytes, the file has {}", path, header_size, map->size);
  const auto header = nlohmann::json::parse(map->data + 8, map->data + 8 + header_size, nullptr, false);
  if (!header.is_object()) throw input_error("{}: its header is no JSON object", path);
  const uint64_t begin = 8 + header_size, bytes = map->size - begin;
  std::vector<std::tuple<uint64_t, uint64_t, std::string>> spans;
  for (const auto& [name, info] : header.items()) {
    if (name == "__metadata__") continue;
    const std::string where = fmt::format("{}: tensor '{}'", path, name);
    if (!info.is_object() || !info.contains("dtype") || !info["dtype"].is_string() || !info.contains("shape") || !info["shape"].is_array() ||
        !info.contains("data_offsets") || !info["data_offsets"].is_array() || info["data_offsets"].size() != 2)
      throw input_error("{}: expected dtype, shape and data_offsets", where);
    const auto type = dtype_of(info["dtype"], where);
    std::vector<int64_t> shape;
    uint64_t count = 1;
    for (const auto& d : info["shape"]) {
      if (!d.is_number_unsigned() || d.get<uint64_t>() > (uint64_t{1} << 40)) throw input_error("{}: shape {} is not valid", where, info["shape"].dump());
      shape.push_back(d.get<int64_t>());
      if (__builtin_mul_overflow(count, d.get<uint64_t>(), &count) || count > (uint64_t{1} << 50)) throw input_error("{}: shape {} overflows", where, info["shape"].dump());
    }
    if (!info["data_offsets"][0].is_number_unsigned() || !info["data_offsets"][1].is_number_unsigned()) throw input_error("{}: data_offsets must be whole numbers", where);
    const auto first = info["data_offsets"][0].get<uint64_t>(), last = info["data_offsets"][1].get<uint64_t>();
    const uint64_t width = c10::elementSize(type);
    if (first > last || last > bytes) throw input_error("{}: its data end at byte {}, but the file holds {} (truncated?)", where, last, bytes);
    if (last - first != count * width) throw input_error("{}: {} bytes for shape {} of {}; expected {}", where, last - first, info["shape"].dump(), info["dtype"].dump(), count * width);
    spans.emplace_back(first, last, name);
    char* data = map->data + begin + first;
    at::Tensor tensor = at::from_blob(data, shape, [map](void*) {}, at::TensorOptions().dtype(type));
    if (reinterpret_cast<uintptr_t>(data) % width) tensor = tensor.clone();  // misaligned: one copy of this tensor
    if (!tensors_.emplace(name, Entry{tensor, path}).second) throw input_error("{}: also stands in {}", where, tensors_[name].file);
  }
  std::sort(spans.begin(), spans.end());
  uint64_t end = 0;
  for (const auto& [first, last, name] : spans) {
    if (first < end) throw input_error("{}: tensor '{}' overlaps the one before it (starts at byte {}, the other ends at {})", path, name, first, end);
    if (first > end) throw input_error("{}: {} bytes before tensor '{}' belong to no tensor", path, first - end, name);
    end = last;
  }
  if (end != bytes) throw input_error("{}: {} bytes after the last tensor belong to no tensor", path, bytes - end);
}

SafetensorsFolder::SafetensorsFolder(const std::string& folder) {
  namespace fs = std::filesystem;
  const std::string index_path = folder + "/model.safetensors.index.json";
  if (fs::exists(index_path)) {
    std::ifstream in(index_path);
    const auto index = nlohmann::json::parse(in, nullptr, false);
    if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object()) throw input_error("{}: expected an object with 'weight_map'", index_path);
    std::set<std::string> shards;
    for (const auto& [name, file] : index["weight_map"].items()) {
      if (!file.is_string() || file.get<std::string>().find('/') != std::string::npos) throw input_error("{}: weight_map['{}'] must be a file name", index_path, name);
      shards.insert(file.get<std::string>());
    }
    for (const auto& shard : shards) {
      if (!fs::exists(folder + "/" + shard)) throw input_error("{}/{}: is missing; the index names it", folder, shard);
      read_file(folder + "/" + shard);
    }
    for (const auto& [name, file] : index["weight_map"].items()) {
      const auto found = tensors_.find(name);
      if (found == tensors_.end() || found->second.file != folder + "/" + file.get<std::string>())
        throw input_error("{}: says tensor '{}' stands in {}, but it does not", index_path, name, file.get<std::string>());
    }
    return;
  }
  std::vector<std::string> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("model") && name.ends_with(".safetensors")) files.push_back(entry.path().string());
  }
  if (files.empty()) throw input_error("{}: holds no model*.safetensors", folder);
  std::sort(files.begin(), files.end());
  for (const auto& file : files) read_file(file);
}

std::string SafetensorsFolder::content_hash() const {
  std::string all;
  constexpr size_t kWhole = size_t{1} << 20, kPiece = 4096;
  for (const auto& [name, entry] : tensors_) {
    const auto bytes = static_cast<size_t>(entry.tensor.nbytes());
    const auto* data = static_cast<const char*>(entry.tensor.data_ptr());
    all += fmt::format("{} {} {}\n", name, bytes, static_cast<int>(entry.tensor.scalar_type()));
    if (bytes <= kWhole) {
      all += hex(sha256({data, bytes}));
    } else {
      std::string sample;
      for (size_t piece = 0; piece < 64; ++piece) sample.append(data + (bytes - kPiece) / 63 * piece, kPiece);
      all += hex(sha256(sample));
    }
  }
  return hex(sha256(all));
}

}  // namespace canvaslab
