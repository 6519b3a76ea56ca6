// CSV as RFC 4180 has it, every field a text.
#include <algorithm>
#include <set>
#include <vector>

#include "core/error.h"
#include "core/text/tokenizer.h"
#include "core/text/utf8.h"
#include "eval/rows.h"

namespace canvaslab {
namespace {

/// Records of a CSV text. A record may span lines.
class CsvScanner {
 public:
  CsvScanner(const std::string& path, std::string_view text) : path_(path), text_(text) {}
  bool done() const { return at_ >= text_.size(); }
  size_t line() const { return line_; }

  std::vector<std::string> record() {
    std::vector<std::string> out;
    while (true) {
      out.push_back(field(out.size() + 1));
      if (done()) return out;
      const char end = text_[at_++];
      if (end == '\n') return ++line_, out;
    }
  }

 private:
  [[noreturn]] void fail(size_t column, const char* what) const { throw input_error("{}:{}: field {}: {}", path_, line_, column, what); }
  /// Leaves at_ on the comma or line feed behind the field, or at the end.
  std::string field(size_t column) {
    std::string out = !done() && text_[at_] == '"' ? quoted(column) : plain(column);
    if (text_.substr(at_, 2) == "\r\n") ++at_;
    return out;
  }
  std::string plain(size_t column) {
    const size_t end = std::min(text_.find_first_of(",\n\r\"", at_), text_.size());
    if (end < text_.size() && text_[end] == '"') fail(column, "a quote inside an unquoted field; quotes must enclose the whole field and be doubled inside it");
    std::string out(text_.substr(at_, end - at_));
    at_ = end;
    if (at_ < text_.size() && text_[at_] == '\r' && text_.substr(at_, 2) != "\r\n") fail(column, "a carriage return without a line feed outside quotes");
    return out;
  }
  std::string quoted(size_t column) {
    std::string out;
    const size_t first_line = line_;
    for (++at_;; ++at_) {
      const size_t end = text_.find('"', at_);
      if (end == std::string_view::npos) {
        line_ = first_line;
        fail(column, "the quote that begins here is never closed; is the file cut short?");
      }
      const std::string_view part = text_.substr(at_, end - at_);
      line_ += static_cast<size_t>(std::count(part.begin(), part.end(), '\n'));
      out += part;
      at_ = end + 1;
      if (done() || text_[at_] != '"') break;
      out += '"';
    }
    if (!done() && text_[at_] != ',' && text_[at_] != '\n' && text_.substr(at_, 2) != "\r\n") fail(column, "text behind a closing quote; quotes inside a field must be doubled");
    return out;
  }

  std::string path_;
  std::string_view text_;
  size_t at_ = 0, line_ = 1;
};

}  // namespace

void read_csv_rows(const std::string& path, const RowVisitor& visit) {
  const std::string bytes = read_text_file(path);
  std::string_view text = bytes;
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  const auto line_of = [&](size_t at) { return 1 + std::count(text.begin(), text.begin() + static_cast<ptrdiff_t>(at), '\n'); };
  if (const size_t nul = text.find('\0'); nul != std::string_view::npos) throw input_error("{}:{}: a NUL byte; is this a CSV file in UTF-8?", path, line_of(nul));
  if (const size_t broken = first_broken_utf8(text); broken != std::string_view::npos) throw input_error("{}:{}: the bytes are no UTF-8", path, line_of(broken));
  CsvScanner in(path, text);
  const auto names = in.record();
  std::set<std::string> seen;
  for (const auto& name : names)
    if (!seen.insert(name).second) throw input_error("{}:1: the column '{}' occurs twice", path, name);
  while (!in.done()) {
    DataRow row{.where = fmt::format("{}:{}: ", path, in.line()), .fields = Json::object()};
    auto fields = in.record();
    if (fields.size() == 1 && fields[0].empty()) continue;  // an empty line
    if (fields.size() != names.size()) throw input_error("{}expected {} fields as in the header, got {}", row.where, names.size(), fields.size());
    for (size_t c = 0; c < names.size(); ++c) row.fields[names[c]] = std::move(fields[c]);
    visit(row);
  }
}

}  // namespace canvaslab
