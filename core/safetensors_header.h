#pragma once
// What the headers of safetensors files say: names, shapes, dtypes, places. The data are never touched, so that a
// checkpoint of any size is read in milliseconds.
#include <cstdint>
#include <string>
#include <vector>

namespace canvaslab {

/// One tensor as its file's header describes it; checked against the file's size and against the other tensors.
struct TensorHeader {
  std::string name;
  std::string dtype;            ///< as written: "BF16", "F32", ... or a block type of GGUF: "Q4_K", ...
  std::vector<int64_t> shape;
  std::string file;             ///< path
  uint64_t first_byte = 0;      ///< in the file
  uint64_t num_bytes = 0;
  uint64_t num_elements = 1;
};

/// Tensors of one file, by place in it.
/// Errors: input errors naming file and tensor: truncated, no JSON, unknown dtype, size and shape that disagree,
/// overlaps, bytes that belong to no tensor.
std::vector<TensorHeader> read_safetensors_header(const std::string& path);

/// Tensors of a checkpoint folder, sorted by name: by model.safetensors.index.json and its shards, else model*.safetensors, else
/// the one .gguf file (core/gguf_header.h).
/// Errors: those above, a missing shard, a tensor in two files, index and shards that disagree.
std::vector<TensorHeader> read_checkpoint_headers(const std::string& folder);

}  // namespace canvaslab
