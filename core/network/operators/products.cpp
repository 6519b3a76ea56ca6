// Products with weights: plain, gated, and grouped by expert.
#include "core/kernels/cuda/matrix_product.h"

#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include "core/network/operators/launch.h"

namespace canvaslab::operators {

namespace {

using cuda::WeightFormat;

/// x times the weights transposed: y = x w^T, or gelu(x gates^T) * (x ups^T) where `gated`, whose weights have 2n rows, gates first.
/// Shapes: x [S, K] bf16, rows; weight [n or 2n, K] -> [S, n], float32 by default, or bfloat16. S may be 0.
/// Weights by their dtype, and how many columns K is a multiple of:
///   bfloat16 [n, K]           8
///   float8_e4m3fn [n, K]     16
///   uint8 [n, K / 2]         32, two codes a byte, even columns in the low nibble: e2m1 where group_scales [n, K / 16] is float8_e4m3fn, 4-bit integers 8 above their value where group_scales
///                            [n, K / 32] is bfloat16; scale times code of the integers is rounded to bfloat16
/// scale: f32 [n], of every row, or [], of the whole matrix, which every call spreads over its rows; None: 1.
/// A row's result is the same bits whatever the other rows are. Sums are f32.
constexpr auto kProduct = "product(Tensor x, Tensor weight, *, Tensor? scale=None, Tensor? group_scales=None, bool gated=False, ScalarType? dtype=None) -> Tensor";

/// The same for the experts' matrices at once: rows [begin[g], begin[g + 1]) meet matrix g; row r of the result is made of row source[r] / slots of x (r without source).
/// Shapes: weight [G, n or 2n, K], group_scales and scale ([G, n] or [G]) likewise; begin [G + 1] i32 from 0 to R, never falling; source [R] i32 -> [R, n]. Without source R is S. G <= 512; groups may be empty.
/// See group_by_expert, which gives begin and source.
constexpr auto kGroupedProduct =
    "grouped_product(Tensor x, Tensor weight, Tensor begin, *, Tensor? source=None, int slots=1, Tensor? scale=None, Tensor? group_scales=None, bool gated=False, ScalarType? dtype=None) -> Tensor";

WeightFormat format_of(const Arguments& args, const Tensor& weight, const OptionalTensor& group_scales) {
  const at::ScalarType codes = weight.scalar_type();
  if (codes == kBf16 || codes == at::kFloat8_e4m3fn) {
    args.require(!group_scales, "group_scales belong to weights of 4 bits, which are uint8");
    return codes == kBf16 ? WeightFormat::kBf16 : WeightFormat::kE4m3;
  }
  args.require(codes == at::kByte, fmt::format("weight is {}, expected BFloat16, Float8_e4m3fn or Byte (two codes of 4 bits)", c10::toString(codes)));
  args.require(group_scales && (group_scales->scalar_type() == kBf16 || group_scales->scalar_type() == at::kFloat8_e4m3fn), "weight holds codes of 4 bits: group_scales have to be Float8_e4m3fn (e2m1) or BFloat16 (int4)");
  return group_scales->scalar_type() == kBf16 ? WeightFormat::kInt4 : WeightFormat::kE2m1;
}

bool is_packed(WeightFormat format) { return format == WeightFormat::kE2m1 || format == WeightFormat::kInt4; }

/// Both operators' result, unmade. `groups` null: one matrix.
Tensor result(const Arguments& args, const Tensor& x, const Tensor& weight, const Tensor* begin, const OptionalTensor& source, int64_t slots, const OptionalTensor& scale, const OptionalTensor& group_scales, bool gated,
              OptionalDtype dtype) {
  args.expect(x, "x", {kBf16}, {kAny, kAny});
  const WeightFormat format = format_of(args, weight, group_scales);
  const SymInt k = x.sym_size(1);
  const int64_t matrix_dim = begin ? 1 : 0, step = cuda::depth_step(format);
  TORCH_SYM_CHECK((k % step).sym_eq(0), "canvaslab::", args.op(), ": x has ", k, " columns, which these weights want in multiples of ", step);
  args.require(weight.dim() == 2 + matrix_dim, fmt::format("weight has {} dimensions, expected {}", weight.dim(), 2 + matrix_dim));
  const SymInt features = weight.sym_size(matrix_dim), codes = is_packed(format) ? k / 2 : k, groups = k / (format == WeightFormat::kE2m1 ? 16 : 32), matrices = begin ? weight.sym_size(0) : SymInt(1);
  if (begin) {
    args.expect(weight, "weight", {weight.scalar_type()}, {kAny, kAny, codes});
    if (group_scales) args.expect(*group_scales, "group_scales", {group_scales->scalar_type()}, {matrices, features, groups});
    if (scale && scale->dim() == 1) args.expect(*scale, "scale", {kF32}, {matrices});
    else args.expect(scale, "scale", {kF32}, {matrices, features});
    args.expect(*begin, "begin", {kI32}, {matrices + 1});
    args.expect(source, "source", {kI32}, {kAny});
    args.require(slots >= 1 && (source || slots == 1), fmt::format("slots is {}, expected at least 1, and 1 without source", slots));
    TORCH_SYM_CHECK(matrices.sym_ge(1).sym_and(matrices.sym_le(cuda::kMaxGroups)), "canvaslab::", args.op(), ": ", matrices, " groups, expected 1 to ", cuda::kMaxGroups);
  } else {
    args.expect(weight, "weight", {weight.scalar_type()}, {kAny, codes});
    if (group_scales) args.expect(*group_scales, "group_scales", {group_scales->scalar_type()}, {features, groups});
    if (scale && scale->dim() == 0) args.expect(*scale, "scale", {kF32}, {});
    else args.expect(scale, "scale", {kF32}, {features});
  }
  TORCH_SYM_CHECK(features.sym_ge(gated ? 2 : 1).sym_and(k.sym_ge(1)), "canvaslab::", args.op(), ": weight and x have nothing to multiply: ", features, " rows of ", k, " columns");
  if (gated) TORCH_SYM_CHECK((features % 2).sym_eq(0), "canvaslab::", args.op(), ": gated weights have ", features, " rows, expected as many ups as gates");
  return args.make({source ? source->sym_size(0) : x.sym_size(0), gated ? features / 2 : features}, args.dtype(dtype, kF32));
}

/// begin and source, whose mistakes would read memory that is not x.
void expect_groups(const Arguments& args, const Tensor& begin, const OptionalTensor& source, int64_t rows, int64_t x_rows, int64_t slots) {
  if (!args.on_cpu()) return;
  const auto* offsets = args.data<int32_t>(begin, "begin");
  for (int64_t g = 0; g + 1 < begin.numel(); ++g) args.require(offsets[g] <= offsets[g + 1], fmt::format("begin falls from {} to {} at group {}", offsets[g], offsets[g + 1], g));
  args.require(offsets[0] == 0 && offsets[begin.numel() - 1] == rows, fmt::format("begin goes from {} to {}, expected from 0 to the {} rows", offsets[0], offsets[begin.numel() - 1], rows));
  args.expect_within(source, "source", 0, x_rows * slots);
}

/// The scales of all rows of all matrices, given those or the matrices'.
Tensor row_scales(const Tensor& scale, const Tensor& weight) {
  return scale.dim() == weight.dim() - 1 ? scale : scale.unsqueeze(-1).expand(weight.sizes().slice(0, static_cast<size_t>(weight.dim()) - 1)).contiguous();
}

Tensor run(const Arguments& args, Tensor out, const Tensor& x, const Tensor& weight, const Tensor* begin, const OptionalTensor& source, int64_t slots, const OptionalTensor& scale, const OptionalTensor& group_scales, bool gated) {
  const Site site(args);
  const RowsIn rows = args.rows(x, "x");
  args.expect_aligned(x, "x");
  args.expect_aligned(weight, "weight");
  args.expect_aligned(group_scales, "group_scales");
  args.require(rows.stride % 8 == 0 && rows.stride >= x.size(1), fmt::format("rows of x are {} elements apart, expected a multiple of 8 that is at least their width", rows.stride));
  if (begin) expect_groups(args, *begin, source, out.size(0), x.size(0), slots);
  OptionalTensor scales;
  if (scale) scales = row_scales(*scale, weight);
  const cuda::ProductCall call{.rows = args.count(out.size(0), "rows"), .n = args.count(out.size(1), "features"), .k = args.count(x.size(1), "columns"), .x = static_cast<const uint16_t*>(rows.data), .ldx = rows.stride,
                               .w = {format_of(args, weight, group_scales), args.data<void>(weight, "weight"), args.data<void>(group_scales, "group_scales"), args.data<float>(scales, "scale")},
                               .gated = gated, .out = args.out(out, out.size(1)), .begin = begin ? args.data<int32_t>(*begin, "begin") : nullptr, .num_groups = begin ? static_cast<int32_t>(weight.size(0)) : 1,
                               .source = args.data<int32_t>(source, "source"), .slots_per_row = args.count(slots, "slots")};
  if (out.size(0) > 0) site.run(call);
  return out;
}

Tensor product_result(const Tensor& x, const Tensor& weight, const OptionalTensor& scale, const OptionalTensor& group_scales, bool gated, OptionalDtype dtype) {
  return result(Arguments("product", x), x, weight, nullptr, {}, 1, scale, group_scales, gated, dtype);
}
Tensor product(const Tensor& x, const Tensor& weight, const OptionalTensor& scale, const OptionalTensor& group_scales, bool gated, OptionalDtype dtype) {
  return run(Arguments("product", x), product_result(x, weight, scale, group_scales, gated, dtype), x, weight, nullptr, {}, 1, scale, group_scales, gated);
}

Tensor grouped_result(const Tensor& x, const Tensor& weight, const Tensor& begin, const OptionalTensor& source, int64_t slots, const OptionalTensor& scale, const OptionalTensor& group_scales, bool gated, OptionalDtype dtype) {
  return result(Arguments("grouped_product", x), x, weight, &begin, source, slots, scale, group_scales, gated, dtype);
}
Tensor grouped_product(const Tensor& x, const Tensor& weight, const Tensor& begin, const OptionalTensor& source, int64_t slots, const OptionalTensor& scale, const OptionalTensor& group_scales, bool gated, OptionalDtype dtype) {
  return run(Arguments("grouped_product", x), grouped_result(x, weight, begin, source, slots, scale, group_scales, gated, dtype), x, weight, &begin, source, slots, scale, group_scales, gated);
}

CANVASLAB_OPERATOR("product", kProduct, product_result, product)
CANVASLAB_OPERATOR("grouped_product", kGroupedProduct, grouped_result, grouped_product)

}  // namespace
}  // namespace canvaslab::operators
