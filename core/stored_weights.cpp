#include "core/stored_weights.h"

#include <algorithm>
#include <fmt/format.h>
#include <optional>
#include <string_view>

#include "core/error.h"

namespace canvaslab {
namespace {

constexpr std::string_view kWeight = ".weight", kPacked = ".weight_packed", kScale = ".weight_scale";

std::string shape_text(const std::vector<int64_t>& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

bool is_one_of(const std::string& text, std::initializer_list<const char*> all) { return std::find(all.begin(), all.end(), text) != all.end(); }

/// Builds StoredWeights: single matrices first, then experts out of them.
class Finder {
 public:
  explicit Finder(const std::vector<TensorHeader>& headers) : headers_(headers) {
    for (size_t i = 0; i < headers.size(); ++i) place_[headers[i].name] = i;
  }

  StoredWeights find() {
    for (size_t i = 0; i < headers_.size(); ++i) add(i);
    collect_experts();
    stack_gguf_experts();
    return std::move(out_);
  }

 private:
  const TensorHeader& at(size_t i) const { return headers_[i]; }
  size_t find_tensor(const std::string& name) const {
    const auto found = place_.find(name);
    return found == place_.end() ? StoredMatrix::kNone : found->second;
  }
  /// The tensor of a scale; `what` says which matrix needs it.
  size_t need(const std::string& name, const TensorHeader& what) const {
    const size_t i = find_tensor(name);
    if (i == StoredMatrix::kNone) throw input_error("{}: tensor '{}' is missing; '{}' ({}) cannot be read without it", what.file, name, what.name, what.dtype);
    return i;
  }

  void add(size_t i) {
    const TensorHeader& t = at(i);
    if (t.name.ends_with(kPacked)) add_packed(i, t.name.substr(0, t.name.size() - kPacked.size()));
    else if (t.name.ends_with(kWeight) && (t.dtype == "F8_E4M3" || t.dtype == "U8")) add_scaled(i, t.name.substr(0, t.name.size() - kWeight.size()));
    else if (const Packing* packing = packing_of_dtype(t.dtype); packing && facts_of(*packing).quantised) add_blocks(i, *packing);
  }

  /// A matrix under its logical name, with the tensors beside its codes.
  void put(const std::string& base, const StoredMatrix& matrix) {
    out_.weights[base + std::string(kWeight)] = {.shape = {matrix.rows, matrix.columns}, .parts = {matrix}};
    for (const size_t i : {matrix.codes, matrix.scales, matrix.matrix_scale})
      if (i != StoredMatrix::kNone) out_.tensors.insert(at(i).name);
    // What scales activations and caches elsewhere has no use here.
    for (const char* beside : {".weight_shape", ".input_scale", ".input_global_scale", ".output_scale", ".k_scale", ".v_scale"})
      if (find_tensor(base + beside) != StoredMatrix::kNone) out_.tensors.insert(base + beside);
  }

  void check_matrix(const TensorHeader& t) const {
    if (t.shape.size() != 2 || t.num_elements == 0) throw input_error("{}: tensor '{}' has shape {}; a quantised {} weight must be a matrix", t.file, t.name, shape_text(t.shape), t.dtype);
  }

  /// compressed-tensors: nvfp4-pack-quantized (U8) and pack-quantized with 4 bits (I32).
  void add_packed(size_t i, const std::string& base) {
    const TensorHeader& t = at(i);
    check_matrix(t);
    for (const char* unknown : {".weight_zero_point", ".weight_g_idx"})
      if (find_tensor(base + unknown) != StoredMatrix::kNone) throw input_error("{}: tensor '{}{}': asymmetric and reordered groups are not supported; expected symmetric ones", t.file, base, unknown);
    if (t.dtype == "U8") return put(base, nvfp4(i, need(base + std::string(kScale), t), need(base + ".weight_global_scale", t), true));
    if (t.dtype != "I32") throw input_error("{}: tensor '{}' has dtype {}; expected U8 (NVFP4) or I32 (4-bit integers)", t.file, t.name, t.dtype);
    StoredMatrix m{.packing = Packing::kInt4, .rows = t.shape[0], .columns = t.shape[1] * 8, .codes = i, .scales = need(base + std::string(kScale), t)};
    const TensorHeader& scale = at(m.scales);
    const bool fits = scale.shape.size() == 2 && scale.shape[0] == m.rows && scale.shape[1] > 0 && m.columns % scale.shape[1] == 0 && m.columns / scale.shape[1] % 2 == 0;
    if (!fits || !is_one_of(scale.dtype, {"F32", "BF16", "F16"}))
      throw input_error("{}: tensor '{}' is {} {}; expected F32, BF16 or F16 of shape [{}, groups of {} columns]", scale.file, scale.name, scale.dtype, shape_text(scale.shape), m.rows, m.columns);
    m.scales_per_row = scale.shape[1];
    put(base, m);
  }

  StoredMatrix nvfp4(size_t i, size_t scales, size_t matrix_scale, bool divides) const {
    const TensorHeader &t = at(i), &scale = at(scales), &whole = at(matrix_scale);
    const int64_t columns = t.shape[1] * 2;
    if (columns % 16 != 0 || scale.dtype != "F8_E4M3" || scale.shape != std::vector<int64_t>{t.shape[0], columns / 16})
      throw input_error("{}: tensor '{}' is {} {}; expected F8_E4M3, one for 16 columns of '{}' {}", scale.file, scale.name, scale.dtype, shape_text(scale.shape), t.name, shape_text(t.shape));
    if (whole.dtype != "F32" || whole.num_elements != 1) throw input_error("{}: tensor '{}' is {} {}; expected one F32", whole.file, whole.name, whole.dtype, shape_text(whole.shape));
    return {.packing = Packing::kNvfp4, .rows = t.shape[0], .columns = columns, .codes = i, .scales = scales, .matrix_scale = matrix_scale, .scales_per_row = columns / 16, .divides = divides};
  }

  /// `weight` itself holds the codes: FP8, or ModelOpt's NVFP4.
  void add_scaled(size_t i, const std::string& base) {
    const TensorHeader& t = at(i);
    check_matrix(t);
    const size_t scales = need(base + std::string(kScale), t);
    if (t.dtype == "U8") return put(base, nvfp4(i, scales, need(base + ".weight_scale_2", t), false));
    const TensorHeader& scale = at(scales);
    const bool by_rows = scale.num_elements == static_cast<uint64_t>(t.shape[0]) && (scale.shape.size() == 1 || (scale.shape.size() == 2 && scale.shape[1] == 1));
    if ((!by_rows && scale.num_elements != 1) || !is_one_of(scale.dtype, {"F32", "BF16", "F16"}))
      throw input_error("{}: tensor '{}' is {} {}; expected F32, BF16 or F16, one for each of the {} rows of '{}' or one for all", scale.file, scale.name, scale.dtype, shape_text(scale.shape), t.shape[0], t.name);
    put(base, {.packing = Packing::kE4m3, .rows = t.shape[0], .columns = t.shape[1], .codes = i, .scales = scales, .scales_per_row = by_rows ? 1 : 0});
  }

  /// GGUF: the name is the network's already.
  void add_blocks(size_t i, Packing packing) {
    const TensorHeader& t = at(i);
    StoredWeight weight{.shape = t.shape, .parts = {}};
    if ((t.shape.size() != 2 && t.shape.size() != 3) || t.num_elements == 0) throw input_error("{}: tensor '{}' has shape {}; a quantised {} weight must be a matrix or a stack of them", t.file, t.name, shape_text(t.shape), t.dtype);
    const int64_t rows = t.shape[t.shape.size() - 2], count = t.shape.size() == 3 ? t.shape[0] : 1;
    for (int64_t e = 0; e < count; ++e) weight.parts.push_back({.packing = packing, .rows = rows, .columns = t.shape.back(), .codes = i, .first_row = e * rows});
    out_.weights[t.name] = std::move(weight);
    out_.tensors.insert(t.name);
  }

  /// A matrix by its logical name, quantised or plain.
  std::optional<StoredMatrix> matrix_of(const std::string& name) {
    if (const auto found = out_.weights.find(name); found != out_.weights.end()) return found->second.parts.front();
    const size_t i = find_tensor(name);
    if (i == StoredMatrix::kNone || at(i).shape.size() != 2 || at(i).num_elements == 0) return std::nullopt;
    const Packing* packing = packing_of_dtype(at(i).dtype);
    if (!packing) return std::nullopt;
    out_.tensors.insert(name);
    return StoredMatrix{.packing = *packing, .rows = at(i).shape[0], .columns = at(i).shape[1], .codes = i};
  }

  /// PREFIX.experts.E.{gate,up,down}_proj become PREFIX.experts.gate_up_proj (gate over up) and PREFIX.experts.down_proj.
  void collect_experts() {
    std::map<std::string, int64_t> count;  // by prefix
    const auto note = [&](const std::string& name) {
      const auto begin = name.find(".experts.");
      if (begin == std::string::npos) return;
      const auto digits = begin + 9, end = name.find('.', digits);
      if (end == std::string::npos || end == digits || end - digits > 6 || name.find_first_not_of("0123456789", digits) != end) return;
      auto& n = count[name.substr(0, begin + 8)];
      n = std::max<int64_t>(n, std::stol(name.substr(digits, end - digits)) + 1);
    };
    for (const auto& header : headers_) note(header.name);
    for (const auto& [prefix, experts] : count) stack_experts(prefix, experts);
  }

  void stack_experts(const std::string& prefix, int64_t experts) {
    StoredWeight gate_up, down;
    for (int64_t e = 0; e < experts; ++e) {
      std::optional<StoredMatrix> parts[3];
      const char* const names[3] = {"gate_proj", "up_proj", "down_proj"};
      for (size_t k = 0; k < 3; ++k) {
        const std::string name = fmt::format("{}.{}.{}.weight", prefix, e, names[k]);
        parts[k] = matrix_of(name);
        if (!parts[k]) throw input_error("{}: tensor '{}' is missing or no matrix of a known dtype; {} experts stand there one by one", headers_.front().file, name, experts);
        out_.weights.erase(name);
      }
      append(gate_up, {*parts[0], *parts[1]}, fmt::format("{}.{}", prefix, e));
      append(down, {*parts[2]}, fmt::format("{}.{}", prefix, e));
    }
    out_.weights[prefix + ".gate_up_proj"] = std::move(gate_up);
    out_.weights[prefix + ".down_proj"] = std::move(down);
  }

  /// One expert more, of the shape of those before it.
  void append(StoredWeight& to, std::vector<StoredMatrix> parts, const std::string& which) const {
    int64_t rows = 0;
    for (const auto& part : parts) rows += part.rows;
    const int64_t columns = parts.front().columns;
    if (to.shape.empty()) to.shape = {0, rows, columns};
    if (to.shape[1] != rows || std::any_of(parts.begin(), parts.end(), [&](const auto& p) { return p.columns != to.shape[2]; }))
      throw input_error("{}: expert '{}' has a projection of {} rows and {} columns; the experts before it have {} and {}", headers_.front().file, which, rows, columns, to.shape[1], to.shape[2]);
    ++to.shape[0];
    to.parts.insert(to.parts.end(), parts.begin(), parts.end());
  }

  /// Some GGUF files hold gates and ups as two stacks.
  void stack_gguf_experts() {
    std::vector<std::string> prefixes;
    for (const auto& header : headers_)
      if (header.name.ends_with(".experts.gate_proj") && header.shape.size() == 3) prefixes.push_back(header.name.substr(0, header.name.size() - 10));
    for (const auto& prefix : prefixes) {
      const auto gate = parts_of(prefix + ".gate_proj"), up = parts_of(prefix + ".up_proj");
      if (gate.size() != up.size()) throw input_error("{}: '{}.gate_proj' has {} experts, '{}.up_proj' {}", headers_.front().file, prefix, gate.size(), prefix, up.size());
      StoredWeight both;
      for (size_t e = 0; e < gate.size(); ++e) append(both, {gate[e], up[e]}, fmt::format("{}.{}", prefix, e));
      out_.weights[prefix + ".gate_up_proj"] = std::move(both);
      out_.weights.erase(prefix + ".gate_proj");
      out_.weights.erase(prefix + ".up_proj");
    }
  }

  /// The matrices of a stack.
  std::vector<StoredMatrix> parts_of(const std::string& name) {
    if (const auto found = out_.weights.find(name); found != out_.weights.end()) return found->second.parts;
    const size_t i = find_tensor(name);
    const Packing* packing = i == StoredMatrix::kNone ? nullptr : packing_of_dtype(at(i).dtype);
    if (!packing || at(i).shape.size() != 3 || at(i).num_elements == 0) throw input_error("{}: tensor '{}' is missing or no stack of matrices", headers_.front().file, name);
    out_.tensors.insert(name);
    std::vector<StoredMatrix> parts;
    for (int64_t e = 0; e < at(i).shape[0]; ++e) parts.push_back({.packing = *packing, .rows = at(i).shape[1], .columns = at(i).shape[2], .codes = i, .first_row = e * at(i).shape[1]});
    return parts;
  }

  const std::vector<TensorHeader>& headers_;
  std::map<std::string, size_t> place_;
  StoredWeights out_;
};

}  // namespace

bool StoredWeight::is_quantised() const {
  return std::any_of(parts.begin(), parts.end(), [](const StoredMatrix& part) { return facts_of(part.packing).quantised; });
}

uint64_t StoredWeights::num_parameters(const TensorHeader& tensor) const {
  if (!tensors.contains(tensor.name)) return tensor.num_elements;
  if (tensor.name.ends_with(kPacked)) return tensor.num_elements * (tensor.dtype == "I32" ? 8 : 2);
  if (tensor.name.ends_with(kWeight)) return tensor.num_elements * (tensor.dtype == "U8" ? 2 : 1);
  return tensor.shape.size() == 3 ? tensor.num_elements : 0;  // GGUF's stacks of experts; all else is scales
}

bool stays_packed(const std::string& name) {
  return name.find(".embed_tokens.") == std::string::npos && name.find(".router.") == std::string::npos && name.find(".self_conditioning.") == std::string::npos && name != "lm_head.weight";
}

StoredWeights find_stored_weights(const std::vector<TensorHeader>& headers) { return Finder(headers).find(); }

const Packing* packing_of_dtype(const std::string& dtype) {
  static const std::map<std::string, Packing> kByName = {{"F32", Packing::kF32},   {"BF16", Packing::kBf16}, {"F16", Packing::kF16},      {"Q8_0", Packing::kQ8_0}, {"Q5_0", Packing::kQ5_0},
                                                         {"Q5_1", Packing::kQ5_1}, {"Q4_K", Packing::kQ4K},  {"IQ4_NL", Packing::kIq4Nl}, {"Q5_K", Packing::kQ5K},  {"Q6_K", Packing::kQ6K}};
  const auto found = kByName.find(dtype);
  return found == kByName.end() ? nullptr : &found->second;
}

}  // namespace canvaslab
