// `data check`. First byte: which data set (0: by its columns), and by its fourth bit whether the file is CSV.
#include <array>

#include "eval/data_check.h"
#include "eval/records.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace canvaslab;
  constexpr std::array<const char*, 7> kSets = {"", "gpqa", "mmlu_pro", "aime", "math_vision", "live_code_bench", "human_eval"};
  if (size == 0) return 0;
  const char* path = data[0] & 8 ? "data.csv" : "data.jsonl";
  fuzz::put_file(path, fuzz::text_of(data, size).substr(1));
  DataReport report;
  if (!fuzz::reads([&] { report = check_data_file(path, kSets[data[0] % 8 % kSets.size()]); })) return 0;
  fuzz::demand(report.num_rows > 0 && !report.dataset.empty() && report.sha256.size() == 64, "a file that is checked has rows, a data set and a hash");
  if (!report.problems.empty()) return 0;
  // What has no problem converts, and its records have none either.
  std::remove("records.jsonl");
  fuzz::demand(fuzz::reads([&] { convert_to_records(path, report.dataset, "records.jsonl"); }), "a file without problems converts");
  DataReport records;
  fuzz::demand(fuzz::reads([&] { records = check_data_file("records.jsonl", report.dataset); }), "records can be checked");
  fuzz::demand(records.problems.empty() && records.num_rows == report.num_rows && records.categories == report.categories && records.sha256 == report.sha256, "records hold what the file holds");
  return 0;
}
