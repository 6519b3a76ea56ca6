// The header of a GGUF file, as keys and tensors and as the network's weights. First two bytes: how much data seems to follow, in 16 bytes.
#include "core/gguf_header.h"
#include "core/stored_weights.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace canvaslab;
  static fuzz::MemoryFile file;
  if (size < 2) return 0;
  const auto text = fuzz::text_of(data, size).substr(2);
  const size_t whole = text.size() + 16 * (static_cast<size_t>(data[0]) << 8 | data[1]);
  file.set(text, whole);
  fuzz::reads([&] {
    uint64_t behind = 0;
    for (const auto& tensor : read_gguf_header(file.path()).tensors) {
      fuzz::demand(tensor.first_byte >= behind, "tensors are in order and do not overlap");
      behind = tensor.first_byte + tensor.num_bytes;
    }
    fuzz::demand(behind <= whole, "tensors end inside the file");
  });
  fuzz::reads([&] {
    for (const auto& [name, weight] : find_stored_weights(read_gguf_checkpoint(file.path())).weights) fuzz::demand(!weight.parts.empty(), "a weight has parts");
  });
  return 0;
}
