#pragma once
// Running the engine along a recording: its canvases, its logits, new decisions.
#include <map>
#include <utility>
#include <vector>

#include "core/recorded_trace.h"
#include "samplers/engine.h"

namespace canvaslab {

/// Answers with the recorded logits of a step, whatever the canvas. Its prompts hold one number: the row they stand for.
class RecordedRows final : public LogitsDenoiser {
 public:
  explicit RecordedRows(const RecordedTrace& trace) : trace_(trace), facts_(trace.facts()) { facts_.self_conditioning = true; }  // whatever was fed back made these logits
  const DenoiserFacts& facts() const override { return facts_; }
  std::string content_hash() const override { return "recording"; }
  std::unique_ptr<Sequence> prefill(const Prompt& prompt) const override;
  std::vector<float> append(Sequence&, std::span<const int32_t>, bool) const override { return {}; }

 protected:
  std::vector<float> row_logits(Sequence& sequence, const StepRequest& request) const override;

 private:
  const RecordedTrace& trace_;
  DenoiserFacts facts_;
};

/// What a run on the course decided at one step.
struct Decided {
  std::vector<int32_t> candidate, canvas_out;  // [L]
  std::vector<uint8_t> accepted;               // [L]
};

struct CourseRun {
  std::map<std::pair<int32_t, int32_t>, Decided> steps;  ///< by (canvas, step); none where the canvas had ended
  RowResult result;
};

/// Runs over the whole recording, a result a row; rows draw as they did: jointly, or each alone.
std::vector<CourseRun> run_on_course(const RecordedTrace& trace, const GenerationPlan& plan, uint64_t seed);

}  // namespace canvaslab
