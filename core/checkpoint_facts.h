#pragma once
// What a checkpoint folder holds and what running it takes, from its headers and config.json alone.
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/network/model_config.h"
#include "core/safetensors_header.h"

namespace canvaslab {

/// Tensors of one purpose.
struct TensorGroup {
  std::string name;  ///< embeddings, attention, experts, dense, router, norms, self_conditioning, vision, duplicates, other
  uint64_t num_tensors = 0, num_parameters = 0, num_bytes = 0;
  uint64_t num_quantised = 0;  ///< parameters, of num_parameters
};

/// Bytes needed to run one sequence at one dtype. Activations are not in it: they are small beside these.
struct MemoryNeed {
  uint64_t weights = 0;   ///< text network; vision and duplicates are not loaded
  uint64_t kv_cache = 0;  ///< at `context_tokens`
  uint64_t logits = 0;    ///< [L, V] f32
  uint64_t feedback = 0;  ///< [L, V] in the dtype: the previous prediction, for self-conditioning
  uint64_t total() const { return weights + kv_cache + logits + feedback; }
};

struct CheckpointFacts {
  ModelConfig config;
  std::vector<TensorHeader> tensors;  ///< sorted by name
  std::vector<TensorGroup> groups;    ///< those that hold something, in the order listed at TensorGroup::name
  uint64_t num_files = 0, num_parameters = 0, num_bytes = 0;
  std::map<std::string, uint64_t> dtypes = {};         ///< tensors by dtype, as files count them
  std::map<std::string, uint64_t> packings = {};       ///< quantised parameters by packing: "FP8", "NVFP4", "Q4_K", ...
  std::string warning = {};           ///< empty, or what is odd about the quantisation
  uint64_t packed_weights = 0;        ///< bytes of the text network's weights in an f32 run on the CPU: packed ones as stored, the others in f32; 0: none stays packed
  uint64_t active_parameters = 0;     ///< per token: all but vision, duplicates, and the experts that were not chosen
  int64_t context_tokens = 0;

  /// Keys and values of one token in all sliding (or all full) layers, in bytes. Sliding layers keep at most the last
  /// sliding_window - 1 tokens (model.md 4.1).
  uint64_t kv_bytes_per_token(bool sliding, uint64_t bytes_per_element) const;
  /// bytes_per_element: 4 (f32) or 2 (bf16).
  MemoryNeed memory(uint64_t bytes_per_element) const;
};

/// The group a tensor of this name belongs to; duplicates are told from others by the caller.
std::string tensor_group(const std::string& name);

/// Reads headers only: quick on a checkpoint of any size. Errors: those of ModelConfig::read and read_checkpoint_headers.
CheckpointFacts read_checkpoint_facts(const std::string& folder, int64_t context_tokens);

}  // namespace canvaslab
