#pragma once
// What a run or trace file holds, as JSON fit to print.
#include <string>

#include "core/json.h"


namespace canvaslab {

/// kind (run, trace or other), attributes, configuration, datasets with their shapes, and a summary: means per
/// configuration of a run, steps per canvas of a trace. Errors: input errors naming file and dataset.
OrderedJson inspect_h5(const std::string& path);

}  // namespace canvaslab
