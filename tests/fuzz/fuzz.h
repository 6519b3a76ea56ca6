#pragma once
// What the fuzz targets share. A target reads one hostile input; the only good answers are success and a UserError.
// Everything else (another exception, a sanitizer's finding, a time-out, memory above the limit) stops libFuzzer.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "core/error.h"

namespace canvaslab::fuzz {

/// Stops the fuzzer: something that must always hold does not.
inline void demand(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "violated: %s\n", what);
  std::abort();
}

/// Runs `read`; whether it came through. Other exceptions than ours pass on to the fuzzer.
template <typename Read>
bool reads(Read read) {
  try {
    read();
    return true;
  } catch (const UserError& error) {
    demand(error.what()[0] != '\0', "an error says what is wrong");
    return false;
  }
}

/// Takes the input up to the next zero byte; text formats need none.
inline std::string next_part(std::string_view& rest) {
  const size_t end = rest.find('\0');
  const std::string part(rest.substr(0, end));
  rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
  return part;
}

inline std::string_view text_of(const uint8_t* data, size_t size) { return {reinterpret_cast<const char*>(data), size}; }

/// A file in memory with a path; one a process, overwritten for every input.
class MemoryFile {
 public:
  MemoryFile() : fd_(::memfd_create("fuzz", 0)), path_("/proc/self/fd/" + std::to_string(fd_)) { demand(fd_ >= 0, "memory files exist"); }
  /// Zeros follow `bytes` up to `size`; they take no memory.
  void set(std::string_view bytes, size_t size = 0) {
    demand(::ftruncate(fd_, 0) == 0 && ::pwrite(fd_, bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()), "the input is written");
    if (size > bytes.size()) demand(::ftruncate(fd_, static_cast<off_t>(size)) == 0, "the file grows");
  }
  const std::string& path() const { return path_; }

 private:
  int fd_;
  std::string path_;
};

/// A file of this name in the working folder, which the caller of the fuzzer provides and removes.
inline void put_file(const char* name, std::string_view bytes) {
  FILE* file = std::fopen(name, "wb");
  demand(file != nullptr, "the working folder is writable");
  std::fwrite(bytes.data(), 1, bytes.size(), file);
  std::fclose(file);
}

}  // namespace canvaslab::fuzz
