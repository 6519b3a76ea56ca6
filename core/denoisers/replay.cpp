// replay - the logits of a recorded generation: another sampler or stop rule on the same forwards, without the model.
#include <algorithm>

#include "core/denoiser.h"
#include "core/digest.h"
#include "core/recorded_trace.h"

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
      : trace_(options.text("path")), row_(static_cast<size_t>(options.integer("row"))), check_(options.boolean("check_canvas")) {
    if (row_ >= trace_.num_rows()) throw usage_error("{}: the trace has no row {}; it has {}", trace_.path(), row_, trace_.num_rows());
    const auto& steps = trace_.steps(row_);
    facts_ = trace_.facts();
    facts_.uses_level = false;  // whatever the recorded denoiser did
    facts_.defaults.num_steps = steps.size() == 0 ? 0 : *std::max_element(steps.step_idx.begin(), steps.step_idx.end()) + 1;
    facts_.defaults.max_new_tokens = steps.num_tokens();
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
    const auto& steps = trace_.steps(row_);
    const size_t L = trace_.length();
    const auto found = steps.entry.find({request.canvas_idx, request.step_idx});
    if (found == steps.entry.end())
      throw UserError(ExitCode::kSomeFailed, fmt::format("{}: the trace has no canvas {}, step {}; it recorded {} steps. Record a longer run, or ask for fewer steps",
                                                         trace_.path(), request.canvas_idx, request.step_idx, steps.size()));
    const size_t length = steps.length(found->second);
    if (request.canvas.size() != length) throw usage_error("{}: the trace holds {} tokens of canvas {}, this one has {}", trace_.path(), length, request.canvas_idx, request.canvas.size());
    const int32_t* recorded = steps.canvas_in.data() + found->second * L;
    for (size_t p = 0; check_ && p < length; ++p) {
      if (request.canvas[p] == recorded[p]) continue;
      throw UserError(ExitCode::kSomeFailed,
                      fmt::format("{}: canvas {}, step {}: the canvas fed in has token {} at position {}, the recorded one {}; recorded logits answer for the recorded "
                                  "canvas only. Use the seed, start canvas and sampler of the trace, or check_canvas=false; generate --replay compares decisions step by step",
                                  trace_.path(), request.canvas_idx, request.step_idx, request.canvas[p], p, recorded[p]));
    }
    return trace_.logits(row_, found->second);
  }

 private:
  void hash_logits() {
    std::string digests;
    for (const auto& [step, entry] : trace_.steps(row_).entry) {
      const auto logits = trace_.logits(row_, entry);
      const auto digest = sha256({reinterpret_cast<const char*>(logits.data()), logits.size() * sizeof(float)});
      digests.append(reinterpret_cast<const char*>(digest.data()), digest.size());
    }
    hash_ = hex(sha256(digests));
  }

  RecordedTrace trace_;
  size_t row_;
  bool check_;
  std::string hash_;
  DenoiserFacts facts_;
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
