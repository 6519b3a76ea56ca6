// leftmost - reveal the first open positions, an even quota a step: autoregressive order, as a baseline.
#include "samplers/rules.h"

namespace canvaslab {
namespace {

// Source: vLLM's nemotron_dllm `leftmost` policy (samplers.md 4.17); quota as fixed_step, so N = L is one by one.

[[maybe_unused]] const bool registered = samplers().add({
    .name = "leftmost",
    .summary = "reveal the first open positions, an even quota a step: autoregressive order as a baseline",
    .source = "vLLM nemotron_dllm leftmost policy",
    .aliases = {},
    .parameters = {},
    .facts = {.statistics = {Statistic::kCandidate}, .locks = true, .fixed_steps = true, .permutation_equivariant = false, .default_stop = "never", .default_emission = "canvas"},
    .make = [](const Options&) { return std::make_unique<QuotaSampler>(Score::kPosition, CountBudget::kEven, Mode::kLocked); }});

}  // namespace
}  // namespace canvaslab
