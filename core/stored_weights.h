#pragma once
// How a checkpoint's files hold the network's weights: quantised layouts are told by the tensors' names, dtypes and shapes.
#include <map>
#include <set>
#include <string>
#include <vector>

#include "core/kernels/packed_matrix.h"
#include "core/safetensors_header.h"

namespace canvaslab {

/// One matrix: the tensors that its numbers come from, by place in the list of headers.
struct StoredMatrix {
  static constexpr size_t kNone = ~size_t{0};
  Packing packing = Packing::kF32;
  int64_t rows = 0, columns = 0;
  size_t codes = kNone, scales = kNone, matrix_scale = kNone;
  int64_t first_row = 0;         ///< in the tensor of codes
  int64_t scales_per_row = 0;
  bool divides = false;          ///< see PackedMatrix
};

/// A weight by the name that the network asks for.
struct StoredWeight {
  std::vector<int64_t> shape;        ///< [rows, columns], or experts in front
  std::vector<StoredMatrix> parts;   ///< row-major; every part holds whole rows
  bool is_quantised() const;
};

/// The weights that are no plain tensor of their own name.
struct StoredWeights {
  std::map<std::string, StoredWeight> weights;
  std::set<std::string> tensors;     ///< names of all tensors that these are made of, scales of activations among them

  /// Numbers that a tensor adds to the model: those that its codes stand for, none for scales.
  uint64_t num_parameters(const TensorHeader& tensor) const;
};

/// Finds FP8 by rows or whole matrices, 4-bit integers by groups (pack-quantized, symmetric) and NVFP4 in compressed-tensors'
/// layout, FP8 and NVFP4 in ModelOpt's, GGUF's block types, and experts that stand one by one in any of these or unquantised.
/// `headers` sorted by name.
/// Errors: input errors naming the tensor: a scale is missing or misshapen, an expert is missing, zero points.
StoredWeights find_stored_weights(const std::vector<TensorHeader>& headers);

/// Whether the CPU path multiplies with this weight as it is packed: layers' matrices, but
/// neither self-conditioning, embeddings, which are looked up as well, nor routers, whose choices are decided by small differences.
bool stays_packed(const std::string& name);

/// The packing of plain and of GGUF's dtypes by the name in TensorHeader::dtype; null for others.
const Packing* packing_of_dtype(const std::string& dtype);

}  // namespace canvaslab
