// shuffle - blocks that hold every token of the alphabet once, in any order.
#include "core/sources/automaton.h"
#include "core/sources/source_denoiser.h"

namespace canvaslab {
namespace {

std::unique_ptr<Source> make_source(const Options& options) {
  const auto V = static_cast<int32_t>(options.integer("alphabet"));
  return std::make_unique<Automaton>(BlockLaw{
      .vocabulary = V,
      .length = static_cast<size_t>(V),
      .start = 0,  // bit set of the tokens used
      .successors = [V](uint64_t used, size_t, std::vector<std::pair<int32_t, uint64_t>>& out) {
        for (int32_t v = 0; v < V; ++v)
          if (!(used >> v & 1)) out.emplace_back(v, used | uint64_t{1} << v);
      },
      .slip = options.real("slip")});
}

[[maybe_unused]] const bool registered = denoisers().add({
    .name = "shuffle",
    .summary = "blocks that are random permutations of the alphabet, with its Bayes-optimal denoiser",
    .source = "ours; after the shuffle task of ParallelBench, arXiv:2510.04767",
    .aliases = {"permutation"},
    .parameters = source_parameters({int_param("alphabet", 8, 2, 14, "tokens", "vocabulary of the source, and length of a block"), slip_param(0.01)}, 8),
    .facts = {},
    .make = [](const Options& options) { return std::make_unique<SourceDenoiser>(make_source(options), options); }});

}  // namespace
}  // namespace canvaslab
