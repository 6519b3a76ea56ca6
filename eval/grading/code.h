#pragma once
// Programs in answers.
#include "eval/grading/scan.h"

namespace canvaslab::grading {

/// The last fenced block marked python, py or python3, else the last fenced block. A fence is a line that begins with three
/// or more backticks or tildes; one that is never closed runs to the end. Rule: code_block.
Extraction code_house(std::string_view answer);

/// What stands between the last two lines that contain three backticks, whatever they are. Rule: code_block, also for nothing
/// between them.
/// Source: LiveCodeBench lcb_runner/utils/extraction_utils.py (evaluation.md 1.4).
Extraction code_live_code_bench(std::string_view answer);

}  // namespace canvaslab::grading
