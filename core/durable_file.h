#pragma once
// Files that are either whole or absent, whatever happens while they are written.
#include <span>
#include <string>
#include <string_view>

namespace canvaslab {

/// A file that is written piece by piece and put in its place at the end; without keep() nothing of it stays.
class DurableFile {
 public:
  /// Writes to a temporary beside `path`. Errors, also of write and keep: input errors naming the path.
  explicit DurableFile(const std::string& path);
  DurableFile(const DurableFile&) = delete;
  DurableFile& operator=(const DurableFile&) = delete;
  ~DurableFile();
  void write(std::string_view bytes);
  /// Syncs the file, renames it into place and syncs the folder.
  void keep();

 private:
  [[noreturn]] void fail(const char* what) const;
  std::string place_, path_;
  int fd_ = -1;
  bool kept_ = false;
};

/// Writes `parts` one after the other to a temporary beside `path`, syncs it, renames it into place and syncs the folder.
/// A file that stood there before stays as it was until then. Errors (disk full, no permission): input errors naming the path.
void write_durably(const std::string& path, std::span<const std::string_view> parts);
/// The same for one text; missing folders are made.
void write_text_durably(const std::string& path, std::string_view text);

}  // namespace canvaslab
