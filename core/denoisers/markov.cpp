// markov - a first-order chain with few successors per token: alphabets up to thousands, exact in O(L V k).
#include "core/sources/source_denoiser.h"
#include "core/sources/sparse_markov.h"

namespace canvaslab {
namespace {

[[maybe_unused]] const bool registered = denoisers().add({
    .name = "markov",
    .summary = "first-order chain with sparse transitions and its Bayes-optimal denoiser; alphabets up to thousands",
    .source = "ours; samplers.md 14.4",
    .aliases = {},
    .parameters = source_parameters(
        {int_param("alphabet", 1000, 2, 4096, "tokens", "vocabulary of the source"),
         int_param("successors", 8, 1, 4096, "tokens", "likely successors of a token (at most the alphabet)"),
         real_param("sharpness", 1, 0, 100, "", "scale of the successors' random log-weights: larger is less random"),
         real_param("leak", 0.01, 0, 1, "probability", "of any token instead of a likely successor; 0: other transitions are impossible"),
         int_param("seed", 1, 0, 9007199254740991.0, "", "which source")},
        32),
    .facts = {},
    .make = [](const Options& options) {
      return std::make_unique<SourceDenoiser>(
          std::make_unique<SparseMarkov>(static_cast<int32_t>(options.integer("alphabet")), static_cast<int32_t>(options.integer("successors")),
                                         options.real("sharpness"), options.real("leak"), static_cast<uint64_t>(options.integer("seed"))),
          options);
    }});

}  // namespace
}  // namespace canvaslab
