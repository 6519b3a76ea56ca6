// config.json, and after a zero byte generation_config.json.
#include "core/network/model_config.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace canvaslab;
  std::string_view rest = fuzz::text_of(data, size);
  fuzz::put_file("config.json", fuzz::next_part(rest));
  fuzz::put_file("generation_config.json", rest);
  fuzz::reads([] {
    const ModelConfig config = ModelConfig::read(".");
    fuzz::demand(static_cast<int64_t>(config.layers.size()) == config.num_layers, "every layer is described");
    read_generation_config(".", config);
  });
  return 0;
}
