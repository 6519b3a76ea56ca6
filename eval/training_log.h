#pragma once
// What a training leaves on record: lines that are appended while it runs, and the HDF5 file made of them.
#include <fstream>
#include <string>
#include <vector>

#include "core/network/trainer.h"

namespace canvaslab {

/// One step as it stands in the file.
struct TrainingStep {
  int64_t step = 0;                       ///< steps done
  double seconds = 0;                     ///< of processor time, since the start
  StepLosses losses;
  std::vector<size_t> tasks;              ///< of the step's batches
};

/// Means over the steps since the line before. Losses in nats per token; by task, NaN for one without a batch.
struct TrainingLine {
  int64_t step = 0;                       ///< steps done
  int64_t tokens = 0;                     ///< with forward and backward, since the start
  double seconds = 0;                     ///< of processor time, since the start
  double learning_rate = 0, gradient_norm = 0, balance = 0;
  std::vector<double> diffusion, noisiest, causal;
};

/// One setting tried on one task's held-out questions.
struct EvaluationLine {
  int64_t step = 0;
  std::string task, settings;
  int64_t num_items = 0;
  double accuracy = 0, tokens_per_forward = 0;
};

struct TrainingLog {
  std::vector<std::string> tasks;         ///< labels
  std::vector<TrainingLine> lines;
  std::vector<EvaluationLine> evaluations;
};

/// Means in the making.
class TrainingMeans {
 public:
  explicit TrainingMeans(size_t num_tasks) : diffusion_(num_tasks), noisiest_(num_tasks), causal_(num_tasks) {}
  void add(const TrainingStep& step);
  /// Everything since the last call.
  TrainingLine take();

 private:
  struct Mean {
    double sum = 0, count = 0;
    void add(double x);
    double take();
  };
  std::vector<Mean> diffusion_, noisiest_, causal_;
  Mean learning_rate_, gradient_norm_, balance_;
  int64_t step_ = 0, tokens_ = 0;
  double seconds_ = 0;
};

/// OUT/log.jsonl, to which a line a step is appended: means over windows of steps then do not depend on where a training stopped.
class TrainingLogFile {
 public:
  /// Keeps what stands there up to `step` and drops the rest, which a resumed training makes again; `step` 0 starts anew.
  /// `window`: steps of a mean; the last one, after `num_steps`, may be shorter. Errors: input errors naming file and line.
  TrainingLogFile(const std::string& path, std::vector<std::string> tasks, int64_t step, int64_t window, int64_t num_steps);
  /// True when the step ends a window.
  bool append(const TrainingStep& step);
  void append(const EvaluationLine& line);
  const TrainingLog& log() const { return log_; }
  double seconds() const { return seconds_; }  ///< of the last step

 private:
  bool add(const TrainingStep& step);
  void write(const std::string& text);
  std::string path_;
  TrainingLog log_;
  TrainingMeans means_;
  int64_t window_, num_steps_;
  double seconds_ = 0;
  std::ofstream out_;
};

/// The log as HDF5: /log/NAME [n] and [n, tasks], /evaluation/NAME [m]; root attributes task_names, settings. Readable by h5py without code of ours.
void write_training_h5(const std::string& path, const TrainingLog& log, const std::string& settings);
/// Errors: input errors naming file and dataset.
TrainingLog read_training_h5(const std::string& path);

}  // namespace canvaslab
