// What each sample, canvas, step and position left on record, as columns.
#include <cmath>
#include <limits>
#include <set>

#include "core/text/utf8.h"
#include "eval/results.h"

namespace canvaslab {
namespace {

constexpr double kUndefined = std::numeric_limits<double>::quiet_NaN();

using Block = std::vector<SampleRecord>;

/// Columns that grow by a block of samples at a time. What fits in one block is written as a whole: small files stay small.
class Columns {
 public:
  Columns(H5Writer& out, bool one_block) : file(out), one_block_(one_block) {}
  bool first() const { return first_; }
  void next_block() { first_ = false; }
  /// Appends to a column; its unit is said with the first block.
  template <typename T>
  void put(const std::string& name, const std::vector<T>& values, const std::string& unit, const std::vector<hsize_t>& row_shape = {}) {
    if (one_block_) {
      std::vector<hsize_t> shape = {values.size()};
      for (const hsize_t d : row_shape) shape.push_back(d), shape[0] /= d;
      file.write<T>(name, values, shape);
    } else {
      file.append_rows<T>(name, values, row_shape);
    }
    if (!unit.empty()) say(name, "unit", unit);
  }
  template <typename Value>
  void say(const std::string& name, const char* attribute, const Value& value) {
    if (first_) file.attribute(name, attribute, value);
  }
  void group(const std::string& name) {
    if (first_) file.group(name);
  }
  H5Writer& file;

 private:
  bool one_block_, first_ = true;
};

template <typename T, typename Get>
std::vector<T> column(const Block& samples, Get get) {
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

void write_identity(Columns& out, const PreparedSweep& sweep, const Block& samples, Enumeration& reasons) {
  out.put("samples/config_idx", column<uint32_t>(samples, [](const auto& s) { return s.config_idx; }), "row of /config");
  out.put("samples/item_idx", column<uint32_t>(samples, [](const auto& s) { return s.item_idx; }), "row of /items");
  out.put("samples/repeat", column<uint32_t>(samples, [](const auto& s) { return s.repeat; }), "number, from 0 over seeds x repeats");
  out.put("samples/seed", column<uint64_t>(samples, [](const auto& s) { return s.seed; }), "seed");
  std::vector<uint8_t> keys;
  for (const auto& s : samples) keys.insert(keys.end(), s.content_key.begin(), s.content_key.end());
  out.put("samples/content_key", keys, "bytes of a SHA-256", {32});
  out.put("samples/failed", column<uint8_t>(samples, [](const auto& s) { return !s.error.empty(); }), "");
  out.say("samples/failed", "names", std::vector<std::string>{"finished", "failed"});
  out.put("samples/stop_reason", column<uint8_t>(samples, [&](const auto& s) { return reasons.code(s.stop_reason); }), "");
  out.put("samples/num_prompt_tokens", column<uint32_t>(samples, [&](const auto& s) { return sweep.examples[s.item_idx].prompt_ids.size(); }), "tokens");
}

/// Texts that a score read out of a sample, at most 64 bytes each. They follow from the tokens, so they are made again here;
/// strings cannot grow by blocks, so they are kept until the end.
class AnswerTexts {
 public:
  explicit AnswerTexts(const PreparedSweep& sweep) : sweep_(sweep), names_(sweep.dataset->score_facts().texts), columns_(names_.size()) {}
  void add(const Block& samples) {
    constexpr size_t kMostBytes = 64;
    if (names_.empty()) return;
    for (const auto& s : samples) {
      std::vector<std::string> texts;
      if (s.error.empty()) texts = sweep_.dataset->texts(sweep_.examples[s.item_idx], s.token_ids, *sweep_.denoiser);
      texts.resize(names_.size());
      for (size_t t = 0; t < columns_.size(); ++t) columns_[t].push_back(first_bytes(texts[t], kMostBytes));
    }
  }
  void write(H5Writer& file) const {
    if (names_.empty()) return;
    file.group("answers");
    for (size_t t = 0; t < columns_.size(); ++t) file.write_strings("answers/" + names_[t], columns_[t]);
  }

 private:
  const PreparedSweep& sweep_;
  std::vector<std::string> names_;
  std::vector<std::vector<std::string>> columns_;
};

/// Why samples failed: row of /samples and the message, at most 512 bytes each. The group is there only where some did.
class FailureTexts {
 public:
  void add(const Block& samples) {
    constexpr size_t kMostBytes = 512;
    for (const auto& s : samples) {
      if (!s.error.empty()) rows_.push_back(num_samples_), errors_.push_back(first_bytes(s.error, kMostBytes));
      ++num_samples_;
    }
  }
  void write(H5Writer& file) const {
    if (rows_.empty()) return;
    file.group("failures");
    file.write("failures/sample", rows_);
    file.attribute("failures/sample", "unit", std::string("row of /samples"));
    file.write_strings("failures/error", errors_);
  }

 private:
  uint64_t num_samples_ = 0;
  std::vector<uint64_t> rows_;
  std::vector<std::string> errors_;
};

void write_scores(Columns& out, const PreparedSweep& sweep, const Block& samples) {
  const ScoreFacts facts = sweep.dataset->score_facts();
  const auto judged = [&](const std::string& name, const std::string& quality, const std::string& unit, bool higher, auto get) {
    out.put(name, column<double>(samples, [&](const auto& s) { return s.error.empty() ? get(s) : kUndefined; }), unit);
    out.say(name, "quality_name", quality);
    out.say(name, "higher_is_better", int64_t{higher});
  };
  judged("samples/score", facts.name, facts.unit, facts.higher_is_better, [](const auto& s) { return s.score; });
  out.group("metrics");
  for (size_t m = 0; m < facts.metrics.size(); ++m) {
    const auto& metric = facts.metrics[m];
    judged("metrics/" + metric.name, metric.name, metric.unit, metric.higher_is_better, [m](const auto& s) { return s.metrics.at(m); });
    if (!metric.names.empty()) out.say("metrics/" + metric.name, "names", metric.names);
  }
}

void write_counts(Columns& out, const Block& samples) {
  const auto count = [&](const char* name, const char* unit, auto get) { out.put(std::string("samples/") + name, column<uint32_t>(samples, get), unit); };
  count("num_tokens", "tokens", [](const auto& s) { return s.token_ids.size(); });
  count("num_canvas_tokens", "tokens, padding included", [](const auto& s) { return s.canvas_ids.size(); });
  count("num_canvases", "canvases", [](const auto& s) { return s.steps_per_canvas.size(); });
  count("total_steps", "steps", [](const auto& s) { return s.steps.size(); });
  const auto forwards = [&](const char* name, auto get) { out.put(std::string("samples/forwards_") + name, column<int64_t>(samples, get), "forwards"); };
  forwards("denoise", [](const auto& s) { return s.forwards.denoise; });
  forwards("verify", [](const auto& s) { return s.forwards.verify; });
  forwards("unconditional", [](const auto& s) { return s.forwards.unconditional; });
  forwards("append", [](const auto& s) { return s.forwards.append; });
  forwards("prefill", [](const auto& s) { return s.forwards.prefill; });
  // Exact samples and failed ones have no forwards to speak of.
  const auto speed = [&](const char* name, auto get) {
    out.put(name, column<double>(samples, [&](const auto& s) { return writing_forwards(s.forwards) > 0 ? get(s) : kUndefined; }), "tokens per forward");
  };
  speed("samples/tokens_per_denoiser_forward", [](const auto& s) { return s.tokens_per_forward; });
  speed("samples/tokens_per_forward_report", [](const auto& s) { return s.tokens_per_forward_report; });
  const auto timed = [&](const char* name, auto get) {
    out.put(name, column<double>(samples, get), "s");
    if (out.first()) mark_volatile(out.file, name);
  };
  timed("samples/seconds_prefill", [](const auto& s) { return s.seconds.prefill; });
  timed("samples/seconds_denoise", [](const auto& s) { return s.seconds.denoise; });
  timed("samples/seconds_append", [](const auto& s) { return s.seconds.append; });
}

bool has_adaptive_lengths(const PreparedSweep& sweep) {
  return std::any_of(sweep.generation.begin(), sweep.generation.end(), [](const auto& plan) { return plan.length.adaptive(); });
}

/// Flat tokens, canvases, steps and positions with row pointers from the level above; how many rows there are already goes
/// from block to block.
class History {
 public:
  explicit History(const PreparedSweep& sweep) : sweep_(sweep), reasons_(planned_stop_reasons(sweep)) {}
  void write(Columns& out, const Block& samples);
  const Enumeration& reasons() const { return reasons_; }

 private:
  void write_positions(Columns& out, const Block& samples, uint64_t first_step);
  int32_t canvas_length(const SampleRecord& s, size_t canvas) const {
    return s.length_per_canvas.empty() ? sweep_.generation[s.config_idx].canvas_length : s.length_per_canvas.at(canvas);
  }
  const PreparedSweep& sweep_;
  Enumeration reasons_;
  uint64_t num_samples_ = 0, num_ids_ = 0, num_canvases_ = 0, num_steps_ = 0, num_positions_ = 0;
};

void History::write(Columns& out, const Block& samples) {
  std::vector<uint64_t> ids_begin, canvas_begin, canvas_sample, step_begin, step_canvas;
  std::vector<int32_t> ids, canvas_idx, step_idx, accepted, changed;
  std::vector<uint32_t> canvas_steps, canvas_valid, lengths;  // unsigned as the pointers are: numpy turns u64 + i32 into a float
  std::vector<uint8_t> canvas_stop;
  std::vector<float> temperature, mean_entropy, max_entropy;
  const uint64_t first_step = num_steps_;
  for (const auto& s : samples) {
    ids_begin.push_back(num_ids_);
    num_ids_ += s.token_ids.size();
    ids.insert(ids.end(), s.token_ids.begin(), s.token_ids.end());
    canvas_begin.push_back(num_canvases_);
    size_t step = 0;
    for (size_t c = 0; c < s.steps_per_canvas.size(); ++c) {
      step_begin.push_back(num_steps_);
      for (int32_t k = 0; k < s.steps_per_canvas[c] && step < s.steps.size(); ++k, ++step, ++num_steps_) {
        step_canvas.push_back(num_canvases_);
        step_idx.push_back(k);
        temperature.push_back(s.steps[step].temperature);
        mean_entropy.push_back(s.steps[step].mean_entropy_nats);
        max_entropy.push_back(s.steps[step].max_entropy_nats);
        accepted.push_back(s.steps[step].num_accepted);
        changed.push_back(s.steps[step].num_argmax_changed);
      }
      canvas_sample.push_back(num_samples_);
      canvas_idx.push_back(static_cast<int32_t>(c));
      canvas_steps.push_back(static_cast<uint32_t>(s.steps_per_canvas[c]));
      canvas_valid.push_back(static_cast<uint32_t>(s.valid_per_canvas[c]));
      lengths.push_back(static_cast<uint32_t>(canvas_length(s, c)));
      canvas_stop.push_back(reasons_.code(s.canvas_stop[c]));
      ++num_canvases_;
    }
    ++num_samples_;
  }
  out.put("samples/ids_begin", ids_begin, "row of /text/ids; num_tokens of them");
  out.put("samples/canvas_begin", canvas_begin, "row of /canvases; num_canvases of them");
  out.group("text");
  out.put("text/ids", ids, "token id");
  out.group("canvases");
  out.put("canvases/sample_idx", canvas_sample, "row of /samples");
  out.put("canvases/canvas_idx", canvas_idx, "number, from 0 in its sample");
  out.put("canvases/num_steps", canvas_steps, "steps");
  out.put("canvases/num_valid", canvas_valid, "tokens up to and with the first end token");
  if (has_adaptive_lengths(sweep_)) out.put("canvases/length", lengths, "tokens");
  out.put("canvases/stop_reason", canvas_stop, "");
  out.put("canvases/step_begin", step_begin, "row of /steps; num_steps of them");
  out.group("steps");
  out.put("steps/canvas_row", step_canvas, "row of /canvases");
  out.put("steps/step_idx", step_idx, "number, from 0 in its canvas");
  out.put("steps/temperature", temperature, "1 = the denoiser's own distribution");
  out.put("steps/mean_entropy_nats", mean_entropy, "nats");
  out.put("steps/max_entropy_nats", max_entropy, "nats");
  out.put("steps/num_accepted", accepted, "positions");
  out.put("steps/num_argmax_changed", changed, "positions");
  if (sweep_.plan.record_positions) write_positions(out, samples, first_step);
}

/// /positions: flat over the sum of canvas lengths; row i of step_row owns [begin[i], begin[i + 1]).
void History::write_positions(Columns& out, const Block& samples, uint64_t first_step) {
  std::vector<uint64_t> step_row, begin;
  if (out.first()) begin.push_back(0);
  uint64_t step = first_step;
  for (const auto& s : samples) {
    if (s.positions.canvas_in.empty()) {
      step += s.steps.size();
      continue;
    }
    for (size_t c = 0; c < s.steps_per_canvas.size(); ++c)
      for (int32_t k = 0; k < s.steps_per_canvas[c]; ++k, ++step) {
        step_row.push_back(step);
        num_positions_ += static_cast<uint64_t>(canvas_length(s, c));
        begin.push_back(num_positions_);
      }
  }
  out.group("positions");
  out.put("positions/step_row", step_row, "row of /steps");
  out.put("positions/begin", begin, "row of the flat columns");
  const auto flat = [&]<typename T>(const char* name, std::vector<T> PositionRecord::*field, const char* unit) {
    std::vector<T> values;
    for (const auto& s : samples) values.insert(values.end(), (s.positions.*field).begin(), (s.positions.*field).end());
    const std::string path = std::string("positions/") + name;
    out.file.append_rows<T>(path, values, {});
    out.say(path, "unit", std::string(unit));
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
  Columns out(file, true);
  out.put("samples/completion_begin", begin, "row of /text/completion_bytes; completion_len of them");
  out.put("samples/completion_len", length, "bytes");
  out.put("text/completion_bytes", bytes, "UTF-8");
}

void write_samples(H5Writer& file, const PreparedSweep& sweep, const SampleRows& samples) {
  Columns out(file, samples.block_end(0, samples.size()) == samples.size());
  Enumeration reasons({"control", "end_token", "error", "length"});
  History history(sweep);
  AnswerTexts answers(sweep);
  FailureTexts failures;
  size_t begin = 0;
  do {  // once even without samples, so that every column is there
    const size_t end = samples.block_end(begin, samples.size());
    Block block = samples.read(begin, end);
    for (auto& sample : block)  // of samples without a score there are no tokens either, whatever the journal keeps for a later try
      if (!sample.error.empty() && !sweep.plan.configs[sample.config_idx].imported) sample = failure_of(sample, sample.error);
    out.group("samples");
    write_identity(out, sweep, block, reasons);
    write_scores(out, sweep, block);
    write_counts(out, block);
    history.write(out, block);
    answers.add(block);
    failures.add(block);
    out.next_block();
    begin = end;
  } while (begin < samples.size());
  answers.write(file);
  failures.write(file);
  file.attribute("samples/stop_reason", "names", reasons.names());
  file.attribute("canvases/stop_reason", "names", history.reasons().names());
}

}  // namespace canvaslab
