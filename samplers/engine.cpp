#include "samplers/engine.h"

#include <algorithm>

#include "samplers/engine_run.h"

namespace canvaslab {

EngineRun::EngineRun(const Denoiser& denoiser, const GenerationPlan& plan, std::span<const RowInput> inputs, Observer* observer, const Course* course)
    : denoiser_(denoiser), plan_(plan), inputs_(inputs), observer_(observer), course_(course), facts_(denoiser.facts()),
      generator_(inputs.empty() ? 0 : inputs[0].seed), rows_(inputs.size()) {
  wanted_ = plan.sampler.facts.statistics | plan.stop.statistics |
            StatisticSet{Statistic::kMax, Statistic::kEntropy, Statistic::kCandidate};
  num_decisions_ = plan.num_decisions();
  num_canvases_ = course ? course->num_canvases() : plan.num_canvases();
  total_length_ = static_cast<size_t>(plan.num_canvases()) * static_cast<size_t>(plan.canvas_length);
  if (course && asks_causal_mode()) throw usage_error("sampler '{}' asks the causal mode, of which there is no recording", plan.sampler.name);
  foresee();
}

std::vector<RowResult> EngineRun::all() {
  prefill();
  const bool empty = all_rows([](const EngineRow& row) { return row.finished; });  // texts of an end token alone
  for (int32_t canvas_idx = 0; !empty; ++canvas_idx) {
    start_canvases(canvas_idx);
    for (int32_t step_idx = 0; step_idx < num_steps(canvas_idx); ++step_idx) {
      if (step_idx > 0 && canvases_are_done()) break;
      step(canvas_idx, step_idx);
    }
    finish_canvases(canvas_idx);
    if (all_rows([](const EngineRow& row) { return row.finished; })) break;
    if ((course_ || !counts_tokens()) && canvas_idx + 1 == num_canvases_) break;
    append();
  }
  std::vector<RowResult> results;
  for (auto& row : rows_) results.push_back(summarise(row));
  return results;
}

/// In the reference a row that finished in an earlier canvas still denoises; only `converged` ends a canvas there. On a
/// course every recorded step draws, so that the stream of numbers stays where it was.
bool EngineRun::canvases_are_done() const {
  return all_rows([&](const EngineRow& row) { return row.converged || (row.finished && !torch()); }) && !(course_ && torch());
}

int32_t EngineRun::noise(const DrawKey& draws, Purpose purpose, size_t position) {
  if (facts_.absorbing) return facts_.mask_id;
  const auto vocabulary = static_cast<uint32_t>(facts_.vocabulary);
  for (uint32_t lane = 0;; ++lane) {
    const int32_t token = torch() ? generator_.randint(vocabulary)
                                  : static_cast<int32_t>(draws.below(vocabulary, purpose, static_cast<uint32_t>(position), lane));
    if (torch() || std::find(facts_.banned_ids.begin(), facts_.banned_ids.end(), token) == facts_.banned_ids.end()) return token;
  }
}

bool EngineRun::is_end(int32_t token) const { return std::find(plan_.end_ids.begin(), plan_.end_ids.end(), token) != plan_.end_ids.end(); }

std::vector<RowResult> generate(const Denoiser& denoiser, const GenerationPlan& plan, std::span<const RowInput> rows, Observer* observer, const Course* course) {
  if (rows.empty()) return {};
  return EngineRun(denoiser, plan, rows, observer, course).all();
}

}  // namespace canvaslab
