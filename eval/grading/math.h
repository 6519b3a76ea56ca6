#pragma once
// Free-form and multiple-choice mathematics (MATH-Vision): extraction and equivalence.
#include <string>
#include <string_view>
#include <vector>

#include "eval/grading/scan.h"

namespace canvaslab::grading {

/// The published extraction of MATH-Vision as our reference describes it: option letters at the ends, the number behind
/// the last "is ", the four closing phrases, the last box, then clean-up and normal form (lower case). Rules: letter,
/// number, phrase, boxed, whole_text.
/// Source: mathllm/MATH-V evaluation/evaluate.py and utils.py, from their description.
Extraction math_vision_official(std::string_view text);

/// Equal as texts in any case, element by element for tuples and lists, or as values rounded to two decimals.
bool math_vision_equal(std::string_view answer, std::string_view reference);

/// Correct when equal to the reference or to the text of the option that the reference's letter names.
bool math_vision_correct(std::string_view extracted, std::string_view reference, const std::vector<std::string>& options);

/// Ours: the last balanced box, else the published extraction. Rules: boxed, boxed_earlier, and those above.
Extraction math_house(std::string_view text);

}  // namespace canvaslab::grading
