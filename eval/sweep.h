#pragma once
// Running a sweep: everything opened, tasks over threads, journal, resume, HDF5 at the end.
#include <atomic>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "core/text/chat.h"
#include "eval/journal.h"
#include "eval/progress.h"
#include "eval/sweep_plan.h"

namespace canvaslab {

/// Raised by hand when a change alters results: part of every content key, so that a mere rebuild forfeits no resume.
inline constexpr int kEngineVersion = 1;

struct HalvingRecord;

/// A model's tokenizer and chat template, which make prompts of texts and texts of answers; null where there is none. Given
/// by the caller, who knows the model's folder.
using PromptEncoder = std::shared_ptr<const TextModel>;

/// A sweep with everything opened: denoiser, examples, resolved plans.
struct PreparedSweep {
  SweepPlan plan;
  std::unique_ptr<Denoiser> denoiser;
  PromptEncoder text;                       ///< what the data set reads answers with; null where it reads none
  std::unique_ptr<Dataset> dataset;
  std::string model_hash, data_hash;
  std::vector<Example> examples;
  std::vector<GenerationPlan> generation;   ///< per configuration (lengths alone count for controls)
  std::vector<std::string> settings_text;   ///< per configuration: canonical settings
  std::optional<size_t> reference;          ///< index of the reference configuration
  size_t num_candidates = 0;                ///< the first so many configurations are the plan's points; then come reference and controls
  std::string header;                       ///< identity of the plan, as the journal keeps it
  size_t num_samples() const { return plan.configs.size() * examples.size() * plan.total_repeats(); }
  /// Whether every position of the sample's steps goes on record.
  bool records_positions(uint32_t item, uint32_t repeat) const;
  /// SHA-256 of everything a sample depends on.
  Sha256 content_key(uint32_t config, uint32_t item, uint32_t repeat) const;
};

/// The canonical settings of a configuration, "key=value; key=value": what names it in results.
std::string settings_line(const GenerationPlan& generation, bool control);

/// Makes other configurations of those that a plan lists, once the denoiser is open.
using ConfigChooser = std::function<std::vector<SweepConfig>(std::vector<SweepConfig> listed, const Denoiser& denoiser)>;

/// Opens model and data and resolves every configuration. Equal points are kept once; a source gets its control rows.
/// Errors: usage, also for texts where there is no tokenizer.
PreparedSweep prepare_sweep(SweepPlan plan, const PromptEncoder& encode, const ConfigChooser& choose = {});

/// One sample to make.
struct SweepTask {
  uint32_t config = 0, item = 0, repeat = 0;
  Sha256 key{};
};

struct SweepOptions {
  std::string out_dir;
  int threads = 0;                 ///< 0: all cores
  int batch = 1;                   ///< samples of one configuration that go through the engine together
  uint32_t shard = 1, num_shards = 1;
  uint64_t shuffle = 0;            ///< non-zero: tasks in a random order (results never depend on it)
  std::vector<std::string> reuse = {};  ///< folders of runs whose samples are taken where their content key is in this plan, and graded again
  std::string command_line;        ///< kept in the results, marked volatile
  const std::atomic<int>* interrupt = nullptr;                     ///< non-zero: finish current samples and stop
  std::function<void(const ProgressMeter&)> on_progress;           ///< after every sample, one call at a time
  std::function<void(const std::string&)> on_failure;              ///< a sample failed: what and why
  std::function<void(const HalvingRecord&)> on_decision;           ///< of successive halving: after each round and the confirmation
};

struct SweepOutcome {
  size_t total = 0, already_done = 0, ran = 0, failed = 0;
  size_t reused = 0;               ///< generated earlier: only graded
  bool interrupted = false, wrote_results = false;
  std::string results_path;
};

/// Every task of some items: in the order (item, repeat, configuration).
std::vector<SweepTask> tasks_of(const PreparedSweep& sweep, std::span<const uint32_t> items, std::span<const uint32_t> configs);

/// Scores a generated sample without an error; what goes wrong becomes its error, and what was generated stays.
void score_sample(const PreparedSweep& sweep, SampleRecord& sample);

/// The tasks of a shard in plan order (item, repeat, configuration). A sample's shard follows from its content key.
std::vector<SweepTask> shard_tasks(const PreparedSweep& sweep, uint32_t shard, uint32_t num_shards);

/// Makes samples of one configuration, together; a failed one carries its error.
std::vector<SampleRecord> run_tasks(const PreparedSweep& sweep, std::span<const SweepTask> tasks);

/// Runs what is not yet in the journal, then writes the HDF5 file. Samples that failed earlier are tried again. With successive halving,
/// what is run follows from the samples of the rounds before, so that a killed run comes to the same decisions.
/// Errors: usage (another plan or another run in the folder, halving in shards), input (unwritable folder, full disk, damaged journal).
SweepOutcome run_sweep(const PreparedSweep& sweep, const SweepOptions& options);

}  // namespace canvaslab
