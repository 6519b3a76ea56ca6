#pragma once
// Combinations that run but rarely mean what they say: told to the user, with the reason. What cannot work at all is refused
// by resolve_plan.
#include <string>
#include <vector>

#include "samplers/engine.h"

namespace canvaslab {

/// One sentence each, with what to do; none for a plan without surprises (samplers.md 11).
std::vector<std::string> plan_notes(const GenerationPlan& plan, const Denoiser& denoiser);

}  // namespace canvaslab
