#include "eval/packed_text.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>

#include "core/error.h"
#include "core/text/utf8.h"

namespace canvaslab {
namespace {

constexpr std::array<int8_t, 256> base64_values() {
  std::array<int8_t, 256> out{};
  out.fill(-1);
  const std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (size_t i = 0; i < alphabet.size(); ++i) out[static_cast<unsigned char>(alphabet[i])] = static_cast<int8_t>(i);
  return out;
}

/// Reads a pickle from its start to its end.
class PickleReader {
 public:
  explicit PickleReader(std::string_view bytes) : bytes_(bytes) {}
  std::string only_string() {
    std::optional<std::string_view> found;
    while (true) {
      const size_t at = at_;
      const auto opcode = static_cast<unsigned char>(take(1)[0]);
      switch (opcode) {
        case 0x80: take(1); break;              // PROTO version
        case 0x95: take(8); break;              // FRAME length; says nothing that we need
        case 0x94: break;                       // MEMOIZE
        case 0x71: take(1); break;              // BINPUT
        case 0x72: take(4); break;              // LONG_BINPUT
        case 0x8c: string(1, found); break;     // SHORT_BINUNICODE
        case 0x58: string(4, found); break;     // BINUNICODE
        case 0x8d: string(8, found); break;     // BINUNICODE8
        case 0x2e:                              // STOP
          if (!found) throw input_error("the pickle ends without a string");
          if (at_ != bytes_.size()) throw input_error("{} bytes follow the pickle's end", bytes_.size() - at_);
          return replace_broken_utf8(*found);
        default: throw input_error("the pickle has opcode 0x{:02x} at byte {}; only a single string is read, since other pickles can run code", opcode, at);
      }
    }
  }

 private:
  std::string_view take(uint64_t count) {
    if (count > bytes_.size() - at_) throw input_error("the pickle is cut short at byte {}", bytes_.size());
    const auto out = bytes_.substr(at_, count);
    at_ += count;
    return out;
  }
  void string(size_t width, std::optional<std::string_view>& found) {
    if (found) throw input_error("the pickle holds more than one string");
    uint64_t length = 0;
    const auto bytes = take(width);
    for (size_t i = 0; i < width; ++i) length |= uint64_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
    found = take(length);
  }
  std::string_view bytes_;
  size_t at_ = 0;
};

}  // namespace

std::string base64_bytes(std::string_view text) {
  static constexpr auto kValues = base64_values();
  if (text.size() % 4 != 0) throw input_error("is no base64: {} characters, expected a multiple of 4", text.size());
  const size_t padding = text.ends_with("==") ? 2 : text.ends_with("=") ? 1 : 0;
  std::string out(text.size() / 4 * 3, '\0');
  char* to = out.data();
  uint32_t bits = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const int8_t value = i >= text.size() - padding ? int8_t{0} : kValues[static_cast<unsigned char>(text[i])];
    if (value < 0) throw input_error("is no base64: character {} is not of its alphabet", i + 1);
    bits = bits << 6 | static_cast<uint32_t>(value);
    if (i % 4 == 3)
      for (int shift = 16; shift >= 0; shift -= 8) *to++ = static_cast<char>(bits >> shift & 0xFF);
  }
  out.erase(out.size() - std::min(out.size(), padding));
  return out;
}

std::string inflated(std::string_view bytes, size_t most) {
  z_stream stream{};
  if (inflateInit(&stream) != Z_OK) throw std::bad_alloc();
  struct End {
    z_stream& stream;
    ~End() { inflateEnd(&stream); }
  } end{stream};
  std::string out, block(size_t{1} << 18, '\0');
  size_t given = 0;
  for (int code = Z_OK; code != Z_STREAM_END;) {
    if (stream.avail_in == 0) {
      const size_t part = std::min<size_t>(bytes.size() - given, size_t{1} << 30);
      if (part == 0) throw input_error("the compressed data is cut short");
      stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data() + given));
      stream.avail_in = static_cast<uInt>(part);
      given += part;
    }
    stream.next_out = reinterpret_cast<Bytef*>(block.data());
    stream.avail_out = static_cast<uInt>(block.size());
    code = inflate(&stream, Z_NO_FLUSH);
    if (code != Z_OK && code != Z_STREAM_END) throw input_error("the compressed data is damaged ({})", stream.msg ? stream.msg : "zlib cannot go on");
    const size_t got = block.size() - stream.avail_out;
    if (got > most - out.size()) throw input_error("the compressed data unpacks to more than {} bytes", most);
    out.append(block, 0, got);
  }
  if (stream.avail_in > 0 || given < bytes.size()) throw input_error("something follows the compressed data");
  return out;
}

std::string pickled_string(std::string_view pickle) { return PickleReader(pickle).only_string(); }

std::string unpacked_text(std::string_view packed, size_t most) { return pickled_string(inflated(base64_bytes(packed), most)); }

}  // namespace canvaslab
