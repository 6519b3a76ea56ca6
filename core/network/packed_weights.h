#pragma once
// Quantised weights of a checkpoint folder: as matrices in its mapping, or read out as tensors.
#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

#include "core/network/safetensors.h"
#include "core/stored_weights.h"

namespace canvaslab {

/// The matrices of one weight [N, K] or [E, N, K], in order of rows; `count` of them make one expert. Views of the mapping,
/// which `keeps` holds.
struct PackedWeight {
  std::vector<PackedMatrix> parts;
  size_t parts_per_expert = 1;
  std::vector<at::Tensor> keeps;
};

/// The weights of a folder that are no plain tensors of their own name (core/stored_weights.h).
class PackedWeights {
 public:
  /// Errors: those of find_stored_weights. `folder` must live as long as this.
  explicit PackedWeights(const SafetensorsFolder& folder) : folder_(folder), stored_(find_stored_weights(folder.headers())) {}
  bool contains(const std::string& name) const { return stored_.weights.contains(name); }
  bool is_quantised(const std::string& name) const { return stored_.weights.at(name).is_quantised(); }
  /// Whether a tensor of the files belongs to one of these weights.
  bool is_part(const std::string& tensor) const { return stored_.tensors.contains(tensor); }
  /// Errors: input error when the weight has another shape.
  void check_shape(const std::string& name, const std::vector<int64_t>& shape) const;
  std::shared_ptr<const PackedWeight> packed(const std::string& name) const;
  /// Read out into a tensor of memory of its own; beside it 64 rows in f32 at most are in memory, and pages of the mapping are
  /// given back as soon as they are read.
  at::Tensor unpacked(const std::string& name, at::ScalarType dtype) const;
  const StoredWeights& stored() const { return stored_; }

 private:
  const SafetensorsFolder& folder_;
  StoredWeights stored_;
};

}  // namespace canvaslab
