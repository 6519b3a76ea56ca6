#pragma once
// What a sweep file says, resolved: every configuration and item it will run.
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "eval/dataset.h"
#include "samplers/engine.h"

namespace canvaslab {

/// One point of the plan. `control` rows are exact samples of the source, drawn without any sampler.
struct SweepConfig {
  PlanRequest request;
  bool control = false;
  std::string label() const;
};

struct SweepPlan {
  std::string name, denoiser;             ///< denoiser: a plug-in expression or a checkpoint folder, as written
  std::string dataset;                    ///< canonical plug-in text
  uint64_t seed = 0;
  uint32_t repeats = 1;
  std::optional<int64_t> limit;           ///< first items only
  std::string agreement_reference;        ///< label of the configuration others are compared with, or ""
  std::string dtype = "f32";
  std::vector<SweepConfig> configs;
};

/// Reads a sweep TOML. `overrides` are key=value with dotted keys, applied to the table before it is read.
/// Errors: usage, with line and column, what was expected and the nearest valid key.
SweepPlan read_sweep(const std::string& path, const std::vector<std::string>& overrides);

}  // namespace canvaslab
