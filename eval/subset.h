#pragma once
// Fewer items without bias: a seeded subset in proportion to the categories.
#include <cstdint>
#include <span>
#include <vector>

#include "eval/dataset.h"

namespace canvaslab {

/// Indices, ascending, of `count` examples drawn by category. In a category of n items the r-th (from 0) in the order of
/// hash(seed, id) gets the rank (r + 1/2) / n; the lowest ranks overall are taken (Webster's divisor method). So every category
/// is there in proportion, rounded, and a subset is contained in every larger one of its seed: largest remainders would not
/// give that. Depends on ids, categories and seed only, not on the order of the file.
/// Errors: std::invalid_argument when count exceeds the examples.
std::vector<size_t> stratified_subset(std::span<const Example> examples, size_t count, uint64_t seed);

}  // namespace canvaslab
