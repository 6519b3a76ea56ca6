// copy - blocks whose second half repeats the first: dependence at a distance of `span` tokens.
#include "core/sources/copy.h"

#include "core/sources/source_denoiser.h"

namespace canvaslab {
namespace {

[[maybe_unused]] const bool registered = denoisers().add({
    .name = "copy",
    .summary = "blocks whose second half repeats the first, with its Bayes-optimal denoiser",
    .source = "ours; after the copy task of ParallelBench, arXiv:2510.04767",
    .aliases = {},
    .parameters = source_parameters(
        {int_param("alphabet", 16, 2, 65536, "tokens", "vocabulary of the source"),
         int_param("span", 16, 1, 32768, "tokens", "length of what is repeated; a block has twice as many tokens"),
         real_param("sharpness", 1, 0, 100, "", "scale of the tokens' random log-weights: 0 is uniform"),
         real_param("slip", 0.01, 0, 1, "probability", "of a uniform token in place of a copy; 0: other tokens are impossible"),
         int_param("seed", 1, 0, 9007199254740991.0, "", "which source")},
        32),
    .facts = {},
    .make = [](const Options& options) {
      return std::make_unique<SourceDenoiser>(
          std::make_unique<CopySource>(static_cast<int32_t>(options.integer("alphabet")), static_cast<int32_t>(options.integer("span")),
                                       options.real("sharpness"), options.real("slip"), static_cast<uint64_t>(options.integer("seed"))),
          options);
    }});

}  // namespace
}  // namespace canvaslab
