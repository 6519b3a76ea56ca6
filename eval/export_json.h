#pragma once
// The JSON part of an export.
#include <fstream>
#include <string>
#include <vector>

#include "eval/run_scores.h"

namespace canvaslab {

/// results_config-N.json and samples_TASK_config-N.jsonl of every configuration; returns their paths.
std::vector<std::string> export_json(const H5Reader& file, const std::string& folder);

/// Flushes. Errors: input when the file could not be written.
void finish_export(std::ofstream& out, const std::string& path);

}  // namespace canvaslab
