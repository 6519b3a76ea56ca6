#pragma once
// Letters of multiple-choice answers: the published extraction rules of MMLU-Pro and GPQA, exactly, and our own.
#include <string>
#include <string_view>
#include <vector>

#include "eval/grading/scan.h"

namespace canvaslab::grading {

/// MMLU-Pro's chain, letters A to J: "answer is (X)"; else "answer: X" on the first line that has one, the last of that
/// line; else the last capital that stands alone. Rules: answer_is, answer_colon, last_letter.
/// Source: TIGER-AI-Lab/MMLU-Pro, evaluate_from_local.py.
Extraction mmlu_pro_official(std::string_view text);
/// The same three rules, each taking its last match. Source: evaluate_from_apiX.py.
Extraction mmlu_pro_official_last(std::string_view text);
/// lm-evaluation-harness mmlu_pro v3.1: the first rule alone.
Extraction mmlu_pro_lm_eval(std::string_view text);
/// Ours: the last "answer is (X)" whose letter stands alone, else the last boxed letter, else a last line that is only a
/// letter. Letters beyond the item's `num_options` do not count. Rules: answer_is, boxed, final_line.
Extraction mmlu_pro_house(std::string_view text, size_t num_options);

/// openai/simple-evals: the first "Answer: X" in any case, A to D. The letter comes out in the case it was written in;
/// scoring compares it as it is. Rule: answer_colon.
Extraction gpqa_simple_evals(std::string_view text);
/// lm-evaluation-harness gpqa cot v2.2, flexible-extract: the last "(X)", else the last option text, else the last ": X".
/// Gives the filter's whole output, "(B)". Rules: parenthesised, option_text, colon.
Extraction gpqa_lm_eval(std::string_view text, const std::vector<std::string>& options);
/// Ours: last boxed letter, last "Answer: X", last "answer is (X)", last "(X)". Rules: boxed, answer_colon, answer_is,
/// parenthesised.
Extraction gpqa_house(std::string_view text, size_t num_options);

/// What a prediction that is missing counts for. The published MMLU-Pro code draws an option at random.
enum class Fallback { kNone, kUniformSeeded, kExpectedValue };
/// Score in [0, 1] of an item without a prediction. `draw` in [0, num_options) is used by kUniformSeeded only.
double fallback_score(Fallback fallback, size_t gold_index, size_t num_options, size_t draw);

}  // namespace canvaslab::grading
