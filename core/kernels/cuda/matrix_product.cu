// Products with weights by the kernels that suit them and the device. A file of its own, so that a program with another matrix_product(), such as the simulator's, can be linked with the rest.
#include "core/kernels/cuda/warpgroup_product.h"

namespace canvaslab::cuda {

int matrix_product(const ProductCall& call, void* stream) {
  const int32_t tokens = warpgroup_tokens(call, warpgroups_in_use());
  return tokens > 0 ? warpgroup_product(call, tokens, 0, stream) : matrix_product_by_warps(call, stream);
}

}  // namespace canvaslab::cuda
