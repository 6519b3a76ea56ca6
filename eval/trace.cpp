#include "eval/trace.h"

#include <cmath>

#include "core/json.h"
#include "core/recorded_trace.h"

namespace canvaslab {

TraceWriter::TraceWriter(const std::string& path, size_t num_rows, const GenerationPlan& plan, const DenoiserFacts& facts, bool with_logits)
    : file_(path), num_rows_(num_rows), plan_(plan), facts_(facts), with_logits_(with_logits) {
  if (num_rows == 1 || joint()) {
    file_.group("steps");
  } else {
    file_.group("rows");
    for (size_t r = 0; r < num_rows; ++r) {
      file_.group(fmt::format("rows/{}", r));
      file_.group(fmt::format("rows/{}/steps", r));
    }
  }
}

std::string TraceWriter::prefix(size_t row) const {
  return num_rows_ == 1 || joint() ? "" : fmt::format("rows/{}/", row);
}

void TraceWriter::on_step(const StepRecord& record) {
  const auto& s = *record.statistics;
  const std::string steps = prefix(record.row) + "steps/";
  const auto put_header = [&] {
    recorded_.insert(steps);
    file_.append_rows<int32_t>(steps + "canvas_idx", std::span(&record.canvas_idx, 1), {});
    file_.append_rows<int32_t>(steps + "step_idx", std::span(&record.step_idx, 1), {});
    file_.append_rows<float>(steps + "temperature", std::span(&record.temperature, 1), {});
  };
  const hsize_t L = record.canvas_in.size(), V = static_cast<hsize_t>(facts_.vocabulary);
  if (!joint()) {
    put_header();
    write_step(steps, record);
    return;
  }
  // Rows of a joint batch arrive one after another within a step; the step is written when the last has come.
  const auto gather = [](auto& into, const auto& from) { into.insert(into.end(), from.begin(), from.end()); };
  gather(pending_.canvas_in, record.canvas_in);
  gather(pending_.candidate, s.candidate);
  gather(pending_.argmax, s.argmax);
  gather(pending_.accepted, record.accepted);
  gather(pending_.entropy, s.entropy_nats);
  gather(pending_.canvas_out, record.canvas_out);
  if (with_logits_) gather(pending_.logits, record.logits);
  if (++pending_.rows < num_rows_) return;
  put_header();
  const hsize_t B = num_rows_;
  file_.append_rows<int32_t>(steps + "canvas_in", pending_.canvas_in, {B, L});
  file_.append_rows<int32_t>(steps + "candidate", pending_.candidate, {B, L});
  file_.append_rows<int32_t>(steps + "argmax", pending_.argmax, {B, L});
  file_.append_rows<uint8_t>(steps + "accepted", pending_.accepted, {B, L});
  file_.append_rows<float>(steps + "entropy_nats", pending_.entropy, {B, L});
  file_.append_rows<int32_t>(steps + "canvas_out", pending_.canvas_out, {B, L});
  if (with_logits_) file_.append_rows<float>(steps + "logits", pending_.logits, {B, L, V});
  pending_ = {};
}

/// A step of one row. Where a policy decides canvas lengths, L is the longest one and shorter canvases are filled up: ids
/// with -1, entropies with NaN, logits with 0; `canvas_length` [S] i32 says how many positions are real.
void TraceWriter::write_step(const std::string& steps, const StepRecord& record) {
  const RowStatistics& s = *record.statistics;
  const auto length = static_cast<int32_t>(record.canvas_in.size());
  const auto L = static_cast<hsize_t>(plan_.length.adaptive() ? plan_.canvas_length : length), V = static_cast<hsize_t>(facts_.vocabulary);
  if (plan_.length.adaptive()) file_.append_rows<int32_t>(steps + "canvas_length", std::span(&length, 1), {});
  const auto put = [&]<typename T>(const char* name, std::span<const T> values, T filler, std::vector<hsize_t> shape) {
    std::vector<T> filled(values.begin(), values.end());
    filled.resize(shape.size() > 1 ? L * V : L, filler);
    file_.append_rows<T>(steps + name, filled, shape);
  };
  put("canvas_in", record.canvas_in, -1, {L});
  put("candidate", std::span<const int32_t>(s.candidate), -1, {L});
  put("argmax", std::span<const int32_t>(s.argmax), -1, {L});
  put("accepted", record.accepted, uint8_t{0}, {L});
  put("entropy_nats", std::span<const float>(s.entropy_nats), std::nanf(""), {L});
  put("canvas_out", record.canvas_out, -1, {L});
  if (with_logits_) put("logits", record.logits, 0.0f, {L, V});
}

void TraceWriter::write_units(const std::string& steps) {
  const auto unit = [&](const char* name, const char* text) { file_.attribute(steps + name, "unit", std::string(text)); };
  unit("canvas_idx", "canvases, counted from 0");
  unit("step_idx", "steps, counted from 0");
  unit("temperature", "divides logits");
  for (const char* name : {"canvas_in", "candidate", "argmax", "canvas_out"}) unit(name, "token id");
  unit("accepted", "1: taken at this step");
  unit("entropy_nats", "nats");
  if (with_logits_) unit("logits", "nats, after the soft-cap, before the temperature");
  if (plan_.length.adaptive()) unit("canvas_length", "positions");
}

void TraceWriter::finish(const std::vector<RowResult>& results, const std::map<std::string, std::string>& attributes) {
  if (joint()) {
    size_t longest = 0;
    for (const auto& row : results) longest = std::max(longest, row.token_ids.size());
    std::vector<int32_t> tokens;
    for (const auto& row : results) {
      tokens.insert(tokens.end(), row.token_ids.begin(), row.token_ids.end());
      tokens.insert(tokens.end(), longest - row.token_ids.size(), plan_.pad_id);
    }
    file_.write<int32_t>("tokens", tokens, {results.size(), longest});
  } else {
    for (size_t r = 0; r < results.size(); ++r) file_.write(prefix(r) + "tokens", results[r].token_ids);
  }
  for (const auto& steps : recorded_) write_units(steps);
  for (size_t r = 0; r < (joint() ? 1 : results.size()); ++r) file_.attribute((joint() ? "" : prefix(r)) + "tokens", "unit", std::string("token id"));
  file_.attribute("/", "schema_version", kTraceSchema);
  file_.attribute("/", "corruption", json_text(OrderedJson{{"absorbing", facts_.absorbing}, {"mask_id", facts_.mask_id}, {"banned_ids", facts_.banned_ids},
                                                           {"uses_level", facts_.uses_level}}));
  file_.attribute("/", "program", std::string("canvaslab " CANVASLAB_VERSION));
  for (const auto& [key, value] : attributes) file_.attribute("/", key, value);
  file_.finish();
}

}  // namespace canvaslab
