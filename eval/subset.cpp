#include "eval/subset.h"

#include <algorithm>
#include <map>
#include <stdexcept>

#include "core/digest.h"
#include "core/error.h"

namespace canvaslab {

std::vector<size_t> stratified_subset(std::span<const Example> examples, size_t count, uint64_t seed) {
  if (count > examples.size()) throw std::invalid_argument("a subset larger than the data set");
  struct Ranked {
    Sha256 hash;
    size_t index;
    uint64_t odd = 1, size = 1;  // rank = odd / (2 size)
  };
  std::map<std::string, std::vector<Ranked>> strata;
  for (size_t i = 0; i < examples.size(); ++i)
    strata[examples[i].category].push_back({.hash = sha256(fmt::format("canvaslab subset 1\nseed {}\nitem {}\n", seed, examples[i].id)), .index = i});
  std::vector<Ranked> all;
  for (auto& [category, items] : strata) {
    std::sort(items.begin(), items.end(), [](const Ranked& a, const Ranked& b) { return a.hash < b.hash; });
    for (size_t r = 0; r < items.size(); ++r) {
      items[r].odd = 2 * r + 1, items[r].size = items.size();
      all.push_back(items[r]);
    }
  }
  std::sort(all.begin(), all.end(), [](const Ranked& a, const Ranked& b) {
    const uint64_t left = a.odd * b.size, right = b.odd * a.size;  // exact: both factors are below 2^32
    return left != right ? left < right : a.hash < b.hash;
  });
  std::vector<size_t> out;
  for (size_t i = 0; i < count; ++i) out.push_back(all[i].index);
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace canvaslab
