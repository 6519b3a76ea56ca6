#pragma once
// How questions are put into words: our own wording, or a file the user installs, which may be a published one.
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/params.h"

namespace canvaslab {

/// A published text that we name by size and hash and do not carry.
struct KnownTemplate {
  std::string_view dataset, name;
  std::string_view origin;       ///< repository and place of the text
  size_t num_bytes = 0;
  std::string_view sha256_start; ///< first 16 hex digits
};
/// Every published text that a data set knows how to fill in.
const std::vector<KnownTemplate>& known_templates();

/// A data set's template=... as it was given.
class PromptTemplate {
 public:
  /// `given`: "house", or a file. A file whose bytes are a known template's is that template; any other must hold
  /// {question}. Errors: input when it cannot be read, or is neither; the published hashes are listed.
  PromptTemplate(std::string_view dataset, const std::string& given);
  bool is_house() const { return text_.empty(); }
  /// The name of the published text, or "".
  std::string_view known() const { return known_; }
  const std::string& text() const { return text_; }
  /// What it is, for the content's identity: "house 1", or the file's hash.
  std::string identity() const;

 private:
  std::string text_;
  std::string_view known_;
};

/// The parameter: template=house or a file.
ParamSpec template_param();

/// `text` with each {name} of `values` replaced, left to right, once: what is put in is not looked at again.
std::string filled(std::string_view text, const std::vector<std::pair<std::string, std::string>>& values);

/// "A. first\nB. second": options one a line. `before` and `after` stand around the letter.
std::string lettered(const std::vector<std::string>& options, std::string_view before, std::string_view after);

}  // namespace canvaslab
