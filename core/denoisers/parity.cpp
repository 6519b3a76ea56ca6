// parity - blocks whose last token is the sum of the others: every token matters, no pair tells anything.
#include "core/sources/automaton.h"
#include "core/sources/source_denoiser.h"

namespace canvaslab {
namespace {

std::unique_ptr<Source> make_source(const Options& options) {
  const auto V = static_cast<uint64_t>(options.integer("alphabet"));
  const auto block = static_cast<size_t>(options.integer("block"));
  return std::make_unique<Automaton>(BlockLaw{
      .vocabulary = static_cast<int32_t>(V),
      .length = block,
      .start = 0,
      .successors = [V, block](uint64_t sum, size_t layer, std::vector<std::pair<int32_t, uint64_t>>& out) {
        if (layer + 1 == block) return out.emplace_back(static_cast<int32_t>(sum), 0), void();
        for (uint64_t v = 0; v < V; ++v) out.emplace_back(static_cast<int32_t>(v), (sum + v) % V);
      },
      .slip = options.real("slip")});
}

[[maybe_unused]] const bool registered = denoisers().add({
    .name = "parity",
    .summary = "blocks whose last token is the sum of the others modulo the alphabet, with its Bayes-optimal denoiser",
    .source = "ours; samplers.md 14.4",
    .aliases = {},
    .parameters = source_parameters({int_param("alphabet", 2, 2, 64, "tokens", "vocabulary of the source"),
                                     int_param("block", 16, 2, 64, "tokens", "length of a block, its sum included"), slip_param(0.01)},
                                    16),
    .facts = {},
    .make = [](const Options& options) { return std::make_unique<SourceDenoiser>(make_source(options), options); }});

}  // namespace
}  // namespace canvaslab
