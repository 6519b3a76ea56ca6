#include "core/network/safetensors.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/from_blob.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <mutex>

#include "core/digest.h"
#include "core/error.h"
#include "core/stored_weights.h"

namespace canvaslab {
namespace {

/// Where mappings stand: address to size.
struct Ranges {
  std::mutex mutex;
  std::map<const char*, size_t> all;
};
Ranges& ranges() {
  static auto* ranges = new Ranges;  // outlives every tensor
  return *ranges;
}

/// A private mapping of a whole file; unmapped with its last view. Nobody writes through it.
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
    const std::lock_guard lock(ranges().mutex);
    ranges().all[data] = size;
  }
  ~Mapping() {
    {
      const std::lock_guard lock(ranges().mutex);
      ranges().all.erase(data);
    }
    ::munmap(data, size);
  }
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
  if (name == "F8_E4M3") return at::kFloat8_e4m3fn;
  throw input_error("{}: dtype '{}' is not supported; expected F32, BF16 or F16", where, name);
}

}  // namespace

void read_pages(const at::Tensor& tensor) {
#ifdef MADV_POPULATE_READ
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE)), begin = reinterpret_cast<uintptr_t>(tensor.const_data_ptr()) / page * page;
  ::madvise(reinterpret_cast<void*>(begin), reinterpret_cast<uintptr_t>(tensor.const_data_ptr()) + tensor.nbytes() - begin, MADV_POPULATE_READ);
#else
  (void)tensor;
#endif
}

void drop_pages(const void* data, size_t bytes) {
  const auto* first = static_cast<const char*>(data);
  const std::lock_guard lock(ranges().mutex);
  auto found = ranges().all.upper_bound(first);
  if (found == ranges().all.begin()) return;
  --found;
  if (first >= found->first + found->second) return;
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE)), begin = reinterpret_cast<uintptr_t>(first), end = begin + bytes;
  const uintptr_t from = (begin + page - 1) / page * page, to = end / page * page;
  if (from < to) ::madvise(reinterpret_cast<void*>(from), to - from, MADV_DONTNEED);
}
void drop_pages(const at::Tensor& tensor) { drop_pages(tensor.const_data_ptr(), tensor.nbytes()); }

SafetensorsFolder::SafetensorsFolder(const std::string& folder) : SafetensorsFolder(read_checkpoint_headers(folder)) {}

SafetensorsFolder SafetensorsFolder::of_file(const std::string& path) { return SafetensorsFolder(read_safetensors_header(path)); }

SafetensorsFolder::SafetensorsFolder(std::vector<TensorHeader> headers) : headers_(std::move(headers)) {
  std::map<std::string, std::shared_ptr<Mapping>> maps;
  for (const TensorHeader& header : headers_) {
    auto& map = maps[header.file];
    if (!map) map = std::make_shared<Mapping>(header.file);
    if (header.first_byte + header.num_bytes > map->size) throw input_error("{}: shrank while it was being read", header.file);
    const Packing* packing = packing_of_dtype(header.dtype);
    const bool blocks = packing && facts_of(*packing).block > 1;
    const auto type = blocks ? at::kByte : dtype_of(header.dtype, fmt::format("{}: tensor '{}'", header.file, header.name));
    char* data = map->data + header.first_byte;
    at::Tensor tensor = at::from_blob(data, blocks ? std::vector{static_cast<int64_t>(header.num_bytes)} : header.shape, [map](void*) {}, at::TensorOptions().dtype(type));
    const bool aligned = reinterpret_cast<uintptr_t>(data) % c10::elementSize(type) == 0;
    if (!aligned) tensor = tensor.clone();
    tensors_.emplace(header.name, Entry{tensor, header.file, aligned});
  }
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
