#pragma once
// generate --replay: a recorded run decided again, as text or JSON.
#include <functional>
#include <string>

#include "samplers/engine.h"

namespace canvaslab {

struct ReplayArguments {
  std::string trace;
  bool first_divergence = false, json = false;
};

/// `change` turns what was recorded into what is asked for now.
void run_replay(const ReplayArguments& arguments, const std::function<void(PlanRequest& request, uint64_t& seed)>& change);

}  // namespace canvaslab
