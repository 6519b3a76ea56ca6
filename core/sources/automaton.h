#pragma once
// Blocks of fixed length from a layered automaton: any law over short sequences whose dependence needs few states.
#include <functional>

#include "core/sources/source.h"

namespace canvaslab {

/// What the blocks are. States are numbers of the caller's choosing; layer counts up from 0 to the block length.
struct BlockLaw {
  int32_t vocabulary = 2;
  size_t length = 1;  ///< tokens of a block
  uint64_t start = 0;
  /// Appends the allowed (token, next state) pairs of a state; tokens of one state are distinct.
  std::function<void(uint64_t state, size_t layer, std::vector<std::pair<int32_t, uint64_t>>& out)> successors;
  /// Weight of a block that ends in this state; null: all equal.
  std::function<double(uint64_t state)> weight = nullptr;
  double slip = 0;  ///< share of blocks that are uniform over all V^length sequences instead
};

/// Independent blocks, each with probability proportional to its weight, or, with probability slip, of uniform tokens.
/// The first block begins at the prompt's start. Exact for uniform and absorbing evidence in O(edges) per position.
class Automaton final : public Source {
 public:
  /// Errors: usage when no block has a positive weight, or when there are more than 4 million edges.
  explicit Automaton(const BlockLaw& law);

  int32_t vocabulary() const override { return vocabulary_; }
  /// State: law over the nodes of the layer.
  SourceState start() const override { return {.weights = start_, .tokens = {}}; }
  void advance(SourceState& state, std::span<const int32_t> tokens) const override;
  std::vector<double> posterior(const SourceState& state, std::span<const Evidence> canvas,
                                double* log_evidence = nullptr) const override;
  double entropy_rate_nats() const override;  // exact
  std::vector<double> pair_law() const override;
  bool pairs_show_rule() const override { return layers_.size() <= 2; }
  /// Blocks of positive weight, when all weigh the same.
  double num_blocks() const { return num_blocks_; }

 private:
  struct Edge {
    uint32_t from, to;
    int32_t token;
    double probability;
  };
  struct Layer {
    size_t nodes = 0;
    std::vector<Edge> edges;  // by `from`
  };
  std::vector<double> step(const std::vector<double>& law, size_t layer, const Evidence& seen) const;
  double block_entropy() const;

  int32_t vocabulary_;
  double slip_, num_blocks_ = 0;
  bool equal_weights_;
  std::vector<Layer> layers_;  // one a token; the last one's edges end in node 0 of the next block
  std::vector<double> start_;  // [nodes of layer 0]
};

}  // namespace canvaslab
