#include "core/checkpoint_facts.h"

#include <algorithm>
#include <set>

#include "core/error.h"
#include "core/stored_weights.h"

namespace canvaslab {
namespace {

constexpr const char* kDecoder = "model.decoder.";
constexpr const char* kEncoder = "model.encoder.language_model.";

/// Tied weights that some writers store a second time: the encoder's text weights and the output head.
bool is_duplicate(const std::string& name, const std::set<std::string>& names, const ModelConfig& config) {
  if (name == "lm_head.weight") return config.tie_word_embeddings;
  const std::string prefix = kEncoder;
  return name.starts_with(prefix) && !name.ends_with("layer_scalar") && names.contains(kDecoder + name.substr(prefix.size()));
}

/// Bytes of a matrix's codes and scales as files hold them.
uint64_t bytes_of(const StoredMatrix& part, const std::vector<TensorHeader>& tensors) {
  uint64_t bytes = static_cast<uint64_t>(part.rows * part.columns / facts_of(part.packing).block * facts_of(part.packing).block_bytes);
  for (const size_t i : {part.scales, part.matrix_scale})
    if (i != StoredMatrix::kNone) bytes += tensors[i].num_bytes;
  return bytes;
}

/// Counts what is quantised by group and packing, and what stays so in memory.
void add_quantised(CheckpointFacts& facts, const StoredWeights& stored) {
  uint64_t packed_parameters = 0, packed_bytes = 0;
  for (const auto& [name, weight] : stored.weights) {
    if (name.starts_with(kEncoder)) continue;  // the decoder's again
    const auto group = std::find_if(facts.groups.begin(), facts.groups.end(), [&](const auto& g) { return g.name == tensor_group(name); });
    const bool packed = weight.is_quantised() && stays_packed(name);
    for (const StoredMatrix& part : weight.parts) {
      const auto count = static_cast<uint64_t>(part.rows * part.columns);
      if (packed) packed_parameters += count, packed_bytes += bytes_of(part, facts.tensors);
      if (!facts_of(part.packing).quantised) continue;
      facts.packings[facts_of(part.packing).name] += count;
      if (group != facts.groups.end()) group->num_quantised += count;
    }
  }
  if (facts.packings.empty()) return;
  uint64_t text_parameters = 0;
  for (const auto& group : facts.groups) {
    if (group.name != "vision" && group.name != "duplicates") text_parameters += group.num_parameters;
    if (group.name == "experts" && group.num_quantised < group.num_parameters)
      facts.warning = fmt::format("{} of {} parameters of experts are not quantised, though others are: most of the model keeps its full size", group.num_parameters - group.num_quantised, group.num_parameters);
  }
  if (packed_parameters > 0) facts.packed_weights = packed_bytes + 4 * (text_parameters - packed_parameters);
}

}  // namespace

std::string tensor_group(const std::string& name) {
  const auto has = [&](const char* part) { return name.find(part) != std::string::npos; };
  if (has("vision_tower.") || has("embed_vision.")) return "vision";
  if (has("self_conditioning.")) return "self_conditioning";
  if (has("embed_tokens.") || name == "lm_head.weight") return "embeddings";
  if (has(".router.")) return "router";
  if (has("norm") || has("layer_scalar")) return "norms";
  if (has(".self_attn.")) return "attention";
  if (has(".experts.")) return "experts";
  if (has(".mlp.")) return "dense";
  return "other";
}

uint64_t CheckpointFacts::kv_bytes_per_token(bool sliding, uint64_t bytes_per_element) const {
  uint64_t elements = 0;
  for (const auto& layer : config.layers)
    if (layer.sliding == sliding) elements += static_cast<uint64_t>(2 * layer.num_kv_heads * layer.head_dim);
  return elements * bytes_per_element;
}

MemoryNeed CheckpointFacts::memory(uint64_t bytes_per_element) const {
  MemoryNeed need;
  for (const auto& group : groups)
    if (group.name != "vision" && group.name != "duplicates") need.weights += group.num_parameters * bytes_per_element;
  const auto kept = static_cast<uint64_t>(std::min(context_tokens, config.sliding_window - 1));
  need.kv_cache = kept * kv_bytes_per_token(true, bytes_per_element) + static_cast<uint64_t>(context_tokens) * kv_bytes_per_token(false, bytes_per_element);
  const auto elements = static_cast<uint64_t>(config.canvas_length * config.vocab_size);
  need.logits = elements * 4;
  need.feedback = elements * bytes_per_element;
  return need;
}

CheckpointFacts read_checkpoint_facts(const std::string& folder, int64_t context_tokens) {
  CheckpointFacts facts{.config = ModelConfig::read(folder), .tensors = read_checkpoint_headers(folder), .groups = {}, .context_tokens = context_tokens};
  std::set<std::string> names, files;
  for (const auto& tensor : facts.tensors) {
    names.insert(tensor.name);
    files.insert(tensor.file);
  }
  facts.num_files = files.size();
  const StoredWeights stored = find_stored_weights(facts.tensors);
  std::vector<TensorGroup> groups;
  for (const char* name : {"embeddings", "attention", "experts", "dense", "router", "norms", "self_conditioning", "vision", "duplicates", "other"}) groups.push_back({.name = name});
  for (const auto& tensor : facts.tensors) {
    const std::string name = is_duplicate(tensor.name, names, facts.config) ? "duplicates" : tensor_group(tensor.name);
    TensorGroup& group = *std::find_if(groups.begin(), groups.end(), [&](const auto& g) { return g.name == name; });
    const uint64_t num_parameters = stored.num_parameters(tensor);
    ++facts.dtypes[tensor.dtype];
    ++group.num_tensors;
    group.num_parameters += num_parameters;
    group.num_bytes += tensor.num_bytes;
    facts.num_parameters += num_parameters;
    facts.num_bytes += tensor.num_bytes;
    if (name == "vision" || name == "duplicates") continue;
    // Every expert is of one size, so the chosen ones are a fixed share.
    facts.active_parameters += name == "experts" ? num_parameters * static_cast<uint64_t>(facts.config.top_k_experts) / static_cast<uint64_t>(facts.config.num_experts) : num_parameters;
  }
  std::erase_if(groups, [](const auto& group) { return group.num_tensors == 0; });
  facts.groups = std::move(groups);
  add_quantised(facts, stored);
  return facts;
}

}  // namespace canvaslab
