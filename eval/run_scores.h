#pragma once
// A finished run's scores, read back: configurations, items, one mean per item.
#include <map>
#include <string>
#include <vector>

#include "core/h5.h"

namespace canvaslab {

/// The results file that a user names: run.h5 itself or a folder with one. Errors: input, saying what is there instead.
std::string results_file(const std::string& run);

/// Opens a results file. Errors: input when it is no complete results file of a sweep.
H5Reader open_results(const std::string& run);

/// Why the quality of a run may mislead, as its results file says; empty where it does not.
std::string quality_caveat(const H5Reader& results);

struct ItemScore {
  double mean = 0;        ///< over finished repeats
  int64_t count = 0;      ///< finished repeats
  bool binary = true;     ///< all of them 0 or 1
};

struct ConfigScores {
  std::string settings;                    ///< canonical, "key=value; key=value"
  bool control = false;
  std::map<std::string, ItemScore> items;  ///< by item id; items without a finished sample are left out
  std::vector<double> left_out;            ///< quality with each jackknife group left out
  double quality = 0;
  double tokens_per_forward = 0;           ///< the mean that evaluation.md 5.1 defines; NaN in a file without it
};

struct RunScores {
  std::string path, name, denoiser, model_sha256, dtype, dataset, dataset_sha256;
  std::string score_name, score_unit, quality_name, quality_caveat;
  bool higher_is_better = true;
  std::vector<std::string> items;              ///< ids; where items share a group, the group
  std::vector<std::string> categories;         ///< of these; empty texts where items have none
  std::vector<ConfigScores> configs;
};
RunScores read_run_scores(const std::string& run);

/// "key=value; key=value" taken apart, in order. "control=..." too.
std::vector<std::pair<std::string, std::string>> split_settings(const std::string& settings);

/// The configuration a label names: its number, its settings, or a part of them that no other has.
/// Errors: usage, listing what there is or what the label fits.
size_t find_config(const RunScores& run, const std::string& label);

}  // namespace canvaslab
