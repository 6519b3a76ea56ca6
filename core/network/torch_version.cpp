#include "core/network/torch_version.h"

#include <torch/headeronly/version.h>

namespace canvaslab {

std::string torch_version() { return TORCH_VERSION; }

}  // namespace canvaslab
