#pragma once
// Queries, keys and values of a layer from the rows of its QKV product: norms over heads, rotation, and keys and values written where attention reads them. Conventions: row_glue.h.
#include <cstdint>

#include "core/kernels/host_device.h"
#include "core/kernels/stored_rows.h"

namespace canvaslab::cuda {

inline constexpr int32_t kMaxHeadWidth = 512;

/// Keys and values [Hkv, rows, Dh] by strides in elements: a cache, or what follows it. Appending to a cache: its first free row as data.
struct KeyRowsOut {
  void *k = nullptr, *v = nullptr;
  int64_t row_stride = 0, head_stride = 0;
  Storage storage = Storage::kBf16;
};

/// q = rotate(norm(q) * q_gain), k = rotate(norm(k) * k_gain), v = norm(v), norms over heads; where there is no value projection v = norm(k), of k as it came from the product.
/// Rotation turns pairs (t, t + Dh / 2).
struct HeadRowsCall {
  int32_t num_rows = 0, num_heads = 0, num_kv_heads = 0, head_width = 0;  ///< head_width even, <= kMaxHeadWidth
  int32_t has_values = 1;
  float eps = 1e-6f;
  RowsIn rows = {};                    ///< [rows, (H + 2 Hkv) Dh], or (H + Hkv) Dh without value projection
  const float *q_gain = nullptr, *k_gain = nullptr;  ///< [Dh]
  const float *cos = nullptr, *sin = nullptr;        ///< [rows, Dh / 2], rows table_stride apart
  int64_t table_stride = 0;
  RowsOut q = {};                      ///< [rows, H Dh]
  KeyRowsOut keys = {};
};
int head_rows(const HeadRowsCall& call, void* stream) CANVASLAB_C_NAME(head_rows);

}  // namespace canvaslab::cuda
