// What each sample, canvas, step and position left on record, as columns.
#include <cmath>
#include <limits>
#include <set>

#include "core/text/utf8.h"
#include "eval/results.h"

namespace canvaslab {
namespace {

constexpr double kUndefined = std::numeric_limits<double>::quiet_NaN();

/// A column with its unit.
template <typename T>
void put(H5Writer& file, const std::string& name, const std::vector<T>& values, const std::string& unit) {
  file.write(name, values);
  if (!unit.empty()) file.attribute(name, "unit", unit);
}

template <typename T, typename Get>
std::vector<T> column(const std::vector<SampleRecord>& samples, Get get) {
  std::vector<T> out;
  out.reserve(samples.size());
  for (const auto& sample : samples) out.push_back(static_cast<T>(get(sample)));
  return out;
}

/// Words stored as u8 with an attribute that lists them. The list comes from the plan, so that shards agree on it; a word
/// nobody announced is added behind rather than losing the run.
class Enumeration {
 public:
  explicit Enumeration(const std::set<std::string>& names) : names_(names.begin(), names.end()) {}
  uint8_t code(const std::string& name) {
    auto found = std::find(names_.begin(), names_.end(), name);
    if (found == names_.end()) found = names_.insert(names_.end(), name);
    return static_cast<uint8_t>(found - names_.begin());
  }
  const std::vector<std::string>& names() const { return names_; }

 private:
  std::vector<std::string> names_;
};

/// Every reason a stop rule can give, from its expression: its own name; a child's for any_of; all children's, joined, for all_of.
std::set<std::string> stop_reasons(const PluginExpr& expr) {
  if (expr.name != "any_of" && expr.name != "all_of") return {expr.name};
  std::set<std::string> out;
  for (const auto& child : expr.arguments) {
    const auto reasons = stop_reasons(*child.value);
    if (expr.name == "any_of" || out.empty()) {
      out.insert(reasons.begin(), reasons.end());
      continue;
    }
    std::set<std::string> joined;
    for (const auto& a : out)
      for (const auto& b : reasons) joined.insert(a + "+" + b);
    out = std::move(joined);
  }
  return out;
}

std::set<std::string> planned_stop_reasons(const PreparedSweep& sweep) {
  std::set<std::string> out = {"step_limit"};
  for (size_t c = 0; c < sweep.generation.size(); ++c)
    if (sweep.plan.configs[c].generated()) out.merge(stop_reasons(parse_plugin(sweep.generation[c].stop.canonical)));
  return out;
}

/// The start of a text, cut between characters.
std::string first_bytes(std::string text, size_t most) {
  text = replace_broken_utf8(text);
  if (text.size() <= most) return text;
  while (most > 0 && (text[most] & 0xC0) == 0x80) --most;
  return text.substr(0, most);
}

void write_identity(H5Writer& file, const PreparedSweep& sweep, const std::vector<SampleRecord>& samples) {
  put(file, "samples/config_idx", column<uint32_t>(samples, [](const auto& s) { return s.config_idx; }), "row of /config");
  put(file, "samples/item_idx", column<uint32_t>(samples, [](const auto& s) { return s.item_idx; }), "row of /items");
  put(file, "samples/repeat", column<uint32_t>(samples, [](const auto& s) { return s.repeat; }), "");
  put(file, "samples/seed", column<uint64_t>(samples, [](const auto& s) { return s.seed; }), "");
  std::vector<uint8_t> keys;
  for (const auto& s : samples) keys.insert(keys.end(), s.content_key.begin(), s.content_key.end());
  file.write<uint8_t>("samples/content_key", keys, {samples.size(), 32});
  put(file, "samples/failed", column<uint8_t>(samples, [](const auto& s) { return !s.error.empty(); }), "");
  file.attribute("samples/failed", "names", std::vector<std::string>{"finished", "failed"});
  Enumeration reasons({"control", "end_token", "error", "length"});
  put(file, "samples/stop_reason", column<uint8_t>(samples, [&](const auto& s) { return reasons.code(s.stop_reason); }), "");
  file.attribute("samples/stop_reason", "names", reasons.names());
  put(file, "samples/num_prompt_tokens", column<uint32_t>(samples, [&](const auto& s) { return sweep.examples[s.item_idx].prompt_ids.size(); }), "tokens");
}

/// Texts that a score read out of a sample, at most 64 bytes each. They follow from the tokens, so they are made again here.
void write_texts(H5Writer& file, const PreparedSweep& sweep, const std::vector<SampleRecord>& samples, const ScoreFacts& facts) {
  constexpr size_t kMostBytes = 64;
  if (facts.texts.empty()) return;
  std::vector<std::vector<std::string>> columns(facts.texts.size());
  for (const auto& s : samples) {
    Score score;
    if (s.error.empty()) score = sweep.dataset->score(sweep.examples[s.item_idx], s.token_ids, *sweep.denoiser);
    score.texts.resize(facts.texts.size());
    for (size_t t = 0; t < columns.size(); ++t) columns[t].push_back(first_bytes(score.texts[t], kMostBytes));
  }
  file.group("answers");
  for (size_t t = 0; t < columns.size(); ++t) file.write_strings("answers/" + facts.texts[t], columns[t]);
}

void write_scores(H5Writer& file, const PreparedSweep& sweep, const std::vector<SampleRecord>& samples) {
  const ScoreFacts facts = sweep.dataset->score_facts();
  const auto judged = [&](const std::string& name, const std::string& quality, const std::string& unit, bool higher, auto get) {
    put(file, name, column<double>(samples, [&](const auto& s) { return s.error.empty() ? get(s) : kUndefined; }), unit);
    file.attribute(name, "quality_name", quality);
    file.attribute(name, "higher_is_better", int64_t{higher});
  };
  judged("samples/score", facts.name, facts.unit, facts.higher_is_better, [](const auto& s) { return s.score; });
  file.group("metrics");
  for (size_t m = 0; m < facts.metrics.size(); ++m) {
    const auto& metric = facts.metrics[m];
    judged("metrics/" + metric.name, metric.name, metric.unit, metric.higher_is_better, [m](const auto& s) { return s.metrics.at(m); });
    if (!metric.names.empty()) file.attribute("metrics/" + metric.name, "names", metric.names);
  }
  write_texts(file, sweep, samples, facts);
}

void write_counts(H5Writer& file, const std::vector<SampleRecord>& samples) {
  const auto count = [&](const char* name, const char* unit, auto get) { put(file, std::string("samples/") + name, column<uint32_t>(samples, get), unit); };
  count("num_tokens", "tokens", [](const auto& s) { return s.token_ids.size(); });
  count("num_canvas_tokens", "tokens, padding included", [](const auto& s) { return s.canvas_ids.size(); });
  count("num_canvases", "canvases", [](const auto& s) { return s.steps_per_canvas.size(); });
  count("total_steps", "steps", [](const auto& s) { return s.steps.size(); });
  const auto forwards = [&](const char* name, auto get) { put(file, std::string("samples/forwards_") + name, column<int64_t>(samples, get), "forwards"); };
  forwards("denoise", [](const auto& s) { return s.forwards.denoise; });
  forwards("verify", [](const auto& s) { return s.forwards.verify; });
  forwards("unconditional", [](const auto& s) { return s.forwards.unconditional; });
  forwards("append", [](const auto& s) { return s.forwards.append; });
  forwards("prefill", [](const auto& s) { return s.forwards.prefill; });
  // Exact samples and failed ones have no forwards to speak of.
  const auto speed = [&](const char* name, auto get) {
    put(file, name, column<double>(samples, [&](const auto& s) { return s.forwards.denoise > 0 ? get(s) : kUndefined; }), "tokens per forward");
  };
  speed("samples/tokens_per_denoiser_forward", [](const auto& s) { return s.tokens_per_forward; });
  speed("samples/tokens_per_forward_report", [](const auto& s) { return s.tokens_per_forward_report; });
  const auto timed = [&](const char* name, auto get) {
    put(file, name, column<double>(samples, get), "s");
    mark_volatile(file, name);
  };
  timed("samples/seconds_prefill", [](const auto& s) { return s.seconds.prefill; });
  timed("samples/seconds_denoise", [](const auto& s) { return s.seconds.denoise; });
  timed("samples/seconds_append", [](const auto& s) { return s.seconds.append; });
}

/// Flat tokens, canvases and steps with row pointers from the level above.
void write_history(H5Writer& file, const PreparedSweep& sweep, const std::vector<SampleRecord>& samples) {
  Enumeration reasons(planned_stop_reasons(sweep));
  std::vector<uint64_t> ids_begin, canvas_begin, canvas_sample, step_begin, step_canvas;
  std::vector<int32_t> ids, canvas_idx, step_idx, accepted, changed;
  std::vector<uint32_t> canvas_steps, canvas_valid;  // unsigned as the pointers are: numpy turns u64 + i32 into a float
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
      canvas_steps.push_back(static_cast<uint32_t>(s.steps_per_canvas[c]));
      canvas_valid.push_back(static_cast<uint32_t>(s.valid_per_canvas[c]));
      canvas_stop.push_back(reasons.code(s.canvas_stop[c]));
    }
  }
  put(file, "samples/ids_begin", ids_begin, "row of /text/ids; num_tokens of them");
  put(file, "samples/canvas_begin", canvas_begin, "row of /canvases; num_canvases of them");
  file.group("text");
  put(file, "text/ids", ids, "token id");
  file.group("canvases");
  put(file, "canvases/sample_idx", canvas_sample, "row of /samples");
  put(file, "canvases/canvas_idx", canvas_idx, "");
  put(file, "canvases/num_steps", canvas_steps, "steps");
  put(file, "canvases/num_valid", canvas_valid, "tokens up to and with the first end token");
  put(file, "canvases/stop_reason", canvas_stop, "");
  file.attribute("canvases/stop_reason", "names", reasons.names());
  put(file, "canvases/step_begin", step_begin, "row of /steps; num_steps of them");
  file.group("steps");
  put(file, "steps/canvas_row", step_canvas, "row of /canvases");
  put(file, "steps/step_idx", step_idx, "");
  put(file, "steps/temperature", temperature, "");
  put(file, "steps/mean_entropy_nats", mean_entropy, "nats");
  put(file, "steps/max_entropy_nats", max_entropy, "nats");
  put(file, "steps/num_accepted", accepted, "positions");
  put(file, "steps/num_argmax_changed", changed, "positions");
}

/// /positions: flat over the sum of canvas lengths; row i of step_row owns [begin[i], begin[i + 1]).
void write_positions(H5Writer& file, const PreparedSweep& sweep, const std::vector<SampleRecord>& samples) {
  std::vector<uint64_t> step_row, begin = {0};
  uint64_t step = 0;
  for (const auto& s : samples) {
    const auto length = static_cast<uint64_t>(sweep.generation[s.config_idx].canvas_length);
    for (size_t k = 0; k < s.steps.size(); ++k, ++step) {
      if (s.positions.canvas_in.empty()) continue;
      step_row.push_back(step);
      begin.push_back(begin.back() + length);
    }
  }
  file.group("positions");
  put(file, "positions/step_row", step_row, "row of /steps");
  put(file, "positions/begin", begin, "row of the flat columns");
  const auto flat = [&]<typename T>(const char* name, std::vector<T> PositionRecord::*field, const char* unit) {
    const std::string path = std::string("positions/") + name;
    std::vector<T> block;  // large blocks: a chunk is compressed anew whenever it is appended to
    file.append_rows<T>(path, block, {});  // there even when nothing follows
    for (const auto& s : samples) {
      const auto& values = s.positions.*field;
      block.insert(block.end(), values.begin(), values.end());
      if (block.size() < (size_t{1} << 22)) continue;
      file.append_rows<T>(path, block, {});
      block.clear();
    }
    if (!block.empty()) file.append_rows<T>(path, block, {});
    file.attribute(path, "unit", std::string(unit));
  };
  flat("canvas_in", &PositionRecord::canvas_in, "token id");
  flat("candidate", &PositionRecord::candidate, "token id");
  flat("argmax", &PositionRecord::argmax, "token id");
  flat("accepted", &PositionRecord::accepted, "1 = taken into canvas_out");
  flat("entropy_nats", &PositionRecord::entropy_nats, "nats");
  flat("canvas_out", &PositionRecord::canvas_out, "token id");
}

}  // namespace

void write_completions(H5Writer& file, const std::vector<std::string>& completions) {
  std::vector<uint64_t> begin;
  std::vector<uint32_t> length;
  std::vector<uint8_t> bytes;
  for (const auto& text : completions) {
    begin.push_back(bytes.size()), length.push_back(static_cast<uint32_t>(text.size()));
    bytes.insert(bytes.end(), text.begin(), text.end());
  }
  put(file, "samples/completion_begin", begin, "row of /text/completion_bytes; completion_len of them");
  put(file, "samples/completion_len", length, "bytes");
  put(file, "text/completion_bytes", bytes, "UTF-8");
}

void write_samples(H5Writer& file, const PreparedSweep& sweep, const std::vector<SampleRecord>& samples) {
  file.group("samples");
  write_identity(file, sweep, samples);
  write_scores(file, sweep, samples);
  write_counts(file, samples);
  write_history(file, sweep, samples);
  if (sweep.plan.record_positions) write_positions(file, sweep, samples);
}

}  // namespace canvaslab
