#pragma once
// Writing safetensors files.
#include <cstdint>
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

}  // namespace canvaslab
