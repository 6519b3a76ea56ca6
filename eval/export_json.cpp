// lm-evaluation-harness reads one configuration as one run: a results file and a samples file each (evaluation.md 1.7).
#include "eval/export_json.h"

#include <algorithm>
#include <cmath>
#include <ctime>
#include <iomanip>
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

/// Worked examples in the prompts of a configuration: most of any prompt, and the mean, which is lower where some were left
/// out to fit. Data sets that know no shots have none.
struct Shots {
  int64_t most = 0;
  double mean = 0;
};
Shots shots_of(const H5Reader& file, size_t c) {
  Shots out;
  if (!file.has("metrics/num_shots")) return out;
  const auto config = file.read<uint32_t>("samples/config_idx");
  const auto shots = file.read<double>("metrics/num_shots");
  double sum = 0, count = 0;
  for (size_t i = 0; i < shots.size(); ++i)
    if (config[i] == c && std::isfinite(shots[i])) out.most = std::max(out.most, static_cast<int64_t>(shots[i])), sum += shots[i], count += 1;
  out.mean = count > 0 ? sum / count : 0;
  return out;
}

OrderedJson results_of(const H5Reader& file, size_t c, const std::string& settings) {
  const std::string task = task_of(file), denoiser = file.text_attribute("/", "denoiser");
  const auto at = [&](const std::string& name) { return number(file.read<double>("aggregates/" + name)[c]); };
  // Its table writer takes a word where there is no standard error, and stumbles over null.
  const auto error = [&](const std::string& name) { return at(name).is_null() ? OrderedJson("N/A") : at(name); };
  const auto metrics = metric_list(file);
  OrderedJson result = {{"alias", task}, {"sample_len", file.shape("items/item_id")[0]}}, better = OrderedJson::object();
  const std::string quality = file.text_attribute("aggregates", "quality"), filter = std::string(",") + kFilter;
  for (size_t m = 0; m < metrics.size(); ++m) {
    const std::string column = m == 0 ? "score" : metrics[m].first;
    result[metrics[m].first + filter] = at(column + "_mean");
    result[metrics[m].first + "_stderr" + filter] = error(column + "_standard_error");
    better[metrics[m].first] = metrics[m].second;
  }
  result[quality + filter] = at(quality);
  result[quality + "_stderr" + filter] = error(file.text_attribute("aggregates", "quality_standard_error"));
  better[quality] = file.integer_attribute("aggregates", "quality_higher_is_better") != 0;
  const auto items = file.shape("items/item_id")[0];
  const auto finished = file.read<int64_t>("aggregates/num_samples")[c];
  double seconds = 0;
  const auto config = file.read<uint32_t>("samples/config_idx");
  for (const char* phase : {"samples/seconds_prefill", "samples/seconds_denoise", "samples/seconds_append"}) {
    const auto values = file.read<double>(phase);
    for (size_t i = 0; i < values.size(); ++i)
      if (config[i] == c && std::isfinite(values[i])) seconds += values[i];
  }
  const auto seeds = file.text_attribute("/", "seeds");
  const Shots shots = shots_of(file, c);
  return {{"results", {{task, result}}},
          {"groups", OrderedJson::object()},
          {"group_subtasks", {{task, OrderedJson::array()}}},
          {"configs", {{task, {{"task", task}, {"dataset", file.text_attribute("/", "dataset")}, {"repeats", file.integer_attribute("/", "repeats_per_seed")}, {"settings", settings_json(settings)}}}}},
          {"versions", {{task, file.integer_attribute("/", "schema_version")}}},
          {"n-shot", {{task, shots.most}}},
          {"n-shot_mean", {{task, shots.mean}}},
          {"higher_is_better", {{task, better}}},
          {"n-samples", {{task, {{"original", items}, {"effective", items}, {"finished", finished}}}}},
          {"config",
           {{"model", "canvaslab"}, {"model_args", fmt::format("denoiser={},dtype={}", denoiser, file.text_attribute("/", "dtype"))}, {"batch_size", nullptr}, {"limit", nullptr},
            {"bootstrap_iters", 0}, {"gen_kwargs", settings_json(settings)}, {"random_seed", seeds}, {"numpy_seed", nullptr}, {"torch_seed", nullptr}, {"fewshot_seed", nullptr}}},
          {"git_hash", file.text_attribute("/", "commit")},
          {"date", unix_seconds(file.read_strings("run/created_utc")[0])},
          {"task_hashes", {{task, file.text_attribute("/", "dataset_sha256")}}},
          {"model_name", denoiser},
          {"system_instruction", nullptr},
          {"system_instruction_sha", nullptr},
          {"chat_template", nullptr},
          {"chat_template_sha", nullptr},
          {"total_evaluation_time_seconds", fmt::format("{}", seconds)}};
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

OrderedJson sample_line(const SampleColumns& s, size_t i, const OrderedJson& settings) {
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
  size_t next = 0;  // rows are ordered by configuration
  for (size_t c = 0; c < settings.size(); ++c) {
    out.push_back(fmt::format("{}/results_config-{}.json", folder, c));
    std::ofstream results(out.back(), std::ios::binary);
    results << json_text(results_of(file, c, settings[c]), 2) << "\n";
    finish_export(results, out.back());
    out.push_back(fmt::format("{}/samples_{}_config-{}.jsonl", folder, task_of(file), c));
    std::ofstream lines(out.back(), std::ios::binary);
    const OrderedJson kwargs = settings_json(settings[c]);
    for (; next < samples.config.size() && samples.config[next] == c; ++next) lines << json_text(sample_line(samples, next, kwargs)) << "\n";
    finish_export(lines, out.back());
  }
  return out;
}

}  // namespace canvaslab
