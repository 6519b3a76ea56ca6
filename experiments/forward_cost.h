#pragma once
// What a forward takes on this machine, for predictions before a run.
#include <vector>

#include "core/denoiser.h"
#include "samplers/engine.h"

namespace canvaslab {

/// Forwards of a sample that meets no stop: denoising steps up to the limit and one append between canvases, or without
/// denoising one a token.
double most_forwards(const GenerationPlan& plan);

/// Seconds of one forward with everything around it, prompt and loading left out, on one thread: the difference of two short
/// runs. `canvas_length`: of the canvases; samplers that write token by token are timed by the token.
/// Errors: those of resolve_plan and generate.
double seconds_per_forward(const Denoiser& denoiser, PlanRequest request, int32_t canvas_length, const std::vector<int32_t>& prompt);

}  // namespace canvaslab
