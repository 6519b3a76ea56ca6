// Speed of encoding, on the committed tokenizer and on any other: CANVASLAB_TOKENIZER=FILE CANVASLAB_TEXT=FILE.
#include <benchmark/benchmark.h>

#include <cstdlib>

#include "core/text/tokenizer.h"

namespace canvaslab {
namespace {

const Tokenizer& tokenizer() {
  static const char* file = std::getenv("CANVASLAB_TOKENIZER");
  static const Tokenizer out = Tokenizer::load(file ? file : "tests/fixtures/text/gemma_like.json");
  return out;
}

/// About `bytes` of text: a file, or our own source over and over.
std::string sample_text(size_t bytes) {
  const char* file = std::getenv("CANVASLAB_TEXT");
  const std::string once = read_text_file(file ? file : "core/text/jinja_parser.cpp");
  std::string out;
  while (out.size() < bytes) out += once;
  return out;
}

void encode(benchmark::State& state, const std::string& text) {
  if (tokenizer().decode(tokenizer().encode(text)) != text) {
    state.SkipWithError("encoding and decoding does not give the text back");
    return;
  }
  for (auto unused : state) benchmark::DoNotOptimize(tokenizer().encode(text));
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) * static_cast<int64_t>(text.size()));
}

void EncodeText(benchmark::State& state) { encode(state, sample_text(static_cast<size_t>(state.range(0)))); }
void EncodeWithoutSpaces(benchmark::State& state) {
  std::string text;
  for (size_t i = 0; text.size() < static_cast<size_t>(state.range(0)); ++i) text += static_cast<char>('a' + (i * i + i / 7) % 26);
  encode(state, text);
}

BENCHMARK(EncodeText)->Arg(1 << 16)->Arg(1 << 20)->Unit(benchmark::kMillisecond);
BENCHMARK(EncodeWithoutSpaces)->Arg(50'000)->Arg(200'000)->Arg(800'000)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace canvaslab
