#include "core/network/packed_weights.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <fmt/format.h>

#include "core/error.h"

namespace canvaslab {
namespace {

constexpr int64_t kRowsAtOnce = 64;

const uint8_t* bytes_of(const at::Tensor& tensor) { return static_cast<const uint8_t*>(tensor.const_data_ptr()); }

Packing scale_packing(const at::Tensor& scales) {
  switch (scales.scalar_type()) {
    case at::kBFloat16: return Packing::kBf16;
    case at::kHalf: return Packing::kF16;
    case at::kFloat8_e4m3fn: return Packing::kE4m3;
    default: return Packing::kF32;
  }
}

}  // namespace

void PackedWeights::check_shape(const std::string& name, const std::vector<int64_t>& shape) const {
  const StoredWeight& weight = stored_.weights.at(name);
  if (weight.shape == shape) return;
  throw input_error("{}: the tensors of weight '{}' make shape [{}]; config.json asks for [{}]", folder_.headers()[weight.parts.front().codes].file, name, fmt::join(weight.shape, ", "),
                    fmt::join(shape, ", "));
}

std::shared_ptr<const PackedWeight> PackedWeights::packed(const std::string& name) const {
  const StoredWeight& weight = stored_.weights.at(name);
  auto out = std::make_shared<PackedWeight>();
  if (weight.shape.size() == 3) out->parts_per_expert = weight.parts.size() / static_cast<size_t>(weight.shape[0]);
  const auto tensor = [&](size_t i) -> const at::Tensor& {
    const at::Tensor& found = folder_.tensors().at(folder_.headers()[i].name).tensor;
    if (out->keeps.empty() || !out->keeps.back().is_same(found)) out->keeps.push_back(found);
    return found;
  };
  for (const StoredMatrix& part : weight.parts) {
    PackedMatrix m{.packing = part.packing, .rows = part.rows, .columns = part.columns};
    m.codes = bytes_of(tensor(part.codes)) + part.first_row * m.row_bytes();
    if (part.scales != StoredMatrix::kNone) {
      const at::Tensor& scales = tensor(part.scales);
      m.scales = bytes_of(scales);
      m.scale_packing = scale_packing(scales);
      m.scales_per_row = part.scales_per_row;
    }
    if (part.matrix_scale != StoredMatrix::kNone) m.matrix_scale = *tensor(part.matrix_scale).const_data_ptr<float>();
    m.divides = part.divides;
    out->parts.push_back(m);
  }
  return out;
}

at::Tensor PackedWeights::unpacked(const std::string& name, at::ScalarType dtype) const {
  const auto weight = packed(name);
  const StoredWeight& stored = stored_.weights.at(name);
  const at::Tensor out = at::empty(stored.shape, at::TensorOptions().dtype(dtype));
  const at::Tensor rows = out.view({-1, out.size(-1)});
  int64_t row = 0;
  std::vector<float> buffer;
  for (size_t i = 0; i < weight->parts.size(); ++i) {
    const PackedMatrix& m = weight->parts[i];
    for (int64_t first = 0; first < m.rows; first += kRowsAtOnce) {
      const int64_t count = std::min(kRowsAtOnce, m.rows - first);
      if (dtype == at::kFloat) {
        unpack_kernel().unpack(m, first, count, 0, m.columns, rows.mutable_data_ptr<float>() + (row + first) * m.columns, m.columns);
      } else {
        buffer.resize(static_cast<size_t>(count * m.columns));
        unpack_kernel().unpack(m, first, count, 0, m.columns, buffer.data(), m.columns);
        rows.slice(0, row + first, row + first + count).copy_(at::from_blob(buffer.data(), {count, m.columns}, at::kFloat));
      }
    }
    row += m.rows;
    drop_pages(m.codes, static_cast<size_t>(m.rows * m.row_bytes()));
  }
  return out;
}

}  // namespace canvaslab
