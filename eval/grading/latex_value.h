#pragma once
// The numeric value of a short LaTeX expression.
#include <optional>
#include <string>
#include <string_view>

namespace canvaslab::grading {

/// Reads numbers, + - * / ^ !, \cdot \times \div, \frac, \sqrt[n], parentheses, implicit products, mixed numbers
/// (2\frac{1}{3}), percent, \pi, and \sin \cos \tan \cot \sec \csc \arcsin \arccos \arctan \ln \log \exp (radians; \log is
/// base ten unless it has a base). Nothing for everything else, for values that are not finite, and beyond 100 nested
/// levels.
std::optional<double> latex_value(std::string_view text);

/// Two decimals, rounded half to even on the binary value as Python's round does; "-0.00" reads "0.00".
std::string round_two(double value);

}  // namespace canvaslab::grading
