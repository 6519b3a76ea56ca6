#pragma once
// Files that are either whole or absent, whatever happens while they are written.
#include <span>
#include <string>
#include <string_view>

namespace canvaslab {

/// Writes `parts` one after the other to a temporary beside `path`, syncs it, renames it into place and syncs the folder.
/// A file that stood there before stays as it was until then. Errors (disk full, no permission): input errors naming the path.
void write_durably(const std::string& path, std::span<const std::string_view> parts);
/// The same for one text; missing folders are made.
void write_text_durably(const std::string& path, std::string_view text);

}  // namespace canvaslab
