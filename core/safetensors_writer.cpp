#include "core/safetensors_writer.h"

#include <stdexcept>

#include "core/durable_file.h"
#include "core/json.h"

namespace canvaslab {

void write_safetensors(const std::string& path, std::span<const TensorToWrite> tensors) {
  std::vector<TensorToMake> all;
  for (const auto& tensor : tensors) all.push_back({tensor.name, tensor.dtype, tensor.shape, tensor.bytes.size(), [bytes = tensor.bytes](const auto& put) { put(bytes); }});
  write_safetensors(path, all);
}

void write_safetensors(const std::string& path, std::span<const TensorToMake> tensors) {
  Json header = Json::object();
  header["__metadata__"] = {{"format", "pt"}};  // transformers refuses files without it
  uint64_t at = 0;
  for (const auto& tensor : tensors) {
    header[tensor.name] = {{"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {at, at + tensor.num_bytes}}};
    at += tensor.num_bytes;
  }
  std::string text = json_text(header);
  text.append((8 - text.size() % 8) % 8, ' ');  // data start on a multiple of 8
  std::string length(8, '\0');
  for (size_t i = 0; i < 8; ++i) length[i] = static_cast<char>(text.size() >> (8 * i) & 0xFF);
  DurableFile file(path);
  file.write(length);
  file.write(text);
  for (const auto& tensor : tensors) {
    uint64_t written = 0;
    tensor.make([&](std::string_view bytes) { file.write(bytes), written += bytes.size(); });
    if (written != tensor.num_bytes) throw std::logic_error("tensor " + tensor.name + ": " + std::to_string(written) + " bytes were made of " + std::to_string(tensor.num_bytes));
  }
  file.keep();
}

}  // namespace canvaslab
