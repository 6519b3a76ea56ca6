#include "core/safetensors_writer.h"

#include "core/durable_file.h"
#include "core/json.h"

namespace canvaslab {

void write_safetensors(const std::string& path, std::span<const TensorToWrite> tensors) {
  Json header = Json::object();
  header["__metadata__"] = {{"format", "pt"}};  // transformers refuses files without it
  uint64_t at = 0;
  for (const auto& tensor : tensors) {
    header[tensor.name] = {{"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {at, at + tensor.bytes.size()}}};
    at += tensor.bytes.size();
  }
  std::string text = json_text(header);
  text.append((8 - text.size() % 8) % 8, ' ');  // data start on a multiple of 8
  std::string length(8, '\0');
  for (size_t i = 0; i < 8; ++i) length[i] = static_cast<char>(text.size() >> (8 * i) & 0xFF);
  std::vector<std::string_view> parts{length, text};
  for (const auto& tensor : tensors) parts.push_back(tensor.bytes);
  write_durably(path, parts);
}

}  // namespace canvaslab
