#include "eval/results.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>

#include "core/error.h"
#include "core/network/torch_version.h"
#include "eval/datasets/joined.h"

#ifndef CANVASLAB_COMMIT
#define CANVASLAB_COMMIT "unknown"
#endif

namespace canvaslab {
namespace {

void write_config(H5Writer& file, const PreparedSweep& sweep) {
  file.group("config");
  std::map<std::string, std::vector<std::string>> text;
  std::vector<int32_t> steps, anneal, length, most;
  std::vector<uint8_t> control;
  bool adaptive = false;
  for (size_t c = 0; c < sweep.plan.configs.size(); ++c) {
    const auto& plan = sweep.generation[c];
    const SweepConfig& config = sweep.plan.configs[c];
    const bool exact = config.control, made = config.generated();
    for (const auto& [key, value] : plan.settings())
      if (key == "sampler" || key == "stop" || key == "temperature" || key == "emission" || key == "self_conditioning" || key == "rng")
        text[key].push_back(made ? value : key != "sampler" ? "" : exact ? "exact_samples" : "imported");
    text["canvas_policy"].push_back(plan.length.adaptive() ? plan.length.canonical : "");
    adaptive |= plan.length.adaptive();
    text["denoiser"].push_back(sweep.plan.denoiser);
    text["settings"].push_back(sweep.settings_text[c]);
    steps.push_back(made ? plan.num_steps : 0);
    anneal.push_back(made ? plan.anneal_over : 0);
    length.push_back(config.imported ? 0 : plan.canvas_length);
    most.push_back(config.imported ? 0 : plan.max_new_tokens);
    control.push_back(exact);
  }
  if (!adaptive) text.erase("canvas_policy");
  for (const auto& [key, values] : text) file.write_strings("config/" + key, values);
  const auto number = [&](const std::string& name, const auto& values, const std::string& unit) {
    file.write("config/" + name, values);
    file.attribute("config/" + name, "unit", unit);
  };
  number("num_steps", steps, "steps");
  number("anneal_over", anneal, "steps");
  number("canvas_length", length, "tokens");
  number("max_new_tokens", most, "tokens");
  file.write("config/control", control);
  file.attribute("config/control", "names", std::vector<std::string>{"sampler", "exact samples"});
}

void write_items(H5Writer& file, const PreparedSweep& sweep) {
  file.group("items");
  std::vector<std::string> ids, categories;
  std::vector<int32_t> lengths;
  for (const auto& example : sweep.examples) {
    ids.push_back(example.id);
    categories.push_back(example.category);
    lengths.push_back(static_cast<int32_t>(example.prompt_ids.size()));
  }
  file.write_strings("items/item_id", ids);
  file.write_strings("items/category", categories);
  if (std::any_of(sweep.examples.begin(), sweep.examples.end(), [](const auto& example) { return !example.group.empty(); })) {
    for (size_t i = 0; i < ids.size(); ++i)
      if (!sweep.examples[i].group.empty()) ids[i] = sweep.examples[i].group;
    file.write_strings("items/group", ids);
  }
  if (std::any_of(sweep.examples.begin(), sweep.examples.end(), [](const auto& example) { return !example.set.empty(); })) {
    for (size_t i = 0; i < ids.size(); ++i) ids[i] = sweep.examples[i].set;
    file.write_strings("items/data_set", ids);
    std::vector<std::string> labels, texts, hashes;
    for (const auto& set : joined_sets(sweep.plan.dataset)) labels.push_back(set.label), texts.push_back(set.dataset), hashes.push_back(hex(sha256(hash_of_set(sweep.data_hash, set.label))));
    file.attribute("items/data_set", "labels", labels);
    file.attribute("items/data_set", "data_sets", texts);
    file.attribute("items/data_set", "sha256", hashes);
  }
  file.write("items/prompt_len", lengths);
  file.attribute("items/prompt_len", "unit", std::string("tokens"));
}

std::string random_uuid() {
  std::ifstream in("/proc/sys/kernel/random/uuid");
  std::string text;
  std::getline(in, text);
  return text;
}

/// What identifies this run among runs of the same plan, and the plan itself.
void write_run(H5Writer& file, const PreparedSweep& sweep, const SweepOptions& options) {
  file.group("run");
  file.write_strings("run/plan", {sweep.header});
  const auto now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  char utc[32], host[256] = {};
  std::strftime(utc, sizeof utc, "%Y-%m-%dT%H:%M:%SZ", std::gmtime(&now));
  ::gethostname(host, sizeof host - 1);
  const std::pair<const char*, std::string> differing[] = {
      {"run/created_utc", utc}, {"run/host", host}, {"run/command_line", options.command_line}, {"run/uuid", random_uuid()}};
  for (const auto& [name, value] : differing) {
    file.write_strings(name, {value});
    mark_volatile(file, name);
  }
}

void write_root(H5Writer& file, const PreparedSweep& sweep, const SampleRows& samples, const SweepOptions& options) {
  const auto text = [&](const char* name, const std::string& value) { file.attribute("/", name, value); };
  unsigned major = 0, minor = 0, release = 0;
  H5get_libversion(&major, &minor, &release);
  file.attribute("/", "schema_version", kSchemaVersion);
  file.attribute("/", "engine_version", int64_t{kEngineVersion});
  text("program", "canvaslab " CANVASLAB_VERSION);
  text("commit", CANVASLAB_COMMIT);
  text("hdf5_version", fmt::format("{}.{}.{}", major, minor, release));
  text("torch_version", torch_version());
  text("name", sweep.plan.name);
  text("denoiser", sweep.plan.denoiser);
  text("model_sha256", hex(sha256(sweep.model_hash)));
  text("dtype", sweep.plan.arithmetic());
  text("dataset", sweep.plan.dataset);
  text("dataset_sha256", hex(sha256(sweep.data_hash)));
  text("seeds", fmt::format("{}", fmt::join(sweep.plan.seeds, " ")));
  file.attribute("/", "repeats_per_seed", int64_t{sweep.plan.repeats});
  text("shard", fmt::format("{}/{}", options.shard, options.num_shards));
  text("samples_sha256", samples_digest(samples));
}

/// Reads the closed file back: every column of a group as long as the others, row pointers in order, marked complete.
void verify_results(const std::string& path, size_t num_samples) {
  const H5Reader file(path);
  const auto expect = [&](bool good, const std::string& what) {
    if (!good) throw input_error("{}: reads back wrong ({}); is the disk failing?", path, what);
  };
  expect(file.integer_attribute("/", "complete") == 1, "not marked complete");
  for (const char* group : {"config", "items", "samples", "metrics", "canvases", "steps", "aggregates", "answers", "categories", "data_sets"}) {
    if (!file.has(group)) continue;  // only graded data sets have the last three, and only joined ones the last
    const auto names = file.names(group);
    for (const auto& name : names) expect(file.shape(std::string(group) + "/" + name)[0] == file.shape(std::string(group) + "/" + names[0])[0], std::string(group) + "/" + name);
  }
  expect(file.shape("samples/score")[0] == num_samples, "samples/score");
  const std::pair<const char*, const char*> pointers[] = {
      {"samples/ids_begin", "text/ids"}, {"samples/canvas_begin", "canvases/canvas_idx"}, {"canvases/step_begin", "steps/step_idx"}};
  for (const auto& [name, target] : pointers) {
    const auto begin = file.read<uint64_t>(name);
    expect(std::is_sorted(begin.begin(), begin.end()) && (begin.empty() || begin.back() <= file.shape(target)[0]), name);
  }
}

}  // namespace

void mark_volatile(H5Writer& file, const std::string& name) { file.attribute(name, "volatile", int64_t{1}); }

std::string samples_digest(const SampleRows& samples) {
  std::string bytes;
  for (size_t row = 0; row < samples.size(); ++row) {
    const SampleRef& sample = samples.ref(row);
    bytes.append(reinterpret_cast<const char*>(sample.content_key.data()), sample.content_key.size());
    bytes += sample.failed ? '0' : '1';
  }
  return hex(sha256(bytes));
}

bool results_current(const std::string& path, const std::string& digest) {
  if (!std::filesystem::exists(path)) return false;
  try {
    const H5Reader file(path);
    return file.integer_attribute("/", "complete") == 1 && file.integer_attribute("/", "schema_version") == kSchemaVersion &&
           file.text_attribute("/", "samples_sha256") == digest;
  } catch (const UserError&) {
    return false;  // damaged or of another schema: it is derived, so it is made again
  }
}

void write_results(const PreparedSweep& sweep, const SampleRows& samples, const std::string& path, const SweepOptions& options, const ResultsExtras& extras) {
  H5Writer file(path);
  write_root(file, sweep, samples, options);
  write_run(file, sweep, options);
  write_config(file, sweep);
  write_items(file, sweep);
  write_samples(file, sweep, samples);
  write_aggregates(file, sweep, samples);
  if (extras.halving) write_halving(file, *sweep.plan.halving, *extras.halving);
  if (extras.completions) write_completions(file, *extras.completions);
  file.attribute("/", "complete", int64_t{1});
  file.finish([&](const std::string& temporary) { verify_results(temporary, samples.size()); });
}

}  // namespace canvaslab
