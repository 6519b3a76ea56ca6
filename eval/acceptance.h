#pragma once
// How far the causal mode of a model accepts drafts: tokens a round, and what a token costs.
#include <cstdint>
#include <string>
#include <vector>

#include "samplers/engine.h"

namespace canvaslab {

/// What is measured on every draft.
struct AcceptanceRequest {
  int32_t canvas_length = 16, max_new_tokens = 64;
  double temperature = 1;                      ///< of drafts and of the causal mode; 0 is greedy
  std::vector<int32_t> steps = {1, 2, 4, 8, 16};
  std::vector<std::vector<int32_t>> prompts;   ///< one text each
  uint64_t seed = 1;
  int threads = 1;                             ///< texts side by side; figures do not depend on it
};

/// A ratio of sums over texts with its standard error, texts being independent.
struct RatioError {
  double value = 0, standard_error = 0;
};

/// One way to draft at one number of steps.
struct Acceptance {
  RatioError accepted;    ///< tokens written a round, a round being a draft and its check
  RatioError per_forward; ///< tokens per forward of any kind but the prefill
  int64_t failed = 0;     ///< texts that could not be made
};

/// Samplers that draft and are then checked, with `temperature`: causal_verify around one-step and many-step drafts, coupled
/// and independent, and linear_spec, which takes one step.
std::vector<std::string> acceptance_samplers(double temperature);

/// [samplers][steps] of request.steps; samplers whose steps are fixed have one entry. Errors: usage when the model has no
/// causal mode, or knows no law of the first token without a prompt.
std::vector<std::vector<Acceptance>> measure_acceptance(const Denoiser& denoiser, const AcceptanceRequest& request, const std::vector<std::string>& samplers);

/// A Markdown table with a line a sampler and a column a number of steps: tokens a round, in brackets tokens per forward;
/// the fastest is bold.
std::string acceptance_table(const std::vector<std::string>& samplers, const AcceptanceRequest& request, const std::vector<std::vector<Acceptance>>& measured);

}  // namespace canvaslab
