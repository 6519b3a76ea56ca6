// Self-conditioning: a prediction as embeddings.
#include "core/kernels/cuda/soft_embedding.h"

#include <fmt/format.h>

#include "core/network/operators/launch.h"

namespace canvaslab::operators {

namespace {

using ThreeTensors = std::tuple<Tensor, Tensor, Tensor>;

/// softmax(logits / temperature) times the table, times scale; probabilities in bf16, f32 sums.
/// Shapes: logits [L, V] f32, finite or -inf, the rows of one canvas; table [V, D] bf16 -> embedding [L, D], bfloat16 by default; skipped [L] f32: probability left out; num_kept [] i32: tokens that take part.
/// With least > 0 tokens to which no row gives at least that probability are left out; a row errs by at most what it skipped times the largest embedding. V <= 2^20, D a multiple of 8.
constexpr auto kSoftEmbedding = "soft_embedding(Tensor logits, Tensor table, *, float temperature=1, float scale=1, float least=0, ScalarType? dtype=None) -> (Tensor embedding, Tensor skipped, Tensor num_kept)";

ThreeTensors result(const Tensor& logits, const Tensor& table, double temperature, double, double least, OptionalDtype dtype) {
  const Arguments args("soft_embedding", logits);
  args.expect(logits, "logits", {kF32}, {kAny, kAny});
  const SymInt L = logits.sym_size(0), V = logits.sym_size(1);
  args.expect(table, "table", {kBf16}, {V, kAny});
  const SymInt D = table.sym_size(1);
  TORCH_SYM_CHECK(V.sym_ge(1).sym_and(V.sym_le(cuda::kMaxSoftVocabulary)), "canvaslab::soft_embedding: ", V, " tokens, expected 1 to ", cuda::kMaxSoftVocabulary);
  TORCH_SYM_CHECK(D.sym_ge(8).sym_and((D % 8).sym_eq(0)), "canvaslab::soft_embedding: table is ", D, " wide, expected a multiple of 8");
  args.require(temperature > 0, fmt::format("temperature is {}, expected above 0", temperature));
  args.require(least >= 0, fmt::format("least is {}, expected at least 0", least));
  return {args.make({L, D}, args.dtype(dtype, kBf16)), args.make({L}, kF32), args.make({}, kI32)};
}

ThreeTensors soft_embedding(const Tensor& logits, const Tensor& table, double temperature, double scale, double least, OptionalDtype dtype) {
  const auto results = result(logits, table, temperature, scale, least, dtype);
  const auto& [embedding, skipped, num_kept] = results;
  const Arguments args("soft_embedding", logits);
  const Site site(args);
  args.expect_aligned(table, "table");
  cuda::SoftEmbeddingCall call{.rows = args.count(logits.size(0), "rows"), .vocabulary = static_cast<int32_t>(logits.size(1)), .width = args.count(table.size(1), "columns"), .logits = args.data<float>(logits, "logits"),
                               .inverse_temperature = static_cast<float>(1 / temperature), .table = args.data<uint16_t>(table, "table"), .scale = static_cast<float>(scale), .least = static_cast<float>(least),
                               .out = args.out(embedding, embedding.size(1)), .skipped = args.mutable_data<float>(skipped, "skipped"), .num_kept = args.mutable_data<int32_t>(num_kept, "num_kept")};
  const Tensor workspace = site.workspace(cuda::soft_embedding_workspace(call.rows, call.vocabulary, call.width));
  call.workspace = workspace.mutable_data_ptr();
  if (call.rows > 0) site.run(call);
  else num_kept.zero_();
  return results;
}

CANVASLAB_OPERATOR("soft_embedding", kSoftEmbedding, result, soft_embedding)

}  // namespace
}  // namespace canvaslab::operators
