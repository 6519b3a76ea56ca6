#pragma once
// Attribution of a difference by a sweep over all mixtures of two configurations.
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "eval/attribution.h"
#include "eval/mixtures.h"
#include "eval/sweep.h"

namespace canvaslab {

struct PreparedAttribution {
  PreparedSweep sweep;                  ///< the mixtures, and a source's control row
  Mixtures mixtures;
  std::vector<size_t> config;           ///< [2^k] configuration of the sweep; equal mixtures share one
};

/// Opens what the sweep file names and mixes A and B, each "sampler=...; key=value" or, without "sampler=" in front, the
/// number of one of the file's configurations or a part of the settings that only one has.
/// Errors: as read_sweep, parse_config, find_config and mix.
PreparedAttribution prepare_attribution(const std::string& sweep_file, const std::vector<std::string>& overrides, const std::string& a, const std::string& b,
                                        const std::function<PromptEncoder(const std::string& model, const std::string& tokenizer)>& encoder);

/// What a difference is taken apart in.
struct OutcomeParts {
  std::string name, unit;
  bool higher_is_better = false;
  std::optional<double> control;        ///< the same of exact samples, where there are any
  DifferenceParts parts;
};

struct AttributionOptions {
  uint64_t seed = 1;                    ///< of the bootstrap
  uint32_t draws = 1000;
};

/// Reads a finished run of the mixtures back. On an exact source the quality is the divergence of token pairs from its law,
/// elsewhere the score; then tokens per forward with the append passes.
/// Errors: usage when nothing can be said of some item (a mixture's samples failed).
std::vector<OutcomeParts> attribute_run(const PreparedAttribution& attribution, const std::string& results_path, const AttributionOptions& options);

}  // namespace canvaslab
