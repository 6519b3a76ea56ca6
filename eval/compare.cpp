#include "eval/compare.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "eval/statistics.h"

namespace canvaslab {
namespace {

/// Scores of different data are no pairs: refused. Everything else that is not the sampler's doing is noted.
std::vector<std::string> check_comparable(const RunScores& a, const RunScores& b) {
  if (a.dataset_sha256 != b.dataset_sha256)
    throw usage_error("the runs are on different data: {} has {}, {} has {} (content hashes {} and {})\nonly runs on the same data can be paired", a.path, a.dataset, b.path, b.dataset,
                      a.dataset_sha256.substr(0, 12), b.dataset_sha256.substr(0, 12));
  if (a.score_name != b.score_name || a.score_unit != b.score_unit)
    throw usage_error("the runs are scored differently: {} has {} ({}), {} has {} ({})", a.path, a.score_name, a.score_unit, b.path, b.score_name, b.score_unit);
  std::vector<std::string> notes;
  if (a.model_sha256 != b.model_sha256)
    notes.push_back(fmt::format("DIFFERENT DENOISERS: {} (A) and {} (B); differences are not the settings' alone", a.denoiser, b.denoiser));
  if (a.dtype != b.dtype) notes.push_back(fmt::format("different number formats: {} (A) and {} (B)", a.dtype, b.dtype));
  if (a.items != b.items) {
    const auto lacking = [](const RunScores& from, const RunScores& in) {
      return std::count_if(from.items.begin(), from.items.end(), [&](const auto& id) { return std::find(in.items.begin(), in.items.end(), id) == in.items.end(); });
    };
    notes.push_back(fmt::format("different items: {} only in A, {} only in B; what both have is compared", lacking(a, b), lacking(b, a)));
  }
  return notes;
}

std::vector<std::pair<size_t, size_t>> choose_pairs(const RunScores& a, const RunScores& b, const CompareOptions& options) {
  std::vector<std::pair<size_t, size_t>> out;
  if (options.config_a.empty() != options.config_b.empty()) throw usage_error("give both --config-a and --config-b, or neither");
  for (const auto& left : options.config_a)
    for (const auto& right : options.config_b) out.emplace_back(find_config(a, left), find_config(b, right));
  if (!out.empty()) return out;
  std::vector<size_t> left, right;
  for (size_t c = 0; c < a.configs.size(); ++c)
    if (!a.configs[c].control) left.push_back(c);
  for (size_t c = 0; c < b.configs.size(); ++c)
    if (!b.configs[c].control) right.push_back(c);
  for (const size_t c : left)
    for (const size_t d : right)
      if (a.configs[c].settings == b.configs[d].settings) out.emplace_back(c, d);
  if (out.empty() && left.size() == 1 && right.size() == 1) out.emplace_back(left[0], right[0]);
  if (out.empty())
    throw usage_error("no configuration of {} has the settings of one of {}\nname what to compare with --config-a and --config-b: a number, or a part of the settings that only one has;\n"
                      "canvaslab inspect shows them", a.path, b.path);
  return out;
}

std::vector<SettingDifference> setting_differences(const std::string& a, const std::string& b) {
  const auto left = split_settings(a), right = split_settings(b);
  const auto value = [](const auto& list, const std::string& key) {
    for (const auto& [name, text] : list)
      if (name == key) return text;
    return std::string();
  };
  std::vector<SettingDifference> out;
  for (const auto& [key, text] : left)
    if (const auto other = value(right, key); other != text) out.push_back({key, text, other});
  for (const auto& [key, text] : right)
    if (std::none_of(left.begin(), left.end(), [&, name = key](const auto& entry) { return entry.first == name; })) out.push_back({key, "", text});
  return out;
}

void add_flips(PairComparison& out, const std::vector<std::string>& ids, const std::vector<double>& a, const std::vector<double>& b) {
  int64_t right_a = 0, right_b = 0;
  for (size_t i = 0; i < ids.size(); ++i) {
    right_a += a[i] == 1, right_b += b[i] == 1;
    if (a[i] > b[i]) out.only_a.push_back(ids[i]);
    if (b[i] > a[i]) out.only_b.push_back(ids[i]);
  }
  const auto n = static_cast<int64_t>(ids.size());
  out.wilson_a = wilson_interval(right_a, n), out.wilson_b = wilson_interval(right_b, n);
  out.mcnemar = mcnemar_test(static_cast<int64_t>(out.only_a.size()), static_cast<int64_t>(out.only_b.size()));
  out.p_value = out.mcnemar.exact;
}

PairComparison compare_pair(const RunScores& a, const RunScores& b, size_t config_a, size_t config_b, const CompareOptions& options) {
  PairComparison out;
  out.config_a = config_a, out.config_b = config_b;
  const ConfigScores &left = a.configs[config_a], &right = b.configs[config_b];
  out.settings = setting_differences(left.settings, right.settings);
  std::vector<std::string> ids;
  std::vector<double> scores_a, scores_b, differences;
  out.binary = true;
  for (const auto& [id, score] : left.items) {
    const auto other = right.items.find(id);
    if (other == right.items.end()) continue;
    ids.push_back(id);
    scores_a.push_back(score.mean), scores_b.push_back(other->second.mean);
    // Equal infinities (impossible text) differ by nothing; inf - inf would be NaN.
    differences.push_back(score.mean == other->second.mean ? 0 : other->second.mean - score.mean);
    out.binary = out.binary && score.binary && other->second.binary && score.count == 1 && other->second.count == 1;
  }
  if (ids.empty()) throw usage_error("configuration {} of {} and {} of {} have no finished item in common", config_a, a.path, config_b, b.path);
  out.num_items = ids.size();
  const MeanError mean = mean_error(differences);
  out.mean_a = mean_error(scores_a).mean, out.mean_b = mean_error(scores_b).mean;
  out.difference = mean.mean, out.standard_error = mean.standard_error;
  const bool finite = std::all_of(differences.begin(), differences.end(), [](double d) { return std::isfinite(d); });
  const double undefined = std::numeric_limits<double>::quiet_NaN();
  out.interval = finite ? bootstrap_interval(differences, options.seed) : Interval{undefined, undefined};
  if (out.binary) add_flips(out, ids, scores_a, scores_b);
  else out.p_value = finite ? sign_flip_test(differences, options.seed) : undefined;
  if (options.margin && finite) out.equivalence = equivalence_test(differences, *options.margin);
  const auto ran_items = [](const ConfigScores& config) {
    std::vector<std::string> names;
    for (const auto& [id, score] : config.items) names.push_back(id);
    return names;
  };
  // A divergence over fewer items is biased more: after successive halving, configurations may have run on different ones.
  if (a.quality_name == b.quality_name && a.quality_name == "pair_divergence_nats" && a.items == b.items && ran_items(left) == ran_items(right)) {
    out.quality_difference = right.quality - left.quality;
    out.quality_error = paired_error(left.left_out, right.left_out);
  }
  return out;
}

}  // namespace

RunComparison compare_runs(RunScores a, RunScores b, const CompareOptions& options) {
  RunComparison out;
  out.notes = check_comparable(a, b);
  std::vector<double> p_values;
  for (const auto& [left, right] : choose_pairs(a, b, options)) {
    out.pairs.push_back(compare_pair(a, b, left, right, options));
    p_values.push_back(out.pairs.back().p_value);
  }
  const auto adjusted = holm_adjusted(p_values);
  for (size_t i = 0; i < out.pairs.size(); ++i) out.pairs[i].p_holm = adjusted[i];
  if (a.quality_name == "pair_divergence_nats")
    out.notes.push_back("the score is a likelihood, which samplers that collapse onto likely text improve: judge by the divergence from the exact law");
  out.a = std::move(a), out.b = std::move(b);
  return out;
}

}  // namespace canvaslab
