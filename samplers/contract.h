#pragma once
// What every plug-in must keep to, as checks that say what is wrong ("" = nothing): for the tests, and for
// `canvaslab check` on plug-ins from outside. Random steps come from a fixed seed, which is part of every complaint.
#include <functional>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "samplers/engine.h"

namespace canvaslab::contract {

inline constexpr uint32_t kSeed = 20240501;

/// One step of one canvas with everything a StepView points to, owned. Fill the fields, then ask for a view.
struct Step {
  int32_t vocabulary = 50;
  std::vector<int32_t> canvas;
  RowStatistics statistics;
  std::vector<uint8_t> allowed;
  std::vector<double> knobs;
  DrawKey draws{.seed = 1};

  /// Every statistic present, all equal: argmax and candidate 0, probability 1/2, entropy 1.
  explicit Step(size_t length);
  /// Random values without ties (almost surely); one position in ten is pinned.
  Step(size_t length, std::mt19937& engine);
  StepView view(int32_t step, int32_t steps) const;
};

/// Fills what was not declared with values that would show at once.
void poison(RowStatistics& statistics, StatisticSet declared);

// --- samplers

/// G1: where no position is named in the facts, moving positions moves decisions. Keys are without ties.
std::string moves_with_its_positions(const ConfiguredSampler& sampler);
/// G3 and G9: the same step twice gives the same decision, though the second time all undeclared statistics are poison.
std::string reads_only_what_it_declares(const ConfiguredSampler& sampler);
/// A declared product law: what happens at a position does not change with other positions' candidates or draws.
std::string keeps_its_product_law(const ConfiguredSampler& sampler);
/// A declared joint bound on entropies (Sampler::joint_entropy_bound): every decision is that of the rule, written out here once more.
std::string keeps_its_joint_bound(const ConfiguredSampler& sampler);
/// G4 and G5: ConfiguredSampler::decide throws where progress, the last step or a revealed position breaks the
/// contract; G2: a pinned position is never counted as revealed.
std::string keeps_its_progress_contract(const ConfiguredSampler& sampler);
/// G6: NaN and +inf in any declared statistic, and ids outside the vocabulary, are refused with their position.
std::string refuses_statistics_that_are_no_numbers(const ConfiguredSampler& sampler);
/// G8: what an earlier canvas left in the state changes nothing after begin.
std::string forgets_the_canvas_before(const ConfiguredSampler& sampler);
/// G2: generated rows keep pinned tokens, even against a sampler that writes everywhere.
std::string pins_hold(const std::vector<int32_t>& canvas_ids, const std::map<int64_t, int32_t>& pins);
/// G2 and G3 through the engine on a small source: a row's tokens are the same alone, in a batch, and beside other threads;
/// they lie in the vocabulary, and pins hold.
std::string generates_alike_in_any_company(const std::string& sampler, const std::string& stop = "");
/// G10: unknown keys, words for numbers, NaN and values outside the bounds are refused; the bounds themselves are not.
/// `make` builds the plug-in from an expression.
std::string refuses_what_its_table_forbids(const std::string& name, const std::vector<ParamSpec>& table, const std::function<void(const PluginExpr&)>& make);

// --- the other registries

/// Pure, inside its declared range, and at its end value beyond the ramp.
std::string keeps_the_schedule_contract(const Schedule& schedule);
/// Pure, and blind to statistics that it does not declare; a stable stop (StopRule::stable_stop) stops when that says.
std::string keeps_the_stop_contract(const ConfiguredStop& stop);
/// Logits of the right size, forks that see nothing of their origin's appends, rows that do not see each other, prompts
/// outside the vocabulary refused, the same content hash for the same plug-in.
std::string keeps_the_denoiser_contract(const std::function<std::unique_ptr<Denoiser>()>& make);

// --- all of it for one plug-in

/// A clause of the contract. `left_out` says why it does not apply, or is empty.
struct Clause {
  std::string name, left_out;
  std::function<std::string()> check;
  /// check(), with an exception as its complaint.
  std::string complaint() const;
};
/// Errors: usage, when the expression names no such plug-in or does not fit its table.
std::vector<Clause> sampler_clauses(const std::string& text);
std::vector<Clause> stop_clauses(const std::string& text);
std::vector<Clause> schedule_clauses(const std::string& text);
std::vector<Clause> denoiser_clauses(const std::string& text);

/// Whether a plug-in can be made from its name alone.
template <typename Entry>
bool has_defaults(const Entry& entry) {
  for (const auto& spec : entry.parameters)
    if (spec.required) return false;
  return true;
}

}  // namespace canvaslab::contract
