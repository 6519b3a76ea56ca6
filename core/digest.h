#pragma once
// SHA-256 for content keys, CRC32C for journal frames.
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace canvaslab {

using Sha256 = std::array<uint8_t, 32>;
Sha256 sha256(std::string_view bytes);
std::string hex(std::span<const uint8_t> bytes);
/// CRC-32C (Castagnoli), as iSCSI uses it.
uint32_t crc32c(std::string_view bytes, uint32_t seed = 0);

}  // namespace canvaslab
