#pragma once
// Running a sweep: tasks over threads, journal, resume, HDF5 at the end.
#include <atomic>
#include <functional>
#include <string>

#include "eval/journal.h"
#include "eval/sweep_plan.h"

namespace canvaslab {

/// Raised by hand when a change alters results: part of every content key, so that a mere rebuild forfeits no resume.
inline constexpr int kEngineVersion = 1;

/// A sweep with everything opened: denoiser, examples, resolved plans.
struct PreparedSweep {
  SweepPlan plan;
  std::unique_ptr<Denoiser> denoiser;
  std::unique_ptr<Dataset> dataset;
  std::vector<Example> examples;
  std::vector<GenerationPlan> generation;   ///< per configuration (empty settings for controls)
  std::string header;                       ///< identity of the plan, as the journal keeps it
  std::vector<std::string> settings_text;   ///< per configuration: canonical settings
  size_t num_samples() const { return plan.configs.size() * examples.size() * plan.repeats; }
};

/// Tokenises a prompt text; set by the caller, since only it knows the model's folder.
using PromptEncoder = std::function<std::vector<int32_t>(const std::string& text)>;

PreparedSweep prepare_sweep(SweepPlan plan, const PromptEncoder& encode);

struct SweepOptions {
  std::string out_dir;
  int threads = 0;                 ///< 0: all cores
  uint32_t shard = 1, num_shards = 1;
  bool quiet = false;
  const std::atomic<int>* interrupt = nullptr;  ///< non-zero: finish current samples and stop
};

struct SweepOutcome {
  size_t total = 0, already_done = 0, ran = 0, failed = 0;
  bool interrupted = false;
  std::string results_path;
};

/// Runs what is not yet in the journal, then writes the HDF5 file.
SweepOutcome run_sweep(const PreparedSweep& sweep, const SweepOptions& options);

/// Writes the results file from samples (any order). Names and rows depend on the plan only; volatile datasets are marked.
void write_results(const PreparedSweep& sweep, std::vector<SampleRecord>& samples, const std::string& path, const SweepOptions& options);

}  // namespace canvaslab
