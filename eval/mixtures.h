#pragma once
// Two configurations, the factors in which they differ, and every mixture of them.
#include <string>
#include <vector>

#include "samplers/engine.h"

namespace canvaslab {

/// Settings of A that become B's together.
struct Factor {
  std::string name;               ///< "order", "emission", ...; joined factors as "order + stop rule"
  std::vector<std::string> keys;  ///< settings it consists of
  std::string a, b;               ///< their values: "key=value; key=value"
};

struct Mixtures {
  std::vector<std::pair<std::string, std::string>> shared;   ///< settings that A and B have in common
  std::vector<Factor> factors;
  std::vector<PlanRequest> requests;                         ///< [2^k], bit i set: factor i as in B; 0 is A, the last is B
  std::vector<std::string> notes;                            ///< factors that had to be joined or left out, and why
};

/// Resolves A and B on the denoiser, so that what each one's sampler brings along (stop rule, emission) is a factor of its
/// own, and mixes them. Order is the sampler's rule alone. Level knowledge is whether the denoiser is told the noise level: it
/// acts on samplers that follow one, and is nothing to others. Where a mixture contradicts itself (a sampler that follows
/// the level under a stop rule that breaks it), the two factors whose joining leaves the fewest contradictions become one,
/// until there are none.
/// Errors: usage when A or B contradicts itself, they are equal, differ in length, or in more than kMostFactors ways.
Mixtures mix(const PlanRequest& a, const PlanRequest& b, const Denoiser& denoiser);

}  // namespace canvaslab
