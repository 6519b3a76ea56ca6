#include "core/network/quantise_checkpoint.h"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <memory>

#include "core/checkpoint_facts.h"
#include "core/durable_file.h"
#include "core/error.h"
#include "core/json.h"
#include "core/kernels/packed_matrix.h"
#include "core/kernels/quantise.h"
#include "core/network/model_config.h"
#include "core/network/safetensors.h"
#include "core/network/weight_names.h"
#include "core/safetensors_writer.h"
#include "core/stored_weights.h"

namespace canvaslab {
namespace {

namespace fs = std::filesystem;
constexpr int64_t kRowsAtOnce = 64;

std::string_view view_of(const void* data, size_t bytes) { return {static_cast<const char*>(data), bytes}; }

/// Codes and scales of a matrix; how many bytes, and how rows are made and read back.
struct Layout {
  QuantisedFormat format;
  int64_t columns;
  int64_t code_bytes() const { return format == QuantisedFormat::kFp8 ? columns : columns / 2; }
  int64_t scales() const { return format == QuantisedFormat::kFp8 ? 1 : columns / (format == QuantisedFormat::kInt4 ? kInt4Group : kNvfp4Group); }
  int64_t scale_bytes() const { return format == QuantisedFormat::kNvfp4 ? scales() : 2 * scales(); }
  void quantise(const float* w, int64_t rows, float matrix_scale, uint8_t* codes, uint8_t* scale_codes) const {
    auto* wide = reinterpret_cast<uint16_t*>(scale_codes);
    if (format == QuantisedFormat::kFp8) quantise_fp8(w, rows, columns, codes, wide);
    else if (format == QuantisedFormat::kInt4) quantise_int4(w, rows, columns, codes, wide);
    else quantise_nvfp4(w, rows, columns, matrix_scale, codes, scale_codes);
  }
  PackedMatrix packed(int64_t rows, float matrix_scale, const uint8_t* codes, const uint8_t* scale_codes) const {
    const Packing packing = format == QuantisedFormat::kFp8 ? Packing::kE4m3 : format == QuantisedFormat::kInt4 ? Packing::kInt4 : Packing::kNvfp4;
    return {.packing = packing, .rows = rows, .columns = columns, .codes = codes, .scales = scale_codes, .scale_packing = format == QuantisedFormat::kNvfp4 ? Packing::kE4m3 : Packing::kBf16,
            .scales_per_row = scales(), .matrix_scale = matrix_scale, .divides = true};
  }
};

/// A matrix to be quantised: rows [first, first + rows) of a plain tensor, seen as one matrix.
struct Source {
  const SafetensorsFolder::Entry* entry;
  Packing packing;
  int64_t first, rows, columns;
  PackedMatrix matrix() const {
    PackedMatrix m{.packing = packing, .rows = rows, .columns = columns};
    m.codes = static_cast<const uint8_t*>(entry->tensor.const_data_ptr()) + first * m.row_bytes();
    return m;
  }
  /// Calls use(rows in f32, how many) over all rows.
  template <typename Use>
  void each(Use use) const {
    std::vector<float> buffer(static_cast<size_t>(kRowsAtOnce * columns));
    const PackedMatrix m = matrix();
    for (int64_t row = 0; row < rows; row += kRowsAtOnce) {
      const int64_t count = std::min(kRowsAtOnce, rows - row);
      unpack_kernel().unpack(m, row, count, 0, columns, buffer.data(), columns);
      use(buffer.data(), count);
    }
    drop_pages(m.codes, static_cast<size_t>(rows * m.row_bytes()));
  }
  float largest() const {
    float out = 0;
    each([&](const float* w, int64_t count) {
      for (int64_t i = 0; i < count * columns; ++i) {
        if (!std::isfinite(w[i])) throw input_error("{}: a weight is not finite; nothing of it can be quantised", entry->file);
        out = std::max(out, std::abs(w[i]));
      }
    });
    return out;
  }
};

const char* dtype_of_codes(QuantisedFormat format) { return format == QuantisedFormat::kFp8 ? "F8_E4M3" : format == QuantisedFormat::kInt4 ? "I32" : "U8"; }

/// Builds the list of tensors to write.
class Plan {
 public:
  Plan(const SafetensorsFolder& files, QuantisedFormat format, QuantisationReport& report) : files_(files), format_(format), report_(report) {
    for (const auto& header : files.headers()) add(header);
  }
  const std::vector<TensorToMake>& tensors() const { return tensors_; }

 private:
  void add(const TensorHeader& header) {
    const auto& entry = files_.tensors().at(header.name);
    const std::string kind = tensor_group(header.name);
    const Packing* packing = packing_of_dtype(header.dtype);
    report_.bytes_before += header.num_bytes;
    const bool layer = kind == "attention" || kind == "dense" || kind == "experts";
    if (!layer || !packing || header.shape.size() < 2 || is_vision_name(header.name)) {
      tensors_.push_back({header.name, header.dtype, header.shape, header.num_bytes, [&entry](const auto& put) {
                            put(view_of(entry.tensor.const_data_ptr(), entry.tensor.nbytes()));
                            drop_pages(entry.tensor);
                          }});
      return;
    }
    const int64_t rows = header.shape[header.shape.size() - 2], columns = header.shape.back();
    if (header.shape.size() == 2) return add_matrix(header.name.substr(0, header.name.size() - 7), {&entry, *packing, 0, rows, columns}, kind, siblings(header.name));
    // Experts, one by one; gate stands over up.
    const std::string prefix = header.name.substr(0, header.name.rfind('.'));
    for (int64_t e = 0; e < header.shape[0]; ++e) {
      const Source all{&entry, *packing, e * rows, rows, columns};
      if (header.name.ends_with("gate_up_proj")) {
        for (int64_t half = 0; half < 2; ++half)
          add_matrix(fmt::format("{}.{}.{}", prefix, e, half ? "up_proj" : "gate_proj"), {&entry, *packing, e * rows + half * rows / 2, rows / 2, columns}, kind, {all});
      } else {
        add_matrix(fmt::format("{}.{}.down_proj", prefix, e), all, kind, {all});
      }
    }
  }

  /// The matrices that readers join with this one, itself included.
  std::vector<Source> siblings(const std::string& name) const {
    std::vector<Source> out;
    const auto dot = name.rfind('.', name.size() - 8);
    const std::string prefix = name.substr(0, dot + 1), last = name.substr(dot + 1);
    std::vector<std::string> names = {last};
    if (last.starts_with("q_") || last.starts_with("k_") || last.starts_with("v_")) names = {"q_proj.weight", "k_proj.weight", "v_proj.weight"};
    if (last.starts_with("gate_") || last.starts_with("up_")) names = {"gate_proj.weight", "up_proj.weight"};
    for (const auto& each : names) {
      const auto found = files_.tensors().find(prefix + each);
      if (found == files_.tensors().end()) continue;
      for (const auto& header : files_.headers())
        if (header.name == found->first) {
          const auto packing = packing_of_dtype(header.dtype);
          if (!packing || header.shape.size() != 2) throw input_error("{}: tensor '{}' is no matrix of F32, BF16 or F16, as '{}' beside it is", found->second.file, header.name, name);
          out.push_back({&found->second, *packing, 0, header.shape[0], header.shape[1]});
        }
    }
    return out;
  }

  void add_matrix(const std::string& base, const Source& source, const std::string& kind, std::vector<Source> joined) {
    const Layout layout{format_, source.columns};
    const int64_t group = format_ == QuantisedFormat::kInt4 ? kInt4Group : format_ == QuantisedFormat::kNvfp4 ? kNvfp4Group : 1;
    if (source.columns % group != 0) throw usage_error("{}: '{}' has {} columns, which groups of {} do not divide; choose fp8 or nvfp4", source.entry->file, base, source.columns, group);
    ++report_.num_matrices;
    struct Made {
      std::string scales;
      float matrix_scale = 1;
    };
    const auto made = std::make_shared<Made>();
    const bool words = format_ == QuantisedFormat::kInt4, blocks = format_ == QuantisedFormat::kNvfp4;
    const auto rows = source.rows;
    tensors_.push_back({base + (format_ == QuantisedFormat::kFp8 ? ".weight" : ".weight_packed"), dtype_of_codes(format_), {rows, words ? layout.columns / 8 : layout.code_bytes()},
                        static_cast<uint64_t>(rows * layout.code_bytes()), [=, this](const auto& put) {
                          if (blocks) {
                            float largest = 0;
                            for (const Source& one : joined) largest = std::max(largest, one.largest());
                            made->matrix_scale = nvfp4_matrix_scale(largest);
                          } else {
                            source.largest();  // refuses what is not finite
                          }
                          made->scales = quantise(source, layout, made->matrix_scale, report_.by_kind[kind], put);
                        }});
    tensors_.push_back({base + ".weight_scale", blocks ? "F8_E4M3" : "BF16", {rows, layout.scales()}, static_cast<uint64_t>(rows * layout.scale_bytes()), [made](const auto& put) {
                          put(made->scales);
                          made->scales = {};
                        }});
    if (blocks) tensors_.push_back({base + ".weight_global_scale", "F32", {1}, 4, [made](const auto& put) { put(view_of(&made->matrix_scale, 4)); }});
    if (words) tensors_.push_back({base + ".weight_shape", "I64", {2}, 16, [shape = std::array{rows, source.columns}](const auto& put) { put(view_of(shape.data(), 16)); }});
  }

  /// Hands codes to `put`, returns the scales, adds up the error of reading them back.
  static std::string quantise(const Source& source, const Layout& layout, float matrix_scale, QuantisationError& error, const std::function<void(std::string_view)>& put) {
    std::string scales;
    std::vector<uint8_t> codes(static_cast<size_t>(kRowsAtOnce * layout.code_bytes()));
    std::vector<uint16_t> some(static_cast<size_t>(kRowsAtOnce * layout.scales()));
    std::vector<float> back(static_cast<size_t>(kRowsAtOnce * source.columns));
    source.each([&](const float* w, int64_t count) {
      auto* scale_codes = reinterpret_cast<uint8_t*>(some.data());
      layout.quantise(w, count, matrix_scale, codes.data(), scale_codes);
      put(view_of(codes.data(), static_cast<size_t>(count * layout.code_bytes())));
      scales.append(view_of(some.data(), static_cast<size_t>(count * layout.scale_bytes())));
      unpack_kernel().unpack(layout.packed(count, matrix_scale, codes.data(), scale_codes), 0, count, 0, source.columns, back.data(), source.columns);
      for (int64_t i = 0; i < count * source.columns; ++i) {
        const double weight = static_cast<double>(w[i]), difference = static_cast<double>(back[static_cast<size_t>(i)]) - weight;
        error.error_squares += difference * difference;
        error.weight_squares += weight * weight;
      }
      error.num_parameters += static_cast<uint64_t>(count * source.columns);
    });
    return scales;
  }

  const SafetensorsFolder& files_;
  QuantisedFormat format_;
  QuantisationReport& report_;
  std::vector<TensorToMake> tensors_;
};

/// config.json's quantization_config, as compressed-tensors writes it.
OrderedJson quantisation_config(QuantisedFormat format) {
  const bool fp8 = format == QuantisedFormat::kFp8, nvfp4 = format == QuantisedFormat::kNvfp4;
  OrderedJson weights = {{"num_bits", fp8 ? 8 : 4}, {"type", format == QuantisedFormat::kInt4 ? "int" : "float"}, {"symmetric", true}, {"strategy", fp8 ? "channel" : nvfp4 ? "tensor_group" : "group"},
                         {"group_size", nullptr}, {"dynamic", false}};
  if (!fp8) weights["group_size"] = nvfp4 ? kNvfp4Group : kInt4Group;
  OrderedJson group = {{"targets", {"Linear"}}, {"weights", weights}, {"input_activations", nullptr}, {"output_activations", nullptr}};
  if (fp8) group["input_activations"] = {{"num_bits", 8}, {"type", "float"}, {"symmetric", true}, {"strategy", "token"}, {"dynamic", true}};
  return {{"quant_method", "compressed-tensors"}, {"quantization_status", "compressed"}, {"format", fp8 ? "float-quantized" : nvfp4 ? "nvfp4-pack-quantized" : "pack-quantized"},
          {"config_groups", {{"group_0", group}}}, {"ignore", {"lm_head", "re:.*router.*", "re:.*self_conditioning.*", "re:.*vision_tower.*", "re:.*embed_vision.*"}}};
}

/// Everything beside the weights: configuration, tokenizer, templates, licence.
void copy_small_files(const std::string& from, const std::string& to, QuantisedFormat format) {
  for (const auto& entry : fs::directory_iterator(from)) {
    const std::string name = entry.path().filename().string(), extension = entry.path().extension().string();
    const bool small = extension == ".json" || extension == ".jinja" || extension == ".model" || extension == ".txt" || extension == ".md" || extension.empty();
    if (!entry.is_regular_file() || !small || name == "config.json" || name.ends_with(".safetensors.index.json")) continue;
    fs::copy_file(entry.path(), fs::path(to) / name, fs::copy_options::overwrite_existing);
  }
  std::ifstream in(from + "/config.json");
  OrderedJson config = parse_ordered_json(std::string(std::istreambuf_iterator<char>(in), {}));
  config["quantization_config"] = quantisation_config(format);
  write_text_durably(to + "/config.json", json_text(config, 2) + "\n");
}

/// A folder that goes away unless it was put in its place. A file in it says that it is ours, so that what a killed run left can
/// be cleared away and nobody else's folder is.
class NewFolder {
 public:
  explicit NewFolder(const std::string& place) : place_(place), path_(place + ".tmp") {
    std::error_code error;
    if (fs::exists(path_, error) && !fs::exists(marker(), error)) throw usage_error("{}: is in the way and was not made by an unfinished run; move it, or give another folder than {}", path_, place_);
    fs::remove_all(path_, error);
    fs::create_directories(path_, error);
    if (error) throw input_error("{}: the folder cannot be created ({})", path_, error.message());
    if (!std::ofstream(marker())) throw input_error("{}: cannot be written (disk full or no permission?)", marker());
  }
  ~NewFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  NewFolder(const NewFolder&) = delete;
  NewFolder& operator=(const NewFolder&) = delete;
  const std::string& path() const { return path_; }
  void keep() const {
    std::error_code error;
    fs::remove(marker(), error);
    fs::rename(path_, place_, error);
    if (error) throw input_error("{}: cannot be renamed into place ({})", place_, error.message());
  }

 private:
  std::string place_, path_;
  std::string marker() const { return path_ + "/unfinished"; }
};

}  // namespace

double QuantisationError::relative() const { return weight_squares > 0 ? std::sqrt(error_squares / weight_squares) : 0; }

QuantisationReport quantise_checkpoint(const std::string& from, const std::string& given, QuantisedFormat format, const std::function<void(uint64_t, uint64_t)>& progress) {
  std::string to = given;
  while (to.size() > 1 && to.ends_with('/')) to.pop_back();
  std::error_code ignored;
  if (fs::exists(to, ignored)) throw usage_error("{}: exists already; remove it, or give a folder that does not", to);
  ModelConfig::read(from);
  const SafetensorsFolder files(from);
  for (const auto& [name, weight] : find_stored_weights(files.headers()).weights)
    if (weight.is_quantised()) throw usage_error("{}: is quantised already ('{}'); start from the checkpoint it was made of", from, name);
  QuantisationReport report;
  const Plan plan(files, format, report);
  for (const auto& tensor : plan.tensors()) report.bytes_after += tensor.num_bytes;
  if (report.num_matrices == 0) throw input_error("{}: no matrix of a layer is among its tensors", from);
  const NewFolder folder(to);
  if (const auto space = fs::space(folder.path(), ignored); !ignored && space.available < report.bytes_after + (1u << 20))
    throw input_error("{}: {} bytes are needed, {} are free", to, report.bytes_after, space.available);
  std::vector<TensorToMake> tensors = plan.tensors();
  uint64_t done = 0;
  for (auto& tensor : tensors) {
    tensor.make = [&, make = std::move(tensor.make)](const auto& put) {
      make([&](std::string_view bytes) {
        put(bytes);
        progress(done += bytes.size(), report.bytes_after);
      });
    };
  }
  write_safetensors(folder.path() + "/model.safetensors", tensors);
  copy_small_files(from, folder.path(), format);
  folder.keep();
  return report;
}

}  // namespace canvaslab
