#pragma once
// What a sweep file says: the configurations it lists, the data, seeds and repeats.
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "eval/dataset.h"
#include "samplers/engine.h"

namespace canvaslab {

/// Bounds of what a plan may ask for.
inline constexpr int64_t kMostSteps = 1'000'000, kMostTokens = 1 << 20, kMostConfigs = 100'000;
/// Fewer items say nothing about a difference.
inline constexpr int64_t kFewestHalvingItems = 8;

/// One point of the plan. `control` rows are exact samples of the source, drawn without any sampler.
struct SweepConfig {
  PlanRequest request;
  bool control = false;
  std::string label = "";                      ///< the grid's, "" without: rows of a table of samplers (eval/sampler_table.h)
  bool imported = false;                  ///< another program's completions: no settings of ours
  std::string where;                      ///< file, line and column it comes from, for errors
  bool generated() const { return !control && !imported; }
};

/// Successive halving: every candidate on a few items, the dominated ones dropped, the others on more items.
struct HalvingPlan {
  std::vector<int64_t> round_items;       ///< growing; each round's items contain those of the round before
  int64_t confirm_items = 0;              ///< items nobody has seen, for the winner and who it is compared with
  double alpha = 0.05;                    ///< chance of any false drop, over all rounds; the same again for the confirmation
  bool keep_faster = true;                ///< a worse configuration stays while it is faster
  uint64_t seed = 1;                      ///< of the choice of items
  /// "rounds 25 50 100 confirm 100 alpha 0.05 drop dominated seed 1": what a resumed run must match.
  std::string text() const;
};

struct SweepPlan {
  std::string name, denoiser;             ///< denoiser: canonical plug-in text, or a checkpoint folder as written
  std::string dataset;                    ///< canonical plug-in text
  std::string dtype = "f32", device = "cpu";
  std::string runs_on = "";               ///< of the denoiser's facts, from when it is opened
  /// What results depend on beside the model.
  std::string arithmetic() const { return runs_on.empty() ? dtype : dtype + " on " + runs_on; }
  std::string tokenizer;                  ///< tokenizer.json or a folder with one; empty: the model's folder, when it has one
  bool thinking = false;                  ///< the chat template's enable_thinking
  std::string tools = "";                 ///< file with function declarations that every prompt offers, or empty
  std::vector<uint64_t> seeds = {1};
  uint32_t repeats = 1;                   ///< per seed
  std::optional<int64_t> limit;           ///< first items only
  std::optional<int64_t> subset;          ///< so many items, drawn by category (eval/subset.h); not together with limit
  uint64_t subset_seed = 1;
  bool record_positions = false;          ///< every position of every step goes on record
  std::optional<int64_t> record_items;    ///< of so many items only, spread evenly over them, at the first repeat
  std::optional<SweepConfig> reference;   ///< the configuration that others' tokens are compared with
  std::vector<SweepConfig> configs;
  std::optional<HalvingPlan> halving;     ///< absent: every configuration runs on every item
  uint32_t total_repeats() const { return static_cast<uint32_t>(seeds.size()) * repeats; }
  uint64_t seed_of(uint32_t repeat) const { return seeds[repeat / repeats]; }
};

/// Reads a sweep TOML. `overrides` are key=value with dotted keys, applied to the table before it is read.
/// Errors: usage, with line and column, what was expected and the nearest valid key or name.
SweepPlan read_sweep(const std::string& path, const std::vector<std::string>& overrides);

/// One configuration from "key=value; key=value" with the keys of a grid, values as in TOML or bare text: "sampler=ddim;
/// steps=16". `name` stands for it in errors. Errors: usage, as for a grid.
SweepConfig parse_config(const std::string& text, const std::string& name);

}  // namespace canvaslab
