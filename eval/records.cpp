#include "eval/records.h"

#include <filesystem>
#include <fstream>

#include "core/digest.h"
#include "core/file_digest.h"
#include "core/error.h"
#include "core/text/json_fields.h"
#include "eval/data_check.h"
#include "eval/rows.h"

namespace canvaslab {
namespace {

constexpr int kRecordsVersion = 1;

/// The first line of a file as JSON, when it is short enough to be a header.
Json first_line(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::string line(4096, '\0');
  in.read(line.data(), static_cast<std::streamsize>(line.size()));
  line.resize(static_cast<size_t>(in.gcount()));
  return parse_json(std::string_view(line).substr(0, line.find('\n')));
}

}  // namespace

bool RecordReader::is_header(const Json& line, const std::string& where) {
  if (!line.is_object() || !line.contains("canvaslab_records")) return false;
  if (line["canvaslab_records"] != kRecordsVersion)
    throw input_error("{}records of version {}; this program reads version {}: convert the data again", where, json_text(line["canvaslab_records"]), kRecordsVersion);
  return true;
}

bool RecordReader::take(Json& line, const std::string& where) {
  if (ended_) throw input_error("{}something follows the last line of a record file; convert the data again", where);
  if (line.contains("canvaslab_records_end")) {
    if (line["canvaslab_records_end"] != num_rows_)
      throw input_error("{}the file says it has {} rows, and {} came; it is damaged: convert the data again", where, json_text(line["canvaslab_records_end"]), num_rows_);
    ended_ = true;
    return false;
  }
  const std::string hash = JsonFields(line, where).text("row_sha256");
  line.erase("row_sha256");
  if (hex(sha256(json_text(line))) != hash) throw input_error("{}the row's hash does not match; the file is damaged or was edited: convert the data again", where);
  ++num_rows_;
  return true;
}

void RecordReader::finish(const std::string& path) const {
  if (!ended_) throw input_error("{}: the record file is cut short behind row {}; convert the data again", path, num_rows_);
}

bool is_record_file(const std::string& path) { return RecordReader::is_header(first_line(path), path + ":1: "); }

std::string data_identity(const std::string& path) {
  const Json line = first_line(path);
  if (!RecordReader::is_header(line, path + ":1: ")) return file_sha256(path);
  return JsonFields(line, path + ":1: ").text("source_sha256");
}

size_t convert_to_records(const std::string& path, const std::string& dataset, const std::string& out_path) {
  const std::string name = file_dataset(dataset).name;
  if (std::filesystem::exists(out_path)) throw usage_error("{}: exists already; give another name, or remove it", out_path);
  load_whole(path, name);
  const std::string temporary = out_path + ".tmp";
  std::ofstream out(temporary, std::ios::binary);
  out << json_text(Json{{"canvaslab_records", kRecordsVersion}, {"dataset", name}, {"source", std::filesystem::path(path).filename().string()}, {"source_sha256", data_identity(path)}}) << "\n";
  size_t count = 0;
  read_rows(path, [&](const DataRow& row) {
    Json fields = row.fields;
    fields["row_sha256"] = hex(sha256(json_text(row.fields)));
    out << json_text(fields) << "\n";
    ++count;
  });
  out << json_text(Json{{"canvaslab_records_end", count}}) << "\n";
  if (!out.flush()) {
    std::filesystem::remove(temporary);
    throw input_error("{}: cannot be written; check that the folder is writable and has free space", out_path);
  }
  out.close();
  std::filesystem::rename(temporary, out_path);
  return count;
}

}  // namespace canvaslab
