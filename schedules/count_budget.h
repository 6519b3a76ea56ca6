#pragma once
// Count budgets: how many positions are to be final after each step. Every shape is a cumulative integer target, so that
// it sums to the length, never falls, and recovers when a rule revealed more than was due.
#include <cstddef>
#include <cstdint>
#include <string>

#include "core/params.h"

namespace canvaslab {

enum class CountBudget {
  kEven,        ///< floor(L / N) a step, the first L mod N steps one more (LLaDA)
  kCumulative,  ///< ceil((i + 1) L / N) (block refinement of diffusers)
  kRatio,       ///< floor(m (1 - s/t)) of the m left, t from 1 to 0.001 in N equal strides, all at the last step (Dream)
  kCosine,      ///< round(L (1 - cos(pi u / 2))), u = (i + 1) / N: few at first (MaskGIT, arXiv:2202.04200)
  kSquare,      ///< round(L u^2)
  kRoot,        ///< round(L sqrt(u)): many at first
};

/// How many of `length` positions are to be final after step `step_idx` (from 0) of `num_steps`. Never falls from step to
/// step; `length` at the last step and beyond.
size_t count_target(CountBudget budget, size_t length, int32_t step_idx, int32_t num_steps);
/// The even budget: an even quota, the first steps taking the remainder.
inline size_t even_quota_target(size_t length, int32_t step_idx, int32_t num_steps) {
  return count_target(CountBudget::kEven, length, step_idx, num_steps);
}

/// A parameter that names a budget, and its value.
ParamSpec count_budget_param(const std::string& fallback);
CountBudget count_budget_of(const Options& options);

}  // namespace canvaslab
