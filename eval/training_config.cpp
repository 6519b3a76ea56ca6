#include "eval/training_config.h"

#include <cmath>

#include "core/error.h"
#include "eval/datasets/task.h"
#include "eval/toml_table.h"

namespace canvaslab {
namespace {

/// A table of the file, or an empty one.
toml::table table_or_empty(const std::string& path, const toml::table& root, const std::string& name) {
  const auto* node = root.get(name);
  if (!node) return {};
  if (!node->is_table()) throw usage_error("{}: '{}' must be a table: [{}]", toml_place(path, node->source()), name, name);
  return *node->as_table();
}

double bounded(const TomlTable& table, const std::string& key, double fallback, double least, double most) {
  const double value = table.real(key, fallback);
  if (!(value >= least && value <= most)) throw usage_error("{}: '{}' is {}; expected {} to {}", table.at(key), key, value, least, most);
  return value;
}

void read_optimiser(const std::string& path, const toml::table& root, TrainerOptions& o) {
  const auto source = table_or_empty(path, root, "optimizer");
  const TomlTable t(path, "optimizer", source, {"steps", "learning_rate", "warmup_steps", "constant_until", "final_rate", "beta1", "beta2", "epsilon", "weight_decay", "clip_norm", "average_decay"});
  o.num_steps = t.integer("steps", o.num_steps, 1, 1'000'000'000);
  o.warmup_steps = t.integer("warmup_steps", o.warmup_steps, 0);
  o.learning_rate = bounded(t, "learning_rate", o.learning_rate, 0, 10);
  o.constant_until = bounded(t, "constant_until", o.constant_until, 0, 1);
  o.final_rate = bounded(t, "final_rate", o.final_rate, 0, 1);
  o.beta1 = bounded(t, "beta1", o.beta1, 0, 0.9999);
  o.beta2 = bounded(t, "beta2", o.beta2, 0, 0.999999);
  o.epsilon = bounded(t, "epsilon", o.epsilon, 1e-16, 1);
  o.weight_decay = bounded(t, "weight_decay", o.weight_decay, 0, 10);
  o.clip_norm = bounded(t, "clip_norm", o.clip_norm, 1e-9, 1e9);
  o.average_decay = bounded(t, "average_decay", o.average_decay, 0, 0.999999);
}

void read_loss(const std::string& path, const toml::table& root, TrainerOptions& o) {
  const auto source = table_or_empty(path, root, "loss");
  const TomlTable t(path, "loss", source, {"canvases_per_sequence", "all_noise_share", "self_conditioning_share", "causal_weight", "balance_weight"});
  o.canvases_per_sequence = t.integer("canvases_per_sequence", o.canvases_per_sequence, 1, 64);
  o.all_noise_share = bounded(t, "all_noise_share", o.all_noise_share, 0, 1);
  o.self_conditioning_share = bounded(t, "self_conditioning_share", o.self_conditioning_share, 0, 1);
  o.causal_weight = bounded(t, "causal_weight", o.causal_weight, 0, 1000);
  o.balance_weight = bounded(t, "balance_weight", o.balance_weight, 0, 1000);
}

void read_lora(const std::string& path, const toml::table& root, LoraOptions& o) {
  if (!root.contains("lora")) return;
  const auto source = table_or_empty(path, root, "lora");
  const TomlTable t(path, "lora", source, {"rank", "alpha", "targets"});
  o.rank = t.integer("rank", 8, 1, 4096);
  o.alpha = bounded(t, "alpha", static_cast<double>(o.rank), 1e-6, 1e6);
  if (!t.has("targets")) return;
  o.attention = o.experts = false;
  for (const auto& target : t.texts("targets")) {
    if (target == "attention") o.attention = true;
    else if (target == "experts") o.experts = true;
    else throw usage_error("{}: 'targets' names '{}'{}; expected attention, experts or both", t.at("targets"), target, did_you_mean(target, {"attention", "experts"}));
  }
}

void read_batch(const std::string& path, const toml::table& root, TrainingConfig& c) {
  const auto source = table_or_empty(path, root, "batch");
  const TomlTable t(path, "batch", source, {"rows", "batches_per_step", "canvas_lengths", "canvas_length_weights"});
  c.rows = t.integer("rows", c.rows, 1, 65536);
  c.batches_per_step = t.integer("batches_per_step", c.batches_per_step, 1, 4096);
  const auto lengths = t.integers("canvas_lengths", 1, 65536);
  const auto weights = t.texts("canvas_length_weights");
  if (!weights.empty() && weights.size() != lengths.size())
    throw usage_error("{}: 'canvas_length_weights' has {} values for {} canvas lengths", t.at("canvas_length_weights"), weights.size(), lengths.size());
  for (size_t i = 0; i < lengths.size(); ++i) {
    const double weight = weights.empty() ? 1 : parse_real(weights[i], fmt::format("{}: 'canvas_length_weights'", t.at("canvas_length_weights")));
    if (!(weight > 0)) throw usage_error("{}: 'canvas_length_weights' must be positive, got {}", t.at("canvas_length_weights"), weight);
    c.canvas_lengths.emplace_back(lengths[i], weight);
  }
}

void read_evaluation(const std::string& path, const toml::table& root, TrainingEvaluation& e) {
  const auto source = table_or_empty(path, root, "evaluate");
  const TomlTable t(path, "evaluate", source, {"every", "items", "settings"});
  e.every = t.integer("every", e.every, 0, 1'000'000'000);
  e.items = t.integer("items", e.items, 1, 1'000'000);
  e.settings = t.texts("settings");
}

void read_tasks(const std::string& path, const toml::table& root, TrainingConfig& c) {
  const auto* list = root.get_as<toml::array>("task");
  if (!list || list->empty()) throw usage_error("{}: names no task; expected at least one [[task]] with dataset = \"arithmetic\" or the like", path);
  for (const auto& node : *list) {
    if (!node.is_table()) throw usage_error("{}: 'task' must be a list of tables: [[task]]", toml_place(path, node.source()));
    const TomlTable t(path, "task", *node.as_table(), {"dataset", "label", "weight"});
    TrainingTask task{.dataset = t.text("dataset", std::nullopt), .label = "", .weight = bounded(t, "weight", 1, 0, 1e6)};
    task.label = t.text("label", task.dataset);
    located(t.at("dataset"), [&] {
      task.dataset = datasets().canonical(task.dataset);
      make_task(task.dataset);
    });
    if (!(task.weight > 0)) throw usage_error("{}: 'weight' must be positive", t.at("weight"));
    c.tasks.push_back(std::move(task));
  }
}

}  // namespace

std::string TrainingConfig::settings() const {
  const TrainerOptions& o = options;
  std::string out = fmt::format(
      "seed = {}\nsteps = {}\nwarmup_steps = {}\nconstant_until = {}\nfinal_rate = {}\nlearning_rate = {}\nbeta1 = {}\nbeta2 = {}\nepsilon = {}\nweight_decay = {}\nclip_norm = {}\naverage_decay = {}\n"
      "canvases_per_sequence = {}\nall_noise_share = {}\nself_conditioning_share = {}\ncausal_weight = {}\nbalance_weight = {}\nproducts = {}\nfused = {}\nrows = {}\nbatches_per_step = {}\ncheckpoint_every = {}\n",
      o.seed, o.num_steps, o.warmup_steps, o.constant_until, o.final_rate, o.learning_rate, o.beta1, o.beta2, o.epsilon, o.weight_decay, o.clip_norm, o.average_decay, o.canvases_per_sequence,
      o.all_noise_share, o.self_conditioning_share, o.causal_weight, o.balance_weight, o.bf16_products ? "bf16" : "f32", o.fused, rows, batches_per_step, checkpoint_every);
  if (o.device != "cpu") out += fmt::format("device = {}\n", o.device);
  if (o.lora.rank > 0) out += fmt::format("lora_rank = {}\nlora_alpha = {}\nlora_attention = {}\nlora_experts = {}\n", o.lora.rank, o.lora.alpha, o.lora.attention, o.lora.experts);
  for (const auto& [length, weight] : canvas_lengths) out += fmt::format("canvas_length {} = {}\n", length, weight);
  for (const auto& task : tasks) out += fmt::format("task {} = {}\n", task.dataset, task.weight);
  return out;
}

TrainingConfig read_training_config(const std::string& path, const std::vector<std::string>& overrides, const std::string& from) {
  toml::table root = parse_toml(path);
  for (const auto& text : overrides) apply_override(root, text);
  const TomlTable top(path, "", root, {"run", "model", "optimizer", "loss", "lora", "batch", "evaluate", "task"});
  TrainingConfig c;
  c.path = path;
  const auto run = table_or_empty(path, root, "run"), model = table_or_empty(path, root, "model");
  const TomlTable r(path, "run", run, {"name", "seed", "log_every", "checkpoint_every"});
  c.name = r.text("name", "training");
  c.options.seed = static_cast<uint64_t>(r.integer("seed", 1, 0));
  c.log_every = r.integer("log_every", c.log_every, 1);
  c.checkpoint_every = r.integer("checkpoint_every", c.checkpoint_every, 1);
  const TomlTable m(path, "model", model, {"base", "products", "dtype", "device"});
  c.base = from.empty() ? m.text("base", "") : from;
  if (c.base.empty()) throw usage_error("{}: names no model; expected 'base' under [model], or --from DIR to fine-tune the model in DIR", path);
  c.options.fine_tunes = !from.empty();
  const std::string products = m.text("products", "f32"), dtype = m.text("dtype", "bf16");
  if (products != "f32" && products != "bf16") throw usage_error("{}: 'products' is '{}'; expected f32 or bf16", m.at("products"), products);
  if (dtype != "f32" && dtype != "bf16") throw usage_error("{}: 'dtype' is '{}'; expected f32 or bf16", m.at("dtype"), dtype);
  c.options.bf16_products = products == "bf16";
  c.options.device = m.text("device", "cpu");
  if (c.options.device != "cpu" && c.options.device != "cuda") throw usage_error("{}: 'device' is '{}'; expected cpu or cuda", m.at("device"), c.options.device);
  c.dtype = dtype == "bf16" ? "BF16" : "F32";
  read_optimiser(path, root, c.options);
  read_loss(path, root, c.options);
  read_lora(path, root, c.options.lora);
  read_batch(path, root, c);
  read_evaluation(path, root, c.evaluation);
  read_tasks(path, root, c);
  return c;
}

}  // namespace canvaslab
