#pragma once
// A finished run as CSV, Markdown, or the JSON files that lm-evaluation-harness users know.
#include <string>
#include <vector>

namespace canvaslab {

/// Writes into `folder` (made when missing) and returns the files written, in order:
///   csv       configurations.csv (a row each, every aggregate) and samples.csv (a row per sample)
///   markdown  results.md (a row per configuration)
///   compact   compact.md (short labels, quality by category, tokens per forward)
///   json      results_config-N.json and samples_TASK_config-N.jsonl per configuration, fields as lm-evaluation-harness names
///             them (evaluation.md 1.7); what a run does not record (texts of prompts and targets) is null
/// Existing files of these names are replaced. Errors: usage for another format; input when something cannot be read or written.
std::vector<std::string> export_run(const std::string& run, const std::string& format, const std::string& folder);

}  // namespace canvaslab
