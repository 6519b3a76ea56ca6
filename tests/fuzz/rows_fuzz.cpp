// A data file's rows. First byte: 0 CSV, 1 JSON lines, 2 JSON lines that are also read gzipped; the file follows.
#include <zlib.h>

#include "core/json.h"
#include "eval/rows.h"
#include "tests/fuzz/fuzz.h"

namespace {

using namespace canvaslab;

std::string gzipped(std::string_view text) {
  z_stream stream{};
  fuzz::demand(deflateInit2(&stream, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK, "zlib works");
  std::string out(deflateBound(&stream, text.size()) + 32, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data())), stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data()), stream.avail_out = static_cast<uInt>(out.size());
  fuzz::demand(deflate(&stream, Z_FINISH) == Z_STREAM_END, "zlib works");
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) out += c == '"' ? "\"\"" : std::string(1, c);
  return out + "\"";
}

std::vector<DataRow> rows_of(const std::string& path) {
  std::vector<DataRow> out;
  read_rows(path, [&](const DataRow& row) { out.push_back(row); });
  return out;
}

/// Rows written again, every field in quotes, are the same rows.
void rewrite_csv(const std::vector<DataRow>& rows) {
  if (rows.empty()) return;
  std::string text;
  const auto line = [&](auto part) {
    for (const auto& [name, value] : rows[0].fields.items()) text += (text.empty() || text.back() == '\n' ? "" : ",") + quoted(part(name));
    text += "\n";
  };
  line([](const std::string& name) { return name; });
  for (const auto& row : rows) line([&](const std::string& name) { return row.fields.at(name).get<std::string>(); });
  fuzz::put_file("again.csv", text);
  const auto again = rows_of("again.csv");
  // A single column that is empty is an empty line, which no reader can tell from none.
  if (rows[0].fields.size() > 1) fuzz::demand(again.size() == rows.size(), "as many rows when they are written again");
  for (size_t i = 0; i < std::min(rows.size(), again.size()) && rows[0].fields.size() > 1; ++i) fuzz::demand(again[i].fields == rows[i].fields, "the same rows when they are written again");
}

/// Each row is found again where it says it begins.
void seek_rows(const char* path, const std::vector<DataRow>& rows, std::string_view text) {
  if (rows.empty() || text.find("canvaslab_records") != std::string_view::npos) return;  // whose rows lose a field when they are checked
  RowFile file(path);
  for (size_t i = rows.size(); i-- > 0;) fuzz::demand(file.at(rows[i].offset).fields == rows[i].fields, "a row stands where it says");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const auto text = fuzz::text_of(data, size).substr(1);
  const char* path = data[0] % 3 == 0 ? "data.csv" : "data.jsonl";
  fuzz::put_file(path, text);
  std::vector<DataRow> rows;
  const bool sound = fuzz::reads([&] { rows = rows_of(path); });
  for (const auto& row : rows) fuzz::demand(row.fields.is_object() && row.where.starts_with(path), "a row is an object and knows its place");
  if (!sound) return 0;
  if (data[0] % 3 == 0) return rewrite_csv(rows), 0;
  seek_rows(path, rows, text);
  if (data[0] % 3 == 1) return 0;
  fuzz::put_file("data.jsonl.gz", gzipped(text));
  std::vector<DataRow> unpacked;
  fuzz::demand(fuzz::reads([&] { unpacked = rows_of("data.jsonl.gz"); }) && unpacked.size() == rows.size(), "gzipped it reads as well");
  for (size_t i = 0; i < rows.size(); ++i) fuzz::demand(unpacked[i].fields == rows[i].fields && unpacked[i].offset == rows[i].offset, "gzipped it holds the same rows");
  seek_rows("data.jsonl.gz", rows, text);
  return 0;
}
