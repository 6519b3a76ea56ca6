#include "eval/import.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <numeric>
#include <optional>
#include <set>

#include <fmt/ranges.h>

#include "core/digest.h"
#include "core/error.h"
#include "core/text/tokenizer.h"
#include "eval/datasets/joined.h"
#include "eval/results.h"

namespace canvaslab {
namespace {

/// Stands where a denoiser is asked for: nothing was generated here.
class Elsewhere final : public Denoiser {
 public:
  explicit Elsewhere(std::string hash) : hash_(std::move(hash)) { facts_.vocabulary = std::numeric_limits<int32_t>::max(); }
  const DenoiserFacts& facts() const override { return facts_; }
  std::unique_ptr<Sequence> prefill(const Prompt&) const override { refuse(); }
  std::vector<StepResult> denoise(std::span<const DenoiseRow>) const override { refuse(); }
  std::vector<float> append(Sequence&, std::span<const int32_t>, bool) const override { refuse(); }
  std::string content_hash() const override { return hash_; }

 private:
  [[noreturn]] static void refuse() { throw usage_error("this data set asks the denoiser while it scores, but imported completions have none"); }
  DenoiserFacts facts_;
  std::string hash_;
};

/// The file's own ids and metrics.
class FileScores final : public Dataset {
 public:
  FileScores(std::vector<Example> examples, ScoreFacts facts, std::string hash) : examples_(std::move(examples)), facts_(std::move(facts)), hash_(std::move(hash)) {}
  std::vector<Example> load() const override { return examples_; }
  ScoreFacts score_facts() const override { return facts_; }
  Score score(const Example&, std::span<const int32_t>, const Denoiser&) const override { throw usage_error("the scores of imported lines stand in their file"); }
  std::string content_hash() const override { return hash_; }

 private:
  std::vector<Example> examples_;
  ScoreFacts facts_;
  std::string hash_;
};

std::string choose_metric(const ImportedFile& file, const std::string& asked) {
  std::vector<std::string> names;
  for (const auto& [name, value] : file.lines[0].metrics) names.push_back(name);
  const auto has = [&](const std::string& name) { return std::find(names.begin(), names.end(), name) != names.end(); };
  if (!asked.empty() && !has(asked)) throw usage_error("--metric {}: the file has no such metric{}\nit has: {}", asked, did_you_mean(asked, names), names.empty() ? "none" : joined(names));
  if (!asked.empty()) return asked;
  if (names.size() <= 1) return names.empty() ? "" : names[0];
  for (const char* usual : {"exact_match", "acc"})
    if (has(usual)) return usual;
  throw usage_error("{}: has several metrics; say with --metric which is the score: {}", file.path, joined(names));
}

/// The score first, further metrics after it.
std::vector<double> metric_values(const ImportedLine& line, const std::string& score) {
  std::vector<double> out(1);
  for (const auto& [name, value] : line.metrics) {
    if (name == score) out[0] = value;
    else out.push_back(value);
  }
  return out;
}

std::unique_ptr<Dataset> file_scores(const ImportedFile& file, const std::string& metric, bool lower_is_better, const Dataset* items) {
  ScoreFacts facts{.name = metric, .unit = "as imported", .higher_is_better = !lower_is_better, .metrics = {}, .texts = {}, .is_quality = true};
  for (const auto& [name, value] : file.lines[0].metrics)
    if (name != metric) facts.metrics.push_back({.name = name, .unit = "as imported", .higher_is_better = true});
  if (items) return std::make_unique<FileScores>(items->load(), facts, items->content_hash());
  std::vector<Example> examples;
  std::map<std::string, std::string> docs;
  for (const auto& line : file.lines) {
    if (!docs.insert({line.id, line.doc}).second) continue;
    Example example;
    example.id = line.id, example.has_ids = true;
    examples.push_back(std::move(example));
  }
  std::string identity = "imported items";
  for (const auto& [id, doc] : docs) identity += fmt::format("\n{}\t{}", id, doc);  // of the questions, not the answers: two programs' files pair
  return std::make_unique<FileScores>(std::move(examples), facts, hex(sha256(identity)));
}

/// Every sample that is made of a line.
struct Join {
  PreparedSweep sweep;
  std::vector<SampleRecord> samples;
  std::vector<std::string> completions;
  bool graded = false;   ///< by the data set
  std::string metric;    ///< else by this
};

void name_configs(Join& join, const ImportedFile& file, const std::vector<std::string>& filters) {
  const std::string name = std::filesystem::path(file.path).filename().string();
  for (const auto& filter : filters) {
    std::string text = fmt::format("config=imported; file={}; file_sha256={}; score={}", name, file.sha256, join.graded ? "data set" : join.metric);
    if (!filter.empty()) text += "; filter=" + filter;
    SweepConfig config;
    config.imported = true;
    join.sweep.plan.configs.push_back(std::move(config));
    join.sweep.settings_text.push_back(std::move(text));
    join.sweep.generation.emplace_back();
  }
}

std::vector<int32_t> tokens_of(const ImportedLine& line, const std::optional<Tokenizer>& tokenizer) {
  if (line.has_ids) return line.token_ids;
  return tokenizer ? tokenizer->encode(line.completion) : std::vector<int32_t>{};
}

void grade(const Join& join, const ImportedFile& file, const ImportedLine& line, bool has_tokens, SampleRecord& sample) {
  if (!join.graded) {
    const auto values = metric_values(line, join.metric);
    sample.score = values[0];
    sample.metrics.assign(values.begin() + 1, values.end());
    if (line.failed) sample.error = fmt::format("{}:{}: failed, or its metric is null", file.path, line.number);
    return;
  }
  if (!has_tokens)
    throw usage_error("{}:{}: the data set grades token ids, but the line has no 'token_ids'\ngive --tokenizer FILE (a tokenizer.json) to encode the completions", file.path, line.number);
  try {
    const Score score = join.sweep.dataset->score(join.sweep.examples[sample.item_idx], sample.token_ids, *join.sweep.denoiser);
    sample.score = score.value, sample.metrics = score.metrics;
  } catch (const std::exception& error) {
    throw input_error("{}:{}: cannot be graded: {}", file.path, line.number, error.what());
  }
}

void add_samples(Join& join, const ImportedFile& file, const std::vector<std::string>& filters, const std::optional<Tokenizer>& tokenizer) {
  std::map<std::string, uint32_t> item_of;
  for (uint32_t i = 0; i < join.sweep.examples.size(); ++i) item_of[join.sweep.examples[i].id] = i;
  std::vector<std::string> unknown;
  std::map<std::tuple<uint32_t, uint32_t, uint32_t>, const ImportedLine*> rows;
  for (const auto& line : file.lines) {
    const auto found = std::find(filters.begin(), filters.end(), join.graded ? filters[0] : line.filter);
    if (found == filters.end()) continue;
    const auto item = item_of.find(line.id);
    if (item == item_of.end()) {
      unknown.push_back(fmt::format("'{}' (line {})", line.id, line.number));
      continue;
    }
    const auto [at, fresh] = rows.insert({{static_cast<uint32_t>(found - filters.begin()), item->second, line.repeat}, &line});
    if (!fresh && at->second->completion != line.completion)
      throw input_error("{}:{}: item '{}' has another completion than in line {}; give --filter NAME to import one filter's lines", file.path, line.number, line.id, at->second->number);
  }
  if (!unknown.empty()) {
    const size_t shown = std::min<size_t>(10, unknown.size());
    throw input_error("{}: {} ids are not in data set '{}': {}{}\nits ids are like '{}'; --id FIELD takes them from another field of the lines", file.path, unknown.size(), join.sweep.plan.dataset,
                      fmt::join(unknown.begin(), unknown.begin() + static_cast<ptrdiff_t>(shown), ", "), unknown.size() > shown ? ", ..." : "", join.sweep.examples.front().id);
  }
  for (const auto& [row, line] : rows) {  // the map's order is the file's: configuration, item, repeat
    SampleRecord sample;
    std::tie(sample.config_idx, sample.item_idx, sample.repeat) = row;
    sample.content_key = sha256(fmt::format("canvaslab import 1\nfile {}\nline {}\n", file.sha256, line->number));
    sample.token_ids = sample.canvas_ids = tokens_of(*line, tokenizer);
    sample.stop_reason = "imported";
    grade(join, file, *line, line->has_ids || tokenizer, sample);
    join.sweep.plan.repeats = std::max(join.sweep.plan.repeats, sample.repeat + 1);
    join.samples.push_back(std::move(sample));
    join.completions.push_back(line->completion);
  }
}

std::vector<std::string> chosen_filters(const ImportedFile& file, const std::string& asked) {
  std::vector<std::string> all;
  for (const auto& line : file.lines)
    if (std::find(all.begin(), all.end(), line.filter) == all.end()) all.push_back(line.filter);
  if (asked.empty()) return all;
  if (std::find(all.begin(), all.end(), asked) == all.end()) throw usage_error("--filter {}: no line has it{}\nthe file has: {}", asked, did_you_mean(asked, all), joined(all));
  return {asked};
}

/// Who scores, and on which items.
void choose_scores(Join& join, const ImportedFile& file, const ImportOptions& options) {
  join.metric = choose_metric(file, options.metric);
  std::unique_ptr<Dataset> dataset;
  if (!options.dataset.empty()) {
    join.sweep.plan.dataset = datasets().canonical(options.dataset);
    if (facts_of_dataset(options.dataset).needs_source)
      throw usage_error("data set '{}' needs a denoiser with an exact source; imported completions cannot be judged by it", join.sweep.plan.dataset);
    dataset = datasets().make(options.dataset);
    join.graded = dataset->score_facts().is_quality && options.metric.empty();
  } else {
    join.sweep.plan.dataset = fmt::format("imported({})", std::filesystem::path(file.path).filename().string());
  }
  if (!join.graded && join.metric.empty())
    throw usage_error("{}: there is nothing to score by: its lines hold no metric{}", file.path,
                      dataset ? fmt::format(", and data set '{}' has no answers", join.sweep.plan.dataset) : "\ngive --dataset, or lines with a number such as \"score\": 1");
  join.sweep.dataset = join.graded ? std::move(dataset) : file_scores(file, join.metric, options.lower_is_better, dataset.get());
}

}  // namespace

ImportOutcome import_run(const std::string& path, const ImportOptions& options, const std::string& folder) {
  for (const char* there : {"run.h5", "run.journal"})
    if (std::filesystem::exists(folder + "/" + there)) throw usage_error("{}: already holds a run ({}); give another folder with --out", folder, there);
  const ImportedFile file = read_imported(path, options.id_field);
  std::optional<Tokenizer> tokenizer;
  if (!options.tokenizer.empty()) tokenizer = Tokenizer::load(options.tokenizer);
  Join join;
  PreparedSweep& sweep = join.sweep;
  choose_scores(join, file, options);
  const std::vector<std::string> filters = chosen_filters(file, options.filter);
  sweep.plan.name = std::filesystem::weakly_canonical(folder).filename().string();
  sweep.plan.denoiser = fmt::format("imported({})", std::filesystem::path(path).filename().string());
  sweep.plan.dtype = "imported", sweep.plan.seeds = {0};
  sweep.model_hash = file.sha256, sweep.data_hash = sweep.dataset->content_hash();
  sweep.denoiser = std::make_unique<Elsewhere>(file.sha256);
  sweep.examples = sweep.dataset->load();
  name_configs(join, file, join.graded ? std::vector{filters[0]} : filters);
  add_samples(join, file, filters, tokenizer);
  sweep.header = fmt::format("canvaslab import 1\nfile {}\ndataset {}\ndata {}\nconfigurations {}\n{}\n", file.sha256, sweep.plan.dataset, sweep.data_hash, sweep.settings_text.size(),
                             fmt::join(sweep.settings_text, "\n"));
  std::error_code made;
  std::filesystem::create_directories(folder, made);
  if (made) throw input_error("{}: the folder cannot be created ({})", folder, made.message());
  ImportOutcome out{.path = folder + "/run.h5", .score_name = sweep.dataset->score_facts().name, .configs = sweep.settings_text, .notes = file.notes};
  SweepOptions run;
  run.command_line = options.command_line;
  write_results(sweep, join.samples, out.path, run, {.completions = &join.completions});
  out.num_samples = join.samples.size(), out.num_items = sweep.examples.size();
  std::set<uint32_t> with;
  for (const auto& sample : join.samples) with.insert(sample.item_idx), out.num_failed += !sample.error.empty();
  if (with.size() < sweep.examples.size()) out.notes.push_back(fmt::format("{} of {} items have no completion in the file", sweep.examples.size() - with.size(), sweep.examples.size()));
  return out;
}

}  // namespace canvaslab
