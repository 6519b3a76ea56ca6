#include "eval/recorded_course.h"

#include <memory>

namespace canvaslab {
namespace {

struct RowNumber final : Sequence {
  explicit RowNumber(size_t number) : row(number) {}
  std::unique_ptr<Sequence> fork() const override { return std::make_unique<RowNumber>(row); }
  size_t row;
};

/// The recorded canvases of some rows (all of a joint batch, or one).
class RecordedCourse final : public Course {
 public:
  RecordedCourse(const RecordedTrace& trace, std::vector<size_t> rows) : trace_(trace), rows_(std::move(rows)) {}
  int32_t num_canvases() const override { return trace_.steps(rows_[0]).num_canvases(); }
  int32_t num_steps(int32_t canvas_idx) const override { return trace_.steps(rows_[0]).num_steps(canvas_idx); }
  std::span<const int32_t> canvas(size_t row, int32_t canvas_idx, int32_t step_idx) const override {
    const auto& steps = trace_.steps(rows_[row]);
    const size_t entry = steps.entry.at({canvas_idx, step_idx});
    return std::span(steps.canvas_in).subspan(entry * trace_.length(), steps.length(entry));
  }

 private:
  const RecordedTrace& trace_;
  std::vector<size_t> rows_;
};

class DecisionRecorder final : public Observer {
 public:
  explicit DecisionRecorder(size_t num_rows) : rows_(num_rows) {}
  void on_step(const StepRecord& record) override {
    if (record.frozen) return;
    rows_[record.row][{record.canvas_idx, record.step_idx}] = {record.statistics->candidate,
                                                               {record.canvas_out.begin(), record.canvas_out.end()},
                                                               {record.accepted.begin(), record.accepted.end()}};
  }
  std::map<std::pair<int32_t, int32_t>, Decided>& row(size_t r) { return rows_[r]; }

 private:
  std::vector<std::map<std::pair<int32_t, int32_t>, Decided>> rows_;
};

}  // namespace

std::unique_ptr<Sequence> RecordedRows::prefill(const Prompt& prompt) const { return std::make_unique<RowNumber>(static_cast<size_t>(prompt.ids.at(0))); }

std::vector<float> RecordedRows::row_logits(Sequence& sequence, const StepRequest& request) const {
  const size_t row = dynamic_cast<RowNumber&>(sequence).row;
  return trace_.logits(row, trace_.steps(row).entry.at({request.canvas_idx, request.step_idx}));
}

std::vector<CourseRun> run_on_course(const RecordedTrace& trace, const GenerationPlan& plan, uint64_t seed) {
  const RecordedRows denoiser(trace);
  std::vector<std::vector<size_t>> batches;
  for (size_t row = 0; row < trace.num_rows(); ++row) {
    if (plan.rng == RngMode::kCounter || row == 0) batches.emplace_back();
    batches.back().push_back(row);
  }
  std::vector<CourseRun> out;
  for (const auto& batch : batches) {
    std::vector<RowInput> inputs;
    for (const size_t row : batch) {
      RowInput input{.prompt = {}, .seed = seed, .item = row, .repeat = 0, .init_canvas = {}, .pins = trace.pins()};
      input.prompt.ids = {static_cast<int32_t>(row)};
      inputs.push_back(std::move(input));
    }
    DecisionRecorder recorder(batch.size());
    const RecordedCourse course(trace, batch);
    auto results = generate(denoiser, plan, inputs, &recorder, &course);
    for (size_t r = 0; r < batch.size(); ++r) out.push_back({std::move(recorder.row(r)), std::move(results[r])});
  }
  return out;
}

}  // namespace canvaslab
