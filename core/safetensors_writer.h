#pragma once
// Writing safetensors files.
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace canvaslab {

/// One tensor as it goes into the file: row-major little-endian bytes.
struct TensorToWrite {
  std::string name;
  std::string dtype;            ///< "F32", "BF16", "I64", "U8"
  std::vector<int64_t> shape;
  std::string_view bytes;
};

/// Writes one file, tensors in the given order, whole or not at all. Errors: those of write_durably.
void write_safetensors(const std::string& path, std::span<const TensorToWrite> tensors);

/// A tensor whose bytes are made when its turn comes.
struct TensorToMake {
  std::string name;
  std::string dtype;            ///< as the format names it: "F8_E4M3", "BF16", ...
  std::vector<int64_t> shape;
  uint64_t num_bytes = 0;
  /// Hands its bytes, in any pieces, to `put`; together num_bytes.
  std::function<void(const std::function<void(std::string_view)>& put)> make;
};

/// The same for tensors that would not fit into memory together. What `make` throws leaves no file.
void write_safetensors(const std::string& path, std::span<const TensorToMake> tensors);

}  // namespace canvaslab
