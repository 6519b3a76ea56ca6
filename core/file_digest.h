#pragma once
// SHA-256 of whole files.
#include <string>

namespace canvaslab {

/// SHA-256 (hex) of a file's bytes, read in pieces. Errors: input when it cannot be read.
std::string file_sha256(const std::string& path);

}  // namespace canvaslab
