#pragma once
// A table of samplers at equal forwards: settings chosen on one run, judged on another.
#include <map>
#include <string>
#include <vector>

#include "eval/sweep.h"

namespace canvaslab {

/// One row: the settings that compete to represent it.
struct TableRow {
  std::string label;
  std::vector<std::string> settings;  ///< canonical; these were tried
  SamplerFacts facts;                 ///< of the first of them
};

/// The rows of a sweep file: one for each label of its grids, in the file's order; grids without a label are rows by
/// themselves, named after their sampler. Errors: usage, with the place in the file, for settings that cannot be resolved.
std::vector<TableRow> table_rows(const SweepPlan& plan, const Denoiser& denoiser);

/// What a finished run says of one configuration.
struct Measured {
  double quality = 0, quality_error = 0;               ///< token-pair divergence in nats, jackknife standard error
  double score = 0, output_entropy = 0;                ///< nats per token
  double denoise = 0, verify = 0, unconditional = 0, append = 0;  ///< forwards for SamplerTable::unit tokens
  double forwards() const { return denoise + verify + unconditional + append; }
  int64_t count = 0, failed = 0;
  bool control = false;
};
/// Configurations of a run on an exact source by their settings. Errors: input when it is no finished run, usage when it
/// is no run on a source or of another denoiser than `denoiser`. Forwards are counted for `unit` tokens.
std::map<std::string, Measured> read_measured(const std::string& run, const std::string& denoiser, int32_t unit);
/// The longest canvas of a run's configurations, in tokens: what forwards are counted for, whatever length a configuration has itself.
int32_t longest_canvas(const std::string& run);

/// The setting that represents a row among those that took at most `budget` forwards.
struct Chosen {
  size_t row = 0;
  int32_t budget = 0;
  std::string settings;
};
/// The step limits of the plan, rising: the budgets of the table unless others are asked for.
std::vector<int32_t> table_budgets(const std::vector<TableRow>& rows);
/// For each row and budget the tried setting of the least divergence whose forwards are at most the budget; none where
/// no setting of the row is that cheap. Ties: the earlier one. Errors: usage for settings that the run does not hold.
std::vector<Chosen> choose_settings(const std::vector<TableRow>& rows, const std::map<std::string, Measured>& tuning, const std::vector<int32_t>& budgets);

/// A sweep file that runs the chosen settings, each once, on the plan's denoiser and data set.
std::string chosen_sweep(const SweepPlan& plan, const std::vector<Chosen>& chosen);

/// What the table is made of.
struct SamplerTable {
  std::string title, denoiser, tuning, test;  ///< tuning, test: samples and seeds in words
  std::vector<TableRow> rows;
  std::vector<int32_t> budgets;
  std::vector<Chosen> chosen;
  int32_t unit = 0;  ///< tokens that forwards are counted for: those of the longest canvas
  std::map<std::string, Measured> tuned, tested;
};
/// Reads both runs of a sweep file. Errors as above.
SamplerTable make_sampler_table(const SweepPlan& plan, const Denoiser& denoiser, const std::string& tuning_run, const std::string& test_run,
                                const std::vector<int32_t>& budgets);

/// The table as text: Markdown for people, CSV with every number (a line per row and budget).
std::string table_markdown(const SamplerTable& table);
std::string table_csv(const SamplerTable& table);
/// Divergence against forwards, one mark a row and budget, by kind of sampler: PNG and SVG at `stem`.
void draw_sampler_table(const SamplerTable& table, const std::string& stem);

}  // namespace canvaslab
