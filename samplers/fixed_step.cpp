// fixed_step - reveal the most confident positions by an even quota: exactly num_steps steps.
#include "samplers/rules.h"

namespace canvaslab {
namespace {

// Quota per step as LLaDA: floor(L / N), the first L mod N steps one more. Uniform-state form: revealed positions keep
// their token, the others get fresh noise. With N > L the quota is 0 on late steps, when all are revealed; the steps are
// executed all the same. Confidence is that of the candidate at the step's temperature (LLaDA ranks at temperature 1:
// quota(score=probability)). Source: arXiv:2502.09992 low-confidence remasking (samplers.md 4.1).

[[maybe_unused]] const bool registered = samplers().add({
    .name = "fixed_step",
    .summary = "reveal the most confident positions by an even quota: exactly num_steps steps",
    .source = "arXiv:2502.09992 (LLaDA low-confidence remasking), uniform-state form",
    .aliases = {"quota_confidence"},
    .parameters = {},
    .facts = {.statistics = {Statistic::kCandidate}, .locks = true, .fixed_steps = true, .default_stop = "never", .default_emission = "canvas"},
    .make = [](const Options&) { return std::make_unique<QuotaSampler>(Score::kConfidence, CountBudget::kEven, Mode::kLocked); }});

}  // namespace
}  // namespace canvaslab
