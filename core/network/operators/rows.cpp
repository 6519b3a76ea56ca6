// What stands between two products of a layer and looks at one row at a time: residual sums with norms, embeddings, activations.
#include "core/kernels/cuda/row_glue.h"

#include <fmt/format.h>

#include "core/network/operators/launch.h"

namespace canvaslab::operators {

namespace {

using WithNorms = std::tuple<Tensor, std::vector<Tensor>>;

/// The end of an attention or feed-forward block and the beginning of the next, in one pass over each row:
///   a = branch, or with the experts' rows `parts`: a = norm(branch) * branch_gain + norm(sum over slots s of weight[t, s] * parts[place[t, s]]) * parts_gain
///   x = (residual + norm(a) * gain) * scale
///   norms[i] = norm(x) * gains[i] * factors[i]         norm(x) = x / sqrt(mean(x^2) + eps)
/// Shapes: residual [S, D] f32 or bf16, branch [S, D] and parts [R, D] f32 or bf16, rows; gains [D] f32 or None; place [S, k] i32 and weight [S, k] f32 as route and group_by_expert give them
/// -> x [S, D] as residual, norms [S, D] bfloat16 by default. D <= 24576; up to three norms. Where residual is bf16 the norms see the rounded x.
constexpr auto kAddNorm =
    "add_norm(Tensor residual, Tensor branch, Tensor gain, Tensor?[] gains, float[] factors, *, Tensor? parts=None, Tensor? place=None, Tensor? weight=None, Tensor? branch_gain=None, Tensor? parts_gain=None, float scale=1, "
    "float eps=1e-06, ScalarType? dtype=None) -> (Tensor x, Tensor[] norms)";

/// norms[i] = x / sqrt(mean(x^2) + eps) * gains[i] * factors[i].
/// Shapes: x [S, D] f32 or bf16, rows -> up to three [S, D], bfloat16 by default.
constexpr auto kNorms = "norms(Tensor x, Tensor?[] gains, float[] factors, *, float eps=1e-06, ScalarType? dtype=None) -> Tensor[]";

/// Tokens enter the network: x = norm(table[id] * scale + signal), or without the norm; norms of x as add_norm.
/// Shapes: ids [S] i32 within the table, table [V, D] f32 or bf16, signal [S, D] f32 or bf16 or None -> x [S, D] f32, norms [S, D] bfloat16 by default.
constexpr auto kEmbedRows =
    "embed_rows(Tensor ids, Tensor table, Tensor?[] gains, float[] factors, *, float scale=1, Tensor? signal=None, bool normed=True, float eps=1e-06, ScalarType? dtype=None) -> (Tensor x, Tensor[] norms)";

/// gelu(both[:, :F]) * both[:, F:], gelu by its tanh form.
/// Shapes: both [S, 2F] f32 or bf16, rows -> [S, F], bfloat16 by default.
constexpr auto kGeluTimes = "gelu_times(Tensor both, *, ScalarType? dtype=None) -> Tensor";

/// x = cap * tanh(x / cap), in place. Shapes: x [S, V] f32 or bf16, rows; cap > 0.
constexpr auto kSoftCap = "soft_cap_(Tensor(a!) x, float cap) -> ()";

/// Errors where a row does not fit the shared memory that holds it.
void expect_width(const Arguments& args, const SymInt& width) {
  TORCH_SYM_CHECK(width.sym_ge(1).sym_and(width.sym_le(cuda::kMaxWidth)), "canvaslab::", args.op(), ": rows of ", width, " numbers, expected 1 to ", cuda::kMaxWidth);
}

WithNorms add_norm_result(const Tensor& residual, const Tensor& branch, const Tensor& gain, const Gains& gains, Factors factors, const OptionalTensor& parts, const OptionalTensor& place, const OptionalTensor& weight,
                          const OptionalTensor& branch_gain, const OptionalTensor& parts_gain, double, double, OptionalDtype dtype) {
  const Arguments args("add_norm", residual);
  args.expect(residual, "residual", {kF32, kBf16}, {kAny, kAny});
  const SymInt rows = residual.sym_size(0), width = residual.sym_size(1);
  expect_width(args, width);
  args.expect(branch, "branch", {kF32, kBf16}, {rows, width});
  args.expect(gain, "gain", {kF32}, {width});
  const bool experts = parts.has_value();
  args.require(place.has_value() == experts && weight.has_value() == experts && branch_gain.has_value() == experts && parts_gain.has_value() == experts, "parts, place, weight, branch_gain and parts_gain go together");
  if (experts) {
    args.expect(place, "place", {kI32}, {rows, kAny});
    const SymInt slots = place->sym_size(1);
    TORCH_SYM_CHECK(slots.sym_ge(1), "canvaslab::add_norm: place has no slots");
    args.expect(weight, "weight", {kF32}, {rows, slots});
    args.expect(parts, "parts", {kF32, kBf16}, {kAny, width});
    args.expect(branch_gain, "branch_gain", {kF32}, {width});
    args.expect(parts_gain, "parts_gain", {kF32}, {width});
  }
  return {args.make({rows, width}, residual.scalar_type()), make_norms(args, gains, factors, rows, width, dtype)};
}

WithNorms add_norm(const Tensor& residual, const Tensor& branch, const Tensor& gain, const Gains& gains, Factors factors, const OptionalTensor& parts, const OptionalTensor& place, const OptionalTensor& weight,
                   const OptionalTensor& branch_gain, const OptionalTensor& parts_gain, double scale, double eps, OptionalDtype dtype) {
  auto [x, results] = add_norm_result(residual, branch, gain, gains, factors, parts, place, weight, branch_gain, parts_gain, scale, eps, dtype);
  const Arguments args("add_norm", residual);
  const Site site(args);
  x.copy_(residual);  // the kernel works in place
  cuda::RowGlueCall call{.num_rows = args.count(residual.size(0), "rows"), .width = static_cast<int32_t>(residual.size(1)), .eps = static_cast<float>(eps), .branch = args.rows(branch, "branch"), .experts = {},
                         .branch_gain = args.data<float>(branch_gain, "branch_gain"), .experts_gain = args.data<float>(parts_gain, "parts_gain"), .gain = args.data<float>(gain, "gain"), .scale = static_cast<float>(scale),
                         .residual = args.out(x, x.size(1))};
  if (parts) {
    args.expect_within(place, "place", 0, parts->size(0));
    call.experts = {args.rows(parts, "parts"), args.data<int32_t>(place, "place"), args.data<float>(weight, "weight"), args.count(place->size(1), "slots")};
  }
  set_norms(args, gains, factors, results, call.outs);
  if (call.num_rows > 0) site.run(call);
  return {x, results};
}

std::vector<Tensor> norms_result(const Tensor& x, const Gains& gains, Factors factors, double, OptionalDtype dtype) {
  const Arguments args("norms", x);
  args.expect(x, "x", {kF32, kBf16}, {kAny, kAny});
  expect_width(args, x.sym_size(1));
  return make_norms(args, gains, factors, x.sym_size(0), x.sym_size(1), dtype);
}

std::vector<Tensor> norms(const Tensor& x, const Gains& gains, Factors factors, double eps, OptionalDtype dtype) {
  const auto results = norms_result(x, gains, factors, eps, dtype);
  const Arguments args("norms", x);
  const Site site(args);
  const RowsIn rows = args.rows(x, "x");
  cuda::RowGlueCall call{.num_rows = args.count(x.size(0), "rows"), .width = static_cast<int32_t>(x.size(1)), .eps = static_cast<float>(eps), .branch = {}, .experts = {},
                         .residual = {const_cast<void*>(rows.data), rows.stride, rows.storage}};  // without a branch it is only read
  set_norms(args, gains, factors, results, call.outs);
  if (call.num_rows > 0 && !results.empty()) site.run(call);
  return results;
}

WithNorms embed_rows_result(const Tensor& ids, const Tensor& table, const Gains& gains, Factors factors, double, const OptionalTensor& signal, bool, double, OptionalDtype dtype) {
  const Arguments args("embed_rows", ids);
  args.expect(ids, "ids", {kI32}, {kAny});
  args.expect(table, "table", {kF32, kBf16}, {kAny, kAny});
  const SymInt rows = ids.sym_size(0), width = table.sym_size(1);
  expect_width(args, width);
  args.expect(signal, "signal", {kF32, kBf16}, {rows, width});
  return {args.make({rows, width}, kF32), make_norms(args, gains, factors, rows, width, dtype)};
}

WithNorms embed_rows(const Tensor& ids, const Tensor& table, const Gains& gains, Factors factors, double scale, const OptionalTensor& signal, bool normed, double eps, OptionalDtype dtype) {
  auto [x, results] = embed_rows_result(ids, table, gains, factors, scale, signal, normed, eps, dtype);
  const Arguments args("embed_rows", ids);
  const Site site(args);
  args.expect_within(ids, "ids", 0, table.size(0));
  cuda::EmbedCall call{.num_rows = args.count(ids.size(0), "rows"), .width = static_cast<int32_t>(table.size(1)), .eps = static_cast<float>(eps), .ids = args.data<int32_t>(ids, "ids"), .table = args.rows(table, "table"),
                       .scale = static_cast<float>(scale), .signal = args.rows(signal, "signal"), .normed = normed, .residual = args.out(x, x.size(1))};
  set_norms(args, gains, factors, results, call.outs);
  if (call.num_rows > 0) site.run(call);
  return {x, results};
}

Tensor gelu_times_result(const Tensor& both, OptionalDtype dtype) {
  const Arguments args("gelu_times", both);
  args.expect(both, "both", {kF32, kBf16}, {kAny, kAny});
  const SymInt width = both.sym_size(1);
  TORCH_SYM_CHECK(width.sym_ge(2).sym_and((width % 2).sym_eq(0)), "canvaslab::gelu_times: both has ", width, " columns, expected as many ups as gates");
  return args.make({both.sym_size(0), width / 2}, args.dtype(dtype, kBf16));
}

Tensor gelu_times(const Tensor& both, OptionalDtype dtype) {
  Tensor out = gelu_times_result(both, dtype);
  const Arguments args("gelu_times", both);
  const Site site(args);
  const cuda::GeluCall call{.num_rows = args.count(out.size(0), "rows"), .width = args.count(out.size(1), "columns"), .both = args.rows(both, "both"), .out = args.out(out, out.size(1))};
  if (call.num_rows > 0) site.run(call);
  return out;
}

void soft_cap_result(const Tensor& x, double cap) {
  const Arguments args("soft_cap_", x);
  args.expect(x, "x", {kF32, kBf16}, {kAny, kAny});
  args.require(cap > 0, fmt::format("cap is {}, expected above 0", cap));
}

void soft_cap_(const Tensor& x, double cap) {
  soft_cap_result(x, cap);
  const Arguments args("soft_cap_", x);
  const Site site(args);
  const RowsIn rows = args.rows(x, "x");
  const cuda::SoftCapCall call{.num_rows = args.count(x.size(0), "rows"), .width = args.count(x.size(1), "columns"), .cap = static_cast<float>(cap), .x = rows, .out = {x.mutable_data_ptr(), rows.stride, rows.storage}};
  if (x.numel() > 0) site.run(call);
}

CANVASLAB_OPERATOR("add_norm", kAddNorm, add_norm_result, add_norm)
CANVASLAB_OPERATOR("norms", kNorms, norms_result, norms)
CANVASLAB_OPERATOR("embed_rows", kEmbedRows, embed_rows_result, embed_rows)
CANVASLAB_OPERATOR("gelu_times", kGeluTimes, gelu_times_result, gelu_times)
CANVASLAB_OPERATOR("soft_cap_", kSoftCap, soft_cap_result, soft_cap_)

}  // namespace
}  // namespace canvaslab::operators
