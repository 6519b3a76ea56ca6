// The header of a safetensors file. First byte even: a whole file follows; odd: two bytes of data size, then the JSON.
#include "core/safetensors_header.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace canvaslab;
  static fuzz::MemoryFile file;
  if (size < 3) return 0;
  const auto text = fuzz::text_of(data, size);
  if (data[0] % 2 == 0) {
    file.set(text.substr(1));
  } else {
    const std::string_view json = text.substr(3);
    const uint64_t length = json.size();
    std::string head(8, '\0');
    for (size_t i = 0; i < 8; ++i) head[i] = static_cast<char>(length >> (8 * i) & 0xFF);
    file.set(head + std::string(json), 8 + json.size() + (static_cast<size_t>(data[1]) << 8 | data[2]));
  }
  fuzz::reads([&] {
    uint64_t behind = 0;
    for (const auto& tensor : read_safetensors_header(file.path())) {
      fuzz::demand(tensor.first_byte >= behind, "tensors are in order and do not overlap");
      behind = tensor.first_byte + tensor.num_bytes;
    }
  });
  return 0;
}
