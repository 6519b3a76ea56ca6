// latin_square - blocks that are Latin squares read row by row: every token once in each row and column.
#include "core/sources/automaton.h"
#include "core/sources/source_denoiser.h"

namespace canvaslab {
namespace {

/// State: the tokens used in each column (n bits each), then those used in the row being written.
std::unique_ptr<Source> make_source(const Options& options) {
  const auto n = static_cast<size_t>(options.integer("order"));
  return std::make_unique<Automaton>(BlockLaw{
      .vocabulary = static_cast<int32_t>(n),
      .length = n * n,
      .start = 0,
      .successors = [n](uint64_t state, size_t layer, std::vector<std::pair<int32_t, uint64_t>>& out) {
        const size_t column = layer % n;
        const uint64_t row_mask = (uint64_t{1} << n) - 1;
        for (size_t v = 0; v < n; ++v) {
          const uint64_t in_column = uint64_t{1} << (column * n + v), in_row = uint64_t{1} << (n * n + v);
          if (state & (in_column | in_row)) continue;
          uint64_t next = state | in_column | in_row;
          if (column + 1 == n) next &= ~(row_mask << (n * n));
          out.emplace_back(static_cast<int32_t>(v), next);
        }
      },
      .slip = options.real("slip")});
}

[[maybe_unused]] const bool registered = denoisers().add({
    .name = "latin_square",
    .summary = "blocks that are random Latin squares, row by row, with its Bayes-optimal denoiser",
    .source = "ours; after the Latin square task of ParallelBench, arXiv:2510.04767",
    .aliases = {},
    .parameters = source_parameters({int_param("order", 4, 2, 5, "tokens", "rows, columns and tokens"), slip_param(0.01)}, 16),
    .facts = {},
    .make = [](const Options& options) { return std::make_unique<SourceDenoiser>(make_source(options), options); }});

}  // namespace
}  // namespace canvaslab
