#pragma once
// Whole-number answers (AIME): our rule and the published one side by side.
#include <optional>
#include <string>
#include <string_view>

#include "eval/grading/scan.h"

namespace canvaslab::grading {

/// A whole number as digits without leading zeros, with '-' when negative. Takes "042", "42.0", "1,234", "$42$",
/// "n = 42.", "42^\circ"; refuses fractions, words, anything else.
std::optional<std::string> parse_whole(std::string_view text);

/// Ours: the last balanced box, which must hold a whole number; without any box the last whole number of the text.
/// Rules: boxed, boxed_earlier (a later box never closes), last_integer. A box that holds no whole number gives its text.
Extraction aime_house(std::string_view text);

/// True when the extraction equals the reference and lies in 0 to 999.
bool aime_correct(const Extraction& extraction, std::string_view reference);

/// What lm-evaluation-harness 0.4.13 compares: the last box's content, else what stands between the first and the last
/// dollar sign, else everything. Rules: boxed, dollars, whole_text.
Extraction aime_lm_eval(std::string_view text);
/// Its verdict (exact_match).
bool aime_lm_eval_correct(std::string_view text, std::string_view reference);

}  // namespace canvaslab::grading
