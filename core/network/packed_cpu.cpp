// Weights of a network that stay packed.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include "core/error.h"
#include "core/network/network.h"
#include "core/network/packed_weights.h"

namespace canvaslab {

at::Tensor Network::keep_packed(std::shared_ptr<const PackedWeight> weight, const std::vector<int64_t>& shape) {
  const at::Tensor place = at::empty(shape, at::TensorOptions().dtype(at::kFloat).device(at::kMeta));
  packed_[place.unsafeGetTensorImpl()] = std::move(weight);
  return place;
}

void Network::check_unpacked(const char* what) const {
  if (is_packed()) throw usage_error("{}: these weights stayed packed as the checkpoint holds them, and only text runs on them in f32 on the CPU\nchoose --dtype bf16, which reads them out", what);
}

}  // namespace canvaslab
