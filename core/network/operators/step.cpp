// The sampler's side of a denoising step: what it sees of the logits, and acceptance by the entropy bound.
#include <limits>

#include <fmt/format.h>

#include "core/kernels/cuda/device_step.h"
#include "core/network/operators/launch.h"

namespace canvaslab::operators {

namespace {

/// Argmax, runner-up, entropy and a candidate drawn for every position of a batch of canvases: statistics of RowStatistics at the canvas's own temperature, and at temperature 1 where the name says t1.
/// Shapes: logits [B, L, V] f32; canvas [B, L] i32, tokens below V; draws [B, 6] i64 = (seed, item, repeat, canvas index, step index, first position), which alone decide what is drawn; temperature [B] f32,
/// 0: greedy -> eleven tensors, [B, L] each but for the last: argmax i32, argmax_logprob f32, second i32, second_logprob f32, entropy_nats f32, candidate i32, candidate_logprob f32, current_logprob f32 (of the
/// canvas's token), argmax_logprob_t1 f32, entropy_t1_nats f32; bad_row [] i32: the first row, counted over B and L, that holds NaN, +inf or only -inf, whose statistics are undefined; 2^31 - 1 where there is none.
/// A row's results are the same bits whatever the others are. V <= 2^20.
constexpr auto kRowStatistics =
    "row_statistics(Tensor logits, Tensor canvas, Tensor draws, Tensor temperature) -> (Tensor argmax, Tensor argmax_logprob, Tensor second, Tensor second_logprob, Tensor entropy_nats, Tensor candidate, "
    "Tensor candidate_logprob, Tensor current_logprob, Tensor argmax_logprob_t1, Tensor entropy_t1_nats, Tensor bad_row)";

/// One decision of sampler entropy_bound: positions in rising entropy are accepted while the entropies of those before sum to at most the bound (at least one is), and take their candidate; the others take noise, a
/// uniform token that is not banned, or mask_id where it is not negative. Then stop rule stable_and_confident.
/// Shapes: canvas, last_argmax [B, L] i32 and equal_steps [B] i32 (-1 before the first step), changed in place; entropy_nats f32, candidate, argmax i32 [B, L]; draws as row_statistics; bound [B] f32, nats;
/// allowed [B, L] bool: false where a position is pinned; banned_ids [n] i32, fewer than vocabulary -> accepted [B, L] bool, stop [B] bool: mean entropy is below `confidence` and the argmax has been the same
/// for `stability` steps. L <= 1024.
constexpr auto kEntropyBoundStep =
    "entropy_bound_step(Tensor(a!) canvas, Tensor(b!) last_argmax, Tensor(c!) equal_steps, Tensor entropy_nats, Tensor candidate, Tensor argmax, Tensor draws, Tensor bound, int vocabulary, *, float confidence, "
    "int stability=1, Tensor? allowed=None, Tensor? banned_ids=None, int mask_id=-1) -> (Tensor accepted, Tensor stop)";

using Statistics = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;

Statistics row_statistics_result(const Tensor& logits, const Tensor& canvas, const Tensor& draws, const Tensor& temperature) {
  const Arguments args("row_statistics", logits);
  args.expect(logits, "logits", {kF32}, {kAny, kAny, kAny});
  const SymInt B = logits.sym_size(0), L = logits.sym_size(1), V = logits.sym_size(2);
  TORCH_SYM_CHECK(V.sym_ge(1).sym_and(V.sym_le(cuda::kMaxVocabulary)), "canvaslab::row_statistics: ", V, " tokens, expected 1 to ", cuda::kMaxVocabulary);
  args.expect(canvas, "canvas", {kI32}, {B, L});
  args.expect(draws, "draws", {kI64}, {B, cuda::kDrawNumbers});
  args.expect(temperature, "temperature", {kF32}, {B});
  const auto ids = [&] { return args.make({B, L}, kI32); };
  const auto numbers = [&] { return args.make({B, L}, kF32); };
  return {ids(), numbers(), ids(), numbers(), numbers(), ids(), numbers(), numbers(), numbers(), numbers(), args.make({}, kI32)};
}

Statistics row_statistics(const Tensor& logits, const Tensor& canvas, const Tensor& draws, const Tensor& temperature) {
  auto results = row_statistics_result(logits, canvas, draws, temperature);
  const Arguments args("row_statistics", logits);
  const Site site(args);
  const auto& [argmax, argmax_logprob, second, second_logprob, entropy, candidate, candidate_logprob, current_logprob, argmax_logprob_t1, entropy_t1, bad_row] = results;
  bad_row.fill_(std::numeric_limits<int32_t>::max());
  const int32_t rows = args.count(canvas.numel(), "rows");
  if (rows == 0) return results;
  args.expect_within(canvas, "canvas", 0, logits.size(2));
  const auto* temperatures = args.data<float>(temperature, "temperature");
  for (int64_t b = 0; args.on_cpu() && b < temperature.numel(); ++b) args.require(temperatures[b] >= 0, fmt::format("temperature {} is {}, expected at least 0", b, temperatures[b]));
  const Tensor requests = site.workspace(rows * static_cast<int64_t>(sizeof(cuda::StatisticsRow)), true);
  const cuda::StatisticsRowsCall make{.num_canvases = static_cast<int32_t>(canvas.size(0)), .length = static_cast<int32_t>(canvas.size(1)), .draws = args.data<int64_t>(draws, "draws"), .temperature = temperatures,
                                      .current = args.data<int32_t>(canvas, "canvas"), .out = static_cast<cuda::StatisticsRow*>(requests.mutable_data_ptr())};
  const auto ids = [](const Tensor& t) { return static_cast<int32_t*>(t.mutable_data_ptr()); };
  const auto numbers = [](const Tensor& t) { return static_cast<float*>(t.mutable_data_ptr()); };
  const cuda::StatisticsCall call{.logits = args.data<float>(logits, "logits"), .rows = make.out, .num_rows = rows, .vocabulary = static_cast<int32_t>(logits.size(2)),
                                  .out = {.argmax = ids(argmax), .argmax_logprob = numbers(argmax_logprob), .second = ids(second), .second_logprob = numbers(second_logprob), .entropy_nats = numbers(entropy), .candidate = ids(candidate),
                                          .candidate_logprob = numbers(candidate_logprob), .current_logprob = numbers(current_logprob), .argmax_logprob_t1 = numbers(argmax_logprob_t1), .entropy_t1_nats = numbers(entropy_t1)},
                                  .bad_row = ids(bad_row)};
  site.run(make);
  site.run(call);
  return results;
}

using AcceptedAndStop = std::tuple<Tensor, Tensor>;

AcceptedAndStop entropy_bound_step_result(const Tensor& canvas, const Tensor& last_argmax, const Tensor& equal_steps, const Tensor& entropy_nats, const Tensor& candidate, const Tensor& argmax, const Tensor& draws,
                                          const Tensor& bound, int64_t vocabulary, double, int64_t stability, const OptionalTensor& allowed, const OptionalTensor& banned_ids, int64_t mask_id) {
  const Arguments args("entropy_bound_step", canvas);
  args.expect(canvas, "canvas", {kI32}, {kAny, kAny});
  const SymInt B = canvas.sym_size(0), L = canvas.sym_size(1);
  TORCH_SYM_CHECK(L.sym_le(cuda::kMaxCanvas), "canvaslab::entropy_bound_step: canvases of ", L, " positions, expected at most ", cuda::kMaxCanvas);
  args.expect(last_argmax, "last_argmax", {kI32}, {B, L});
  args.expect(equal_steps, "equal_steps", {kI32}, {B});
  args.expect(entropy_nats, "entropy_nats", {kF32}, {B, L});
  args.expect(candidate, "candidate", {kI32}, {B, L});
  args.expect(argmax, "argmax", {kI32}, {B, L});
  args.expect(draws, "draws", {kI64}, {B, cuda::kDrawNumbers});
  args.expect(bound, "bound", {kF32}, {B});
  args.expect(allowed, "allowed", {at::kBool}, {B, L});
  args.expect(banned_ids, "banned_ids", {kI32}, {kAny});
  args.require(vocabulary >= 1 && vocabulary <= std::numeric_limits<int32_t>::max() && mask_id < vocabulary, fmt::format("vocabulary is {} and mask_id {}, expected tokens below 2^31 and the mask one of them or negative", vocabulary, mask_id));
  args.require(stability >= 0 && stability <= std::numeric_limits<int32_t>::max(), fmt::format("stability is {}, expected at least 0", stability));
  if (banned_ids) TORCH_SYM_CHECK(banned_ids->sym_size(0).sym_lt(vocabulary), "canvaslab::entropy_bound_step: ", banned_ids->sym_size(0), " of ", vocabulary, " tokens are banned, expected fewer");
  return {args.make({B, L}, at::kBool), args.make({B}, at::kBool)};
}

AcceptedAndStop entropy_bound_step(const Tensor& canvas, const Tensor& last_argmax, const Tensor& equal_steps, const Tensor& entropy_nats, const Tensor& candidate, const Tensor& argmax, const Tensor& draws, const Tensor& bound,
                                   int64_t vocabulary, double confidence, int64_t stability, const OptionalTensor& allowed, const OptionalTensor& banned_ids, int64_t mask_id) {
  auto [accepted, stop] = entropy_bound_step_result(canvas, last_argmax, equal_steps, entropy_nats, candidate, argmax, draws, bound, vocabulary, confidence, stability, allowed, banned_ids, mask_id);
  const Arguments args("entropy_bound_step", canvas);
  const Site site(args);
  args.count(canvas.numel(), "positions");
  const int64_t B = canvas.size(0);
  if (B == 0) return {accepted, stop};
  args.expect_within(banned_ids, "banned_ids", 0, vocabulary);
  const Tensor rows = site.workspace(B * static_cast<int64_t>(sizeof(cuda::CanvasRow)), true), stopped = args.make({B}, kI32);
  const cuda::CanvasRowsCall make{.num_canvases = static_cast<int32_t>(B), .length = static_cast<int32_t>(canvas.size(1)), .draws = args.data<int64_t>(draws, "draws"), .bound = args.data<float>(bound, "bound"),
                                  .confidence = static_cast<float>(confidence), .stability = static_cast<int32_t>(stability), .out = static_cast<cuda::CanvasRow*>(rows.mutable_data_ptr())};
  const cuda::AcceptCall call{.canvases = make.out, .num_canvases = make.num_canvases, .vocabulary = static_cast<int32_t>(vocabulary), .entropy_nats = args.data<float>(entropy_nats, "entropy_nats"),
                              .candidate = args.data<int32_t>(candidate, "candidate"), .argmax = args.data<int32_t>(argmax, "argmax"), .allowed = args.data<uint8_t>(allowed, "allowed"), .banned_ids = args.data<int32_t>(banned_ids, "banned_ids"),
                              .num_banned = banned_ids ? static_cast<int32_t>(banned_ids->size(0)) : 0, .mask_id = static_cast<int32_t>(mask_id < 0 ? -1 : mask_id), .canvas = args.mutable_data<int32_t>(canvas, "canvas"),
                              .accepted = args.mutable_data<uint8_t>(accepted, "accepted"), .last_argmax = args.mutable_data<int32_t>(last_argmax, "last_argmax"), .equal_steps = args.mutable_data<int32_t>(equal_steps, "equal_steps"),
                              .stop = args.mutable_data<int32_t>(stopped, "stop")};
  site.run(make);
  site.run(call);
  stop.copy_(stopped);
  return {accepted, stop};
}

CANVASLAB_OPERATOR("row_statistics", kRowStatistics, row_statistics_result, row_statistics)
CANVASLAB_OPERATOR("entropy_bound_step", kEntropyBoundStep, entropy_bound_step_result, entropy_bound_step)

}  // namespace
}  // namespace canvaslab::operators
