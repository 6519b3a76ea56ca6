#pragma once
// Random counts: a count budget whose shares are chances, so that how many positions are final after a step is binomial.
#include "schedules/count_budget.h"

namespace canvaslab {

/// Share of the canvas that the budget has due after step `step_idx` (from 0) of `num_steps`, without rounding to positions;
/// accurate to 1e-6. Never falls; 1 at the last step and beyond.
double due_share(CountBudget budget, int32_t step_idx, int32_t num_steps);
/// Probability that a position that is not due before the step is due after it: (s - r) / (1 - r) for shares r before and s after,
/// 1 at the last step and beyond; 1 / (N - i) for the even budget. When each of m open positions is due with it, Binomial(m, this)
/// are at this step, and Binomial(L, s) of all L after it. Source: ZHZisZZ/dllm core/samplers/utils.py, stochastic transfer.
double due_probability(CountBudget budget, int32_t step_idx, int32_t num_steps);

}  // namespace canvaslab
