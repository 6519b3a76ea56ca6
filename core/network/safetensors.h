#pragma once
// Safetensors by memory map, single file or sharded, or a GGUF file: tensors are views into the mapping, no second copy.
#include <ATen/core/Tensor.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/safetensors_header.h"

namespace canvaslab {

/// All tensors of a checkpoint folder by name. The views keep their mapping alive.
class SafetensorsFolder {
 public:
  /// Maps the tensors that read_checkpoint_headers finds, with its errors; also for a dtype that no tensor can have here.
  explicit SafetensorsFolder(const std::string& folder);
  /// One file of any name.
  static SafetensorsFolder of_file(const std::string& path);

  struct Entry {
    at::Tensor tensor;  ///< view of the mapping, in the file's dtype; of GGUF's block types the bytes
    std::string file;
    bool mapped = true; ///< false: a copy, since the file does not align it
  };
  const std::map<std::string, Entry>& tensors() const { return tensors_; }
  const std::vector<TensorHeader>& headers() const { return headers_; }
  /// Hash over names, shapes, dtypes, and a sample of every tensor's bytes (whole bytes below 1 MiB).
  std::string content_hash() const;

 private:
  explicit SafetensorsFolder(std::vector<TensorHeader> headers);
  std::vector<TensorHeader> headers_;
  std::map<std::string, Entry> tensors_;
};

/// Maps all of a tensor's pages now, so that no step has to wait for them; a hint.
void read_pages(const at::Tensor& tensor);
/// Gives the whole pages among these bytes of a mapped tensor back to the system, whose data must be unchanged; they are read from the file again when touched. Does nothing to other memory.
void drop_pages(const void* data, size_t bytes);
/// The same of all of a tensor.
void drop_pages(const at::Tensor& tensor);

}  // namespace canvaslab
