// tokenizer.json, and after a zero byte a text to encode.
#include "core/text/tokenizer.h"
#include "core/text/utf8.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace canvaslab;
  std::string_view rest = fuzz::text_of(data, size);
  const std::string file = fuzz::next_part(rest);
  fuzz::reads([&] {
    const Tokenizer tokenizer = Tokenizer::parse(file, "tokenizer.json");
    for (const std::string_view text : {std::string_view("Hello, w\xc3\xb6rld!  42\n<eos>"), rest})
      fuzz::reads([&] {
        const auto ids = tokenizer.encode(text);
        const std::string whole = tokenizer.decode(ids);
        auto stream = tokenizer.stream();
        std::string pieces;
        for (const int32_t id : ids) pieces += stream.push(id);
        fuzz::demand(pieces + stream.finish() == whole, "a stream's pieces are the whole text");
      });
  });
  return 0;
}
