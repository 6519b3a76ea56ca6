// replay - the logits of a recorded generation: another sampler or stop rule on the same forwards, without the model.
#include <map>
#include <mutex>

#include "core/denoiser.h"
#include "core/digest.h"
#include "core/h5.h"
#include "core/json.h"

namespace canvaslab {
namespace {

struct Nothing final : Sequence {
  std::unique_ptr<Sequence> fork() const override { return std::make_unique<Nothing>(); }
};

/// Reads a trace of `generate --trace FILE --trace-logits`. A recorded forward answers only for the canvas it was
/// given: any other canvas is an error unless check_canvas is off, which answers with the recorded logits all the same
/// (a what-if whose logits ignore what the sampler did).
class Replay final : public LogitsDenoiser {
 public:
  explicit Replay(const Options& options)
      : file_(options.text("path")), row_(options.integer("row")), check_(options.boolean("check_canvas")) {
    find_row();
    const auto dims = file_.shape(steps_ + "logits");
    facts_.vocabulary = static_cast<int32_t>(dims.back());
    length_ = dims[dims.size() - 2];
    const auto canvas_idx = file_.read<int32_t>(steps_ + "canvas_idx"),
               step_idx = file_.read<int32_t>(steps_ + "step_idx");
    canvases_ = file_.read<int32_t>(steps_ + "canvas_in");
    if (canvas_idx.size() != dims[0] || step_idx.size() != dims[0] || canvases_.size() != dims[0] * num_rows_ * length_)
      throw input_error("{}: the datasets of '{}' disagree about the number of steps; the trace is damaged",
                        file_.path(), steps_);
    int32_t last_step = 0, last_canvas = 0;
    for (size_t i = 0; i < canvas_idx.size(); ++i) {
      entry_[{canvas_idx[i], step_idx[i]}] = i;
      last_step = std::max(last_step, step_idx[i]);
      last_canvas = std::max(last_canvas, canvas_idx[i]);
    }
    facts_.defaults.canvas_length = static_cast<int32_t>(length_);
    facts_.defaults.num_steps = last_step + 1;
    facts_.defaults.max_new_tokens = static_cast<int32_t>(length_) * (last_canvas + 1);
    read_config();
    hash_logits();
  }
  const DenoiserFacts& facts() const override { return facts_; }
  std::string content_hash() const override { return fmt::format("replay(sha256={}, check_canvas={})", hash_, check_); }
  std::unique_ptr<Sequence> prefill(const Prompt& prompt) const override {
    check_token_ids(prompt.ids, facts_.vocabulary, "prompt");
    return std::make_unique<Nothing>();
  }
  std::vector<float> append(Sequence&, std::span<const int32_t>, bool) const override { return {}; }

 protected:
  std::vector<float> row_logits(Sequence&, const StepRequest& request) const override {
    const auto found = entry_.find({request.canvas_idx, request.step_idx});
    if (found == entry_.end())
      throw UserError(ExitCode::kSomeFailed,
                      fmt::format("{}: the trace has no canvas {}, step {}; it recorded {} steps. Record a longer run, "
                                  "or ask for fewer steps",
                                  file_.path(), request.canvas_idx, request.step_idx, entry_.size()));
    if (request.canvas.size() != length_)
      throw usage_error("{}: the trace holds canvases of {} tokens, this one has {}", file_.path(), length_,
                        request.canvas.size());
    const size_t row = static_cast<size_t>(joint_ ? row_ : 0);
    const int32_t* recorded = canvases_.data() + (found->second * num_rows_ + row) * length_;
    for (size_t p = 0; check_ && p < length_; ++p) {
      if (request.canvas[p] == recorded[p]) continue;
      throw UserError(
          ExitCode::kSomeFailed,
          fmt::format(
              "{}: canvas {}, step {}: the canvas fed in has token {} at position {}, the recorded one {}; recorded "
              "logits answer for "
              "the recorded canvas only. Use the seed, start canvas and sampler of the trace, or check_canvas=false",
              file_.path(), request.canvas_idx, request.step_idx, request.canvas[p], p, recorded[p]));
    }
    return read_logits(found->second, row);
  }

 private:
  void find_row() {
    if (file_.has("rows")) {  // counter mode with several rows
      const std::string group = fmt::format("rows/{}", row_);
      if (!file_.has(group))
        throw usage_error("{}: the trace has no row {}; it has {}", file_.path(), row_, file_.names("rows").size());
      steps_ = group + "/steps/";
    } else {
      steps_ = "steps/";
    }
    if (!file_.has(steps_ + "canvas_in"))
      throw input_error("{}: is no trace: there is no '{}canvas_in'; expected a file of generate --trace", file_.path(),
                        steps_);
    if (!file_.has(steps_ + "logits"))
      throw input_error("{}: the trace holds no logits ('{}logits'); record it again with --trace-logits", file_.path(),
                        steps_);
    const auto dims = file_.shape(steps_ + "logits");
    joint_ = dims.size() == 4;  // [S, B, L, V]
    if (dims.size() != 3 && !joint_)
      throw input_error("{}: '{}logits' has {} axes; expected [S, L, V] or [S, B, L, V]", file_.path(), steps_,
                        dims.size());
    if (joint_) num_rows_ = dims[1];
    if (!file_.has("rows") && static_cast<uint64_t>(row_) >= num_rows_)
      throw usage_error("{}: the trace has no row {}; it has {}", file_.path(), row_, num_rows_);
  }
  /// End and pad ids of the recorded run: without them the replay would run on after the end token.
  void read_config() {
    const auto config = parse_json(file_.text_attribute("/", "config"));
    if (!config.is_object())
      throw input_error("{}: attribute 'config' is no JSON object; the trace is damaged", file_.path());
    facts_.defaults.pad_id = config.value("pad_id", -1);
    facts_.defaults.end_ids = config.value("end_ids", std::vector<int32_t>{});
    if (config.contains("temperature")) facts_.defaults.temperature = config["temperature"].get<std::string>();
  }
  std::vector<float> read_logits(size_t entry, size_t row) const {
    const std::scoped_lock lock(mutex_);  // the HDF5 library is not re-entrant
    std::vector<float> all = file_.read_row<float>(steps_ + "logits", entry);
    if (!joint_) return all;
    const size_t size = length_ * static_cast<size_t>(facts_.vocabulary);
    const auto begin = all.begin() + static_cast<ptrdiff_t>(row * size);
    return {begin, begin + static_cast<ptrdiff_t>(size)};
  }
  void hash_logits() {
    std::string digests;
    for (const auto& [step, entry] : entry_) {
      const auto logits = read_logits(entry, static_cast<size_t>(joint_ ? row_ : 0));
      const auto digest = sha256({reinterpret_cast<const char*>(logits.data()), logits.size() * sizeof(float)});
      digests.append(reinterpret_cast<const char*>(digest.data()), digest.size());
    }
    hash_ = hex(sha256(digests));
  }

  H5Reader file_;
  int64_t row_;
  bool check_, joint_ = false;
  std::string steps_, hash_;
  size_t length_ = 0, num_rows_ = 1;
  std::vector<int32_t> canvases_;                        // [S, B, L]
  std::map<std::pair<int32_t, int32_t>, size_t> entry_;  // (canvas, step) -> index along S
  DenoiserFacts facts_;
  mutable std::mutex mutex_;
};

[[maybe_unused]] const bool registered = denoisers().add(
    {.name = "replay",
     .summary = "the recorded logits of a trace, for the canvases that were recorded",
     .source = "ours",
     .aliases = {},
     .parameters = {required_text_param("path", "trace written by generate --trace FILE --trace-logits"),
                    int_param("row", 0, 0, 1e9, "", "which row of the recorded batch"),
                    bool_param("check_canvas", true,
                               "off: answer for any canvas with the logits recorded at that step")},
     .facts = {},
     .make = [](const Options& options) { return std::make_unique<Replay>(options); }});

}  // namespace
}  // namespace canvaslab
