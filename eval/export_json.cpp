// lm-evaluation-harness reads one configuration as one run: a results file and a samples file each (evaluation.md 1.7).
#include "eval/export_json.h"

#include <algorithm>
#include <cmath>
#include <ctime>
#include <iomanip>
#include <optional>
#include <sstream>

#include <fmt/ranges.h>

#include "core/digest.h"
#include "core/json.h"

namespace canvaslab {
namespace {

constexpr const char* kFilter = "none";  // no answer is extracted: the score is the data set's own

OrderedJson number(double value) { return std::isfinite(value) ? OrderedJson(value) : OrderedJson(nullptr); }

/// source(items=30) -> source.
std::string task_of(const H5Reader& file) {
  const std::string dataset = file.text_attribute("/", "dataset");
  return dataset.substr(0, dataset.find('('));
}

/// Metric name -> higher is better; the score first. Metrics that are words (verdicts, rules) are no numbers to average.
std::vector<std::pair<std::string, bool>> metric_list(const H5Reader& file) {
  std::vector<std::pair<std::string, bool>> out = {{file.text_attribute("samples/score", "quality_name"), file.integer_attribute("samples/score", "higher_is_better") != 0}};
  for (const auto& name : file.names("metrics"))
    if (!file.has_attribute("metrics/" + name, "names")) out.emplace_back(name, file.integer_attribute("metrics/" + name, "higher_is_better") != 0);
  return out;
}

/// Columns of words, a word a sample: metrics that are words, and texts read out of the answers.
std::vector<std::pair<std::string, std::vector<std::string>>> word_columns(const H5Reader& file) {
  std::vector<std::pair<std::string, std::vector<std::string>>> out;
  for (const auto& name : file.names("metrics")) {
    if (!file.has_attribute("metrics/" + name, "names")) continue;
    const auto names = file.list_attribute("metrics/" + name, "names");
    std::vector<std::string> words;
    for (const double code : file.read<double>("metrics/" + name)) words.push_back(code >= 0 && code < static_cast<double>(names.size()) ? names[static_cast<size_t>(code)] : "");
    out.emplace_back(name, std::move(words));
  }
  if (file.has("answers"))
    for (const auto& name : file.names("answers")) out.emplace_back(name, file.read_strings("answers/" + name));
  return out;
}

/// 2026-01-31T12:00:00Z as seconds since 1970; null for anything else.
OrderedJson unix_seconds(const std::string& text) {
  std::tm time{};
  std::istringstream in(text);
  in >> std::get_time(&time, "%Y-%m-%dT%H:%M:%SZ");
  return in ? OrderedJson(static_cast<double>(::timegm(&time))) : OrderedJson(nullptr);
}

OrderedJson settings_json(const std::string& settings) {
  OrderedJson out = OrderedJson::object();
  for (const auto& [key, value] : split_settings(settings)) out[key] = value;
  return out;
}

/// What results are given for: a whole run, or one of the data sets that it joins.
struct JsonTask {
  std::string name, dataset, sha256;
  std::string group;                      ///< of the columns
  std::vector<size_t> rows;               ///< in that group, by configuration
  std::optional<std::string> set;         ///< whose items; absent: all
};

/// The data sets that a run joins; none: it has a single one.
std::vector<JsonTask> tasks_of_sets(const H5Reader& file) {
  std::vector<JsonTask> out;
  if (!file.has("items/data_set")) return out;
  const auto labels = file.list_attribute("items/data_set", "labels"), texts = file.list_attribute("items/data_set", "data_sets"), hashes = file.list_attribute("items/data_set", "sha256");
  for (size_t s = 0; s < labels.size(); ++s) {
    JsonTask& task = out.emplace_back(JsonTask{.name = labels[s], .dataset = texts.at(s), .sha256 = hashes.at(s), .group = "data_sets", .rows = {}, .set = labels[s]});
    const auto names = file.read_strings("data_sets/data_set");
    for (size_t row = 0; row < names.size(); ++row)  // ordered by configuration
      if (names[row] == labels[s]) task.rows.push_back(row);
  }
  return out;
}

JsonTask task_of_run(const H5Reader& file) {
  JsonTask out{.name = task_of(file), .dataset = file.text_attribute("/", "dataset"), .sha256 = file.text_attribute("/", "dataset_sha256"), .group = "aggregates", .rows = {}, .set = std::nullopt};
  for (size_t c = 0; c < file.shape("config/settings")[0]; ++c) out.rows.push_back(c);
  return out;
}

/// Items, finished samples and worked examples of a task in one configuration: most of any prompt, and the mean, which is
/// lower where some were left out to fit. Data sets that know no shots have none.
struct Counts {
  int64_t items = 0, finished = 0, most_shots = 0;
  double mean_shots = 0;
};
Counts counts_of(const H5Reader& file, const JsonTask& task, size_t c) {
  Counts out;
  const auto sets = task.set ? file.read_strings("items/data_set") : std::vector<std::string>{};
  out.items = task.set ? std::count(sets.begin(), sets.end(), *task.set) : static_cast<int64_t>(file.shape("items/item_id")[0]);
  const auto config = file.read<uint32_t>("samples/config_idx"), item = file.read<uint32_t>("samples/item_idx");
  const auto failed = file.read<uint8_t>("samples/failed");
  const auto shots = file.has("metrics/num_shots") ? file.read<double>("metrics/num_shots") : std::vector<double>(config.size(), std::nan(""));
  double sum = 0, count = 0;
  for (size_t i = 0; i < config.size(); ++i) {
    if (config[i] != c || (task.set && sets[item[i]] != *task.set)) continue;
    out.finished += failed[i] == 0;
    if (std::isfinite(shots[i])) out.most_shots = std::max(out.most_shots, static_cast<int64_t>(shots[i])), sum += shots[i], count += 1;
  }
  out.mean_shots = count > 0 ? sum / count : 0;
  return out;
}

/// Which of the metrics say something of a task: of data sets that are joined not each has all.
std::vector<bool> shown_metrics(const H5Reader& file, const JsonTask& task, size_t c) {
  std::vector<bool> out;
  for (const auto& [name, better] : metric_list(file))
    out.push_back(!task.set || out.empty() || std::isfinite(file.read<double>(fmt::format("{}/{}_mean", task.group, name))[task.rows.at(c)]));
  return out;
}

/// Adds a task's entries to those of a results file.
void add_task(OrderedJson& out, const H5Reader& file, const JsonTask& task, size_t c, const OrderedJson& settings) {
  const auto at = [&](const std::string& name) { return number(file.read<double>(task.group + "/" + name)[task.rows.at(c)]); };
  // Its table writer takes a word where there is no standard error, and stumbles over null.
  const auto error = [&](const std::string& name) { return at(name).is_null() ? OrderedJson("N/A") : at(name); };
  const auto metrics = metric_list(file);
  const auto shown = shown_metrics(file, task, c);
  const Counts counts = counts_of(file, task, c);
  OrderedJson result = {{"alias", task.name}, {"sample_len", counts.items}}, better = OrderedJson::object();
  const std::string filter = std::string(",") + kFilter;
  for (size_t m = 0; m < metrics.size(); ++m) {
    const std::string column = m == 0 ? "score" : metrics[m].first;
    if (!shown[m]) continue;
    result[metrics[m].first + filter] = at(column + "_mean");
    result[metrics[m].first + "_stderr" + filter] = error(column + "_standard_error");
    better[metrics[m].first] = metrics[m].second;
  }
  if (!task.set) {
    const std::string quality = file.text_attribute("aggregates", "quality");
    result[quality + filter] = at(quality);
    result[quality + "_stderr" + filter] = error(file.text_attribute("aggregates", "quality_standard_error"));
    better[quality] = file.integer_attribute("aggregates", "quality_higher_is_better") != 0;
  }
  out["results"][task.name] = result;
  out["configs"][task.name] = {{"task", task.name}, {"dataset", task.dataset}, {"repeats", file.integer_attribute("/", "repeats_per_seed")}, {"settings", settings}};
  out["versions"][task.name] = file.integer_attribute("/", "schema_version");
  out["n-shot"][task.name] = counts.most_shots;
  out["n-shot_mean"][task.name] = counts.mean_shots;
  out["higher_is_better"][task.name] = better;
  out["n-samples"][task.name] = {{"original", counts.items}, {"effective", counts.items}, {"finished", counts.finished}};
  out["task_hashes"][task.name] = task.sha256;
}

double total_seconds(const H5Reader& file, size_t c) {
  const auto config = file.read<uint32_t>("samples/config_idx");
  double out = 0;
  for (const char* phase : {"samples/seconds_prefill", "samples/seconds_denoise", "samples/seconds_append"}) {
    const auto values = file.read<double>(phase);
    for (size_t i = 0; i < values.size(); ++i)
      if (config[i] == c && std::isfinite(values[i])) out += values[i];
  }
  return out;
}

/// Data sets that are joined are the subtasks of a group, as the harness writes its own groups.
OrderedJson results_of(const H5Reader& file, const JsonTask& whole, const std::vector<JsonTask>& sets, size_t c, const OrderedJson& settings) {
  const std::string denoiser = file.text_attribute("/", "denoiser");
  OrderedJson out;
  // In this order; filled in below.
  for (const char* key : {"results", "groups", "group_subtasks", "configs", "versions", "n-shot", "n-shot_mean", "higher_is_better", "n-samples"}) out[key] = OrderedJson::object();
  out["config"] = {{"model", "canvaslab"}, {"model_args", fmt::format("denoiser={},dtype={}", denoiser, file.text_attribute("/", "dtype"))}, {"batch_size", nullptr}, {"limit", nullptr},
                   {"bootstrap_iters", 0}, {"gen_kwargs", settings}, {"random_seed", file.text_attribute("/", "seeds")}, {"numpy_seed", nullptr}, {"torch_seed", nullptr}, {"fewshot_seed", nullptr}};
  out["git_hash"] = file.text_attribute("/", "commit");
  out["date"] = unix_seconds(file.read_strings("run/created_utc")[0]);
  out["task_hashes"] = OrderedJson::object();
  out["model_name"] = denoiser;
  for (const char* key : {"system_instruction", "system_instruction_sha", "chat_template", "chat_template_sha"}) out[key] = nullptr;
  out["total_evaluation_time_seconds"] = fmt::format("{}", total_seconds(file, c));
  add_task(out, file, whole, c, settings);
  out["group_subtasks"][whole.name] = OrderedJson::array();
  if (!sets.empty()) out["groups"][whole.name] = out["results"][whole.name];
  for (const auto& task : sets) {
    add_task(out, file, task, c, settings);
    out["group_subtasks"][whole.name].push_back(task.name);
  }
  return out;
}

/// What the sample lines need, read once.
struct SampleColumns {
  explicit SampleColumns(const H5Reader& file)
      : config(file.read<uint32_t>("samples/config_idx")), item(file.read<uint32_t>("samples/item_idx")), repeat(file.read<uint32_t>("samples/repeat")),
        seed(file.read<uint64_t>("samples/seed")), ids_begin(file.read<uint64_t>("samples/ids_begin")), failed(file.read<uint8_t>("samples/failed")),
        num_tokens(file.read<int32_t>("samples/num_tokens")), ids(file.read<int32_t>("text/ids")), item_id(file.read_strings("items/item_id")),
        category(file.read_strings("items/category")), words(word_columns(file)), metrics(metric_list(file)) {
    for (size_t m = 0; m < metrics.size(); ++m) values.push_back(file.read<double>(m == 0 ? "samples/score" : "metrics/" + metrics[m].first));
  }
  std::vector<uint32_t> config, item, repeat;
  std::vector<uint64_t> seed, ids_begin;
  std::vector<uint8_t> failed;
  std::vector<int32_t> num_tokens, ids;
  std::vector<std::string> item_id, category;
  std::vector<std::pair<std::string, std::vector<std::string>>> words;
  std::vector<std::pair<std::string, bool>> metrics;
  std::vector<std::vector<double>> values;  // [metric][sample]
};

/// `shown`: which of the metrics say something of this data set.
OrderedJson sample_line(const SampleColumns& s, size_t i, const OrderedJson& settings, const std::vector<bool>& shown) {
  const auto begin = s.ids.begin() + static_cast<ptrdiff_t>(s.ids_begin[i]);
  const std::string response = fmt::format("{}", fmt::join(begin, begin + s.num_tokens[i], " "));  // tokens: a run keeps no text
  const OrderedJson doc = {{"id", s.item_id[s.item[i]]}, {"category", s.category[s.item[i]]}};
  OrderedJson out = {{"doc_id", s.item[i]},
              {"doc", doc},
              {"target", nullptr},
              {"arguments", {{"gen_args_0", {{"arg_0", nullptr}, {"arg_1", settings}}}}},
              {"resps", OrderedJson::array({OrderedJson::array({response})})},
              {"filtered_resps", OrderedJson::array({response})},
              {"filter", kFilter},
              {"metrics", OrderedJson::array()},
              {"doc_hash", hex(sha256(json_text(doc)))},
              {"prompt_hash", nullptr},
              {"target_hash", nullptr},
              {"repeat", s.repeat[i]},
              {"seed", s.seed[i]},
              {"failed", s.failed[i] != 0}};
  for (size_t m = 0; m < s.metrics.size(); ++m) {
    if (!shown[m]) continue;
    out["metrics"].push_back(s.metrics[m].first);
    out[s.metrics[m].first] = number(s.values[m][i]);
  }
  for (const auto& [name, column] : s.words) out[name] = column[i];
  return out;
}

}  // namespace

std::vector<std::string> export_json(const H5Reader& file, const std::string& folder) {
  std::vector<std::string> out;
  const SampleColumns samples(file);
  const auto settings = file.read_strings("config/settings");
  const JsonTask whole = task_of_run(file);
  const auto sets = tasks_of_sets(file);
  const auto item_set = file.has("items/data_set") ? file.read_strings("items/data_set") : std::vector<std::string>{};
  size_t next = 0;  // rows are ordered by configuration
  for (size_t c = 0; c < settings.size(); ++c) {
    const OrderedJson kwargs = settings_json(settings[c]);
    out.push_back(fmt::format("{}/results_config-{}.json", folder, c));
    std::ofstream results(out.back(), std::ios::binary);
    results << json_text(results_of(file, whole, sets, c, kwargs), 2) << "\n";
    finish_export(results, out.back());
    const size_t begin = next;
    while (next < samples.config.size() && samples.config[next] == c) ++next;
    for (const auto& task : sets.empty() ? std::vector{whole} : sets) {
      out.push_back(fmt::format("{}/samples_{}_config-{}.jsonl", folder, task.name, c));
      std::ofstream lines(out.back(), std::ios::binary);
      const auto shown = shown_metrics(file, task, c);
      for (size_t i = begin; i < next; ++i)
        if (!task.set || item_set[samples.item[i]] == *task.set) lines << json_text(sample_line(samples, i, kwargs, shown)) << "\n";
      finish_export(lines, out.back());
    }
  }
  return out;
}

}  // namespace canvaslab
