#pragma once
// The normal form of short mathematical answers that graders of the MATH family share.
#include <optional>
#include <string>
#include <string_view>

namespace canvaslab::grading {

/// One spelling for fractions, roots, decimals below one, and no spaces, dollar signs, percent signs, degrees, \left and
/// \right. Nothing when the published function fails on the text: then answers are compared as they stand.
/// Source: hendrycks/math math_equivalence.py as lm-evaluation-harness 0.4.13 carries it (tasks/aime/utils.py).
std::optional<std::string> math_normal_form(std::string_view text);

/// Equality of normal forms, or of the texts themselves when one of them has none.
bool same_normal_form(std::string_view a, std::string_view b);

}  // namespace canvaslab::grading
