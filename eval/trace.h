#pragma once
// A trace: every denoising step on record, in HDF5.
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "core/h5.h"
#include "samplers/engine.h"

namespace canvaslab {

/// Observes a generation and writes the trace file's datasets (see the command line's contract). In torch mode with
/// several rows an axis B follows S; in counter mode several rows become groups rows/<i>.
class TraceWriter final : public Observer {
 public:
  /// with_logits stores [S, L, V] f32, written step by step.
  TraceWriter(const std::string& path, size_t num_rows, const GenerationPlan& plan, const DenoiserFacts& facts, bool with_logits);
  bool wants_logits() const override { return with_logits_; }
  void on_step(const StepRecord& record) override;
  /// Writes tokens and attributes, and puts the file in place.
  void finish(const std::vector<RowResult>& results, const std::map<std::string, std::string>& attributes);

 private:
  bool joint() const { return plan_.rng == RngMode::kTorch && num_rows_ > 1; }
  std::string prefix(size_t row) const;
  void write_step(const std::string& steps, const StepRecord& record);
  void write_units(const std::string& steps);

  H5Writer file_;
  size_t num_rows_;
  const GenerationPlan& plan_;
  DenoiserFacts facts_;
  bool with_logits_;
  std::set<std::string> recorded_;       ///< groups of steps that hold any
  struct Pending {
    std::vector<int32_t> canvas_in, candidate, argmax, canvas_out;
    std::vector<uint8_t> accepted;
    std::vector<float> entropy, logits;
    size_t rows = 0;
  } pending_;
};

}  // namespace canvaslab
