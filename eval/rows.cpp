#include "eval/rows.h"

#include <zlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <vector>

#include "core/error.h"
#include "eval/records.h"

namespace canvaslab {
namespace {

constexpr size_t kMostLineBytes = size_t{1} << 30;
constexpr size_t kMostInflatedBytes = size_t{1} << 36;  ///< of a gzipped file: beyond any published one

/// Lines of a file, which may be gzipped. Memory: the longest line.
class LineReader {
 public:
  explicit LineReader(const std::string& path) : path_(path), file_(gzopen(path.c_str(), "rb"), gzclose), buffer_(size_t{1} << 18) {
    if (!file_) throw input_error("{}: cannot be opened; is the path right and the file readable?", path);
    gzbuffer(file_.get(), 1 << 18);
  }
  /// Goes on at a byte of the unpacked file. Numbers of lines mean nothing from then on.
  void seek(int64_t offset) {
    const auto wanted = static_cast<size_t>(offset);
    if (wanted >= total_ - end_ && wanted <= total_) {  // in the buffer
      at_ = wanted - (total_ - end_);
      return;
    }
    if (!gzdirect(file_.get())) num_unpacked_ += offset - (offset >= gztell(file_.get()) ? gztell(file_.get()) : 0);
    if (gzseek(file_.get(), offset, SEEK_SET) != offset) throw input_error("{}: has no byte {}; it has changed while it was in use", path_, offset);
    at_ = end_ = 0, total_ = wanted;
  }
  /// False at the end of the file.
  bool next(std::string& line) {
    line.clear();
    line_start_ = total_ - (end_ - at_);
    while (true) {
      if (at_ == end_ && !fill()) break;
      const std::string_view rest(buffer_.data() + at_, end_ - at_);
      const size_t stop = std::min(rest.find('\n'), rest.size());
      line.append(rest.substr(0, stop));
      at_ += stop;
      if (line.size() > kMostLineBytes) throw input_error("{}:{}: the line is longer than 1 GiB; is this a file of JSON lines?", path_, number_ + 1);
      if (at_ == end_) continue;
      ++at_, ++number_;
      return true;
    }
    if (line.empty()) return false;
    ++number_;
    return true;
  }
  size_t number() const { return number_; }  ///< of the line last read, from 1
  size_t offset() const { return line_start_; }  ///< of its first byte
  int64_t num_unpacked() const { return num_unpacked_; }  ///< bytes read, or unpacked and skipped

 private:
  bool fill() {
    const int got = gzread(file_.get(), buffer_.data(), static_cast<unsigned>(buffer_.size()));
    int code = Z_OK;
    const std::string problem = gzerror(file_.get(), &code);
    if (got < 0 || (code != Z_OK && code != Z_STREAM_END))
      throw input_error("{}: cannot be read beyond line {} ({}); the file is cut short or damaged: fetch it again", path_, number_, problem);
    total_ += static_cast<size_t>(got), num_unpacked_ += got;
    if (total_ > kMostInflatedBytes) throw input_error("{}: unpacks to more than 64 GiB; no data set is that large", path_);
    at_ = 0, end_ = static_cast<size_t>(got);
    return got > 0;
  }
  std::string path_;
  std::unique_ptr<gzFile_s, int (*)(gzFile)> file_;
  std::vector<char> buffer_;
  size_t at_ = 0, end_ = 0, number_ = 0, total_ = 0, line_start_ = 0;
  int64_t num_unpacked_ = 0;
};

void read_json_lines(const std::string& path, const RowVisitor& visit) {
  LineReader in(path);
  DataRow row;
  std::optional<RecordReader> records;
  for (std::string line; in.next(line);) {
    std::string_view text = line;
    if (in.number() == 1 && text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
    if (text.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    std::string problem;
    row.fields = parse_json(text, &problem);
    row.where = fmt::format("{}:{}: ", path, in.number());
    row.offset = static_cast<int64_t>(in.offset());
    // What the parser read last is left out of its words: rows may be gated.
    if (row.fields.is_discarded()) throw input_error("{}malformed JSON; expected one object a line\n{}", row.where, problem.substr(0, problem.find("; last read")));
    if (!row.fields.is_object()) throw input_error("{}expected a JSON object, got {}", row.where, row.fields.type_name());
    if (in.number() == 1 && RecordReader::is_header(row.fields, row.where)) {
      records.emplace();
      continue;
    }
    if (!records || records->take(row.fields, row.where)) visit(row);
  }
  if (records) records->finish(path);
}

/// The first bytes of a file. Errors: input when there is none.
std::string magic_of(const std::string& path) {
  std::error_code problem;
  if (!std::filesystem::exists(path, problem)) throw input_error("{}: no such file", path);
  if (!std::filesystem::is_regular_file(path, problem)) throw input_error("{}: is no file", path);
  std::ifstream in(path, std::ios::binary);
  std::string out(8, '\0');
  in.read(out.data(), 8);
  if (in.bad() || !in.is_open()) throw input_error("{}: cannot be read", path);
  out.resize(static_cast<size_t>(in.gcount()));
  return out;
}

}  // namespace

void read_rows(const std::string& path, const RowVisitor& visit) {
  const std::string magic = magic_of(path);
  if (magic.empty()) throw input_error("{}: is empty", path);
  if (magic.starts_with("PAR1") || path.ends_with(".parquet")) return read_parquet_rows(path, visit);
  if (path.ends_with(".csv")) return read_csv_rows(path, visit);
  if (magic.starts_with("PK")) throw input_error("{}: is a zip archive; unpack it and give the file inside", path);
  if (magic.starts_with("version"))
    throw input_error("{}: is a Git LFS pointer, not the file itself; fetch the file", path);
  read_json_lines(path, visit);
}

/// A file that stays open between rows.
class RowFile::Reader {
 public:
  explicit Reader(const std::string& path) : in(path) {}
  LineReader in;
};

RowFile::RowFile(std::string path) : path_(std::move(path)), reader_(std::make_unique<Reader>(path_)) {}
RowFile::~RowFile() = default;

int64_t RowFile::num_bytes_unpacked() const {
  const std::lock_guard lock(mutex_);
  return reader_->in.num_unpacked();
}

DataRow RowFile::at(int64_t offset) {
  DataRow out{.where = fmt::format("{}: byte {}: ", path_, offset), .fields = {}, .offset = offset};
  std::string line;
  {
    const std::lock_guard lock(mutex_);
    reader_->in.seek(offset);
    reader_->in.next(line);
  }
  out.fields = parse_json(line.starts_with("\xEF\xBB\xBF") ? std::string_view(line).substr(3) : std::string_view(line));
  if (!out.fields.is_object()) throw input_error("{}no row begins here any more; the file has changed while it was in use", out.where);
  return out;
}

}  // namespace canvaslab
