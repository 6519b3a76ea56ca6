#pragma once
// Whether a contest program's output is the expected one.
#include <optional>
#include <string>
#include <string_view>

namespace canvaslab::grading {

/// Texts line by line, white space at the ends of text and lines left out: equal as they are, or as lists of decimal numbers
/// of any precision (1.0 and 1.00 are equal, 0.3333333 and 0.3333334 are not).
/// Source: LiveCodeBench lcb_runner/evaluation/testing_util.py (evaluation.md 2.2). Decimals are read as Python's decimal
/// module reads them, but for digits that are not ASCII.
bool same_output(std::string_view got, std::string_view expected);

/// A JSON text in a form in which values that are equal in Python have equal texts: whole numbers of any size in digits, also
/// where they are written as floats or as true and false; keys in order. Nothing for what is no JSON, or nested
/// more than a thousand deep.
std::optional<std::string> canonical_value(std::string_view json);

}  // namespace canvaslab::grading
