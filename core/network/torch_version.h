#pragma once
// Which LibTorch makes the numbers.
#include <string>

namespace canvaslab {

std::string torch_version();

}  // namespace canvaslab
