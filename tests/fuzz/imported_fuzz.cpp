// Completions of other programs, and after a zero byte the field that names items.
#include <set>
#include <tuple>

#include "eval/imported_lines.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace canvaslab;
  std::string_view rest = fuzz::text_of(data, size);
  fuzz::put_file("samples.jsonl", fuzz::next_part(rest));
  fuzz::reads([&] {
    const ImportedFile file = read_imported("samples.jsonl", std::string(rest));
    std::set<std::tuple<std::string, std::string, uint32_t>> seen;
    size_t last = 0;
    fuzz::demand(!file.lines.empty(), "a file that reads holds lines");
    for (const auto& line : file.lines) {
      fuzz::demand(line.number > last, "lines are in order");
      fuzz::demand(seen.insert({line.id, line.filter, line.repeat}).second, "no sample stands there twice");
      fuzz::demand(line.metrics.size() == file.lines[0].metrics.size(), "every line has the metrics of the first");
      for (const int32_t id : line.token_ids) fuzz::demand(id >= 0, "token ids are not negative");
      last = line.number;
    }
  });
  return 0;
}
