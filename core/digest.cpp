#include "core/digest.h"

#include <openssl/sha.h>

namespace canvaslab {
namespace {

struct Crc32cTable {
  std::array<std::array<uint32_t, 256>, 8> entry{};
  constexpr Crc32cTable() {
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t crc = i;
      for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) ? 0x82F63B78u : 0u);
      entry[0][i] = crc;
    }
    for (size_t slice = 1; slice < 8; ++slice)
      for (size_t i = 0; i < 256; ++i) entry[slice][i] = (entry[slice - 1][i] >> 8) ^ entry[0][entry[slice - 1][i] & 0xFF];
  }
};
constexpr Crc32cTable kTable;

}  // namespace

Sha256 sha256(std::string_view bytes) {
  Sha256 out;
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), out.data());
  return out;
}

std::string hex(std::span<const uint8_t> bytes) {
  std::string out;
  for (uint8_t b : bytes) {
    out += "0123456789abcdef"[b >> 4];
    out += "0123456789abcdef"[b & 15];
  }
  return out;
}

uint32_t crc32c(std::string_view bytes, uint32_t seed) {
  uint32_t crc = ~seed;
  size_t i = 0;
  const auto byte = [&](size_t at) { return static_cast<uint32_t>(static_cast<unsigned char>(bytes[at])); };
  for (; i + 8 <= bytes.size(); i += 8) {  // eight bytes a turn: slicing-by-8
    const uint32_t low = crc ^ (byte(i) | byte(i + 1) << 8 | byte(i + 2) << 16 | byte(i + 3) << 24);
    crc = kTable.entry[7][low & 0xFF] ^ kTable.entry[6][(low >> 8) & 0xFF] ^ kTable.entry[5][(low >> 16) & 0xFF] ^
          kTable.entry[4][low >> 24] ^ kTable.entry[3][byte(i + 4)] ^ kTable.entry[2][byte(i + 5)] ^
          kTable.entry[1][byte(i + 6)] ^ kTable.entry[0][byte(i + 7)];
  }
  for (; i < bytes.size(); ++i) crc = (crc >> 8) ^ kTable.entry[0][(crc ^ byte(i)) & 0xFF];
  return ~crc;
}

}  // namespace canvaslab
