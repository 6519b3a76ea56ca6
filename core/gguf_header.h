#pragma once
// What the header of a GGUF file says: keys, tensors, places. The data are never touched.
#include <map>
#include <string>
#include <vector>

#include "core/safetensors_header.h"

namespace canvaslab {

/// A GGUF file of version 2 or 3, little-endian.
struct GgufHeader {
  std::map<std::string, std::string> values;  ///< single numbers, truth values and texts, as text; lists are left out
  std::vector<TensorHeader> tensors;          ///< by place; shapes outermost dimension first, dtype by ggml's name: "F32", "Q4_K", ...
};

/// Errors: input errors naming file and tensor: truncated, no GGUF, a version, value type or tensor type that is unknown or
/// not supported, sizes that overflow or run beyond the file, overlaps, a name twice.
GgufHeader read_gguf_header(const std::string& path);

/// The tensors of a GGUF file of architecture diffusion-gemma under the names that the network asks for; tables that the
/// network makes itself are left out. Sorted by name.
/// Errors: those above, another architecture, a tensor that no such model has.
std::vector<TensorHeader> read_gguf_checkpoint(const std::string& path);

}  // namespace canvaslab
