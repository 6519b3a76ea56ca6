// The results file: derived from the journal, canonical, readable by h5py with no code of ours.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>

#include "core/error.h"
#include "core/h5.h"
#include "eval/statistics.h"
#include "eval/sweep.h"

namespace canvaslab {
namespace {

constexpr int64_t kSchemaVersion = 1;

/// Small enumeration stored as u8 with an attribute that lists its names in order.
class Enumeration {
 public:
  uint8_t code(const std::string& name) {
    const auto found = std::find(names_.begin(), names_.end(), name);
    if (found == names_.end()) throw std::logic_error("an enumeration met a name it was not told of: " + name);
    return static_cast<uint8_t>(found - names_.begin());
  }
  void learn(const std::string& name) {
    if (std::find(names_.begin(), names_.end(), name) == names_.end()) names_.insert(std::lower_bound(names_.begin(), names_.end(), name), name);
  }
  std::string listed() const { return fmt::format("{}", fmt::join(names_, ",")); }

 private:
  std::vector<std::string> names_;
};

template <typename T, typename Get>
std::vector<T> column(const std::vector<SampleRecord>& samples, Get get) {
  std::vector<T> out;
  out.reserve(samples.size());
  for (const auto& sample : samples) out.push_back(static_cast<T>(get(sample)));
  return out;
}

void unit(H5Writer& file, const std::string& name, const std::string& text) { file.attribute(name, "unit", text); }

void write_config(H5Writer& file, const PreparedSweep& sweep) {
  file.group("config");
  std::map<std::string, std::vector<std::string>> text;
  std::vector<int32_t> steps, anneal, length, most;
  std::vector<uint8_t> control;
  for (size_t c = 0; c < sweep.plan.configs.size(); ++c) {
    const auto& plan = sweep.generation[c];
    const bool exact = sweep.plan.configs[c].control;
    for (const auto& [key, value] : plan.settings()) {
      if (key == "sampler" || key == "stop" || key == "temperature" || key == "emission" || key == "self_conditioning" || key == "rng")
        text[key].push_back(exact ? (key == "sampler" ? "exact_samples" : "") : value);
    }
    steps.push_back(exact ? 0 : plan.num_steps);
    anneal.push_back(exact ? 0 : plan.anneal_over);
    length.push_back(plan.canvas_length);
    most.push_back(plan.max_new_tokens);
    control.push_back(exact);
    text["denoiser"].push_back(sweep.plan.denoiser);
  }
  for (const auto& [key, values] : text) file.write_strings("config/" + key, values);
  file.write("config/num_steps", steps);
  file.write("config/anneal_over", anneal);
  file.write("config/canvas_length", length);
  file.write("config/max_new_tokens", most);
  file.write("config/control", control);
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
  file.write("items/prompt_len", lengths);
}

void write_samples(H5Writer& file, const PreparedSweep& sweep, const std::vector<SampleRecord>& samples) {
  Enumeration reasons, canvas_reasons;
  for (const auto& s : samples) {
    reasons.learn(s.stop_reason);
    for (const auto& reason : s.canvas_stop) canvas_reasons.learn(reason);
  }
  file.group("samples");
  file.write("samples/config_idx", column<uint32_t>(samples, [](const auto& s) { return s.config_idx; }));
  file.write("samples/item_idx", column<uint32_t>(samples, [](const auto& s) { return s.item_idx; }));
  file.write("samples/repeat", column<uint32_t>(samples, [](const auto& s) { return s.repeat; }));
  file.write("samples/seed", column<uint64_t>(samples, [](const auto& s) { return s.seed; }));
  std::vector<uint8_t> keys;
  for (const auto& s : samples) keys.insert(keys.end(), s.content_key.begin(), s.content_key.end());
  file.write<uint8_t>("samples/content_key", keys, {samples.size(), 32});
  file.write("samples/score", column<double>(samples, [](const auto& s) { return s.score; }));
  const ScoreFacts facts = sweep.dataset->score_facts();
  file.attribute("samples/score", "quality_name", facts.name);
  file.attribute("samples/score", "unit", facts.unit);
  file.attribute("samples/score", "higher_is_better", int64_t{facts.higher_is_better});
  file.write("samples/failed", column<uint8_t>(samples, [](const auto& s) { return !s.error.empty(); }));
  file.write("samples/num_prompt_tokens", column<int32_t>(samples, [&](const auto& s) { return sweep.examples[s.item_idx].prompt_ids.size(); }));
  file.write("samples/num_tokens", column<int32_t>(samples, [](const auto& s) { return s.token_ids.size(); }));
  file.write("samples/num_canvas_tokens", column<int32_t>(samples, [](const auto& s) { return s.canvas_ids.size(); }));
  file.write("samples/num_canvases", column<int32_t>(samples, [](const auto& s) { return s.steps_per_canvas.size(); }));
  file.write("samples/total_steps", column<int32_t>(samples, [](const auto& s) { return s.steps.size(); }));
  file.write("samples/forwards_denoise", column<int64_t>(samples, [](const auto& s) { return s.forwards.denoise; }));
  file.write("samples/forwards_verify", column<int64_t>(samples, [](const auto& s) { return s.forwards.verify; }));
  file.write("samples/forwards_unconditional", column<int64_t>(samples, [](const auto& s) { return s.forwards.unconditional; }));
  file.write("samples/forwards_append", column<int64_t>(samples, [](const auto& s) { return s.forwards.append; }));
  file.write("samples/forwards_prefill", column<int64_t>(samples, [](const auto& s) { return s.forwards.prefill; }));
  file.write("samples/tokens_per_denoiser_forward", column<double>(samples, [](const auto& s) { return s.tokens_per_forward; }));
  file.write("samples/tokens_per_forward_report", column<double>(samples, [](const auto& s) { return s.tokens_per_forward_report; }));
  file.write("samples/stop_reason", column<uint8_t>(samples, [&](const auto& s) { return reasons.code(s.stop_reason); }));
  file.attribute("samples/stop_reason", "names", reasons.listed());
  const auto timed = [&](const char* name, auto get) {
    file.write(name, column<double>(samples, get));
    file.attribute(name, "volatile", int64_t{1});
    unit(file, name, "s");
  };
  timed("samples/seconds_prefill", [](const auto& s) { return s.seconds.prefill; });
  timed("samples/seconds_denoise", [](const auto& s) { return s.seconds.denoise; });
  timed("samples/seconds_append", [](const auto& s) { return s.seconds.append; });

  std::vector<uint64_t> ids_begin, canvas_begin, canvas_sample, step_begin, step_canvas;
  std::vector<int32_t> ids, canvas_idx, canvas_steps, canvas_valid, step_idx, accepted, changed;
  std::vector<uint8_t> canvas_stop;
  std::vector<float> temperature, mean_entropy, max_entropy;
  for (size_t i = 0; i < samples.size(); ++i) {
    const auto& s = samples[i];
    ids_begin.push_back(ids.size());
    ids.insert(ids.end(), s.token_ids.begin(), s.token_ids.end());
    canvas_begin.push_back(canvas_idx.size());
    size_t step = 0;
    for (size_t c = 0; c < s.steps_per_canvas.size(); ++c) {
      step_begin.push_back(step_idx.size());
      for (int32_t k = 0; k < s.steps_per_canvas[c] && step < s.steps.size(); ++k, ++step) {
        step_canvas.push_back(canvas_idx.size());
        step_idx.push_back(k);
        temperature.push_back(s.steps[step].temperature);
        mean_entropy.push_back(s.steps[step].mean_entropy_nats);
        max_entropy.push_back(s.steps[step].max_entropy_nats);
        accepted.push_back(s.steps[step].num_accepted);
        changed.push_back(s.steps[step].num_argmax_changed);
      }
      canvas_sample.push_back(i);
      canvas_idx.push_back(static_cast<int32_t>(c));
      canvas_steps.push_back(s.steps_per_canvas[c]);
      canvas_valid.push_back(s.valid_per_canvas[c]);
      canvas_stop.push_back(canvas_reasons.code(s.canvas_stop[c]));
    }
  }
  file.write("samples/ids_begin", ids_begin);
  file.write("samples/canvas_begin", canvas_begin);
  file.group("text");
  file.write("text/ids", ids);
  file.group("canvases");
  file.write("canvases/sample_idx", canvas_sample);
  file.write("canvases/canvas_idx", canvas_idx);
  file.write("canvases/num_steps", canvas_steps);
  file.write("canvases/num_valid", canvas_valid);
  file.write("canvases/stop_reason", canvas_stop);
  file.attribute("canvases/stop_reason", "names", canvas_reasons.listed());
  file.write("canvases/step_begin", step_begin);
  file.group("steps");
  file.write("steps/canvas_row", step_canvas);
  file.write("steps/step_idx", step_idx);
  file.write("steps/temperature", temperature);
  file.write("steps/mean_entropy_nats", mean_entropy);
  file.write("steps/max_entropy_nats", max_entropy);
  file.write("steps/num_accepted", accepted);
  file.write("steps/num_argmax_changed", changed);
}

/// Share of positions at which two token lists agree, over the longer one.
double agreement(std::span<const int32_t> a, std::span<const int32_t> b) {
  const size_t longest = std::max(a.size(), b.size());
  if (longest == 0) return 1;
  size_t equal = 0;
  for (size_t p = 0; p < std::min(a.size(), b.size()); ++p) equal += a[p] == b[p];
  return static_cast<double>(equal) / static_cast<double>(longest);
}

void write_aggregates(H5Writer& file, const PreparedSweep& sweep, const std::vector<SampleRecord>& samples) {
  const size_t num_configs = sweep.plan.configs.size();
  std::vector<std::vector<const SampleRecord*>> of(num_configs);
  for (const auto& s : samples)
    if (s.error.empty()) of[s.config_idx].push_back(&s);
  size_t reference = num_configs;
  for (size_t c = 0; c < num_configs; ++c)
    if (!sweep.plan.configs[c].control && reference == num_configs &&
        (sweep.plan.agreement_reference.empty() || sweep.plan.configs[c].request.sampler == sweep.plan.agreement_reference)) reference = c;
  const Source* source = sweep.denoiser->source();
  const std::vector<double> exact = source ? source->pair_law() : std::vector<double>{};
  std::map<std::string, std::vector<double>> out;
  std::vector<int64_t> count, failed(num_configs, 0);
  for (const auto& s : samples) failed[s.config_idx] += !s.error.empty();
  for (size_t c = 0; c < num_configs; ++c) {
    count.push_back(static_cast<int64_t>(of[c].size()));
    // Repeats of an item are averaged first: they are not independent samples.
    std::map<uint32_t, std::vector<const SampleRecord*>> by_item;
    for (const auto* s : of[c]) by_item[s->item_idx].push_back(s);
    std::vector<double> scores, speeds, agreements;
    double tokens = 0, denoise = 0, append = 0, seconds = 0, steps = 0, canvases = 0;
    for (const auto& [item, list] : by_item) {
      double score = 0, speed = 0;
      for (const auto* s : list) {
        score += s->score / static_cast<double>(list.size());
        speed += s->tokens_per_forward / static_cast<double>(list.size());
        tokens += static_cast<double>(s->token_ids.size());
        denoise += static_cast<double>(s->forwards.denoise);
        append += static_cast<double>(s->forwards.append);
        seconds += s->seconds.denoise + s->seconds.append;
        steps += static_cast<double>(s->steps.size());
        canvases += static_cast<double>(s->steps_per_canvas.size());
      }
      scores.push_back(score);
      speeds.push_back(speed);
    }
    if (reference < num_configs && !source) {
      std::map<std::pair<uint32_t, uint32_t>, const SampleRecord*> other;
      for (const auto* s : of[reference]) other[{s->item_idx, s->repeat}] = s;
      for (const auto* s : of[c])
        if (const auto found = other.find({s->item_idx, s->repeat}); found != other.end()) agreements.push_back(agreement(s->token_ids, found->second->token_ids));
    }
    const MeanError score = mean_error(scores), speed = mean_error(speeds), agree = mean_error(agreements);
    out["score_mean"].push_back(score.mean);
    out["score_standard_error"].push_back(score.standard_error);
    out["tokens_per_denoiser_forward_mean_of_ratios"].push_back(speed.mean);
    out["tokens_per_denoiser_forward_standard_error"].push_back(speed.standard_error);
    out["tokens_per_denoiser_forward_ratio_of_sums"].push_back(denoise > 0 ? tokens / denoise : 0);
    out["tokens_per_forward_report_ratio_of_sums"].push_back(denoise + append > 0 ? tokens / (denoise + append) : 0);
    out["steps_per_canvas_mean"].push_back(canvases > 0 ? steps / canvases : 0);
    out["tokens_per_second_volatile"].push_back(seconds > 0 ? tokens / seconds : 0);
    if (source) {
      std::vector<std::span<const int32_t>> sequences;
      std::vector<uint32_t> items;
      for (const auto* s : of[c]) {
        sequences.emplace_back(s->token_ids);
        items.push_back(s->item_idx);
      }
      const Divergence divergence = pair_divergence(sequences, items, exact, source->vocabulary());
      out["pair_divergence_nats"].push_back(divergence.value);
      out["pair_divergence_standard_error"].push_back(divergence.standard_error);
      out["output_entropy_nats"].push_back(divergence.output_entropy_nats);
    } else {
      out["agreement_mean"].push_back(agree.mean);
      out["agreement_standard_error"].push_back(agree.standard_error);
    }
  }
  file.group("aggregates");
  file.write("aggregates/num_samples", count);
  file.write("aggregates/num_failed", failed);
  for (const auto& [name, values] : out) {
    file.write("aggregates/" + name, values);
    if (name.ends_with("_volatile")) file.attribute("aggregates/" + name, "volatile", int64_t{1});
  }
  if (source) file.attribute("aggregates", "source_entropy_rate_nats", source->entropy_rate_nats());
  if (!source && reference < num_configs) file.attribute("aggregates", "agreement_reference", sweep.settings_text[reference]);
  file.attribute("aggregates", "quality", std::string(source ? "pair_divergence_nats" : "agreement_mean"));
}

}  // namespace

void write_results(const PreparedSweep& sweep, std::vector<SampleRecord>& samples, const std::string& path, const SweepOptions& options) {
  std::sort(samples.begin(), samples.end(), [](const SampleRecord& a, const SampleRecord& b) {
    return std::tie(a.config_idx, a.item_idx, a.repeat) < std::tie(b.config_idx, b.item_idx, b.repeat);
  });
  H5Writer file(path);
  file.attribute("/", "schema_version", kSchemaVersion);
  file.attribute("/", "program", std::string("canvaslab " CANVASLAB_VERSION));
  file.attribute("/", "engine_version", int64_t{kEngineVersion});
  file.attribute("/", "name", sweep.plan.name);
  file.attribute("/", "denoiser", sweep.plan.denoiser);
  file.attribute("/", "dtype", sweep.plan.dtype);
  file.attribute("/", "dataset", sweep.plan.dataset);
  file.attribute("/", "seed", static_cast<int64_t>(sweep.plan.seed));
  file.attribute("/", "shard", fmt::format("{}/{}", options.shard, options.num_shards));
  file.group("run");
  file.write_strings("run/plan", {sweep.header});
  const auto now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  char utc[32];
  std::strftime(utc, sizeof utc, "%Y-%m-%dT%H:%M:%SZ", std::gmtime(&now));
  file.write_strings("run/created_utc", {utc});
  file.attribute("run/created_utc", "volatile", int64_t{1});
  write_config(file, sweep);
  write_items(file, sweep);
  write_samples(file, sweep, samples);
  write_aggregates(file, sweep, samples);
  file.attribute("/", "complete", int64_t{1});
  file.finish();
}

}  // namespace canvaslab
