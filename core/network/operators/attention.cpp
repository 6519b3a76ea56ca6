// Queries, keys and values from the rows of a product, and attention over a cache and a canvas.
#include "core/kernels/cuda/attention.h"

#include <array>

#include <fmt/format.h>

#include "core/kernels/cuda/head_rows.h"
#include "core/network/operators/launch.h"

namespace canvaslab::operators {

namespace {

using ThreeTensors = std::tuple<Tensor, Tensor, Tensor>;

/// Splits rows into heads, norms them (v without a gain) and turns pairs (t, t + Dh / 2) of q and k by the angles of cos and sin.
/// Shapes: rows [S, (H + 2 Hkv) Dh] f32 or bf16, rows, or (H + Hkv) Dh where there is no value projection: then v = norm(k) of k as it came; q_gain and k_gain [Dh] f32; cos and sin [S, Dh / 2] f32, rows
/// -> q [S, H, Dh], k and v [S, Hkv, Dh], bfloat16 by default. Dh even, <= 512.
constexpr auto kHeadRows =
    "head_rows(Tensor rows, Tensor q_gain, Tensor k_gain, Tensor cos, Tensor sin, int num_heads, int num_kv_heads, *, float eps=1e-06, ScalarType? dtype=None) -> (Tensor q, Tensor k, Tensor v)";

/// softmax(q k) v over the keys of a cache, then those that came with the queries; no factor on the scores. Head h reads key-value head h * Hkv / H.
/// Shapes: q [B, L, H, Dh] bf16; cached_k, cached_v [B, Hkv, P, Dh] bf16; fresh_k, fresh_v [B, F, Hkv, Dh] bf16, as head_rows leaves them; of keys and values a row's Dh numbers stand together, all else has
/// any stride that is a multiple of 8, k and v the same -> [B, L, H, Dh], bfloat16 by default. P and F may be 0. Dh 16, 32, 64, 128, 256 or 512.
/// cached_lengths [B] i32: rows of each sequence's cache that count, P by default. first_key, end_key [B, L] i32: a query sees keys first <= key < end, numbered from the first that counts; all by default. A query
/// that sees none is zero. A sequence's result is the same bits whatever the others are.
constexpr auto kAttention =
    "attention(Tensor q, Tensor cached_k, Tensor cached_v, Tensor fresh_k, Tensor fresh_v, *, Tensor? cached_lengths=None, Tensor? first_key=None, Tensor? end_key=None, ScalarType? dtype=None) -> Tensor";

ThreeTensors head_rows_result(const Tensor& rows, const Tensor& q_gain, const Tensor& k_gain, const Tensor& cos, const Tensor& sin, int64_t num_heads, int64_t num_kv_heads, double, OptionalDtype dtype) {
  const Arguments args("head_rows", rows);
  args.require(num_heads >= 1 && num_kv_heads >= 1 && num_heads < (1 << 20) && num_kv_heads < (1 << 20), fmt::format("{} heads and {} of keys and values, expected at least one of each", num_heads, num_kv_heads));
  args.expect(rows, "rows", {kF32, kBf16}, {kAny, kAny});
  args.expect(q_gain, "q_gain", {kF32}, {kAny});
  const SymInt S = rows.sym_size(0), width = q_gain.sym_size(0), columns = rows.sym_size(1);
  TORCH_SYM_CHECK(width.sym_ge(2).sym_and(width.sym_le(cuda::kMaxHeadWidth)).sym_and((width % 2).sym_eq(0)), "canvaslab::head_rows: heads of ", width, " numbers, expected an even number of them up to ", cuda::kMaxHeadWidth);
  TORCH_SYM_CHECK(columns.sym_eq(width * (num_heads + 2 * num_kv_heads)).sym_or(columns.sym_eq(width * (num_heads + num_kv_heads))), "canvaslab::head_rows: rows has ", columns, " columns, expected (num_heads + 2 num_kv_heads) or, without values, (num_heads + num_kv_heads) times ", width);
  args.expect(k_gain, "k_gain", {kF32}, {width});
  args.expect(cos, "cos", {kF32}, {S, width / 2});
  args.expect(sin, "sin", {kF32}, {S, width / 2});
  const at::ScalarType as = args.dtype(dtype, kBf16);
  return {args.make({S, num_heads, width}, as), args.make({S, num_kv_heads, width}, as), args.make({S, num_kv_heads, width}, as)};
}

ThreeTensors head_rows(const Tensor& rows, const Tensor& q_gain, const Tensor& k_gain, const Tensor& cos, const Tensor& sin, int64_t num_heads, int64_t num_kv_heads, double eps, OptionalDtype dtype) {
  const auto results = head_rows_result(rows, q_gain, k_gain, cos, sin, num_heads, num_kv_heads, eps, dtype);
  const auto& [q, k, v] = results;
  const Arguments args("head_rows", rows);
  const Site site(args);
  const int64_t width = q_gain.size(0);
  const RowsIn cosines = args.rows(cos, "cos"), sines = args.rows(sin, "sin");
  args.require(cosines.stride == sines.stride, "rows of cos and of sin are not as far apart");
  const RowsOut keys = args.out(k, num_kv_heads * width);
  const cuda::HeadRowsCall call{.num_rows = args.count(rows.size(0), "rows"), .num_heads = static_cast<int32_t>(num_heads), .num_kv_heads = static_cast<int32_t>(num_kv_heads), .head_width = static_cast<int32_t>(width),
                                .has_values = rows.size(1) == width * (num_heads + 2 * num_kv_heads), .eps = static_cast<float>(eps), .rows = args.rows(rows, "rows"), .q_gain = args.data<float>(q_gain, "q_gain"),
                                .k_gain = args.data<float>(k_gain, "k_gain"), .cos = static_cast<const float*>(cosines.data), .sin = static_cast<const float*>(sines.data), .table_stride = cosines.stride,
                                .q = args.out(q, num_heads * width), .keys = {keys.data, v.mutable_data_ptr(), keys.stride, width, keys.storage}};
  if (call.num_rows > 0) site.run(call);
  return results;
}

Tensor attention_result(const Tensor& q, const Tensor& cached_k, const Tensor& cached_v, const Tensor& fresh_k, const Tensor& fresh_v, const OptionalTensor& cached_lengths, const OptionalTensor& first_key,
                        const OptionalTensor& end_key, OptionalDtype dtype) {
  const Arguments args("attention", q);
  args.expect(q, "q", {kBf16}, {kAny, kAny, kAny, kAny});
  const SymInt B = q.sym_size(0), L = q.sym_size(1), H = q.sym_size(2), width = q.sym_size(3);
  args.expect(cached_k, "cached_k", {kBf16}, {B, kAny, kAny, width});
  const SymInt Hkv = cached_k.sym_size(1), P = cached_k.sym_size(2);
  args.expect(cached_v, "cached_v", {kBf16}, {B, Hkv, P, width});
  args.expect(fresh_k, "fresh_k", {kBf16}, {B, kAny, Hkv, width});
  args.expect(fresh_v, "fresh_v", {kBf16}, {B, fresh_k.sym_size(1), Hkv, width});
  TORCH_SYM_CHECK(Hkv.sym_ge(1).sym_and(H.sym_ge(1)), "canvaslab::attention: there are no heads");
  TORCH_SYM_CHECK((H % Hkv).sym_eq(0), "canvaslab::attention: ", H, " heads are no multiple of ", Hkv, " of keys and values");
  TORCH_SYM_CHECK(width.sym_eq(16).sym_or(width.sym_eq(32)).sym_or(width.sym_eq(64)).sym_or(width.sym_eq(128)).sym_or(width.sym_eq(256)).sym_or(width.sym_eq(512)), "canvaslab::attention: heads of ", width,
                  " numbers, expected 16, 32, 64, 128, 256 or 512");
  args.expect(cached_lengths, "cached_lengths", {kI32}, {B});
  args.require(first_key.has_value() == end_key.has_value(), "first_key and end_key go together");
  args.expect(first_key, "first_key", {kI32}, {B, L});
  args.expect(end_key, "end_key", {kI32}, {B, L});
  return args.make({B, L, H, width}, args.dtype(dtype, kBf16));
}

/// Keys and values of a batch; `heads` and `rows` are the dimensions they have in them.
cuda::KeyArrays key_arrays(const Arguments& args, const Tensor& k, const Tensor& v, const char* k_name, const char* v_name, int64_t heads, int64_t rows) {
  if (k.numel() == 0) return {};
  args.require(k.strides() == v.strides(), fmt::format("{} and {} do not lie alike in memory: their strides differ", k_name, v_name));
  args.expect_aligned(k, k_name);
  args.expect_aligned(v, v_name);
  args.require(k.stride(3) == 1, fmt::format("the elements of a row of {} do not stand together; pass {}.contiguous()", k_name, k_name));
  for (int64_t d = 0; d < 3; ++d) args.require(k.size(d) == 1 || k.stride(d) % 8 == 0, fmt::format("dimension {} of {} has a stride of {} elements, expected a multiple of 8", d, k_name, k.stride(d)));
  return {static_cast<const uint16_t*>(k.const_data_ptr()), static_cast<const uint16_t*>(v.const_data_ptr()), k.stride(0), k.size(rows) == 1 ? k.size(3) : k.stride(rows), k.size(heads) == 1 ? 0 : k.stride(heads), args.count(k.size(rows), "keys")};
}

Tensor attention(const Tensor& q, const Tensor& cached_k, const Tensor& cached_v, const Tensor& fresh_k, const Tensor& fresh_v, const OptionalTensor& cached_lengths, const OptionalTensor& first_key, const OptionalTensor& end_key,
                 OptionalDtype dtype) {
  Tensor out = attention_result(q, cached_k, cached_v, fresh_k, fresh_v, cached_lengths, first_key, end_key, dtype);
  const Arguments args("attention", q);
  const Site site(args);
  const int64_t B = q.size(0), L = q.size(1), H = q.size(2), width = q.size(3), P = cached_k.size(2), F = fresh_k.size(1);
  args.expect_aligned(q, "q");
  args.expect_within(cached_lengths, "cached_lengths", 0, P + 1);
  args.expect_within(first_key, "first_key", 0, P + F + 1);
  args.expect_within(end_key, "end_key", 0, P + F + 1);
  args.count(B * L * H * cuda::kMaxSplits, "parts of attention");
  const Tensor sequences = site.workspace(B * static_cast<int64_t>(sizeof(cuda::AttentionSequence)), true);
  const cuda::SequencesCall make{.num_sequences = static_cast<int32_t>(B), .rows = static_cast<int32_t>(L), .cached = key_arrays(args, cached_k, cached_v, "cached_k", "cached_v", 1, 2),
                                 .fresh = key_arrays(args, fresh_k, fresh_v, "fresh_k", "fresh_v", 2, 1), .cached_counts = args.data<int32_t>(cached_lengths, "cached_lengths"),
                                 .out = static_cast<cuda::AttentionSequence*>(sequences.mutable_data_ptr())};
  cuda::AttentionCall call{.sequences = make.out, .num_sequences = make.num_sequences, .most_rows = make.rows, .most_keys = args.count(P + F, "keys"), .num_heads = static_cast<int32_t>(H),
                           .num_kv_heads = static_cast<int32_t>(cached_k.size(1)), .head_width = static_cast<int32_t>(width), .q = args.data<uint16_t>(q, "q"), .q_stride = H * width, .from = args.data<int32_t>(first_key, "first_key"),
                           .to = args.data<int32_t>(end_key, "end_key"), .out = args.out(out, H * width)};
  const Tensor workspace = site.workspace(4 * cuda::attention_workspace(call, B * L));
  call.workspace = static_cast<float*>(workspace.mutable_data_ptr());
  if (B * L == 0) return out;
  site.run(make);
  site.run(call);
  return out;
}

CANVASLAB_OPERATOR("head_rows", kHeadRows, head_rows_result, head_rows)
CANVASLAB_OPERATOR("attention", kAttention, attention_result, attention)

}  // namespace
}  // namespace canvaslab::operators
