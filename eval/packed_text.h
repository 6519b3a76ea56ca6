#pragma once
// Texts as LiveCodeBench packs them: base64 of zlib of a pickle that holds one string.
#include <cstddef>
#include <string>
#include <string_view>

namespace canvaslab {

/// Most bytes that a packed text may unpack to.
inline constexpr size_t kMostUnpackedBytes = size_t{1} << 31;

/// Standard alphabet, padded. Errors: input ("... is no base64"), without naming a file: the caller does.
std::string base64_bytes(std::string_view text);

/// Inflates a zlib stream. Errors: input when it is damaged, cut short, followed by something, or larger than `most`.
std::string inflated(std::string_view bytes, size_t most = kMostUnpackedBytes);

/// The one string of a pickle (protocols 2 to 5) that was made of a str. Reads the nine opcodes that occur in one and
/// nothing else: a pickle with any other is refused, since those can run code. Lone surrogates, which Python may write,
/// become U+FFFD. Errors: input naming opcode and place.
std::string pickled_string(std::string_view pickle);

/// All three.
std::string unpacked_text(std::string_view packed, size_t most = kMostUnpackedBytes);

}  // namespace canvaslab
