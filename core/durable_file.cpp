#include "core/durable_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "core/error.h"

namespace canvaslab {

DurableFile::DurableFile(const std::string& path) : place_(path), path_(path + ".tmp") {
  fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd_ < 0) fail("cannot be created");
}

DurableFile::~DurableFile() {
  if (fd_ >= 0) ::close(fd_);
  if (!kept_) ::unlink(path_.c_str());
}

void DurableFile::write(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(fd_, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail("cannot be written");
    bytes.remove_prefix(static_cast<size_t>(count));
  }
}

void DurableFile::keep() {
  if (::fsync(fd_) != 0) fail("cannot be synced");
  if (::rename(path_.c_str(), place_.c_str()) != 0) fail("cannot be renamed into place");
  kept_ = true;
  const int folder = ::open(std::filesystem::absolute(place_).parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return;
  ::fsync(folder);
  ::close(folder);
}

void DurableFile::fail(const char* what) const {
  throw input_error("{}: {} ({}); what stood there before is untouched\ncheck that the folder is writable and has free space", place_, what, std::strerror(errno));
}

void write_durably(const std::string& path, std::span<const std::string_view> parts) {
  DurableFile file(path);
  for (const auto part : parts) file.write(part);
  file.keep();
}

void write_text_durably(const std::string& path, std::string_view text) {
  if (const auto folder = std::filesystem::path(path).parent_path(); !folder.empty()) {
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    if (error) throw input_error("{}: the folder cannot be created ({})", folder.string(), error.message());
  }
  write_durably(path, std::span(&text, 1));
}

}  // namespace canvaslab
