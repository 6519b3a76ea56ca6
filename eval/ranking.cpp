#include "eval/ranking.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>

#include "core/error.h"
#include "eval/paired.h"
#include "eval/paired_quality.h"
#include "eval/pareto.h"
#include "eval/statistics.h"
#include "eval/sweep_view.h"

namespace canvaslab {
namespace {

constexpr const char* kDivergence = "pair_divergence_nats";

/// A run's ranked configurations: the scores of the chosen items, NaN where one was not finished.
struct Table {
  std::vector<size_t> configs;                ///< indices into the run's
  std::vector<std::vector<double>> scores;    ///< [config][item]
};

/// Settings of the configurations that are ranked.
std::set<std::string> ranked_settings(const RunScores& run) {
  std::set<std::string> out;
  for (const auto& config : run.configs)
    if (!config.control) out.insert(config.settings);
  return out;
}

void check_alike(const std::vector<RunScores>& runs) {
  if (runs.empty()) throw usage_error("nothing to rank: name at least one run");
  const RunScores& first = runs.front();
  if (ranked_settings(first).size() < 2) throw usage_error("{}: has fewer than two configurations to rank", first.path);
  for (const RunScores& run : runs) {
    if (run.dataset_sha256 != first.dataset_sha256 || run.items != first.items)
      throw usage_error("{} and {} ran on different items; only runs on the same ones are ranked together", first.path, run.path);
    if (run.score_name != first.score_name || run.quality_name != first.quality_name)
      throw usage_error("the runs are scored differently: {} has {}, {} has {}", first.path, first.score_name, run.path, run.score_name);
    if (const auto settings = ranked_settings(run); settings != ranked_settings(first)) {
      std::vector<std::string> lacking;
      const auto known = ranked_settings(first);
      std::set_symmetric_difference(settings.begin(), settings.end(), known.begin(), known.end(), std::back_inserter(lacking));
      throw usage_error("{} and {} ran different configurations, for example only one of them ran '{}'", first.path, run.path, lacking.front());
    }
  }
}

/// Ids of the items that are ranked on.
std::vector<std::string> chosen_items(const RunScores& run, const RankingOptions& options) {
  std::set<std::string> out, categories;
  for (size_t i = 0; i < run.items.size(); ++i) {
    const std::string category = i < run.categories.size() ? run.categories[i] : "";
    if (!category.empty()) categories.insert(category);
    if (!options.category || category == *options.category) out.insert(run.items[i]);
  }
  if (out.empty())
    throw usage_error("{}: no item has the category '{}'; there are: {}", run.path, *options.category, categories.empty() ? "none" : fmt::format("{}", fmt::join(categories, ", ")));
  return {out.begin(), out.end()};
}

/// Configurations in the order of the first run's.
Table score_table(const RunScores& run, const std::vector<std::string>& settings, const std::vector<std::string>& items) {
  Table out;
  for (const auto& wanted : settings) {
    const auto found = std::find_if(run.configs.begin(), run.configs.end(), [&](const auto& config) { return !config.control && config.settings == wanted; });
    out.configs.push_back(static_cast<size_t>(found - run.configs.begin()));
    auto& row = out.scores.emplace_back();
    for (const auto& id : items) {
      const auto score = found->items.find(id);
      row.push_back(score == found->items.end() ? std::nan("") : score->second.mean);
    }
  }
  return out;
}

/// How much better the first is, and the two-sided p-value.
OneSided compare(std::span<const double> a, std::span<const double> b, bool higher_is_better) {
  std::vector<double> differences;
  for (size_t i = 0; i < a.size(); ++i)
    if (!std::isnan(a[i]) && !std::isnan(b[i])) differences.push_back(a[i] == b[i] ? 0 : higher_is_better ? a[i] - b[i] : b[i] - a[i]);
  const OneSided above = test_above(differences);
  for (double& d : differences) d = -d;
  return {.difference = above.difference, .p_value = std::min(1.0, 2 * std::min(above.p_value, test_above(differences).p_value))};
}

OneSided compare_divergences(const ConfigScores& a, const ConfigScores& b) {
  const OneSided better = test_larger(b.quality, b.left_out, a.quality, a.left_out), worse = test_larger(a.quality, a.left_out, b.quality, b.left_out);
  return {.difference = better.difference, .p_value = std::min(1.0, 2 * std::min(better.p_value, worse.p_value))};
}

/// [pair] of one run: 1 where the first of the pair is better, -1 where it is worse.
std::vector<int> decide(const RunScores& run, const Table& table, bool divergence, bool higher_is_better, double alpha) {
  std::vector<double> p_values;
  std::vector<int> out;
  for (size_t a = 0; a < table.configs.size(); ++a)
    for (size_t b = a + 1; b < table.configs.size(); ++b) {
      const OneSided test = divergence ? compare_divergences(run.configs[table.configs[a]], run.configs[table.configs[b]]) : compare(table.scores[a], table.scores[b], higher_is_better);
      p_values.push_back(test.p_value);
      out.push_back(test.difference > 0 ? 1 : -1);
    }
  const auto adjusted = holm_adjusted(p_values);
  for (size_t i = 0; i < out.size(); ++i)
    if (!(adjusted[i] < alpha)) out[i] = 0;
  return out;
}

double mean_of_known(const std::vector<double>& scores) {
  std::vector<double> known;
  std::copy_if(scores.begin(), scores.end(), std::back_inserter(known), [](double s) { return !std::isnan(s); });
  return known.empty() ? std::nan("") : mean_error(known).mean;
}

/// In how many runs the first of a pair is better, the second is.
struct Votes {
  size_t first = 0, second = 0;
};

void add_run(Ranking& out, const RunScores& run, const Table& table, const RankingOptions& options, std::vector<Votes>& votes) {
  const bool divergence = out.quality_name == kDivergence;
  std::vector<Judged> points;
  for (size_t c = 0; c < table.configs.size(); ++c) {
    const ConfigScores& config = run.configs[table.configs[c]];
    out.configs[c].quality.push_back(divergence ? config.quality : mean_of_known(table.scores[c]));
    out.configs[c].tokens_per_forward += config.tokens_per_forward;
    points.push_back({config.tokens_per_forward, out.configs[c].quality.back()});
  }
  const auto front = non_dominated(points, true, out.higher_is_better);
  for (size_t c = 0; c < front.size(); ++c) out.configs[c].front = out.configs[c].front && front[c] != 0;
  const auto decided = decide(run, table, divergence, out.higher_is_better, options.alpha);
  for (size_t pair = 0; pair < decided.size(); ++pair) votes[pair].first += decided[pair] > 0, votes[pair].second += decided[pair] < 0;
}

/// What all runs agree on.
void take_votes(Ranking& out, const std::vector<Votes>& votes, size_t num_runs) {
  const size_t n = out.configs.size();
  out.order.assign(n, std::vector<int>(n, 0));
  for (size_t a = 0, pair = 0; a < n; ++a)
    for (size_t b = a + 1; b < n; ++b, ++pair) {
      out.order[a][b] = votes[pair].first == num_runs ? 1 : votes[pair].second == num_runs ? -1 : 0;
      out.order[b][a] = -out.order[a][b];
      out.num_agreed += out.order[a][b] != 0;
      out.num_opposite += votes[pair].first > 0 && votes[pair].second > 0;
    }
  out.num_pairs = votes.size();
  for (size_t c = 0; c < n; ++c) {
    RankedConfig& config = out.configs[c];
    config.mean = std::accumulate(config.quality.begin(), config.quality.end(), 0.0) / static_cast<double>(num_runs);
    config.tokens_per_forward /= static_cast<double>(num_runs);
    config.better_than = static_cast<size_t>(std::count(out.order[c].begin(), out.order[c].end(), 1));
    config.worse_than = static_cast<size_t>(std::count(out.order[c].begin(), out.order[c].end(), -1));
  }
}

void sort_by_mean(Ranking& out) {
  const size_t n = out.configs.size();
  std::vector<size_t> place(n);
  std::iota(place.begin(), place.end(), size_t{0});
  const auto worth = [&](size_t c) {  // a configuration without a finished item comes last
    const double mean = out.configs[c].mean;
    return std::isnan(mean) ? -std::numeric_limits<double>::infinity() : out.higher_is_better ? mean : -mean;
  };
  std::stable_sort(place.begin(), place.end(), [&](size_t a, size_t b) { return worth(a) > worth(b); });
  Ranking sorted = out;
  for (size_t i = 0; i < n; ++i) {
    sorted.configs[i] = out.configs[place[i]];
    for (size_t j = 0; j < n; ++j) sorted.order[i][j] = out.order[place[i]][place[j]];
  }
  out = std::move(sorted);
}

}  // namespace

Ranking rank_runs(std::vector<RunScores> runs, const RankingOptions& options) {
  check_alike(runs);
  const RunScores& first = runs.front();
  if (options.category && first.quality_name == kDivergence) throw usage_error("--category: a divergence is measured over all items together; it has no categories");
  Ranking out;
  const bool divergence = first.quality_name == kDivergence;
  out.quality_name = divergence ? first.quality_name : first.score_name;
  out.higher_is_better = divergence ? false : first.higher_is_better;
  std::vector<std::string> settings;
  for (const auto& config : first.configs)
    if (!config.control) settings.push_back(config.settings), out.configs.push_back({.settings = config.settings, .quality = {}, .front = true});
  const auto items = chosen_items(first, options);
  std::vector<Votes> votes(settings.size() * (settings.size() - 1) / 2);
  for (const RunScores& run : runs) add_run(out, run, score_table(run, settings, items), options, votes);
  take_votes(out, votes, runs.size());
  out.runs = std::move(runs);
  sort_by_mean(out);
  return out;
}

std::string ranking_markdown(const Ranking& ranking, const RankingOptions& options) {
  std::vector<std::string> settings;
  for (const auto& config : ranking.configs) settings.push_back(config.settings);
  const auto labels = short_labels(settings);
  const size_t others = ranking.configs.size() - 1;
  std::string out = fmt::format("{}; {}{}. `*`: no other configuration has both more tokens per forward and a better {}, in every run.\n\n| configuration | tokens per forward | {}", ranking.runs.front().dataset,
                                ranking.quality_name, options.category ? " on " + *options.category : "", ranking.quality_name, ranking.quality_name);
  if (ranking.runs.size() > 1)
    for (const auto& run : ranking.runs) out += " | " + run.denoiser;
  out += fmt::format(" | better than (of {}) | worse than |\n|---|--:|--:", others);
  if (ranking.runs.size() > 1)
    for (size_t r = 0; r < ranking.runs.size(); ++r) out += "|--:";
  out += "|--:|--:|\n";
  for (size_t c = 0; c < labels.size(); ++c) {
    const RankedConfig& config = ranking.configs[c];
    out += fmt::format("| {}{} | {:.2f} | {:.4g}", labels[c], config.front ? " *" : "", config.tokens_per_forward, config.mean);
    if (ranking.runs.size() > 1)
      for (const double quality : config.quality) out += fmt::format(" | {:.4g}", quality);
    out += fmt::format(" | {} | {} |\n", config.better_than, config.worse_than);
  }
  out += fmt::format("\nOf {} pairs of configurations {} are ranked{}; {} are ranked one way by one run and the other way by another. A pair is ranked where its difference has p < {:g}: {}, Holm over all pairs of a run.\n",
                     ranking.num_pairs, ranking.num_agreed, ranking.runs.size() > 1 ? fmt::format(" alike in all {} runs", ranking.runs.size()) : "", ranking.num_opposite, options.alpha,
                     ranking.quality_name == kDivergence ? "t of the jackknife over items" : "paired t over items, two-sided");
  return out;
}

}  // namespace canvaslab
