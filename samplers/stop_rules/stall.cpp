// stall - stop when the sampler has taken nothing for a while.
#include <algorithm>

#include "samplers/stop_rule.h"

namespace canvaslab {
namespace {

/// With progress=any: no position took a token at any of the last `patience` steps, this one included. With progress=more,
/// for samplers that take some positions afresh at every step (entropy_bound): none of these steps took more positions than
/// the best step before them (a step before them must exist). Pinned positions do not count. What is still open is
/// emitted as it is, or as its argmax (--emit argmax). Source: samplers.md 6.10, where the set of taken positions stops
/// growing; the low-yield detector of CAI-DLLM (arXiv:2608.22646) commits in bulk instead.
class Stall final : public StopRule {
 public:
  explicit Stall(const Options& options) : patience_(static_cast<size_t>(options.integer("patience"))), more_(options.text("progress") == "more") {}
  std::optional<std::string> check(const StepView& view, const CanvasState&, const StepDecision& decision, const StopHistory& history) const override {
    const auto& before = history.num_taken;
    const size_t recent = patience_ - 1;  // of the steps before this one
    if (before.size() < recent + more_) return std::nullopt;
    const auto first = before.end() - static_cast<ptrdiff_t>(recent);
    const size_t enough = more_ ? *std::max_element(before.begin(), first) : 0;
    if (num_taken(view, decision) > enough || std::any_of(first, before.end(), [&](size_t taken) { return taken > enough; })) return std::nullopt;
    return "stall";
  }

 private:
  size_t patience_;
  bool more_;
};

[[maybe_unused]] const bool registered = stop_rules().add({
    .name = "stall",
    .summary = "stop when the sampler has taken nothing, or no more than before, for a while",
    .source = "ours; samplers.md 6.10",
    .aliases = {},
    .parameters = {int_param("patience", 4, 1, 1000000, "steps", "without progress, this one included"),
                   text_param("progress", "any", "any: a step that takes a token; more: one that takes more positions than every step before", {"any", "more"})},
    .facts = {.statistics = {}, .breaks_level = true},
    .make = [](const Options& options) { return std::make_unique<Stall>(options); }});

}  // namespace
}  // namespace canvaslab
