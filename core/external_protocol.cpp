#include "core/external_protocol.h"

#include <algorithm>
#include <bit>
#include <fmt/format.h>
#include <sstream>
#include <stdexcept>

#include "core/error.h"
#include "core/params.h"

namespace canvaslab {

static_assert(std::endian::native == std::endian::little, "frames are copied as they lie in memory");

void FrameReader::need(size_t size) const {
  if (bytes_.size() < size) throw std::runtime_error(fmt::format("its answer is {} bytes too short", size - bytes_.size()));
}
void FrameReader::end() const {
  if (!bytes_.empty()) throw std::runtime_error(fmt::format("its answer is {} bytes too long", bytes_.size()));
}

HandshakeAnswer::HandshakeAnswer(std::string_view text) {
  std::istringstream in{std::string(text)};
  std::string line;
  if (!std::getline(in, line) || line != "canvaslab 1")
    throw std::runtime_error(fmt::format("its handshake starts with '{}'; expected 'canvaslab 1', the protocol's version", line.substr(0, 80)));
  while (std::getline(in, line)) {
    const size_t blank = line.find(' ');
    const std::string key = line.substr(0, blank);
    if (key.empty() || !lines_.emplace(key, blank == std::string::npos ? "" : line.substr(blank + 1)).second)
      throw std::runtime_error(fmt::format("its handshake has a line without a key, or the key '{}' twice", key));
  }
}

std::optional<std::string> HandshakeAnswer::text(const std::string& key) {
  const auto found = lines_.find(key);
  if (found == lines_.end()) return std::nullopt;
  std::string out = found->second;
  lines_.erase(found);
  return out;
}

std::optional<int64_t> HandshakeAnswer::integer(const std::string& key, int64_t least, int64_t most) {
  const auto given = text(key);
  if (!given) return std::nullopt;
  const int64_t out = parse_integer(*given, fmt::format("its handshake, '{}'", key));
  if (out < least || out > most) throw std::runtime_error(fmt::format("its handshake says {} {}; expected {} to {}", key, out, least, most));
  return out;
}

std::vector<int32_t> HandshakeAnswer::ids(const std::string& key) {
  std::istringstream in(text(key).value_or(""));
  std::vector<int32_t> out;
  for (std::string word; in >> word;) {
    const int64_t id = parse_integer(word, fmt::format("its handshake, '{}'", key));
    if (id < 0 || id > INT32_MAX) throw std::runtime_error(fmt::format("its handshake says {} {}, which is no token id", key, id));
    out.push_back(static_cast<int32_t>(id));
  }
  return out;
}

std::vector<size_t> HandshakeAnswer::words(const std::string& key, const std::vector<std::string>& known) {
  std::istringstream in(text(key).value_or(""));
  std::vector<size_t> out;
  for (std::string word; in >> word;) {
    const auto found = std::find(known.begin(), known.end(), word);
    if (found == known.end()) throw std::runtime_error(fmt::format("its handshake says {} '{}'{}; known: {}", key, word, did_you_mean(word, known), joined(known)));
    out.push_back(static_cast<size_t>(found - known.begin()));
  }
  return out;
}

void HandshakeAnswer::end() const {
  if (!lines_.empty()) throw std::runtime_error(fmt::format("its handshake has the key '{}', which is not known for this kind of plug-in", lines_.begin()->first));
}

}  // namespace canvaslab
