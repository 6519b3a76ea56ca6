// canvaslab inspect: what a checkpoint, a plug-in, a run or a trace is, without running anything.
#include <filesystem>


#include "core/checkpoint_facts.h"
#include "core/embedded_models.h"
#include "core/error.h"
#include "core/json.h"
#include "core/lora_config.h"
#include "core/model.h"
#include "core/sources/source.h"
#include "experiments/commands.h"
#include "experiments/inspect_h5.h"

namespace canvaslab {
namespace {

OrderedJson describe_config(const ModelConfig& c) {
  int64_t sliding = 0;
  for (const auto& layer : c.layers) sliding += layer.sliding;
  OrderedJson layers = OrderedJson::array();
  for (const auto& layer : c.layers)
    layers.push_back({{"attention", layer.sliding ? "sliding" : "full"}, {"head_dim", layer.head_dim}, {"num_kv_heads", layer.num_kv_heads}});
  return {{"vocab_size", c.vocab_size}, {"hidden_size", c.hidden_size}, {"intermediate_size", c.intermediate_size},
          {"moe_intermediate_size", c.moe_intermediate_size}, {"num_experts", c.num_experts}, {"top_k_experts", c.top_k_experts},
          {"num_layers", c.num_layers}, {"num_sliding_layers", sliding}, {"num_full_layers", c.num_layers - sliding}, {"num_heads", c.num_heads},
          {"sliding_window", c.sliding_window}, {"canvas_length", c.canvas_length}, {"rms_norm_eps", c.rms_norm_eps},
          {"final_logit_softcapping", c.final_logit_softcapping}, {"tie_word_embeddings", c.tie_word_embeddings},
          {"eos_token_ids", c.eos_token_ids}, {"pad_token_id", c.pad_token_id}, {"layers", layers}};
}

OrderedJson describe_memory(const MemoryNeed& need) {
  return {{"weights", need.weights}, {"kv_cache", need.kv_cache}, {"logits", need.logits}, {"feedback", need.feedback}, {"total", need.total()}};
}

OrderedJson describe_defaults(const DenoiserDefaults& defaults) {
  OrderedJson out = OrderedJson::object();
  if (defaults.temperature) out["temperature"] = *defaults.temperature;
  if (defaults.emission) out["emission"] = *defaults.emission;
  if (defaults.num_steps) out["num_steps"] = *defaults.num_steps;
  if (defaults.canvas_length) out["canvas_length"] = *defaults.canvas_length;
  if (defaults.max_new_tokens) out["max_new_tokens"] = *defaults.max_new_tokens;
  out["end_ids"] = defaults.end_ids;
  out["pad_id"] = defaults.pad_id;
  for (const auto& value : defaults.plugin_values) out[value.plugin + "." + value.key] = value.value;
  return out;
}

OrderedJson describe_checkpoint(const std::string& folder, int64_t context) {
  const CheckpointFacts facts = read_checkpoint_facts(folder, context);
  OrderedJson out = {{"kind", "checkpoint"}, {"path", folder}, {"config", describe_config(facts.config)}};
  out["generation_defaults"] = describe_defaults(read_generation_config(folder, facts.config));
  out["num_files"] = facts.num_files;
  out["num_tensors"] = facts.tensors.size();
  out["num_parameters"] = facts.num_parameters;
  out["active_parameters_per_token"] = facts.active_parameters;
  out["num_bytes"] = facts.num_bytes;
  for (const auto& group : facts.groups)
    out["groups"][group.name] = {{"num_tensors", group.num_tensors}, {"num_parameters", group.num_parameters}, {"num_bytes", group.num_bytes}, {"num_quantised", group.num_quantised}};
  out["dtypes"] = facts.dtypes;
  out["quantised_parameters"] = facts.packings;
  if (!facts.warning.empty()) out["warning"] = facts.warning;
  out["context_tokens"] = context;
  for (const auto& [name, width] : {std::pair<const char*, uint64_t>{"f32", 4}, {"bf16", 2}}) {
    out["kv_bytes_per_token"][name] = {{"sliding", facts.kv_bytes_per_token(true, width)}, {"full", facts.kv_bytes_per_token(false, width)}};
    out["memory_bytes"][name] = describe_memory(facts.memory(width));
  }
  if (facts.packed_weights > 0) {  // f32 on the CPU, where quantised weights stay packed
    MemoryNeed need = facts.memory(4);
    need.weights = facts.packed_weights;
    out["memory_bytes"]["packed"] = describe_memory(need);
    out["kv_bytes_per_token"]["packed"] = out["kv_bytes_per_token"]["f32"];
  }
  OrderedJson tensors = OrderedJson::array();
  for (const auto& t : facts.tensors)
    tensors.push_back({{"name", t.name}, {"shape", t.shape}, {"dtype", t.dtype}, {"num_bytes", t.num_bytes}, {"file", std::filesystem::path(t.file).filename().string()}});
  out["tensors"] = tensors;
  return out;
}

OrderedJson describe_plugin(const std::string& text) {
  const auto denoiser = open_model(text, {});
  const DenoiserFacts& facts = denoiser->facts();
  OrderedJson out = {{"kind", "denoiser"}, {"denoiser", denoisers().canonical(text)}, {"summary", denoisers().find(parse_plugin(text).name).summary},
              {"source", denoisers().find(parse_plugin(text).name).source}};
  out["vocabulary"] = facts.vocabulary;
  out["corruption"] = facts.absorbing ? fmt::format("absorbing, mask id {}", facts.mask_id) : "uniform";
  out["banned_ids"] = facts.banned_ids;
  out["uses_level"] = facts.uses_level;
  out["has_causal_mode"] = facts.has_causal_mode;
  out["self_conditioning"] = facts.self_conditioning;
  out["max_length"] = facts.max_length;
  out["exact_source"] = denoiser->source() != nullptr;
  if (denoiser->source()) out["entropy_rate_nats"] = denoiser->source()->entropy_rate_nats();
  out["generation_defaults"] = describe_defaults(facts.defaults);
  return out;
}

std::string bytes_text(uint64_t bytes) {
  const double value = static_cast<double>(bytes);
  if (bytes >= 1000000000) return fmt::format("{:.2f} GB", value * 1e-9);
  if (bytes >= 1000000) return fmt::format("{:.2f} MB", value * 1e-6);
  return fmt::format("{} bytes", bytes);
}

std::string value_text(const OrderedJson& value) { return value.is_string() ? value.get<std::string>() : json_text(value); }

void print_lines(const OrderedJson& object, const char* indent) {
  for (const auto& [key, value] : object.items()) fmt::print("{}{:<28} {}\n", indent, key, value_text(value));
}

/// Layer tensors of one suffix and shape are one line: "model.decoder.layers.{0,1,...}.mlp.up_proj.weight".
void print_tensors(const OrderedJson& tensors) {
  std::vector<std::string> order;
  std::map<std::string, std::vector<std::string>> layers;
  for (const auto& t : tensors) {
    std::string name = t["name"], layer;
    if (const auto at = name.find("layers."); at != std::string::npos) {
      const auto begin = at + 7, end = std::min(name.find('.', begin), name.size());
      layer = name.substr(begin, end - begin);
      name = name.substr(0, begin) + "*" + name.substr(end);
    }
    const std::string line = fmt::format("  {:<70} {:<6} {}", name, t["dtype"].get<std::string>(), json_text(t["shape"]));
    if (!layers.contains(line)) order.push_back(line);
    layers[line].push_back(layer);
  }
  for (const auto& line : order) fmt::print("{}{}\n", line, layers[line].size() > 1 ? fmt::format("  x {}", layers[line].size()) : "");
}

OrderedJson describe_adapter(const std::string& folder) {
  const LoraConfig config = LoraConfig::read(folder);
  const std::string path = folder + "/adapter_model.safetensors";
  const auto tensors = read_safetensors_header(path);
  OrderedJson out = {{"kind", "lora_adapter"}, {"path", folder}, {"base", config.base}, {"rank", config.rank}, {"alpha", config.alpha}, {"num_tensors", tensors.size()}};
  uint64_t num_parameters = 0, num_bytes = 0;
  for (const auto& tensor : tensors) num_parameters += tensor.num_elements, num_bytes += tensor.num_bytes;
  out["num_parameters"] = num_parameters;
  out["num_bytes"] = num_bytes;
  return out;
}

void print_checkpoint(const OrderedJson& out) {
  fmt::print("checkpoint {}\n\nconfiguration\n", out["path"].get<std::string>());
  OrderedJson config = out["config"];
  config.erase("layers");
  print_lines(config, "  ");
  fmt::print("\ngeneration defaults\n");
  print_lines(out["generation_defaults"], "  ");
  fmt::print("\n{} tensors in {} files, {} parameters ({} active per token), {}\n  {:<18} {:>8} {:>16} {:>12} {:>10}\n", out["num_tensors"].get<uint64_t>(), out["num_files"].get<uint64_t>(),
             out["num_parameters"].get<uint64_t>(), out["active_parameters_per_token"].get<uint64_t>(), bytes_text(out["num_bytes"]), "group", "tensors", "parameters", "size", "quantised");
  for (const auto& [name, group] : out["groups"].items())
    fmt::print("  {:<18} {:>8} {:>16} {:>12} {:>9.0f}%\n", name, group["num_tensors"].get<uint64_t>(), group["num_parameters"].get<uint64_t>(), bytes_text(group["num_bytes"]),
               100 * group["num_quantised"].get<double>() / std::max(1.0, group["num_parameters"].get<double>()));
  fmt::print("  tensors by dtype: {}\n  quantised parameters: {}\n", json_text(out["dtypes"]), json_text(out["quantised_parameters"]));
  if (out.contains("warning")) fmt::print("  warning: {}\n", out["warning"].get<std::string>());
  fmt::print("\nmemory for one sequence at {} tokens of context  (KV bytes per token: sliding layers, which keep a window; full layers)\n"
             "  {:<6} {:>12} {:>12} {:>12} {:>12} {:>12} {:>12} {:>12}\n", out["context_tokens"].get<int64_t>(), "dtype", "weights", "KV cache", "logits", "feedback", "total", "KV sliding", "KV full");
  for (const auto& [dtype, need] : out["memory_bytes"].items()) {
    const OrderedJson& kv = out["kv_bytes_per_token"][dtype];
    fmt::print("  {:<6} {:>12} {:>12} {:>12} {:>12} {:>12} {:>12} {:>12}\n", dtype, bytes_text(need["weights"]), bytes_text(need["kv_cache"]), bytes_text(need["logits"]),
               bytes_text(need["feedback"]), bytes_text(need["total"]), kv["sliding"].get<uint64_t>(), kv["full"].get<uint64_t>());
  }
  fmt::print("\ntensors\n");
  print_tensors(out["tensors"]);
}

void print_h5(const OrderedJson& out) {
  fmt::print("{} {}\n\nattributes\n", out["kind"].get<std::string>(), out["path"].get<std::string>());
  for (const auto& [key, value] : out["attributes"].items()) {
    if (value.is_object()) print_lines({{key, ""}}, "  "), print_lines(value, "    ");
    else print_lines({{key, value}}, "  ");
  }
  if (out.contains("configurations")) {
    fmt::print("\nconfigurations\n");
    for (const auto& row : out["configurations"]) {
      fmt::print("  {} steps {} canvas {}\n", value_text(row.value("sampler", OrderedJson(""))), value_text(row.value("num_steps", OrderedJson())), value_text(row.value("canvas_length", OrderedJson())));
      for (const auto& [key, value] : row.items())
        if (value.is_number_float()) fmt::print("      {:<48} {:.6g}\n", key, value.get<double>());
        else if (key.starts_with("num_") && key != "num_steps") fmt::print("      {:<48} {}\n", key, value_text(value));
    }
  }
  if (out.contains("rows")) {
    fmt::print("\nrows\n");
    for (const auto& row : out["rows"]) fmt::print("  {} tokens, steps per canvas {}\n", row["num_tokens"].get<uint64_t>(), json_text(row["steps_per_canvas"]));
  }
  fmt::print("\ndatasets\n");
  print_lines(out["datasets"], "  ");
}

void run(std::string model, int64_t context, bool json) {
  model = model_folder(model);
  std::error_code ignored;
  if (std::filesystem::exists(model + "/run.h5", ignored) && !std::filesystem::exists(model + "/config.json", ignored)) model += "/run.h5";
  const bool folder = std::filesystem::is_directory(model, ignored), file = !folder && std::filesystem::exists(model, ignored);
  if (!folder && !file && model.ends_with(".h5")) throw input_error("{}: no such file", model);
  if (is_adapter_folder(model)) {
    const OrderedJson adapter = describe_adapter(model);
    if (json) fmt::print("{}\n", json_text(adapter));
    else print_lines(adapter, "");
    return;
  }
  const OrderedJson out = folder ? describe_checkpoint(model, context) : file ? inspect_h5(model) : describe_plugin(model);
  if (json) fmt::print("{}\n", json_text(out));
  else if (folder) print_checkpoint(out);
  else if (file) print_h5(out);
  else print_lines(out, "");
}

}  // namespace

void add_inspect(CommandLine& line) {
  const Command command = line.command("inspect", "what a checkpoint, a denoiser, a run or a trace is: configuration, tensors, sizes, memory needed");
  auto* model = new std::string;
  auto* context = new int64_t(8192);
  auto* json = new bool(false);
  command.option("model", *model, "checkpoint folder, a denoiser such as 'hmm(states=16)', a run's folder, or a .h5 run or trace").required();
  command.option("--context", *context, "tokens of context for the memory estimate").range(int64_t{0}, int64_t{1} << 32).shows_default();
  command.flag("--json", *json, "one JSON object");
  command.footer("Examples:\n  canvaslab inspect DIR --context 32768\n  canvaslab inspect 'hmm(states=16)'\n  canvaslab inspect results/runs/quickstart/run.h5 --json\n"
                  "Only headers are read: a checkpoint of any size takes milliseconds.");
  command.action([=] { run(*model, *context, *json); });
}

}  // namespace canvaslab
