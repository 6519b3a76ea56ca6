// quota - take the best-scored positions by a count budget: exactly num_steps steps.
#include "samplers/rules.h"

namespace canvaslab {
namespace {

// The family of LLaDA (score confidence, probability or random, budget even), Dream (entropy, margin; budget ratio;
// choice_temperature is its alg_temp), MaskGIT (confidence, budget cosine, a falling choice_temperature), block
// refinement's counts (budget cumulative), and of dllm (count binomial: its stochastic transfer).
// The target counts positions that are not pinned; the last step takes all.
// Guarantees: exactly num_steps steps, the target taken at every step, ties to the lower position.
// mode=memoryless ranks all positions at every step, so that a taken token can be revised (samplers.md 4.1 U).
// count=binomial takes the budget's shares for chances: with the even budget Binomial(m, 1 / (N - i)) of the m open positions are
// taken at step i, so that Binomial(L, (i + 1) / N) are after it, and a step may take none; memoryless, that latter number is
// drawn anew at every step. The best are taken, so by chance is only how many.
// Dream's entropy is that of its filtered, tempered logits; here it is that of the step's temperature.
// Source: arXiv:2502.09992 (LLaDA), HKUNLP/Dream, arXiv:2202.04200 (MaskGIT), ZHZisZZ/dllm core/samplers/utils.py; samplers.md 4.1, 4.2, 5.3.

[[maybe_unused]] const bool registered = samplers().add({
    .name = "quota",
    .summary = "take the best-scored positions by a count budget: exactly num_steps steps",
    .source = "arXiv:2502.09992 (LLaDA), HKUNLP/Dream, arXiv:2202.04200 (MaskGIT), uniform-state form",
    .aliases = {"maskgit"},
    .parameters = {score_param("confidence"), count_budget_param("even"), mode_param(),
                   schedule_param("choice_temperature", 0, 0, 1000, "",
                                  "0: the best; above 0: drawn from softmax(score / this) without replacement, scores in nats (margin and random: as they are)"),
                   added_late(text_param("count", "exact", "exact: the budget's number; binomial: each open position is due by chance, with the budget's share", {"exact", "binomial"}))},
    .facts = {.statistics = {Statistic::kCandidate}, .locks = true, .fixed_steps = true, .default_stop = "never", .default_emission = "canvas"},
    .make = [](const Options& options) {
      const bool greedy = options.schedule("choice_temperature").text() == "0";
      return std::make_unique<QuotaSampler>(score_of(options), count_budget_of(options), mode_of(options), !greedy, options.text("count") == "binomial");
    }});

}  // namespace
}  // namespace canvaslab
