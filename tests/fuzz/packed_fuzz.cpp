// LiveCodeBench's tests. First byte: 0 a packed text as it stands in a file; 1 a pickle, which is compressed and encoded here;
// 2 a text, which is pickled as well; 3 a whole row as JSON.
#include <openssl/evp.h>
#include <zlib.h>

#include "core/json.h"
#include "core/text/utf8.h"
#include "eval/packed_text.h"
#include "eval/test_cases.h"
#include "tests/fuzz/fuzz.h"

namespace {

using namespace canvaslab;

constexpr size_t kMost = 1 << 20;

std::string packed(std::string_view pickle) {
  std::string bytes(compressBound(pickle.size()), '\0');
  uLongf size = bytes.size();
  fuzz::demand(compress2(reinterpret_cast<Bytef*>(bytes.data()), &size, reinterpret_cast<const Bytef*>(pickle.data()), pickle.size(), 1) == Z_OK, "zlib works");
  std::string out(4 * ((size + 2) / 3) + 1, '\0');
  out.resize(static_cast<size_t>(EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()), reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(size))));
  return out;
}

/// As pickle.dumps(text, 4) writes it.
std::string pickled(std::string_view text) {
  std::string body;
  if (text.size() < 256) body = std::string("\x8C") + static_cast<char>(text.size());
  else {
    body = "X";
    for (int byte = 0; byte < 4; ++byte) body += static_cast<char>(text.size() >> 8 * byte & 0xFF);
  }
  body.append(text).append("\x94.");
  std::string out = "\x80\x04\x95";
  for (int byte = 0; byte < 8; ++byte) out += static_cast<char>(body.size() >> 8 * byte & 0xFF);
  return out + body;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const auto text = fuzz::text_of(data, size).substr(1);
  std::string out;
  bool came = false;
  if (data[0] % 4 == 0) came = fuzz::reads([&] { out = unpacked_text(text, kMost); });
  if (data[0] % 4 == 1) came = fuzz::reads([&] { out = unpacked_text(packed(text), kMost); });
  if (data[0] % 4 == 2 && first_broken_utf8(text) == std::string_view::npos) {
    came = fuzz::reads([&] { out = unpacked_text(packed(pickled(text)), kMost); });
    fuzz::demand(came && out == text, "what is packed comes out again");
  }
  if (came) fuzz::demand(first_broken_utf8(out) == std::string::npos, "what comes out is UTF-8");
  if (data[0] % 4 != 3) return 0;
  DataRow row{.where = "row 1: ", .fields = parse_json(text)};
  if (!row.fields.is_object()) return 0;
  ProgramTests tests;
  if (!fuzz::reads([&] { tests = program_tests_of(row); })) return 0;
  fuzz::demand(!tests.cases.empty(), "an item has tests");
  // Packed, they are the same tests.
  const auto field = row.fields.find("private_test_cases");
  if (field == row.fields.end() || !parse_json(field->get<std::string>()).is_array()) return 0;
  *field = packed(pickled(field->get<std::string>()));
  const ProgramTests again = program_tests_of(row);
  fuzz::demand(again.cases.size() == tests.cases.size() && again.function == tests.function, "packed tests are the same tests");
  for (size_t i = 0; i < tests.cases.size(); ++i) fuzz::demand(again.cases[i].input == tests.cases[i].input && again.cases[i].output == tests.cases[i].output, "packed tests are the same tests");
  return 0;
}
