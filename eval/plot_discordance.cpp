// Items on which two configurations disagree.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "eval/plot_figures.h"
#include "eval/plot_quality.h"

namespace canvaslab {
namespace {

constexpr size_t kMostPairs = 24;

/// Items that one side alone has right, or has better where scores are no verdicts.
struct Discordance {
  double only_a = 0, only_b = 0;
};
Discordance discordance(const RunComparison& all, const PairComparison& pair) {
  Discordance out;
  const auto &a = all.a.configs[pair.config_a].items, &b = all.b.configs[pair.config_b].items;
  for (const auto& [item, score] : a) {
    const auto found = b.find(item);
    if (found == b.end() || found->second.mean == score.mean) continue;
    const bool a_better = (score.mean > found->second.mean) == all.a.higher_is_better;
    (a_better ? out.only_a : out.only_b) += 1;
  }
  return out;
}

/// "3: entropy_bound 0.1, L 16, 8 steps".
std::string config_label(const RunScores& run, size_t config) {
  std::map<std::string, std::string> settings;
  for (auto& [name, text] : split_settings(run.configs[config].settings)) settings[name] = text;
  if (run.configs[config].control) return fmt::format("{}: exact samples", config);
  return fmt::format("{}: {}, L {}, {} steps", config, short_plugin_name(settings["sampler"]), settings["canvas_length"], settings["num_steps"]);
}

}  // namespace

Figure discordance_figure(const RunComparison& comparison) {
  std::vector<size_t> order(comparison.pairs.size());
  std::iota(order.begin(), order.end(), size_t{0});
  const auto p_value = [&](size_t i) { return std::isnan(comparison.pairs[i].p_value) ? 1 : comparison.pairs[i].p_value; };
  if (order.size() > kMostPairs) {
    std::stable_sort(order.begin(), order.end(), [&](size_t i, size_t j) { return p_value(i) < p_value(j); });
    order.resize(kMostPairs);
  }
  const bool verdicts = std::all_of(comparison.pairs.begin(), comparison.pairs.end(), [](const PairComparison& p) { return p.binary; });
  Figure out;
  out.stem = "discordance";
  out.title = verdicts ? "Items that flip between A and B" : "Items on which A and B differ";
  out.key = KeyShape::kBox;
  const std::string side = verdicts ? "only {} right" : comparison.a.higher_is_better ? "{} higher" : "{} lower";
  for (const char* name : {"A", "B"}) out.series.push_back(fmt::format(fmt::runtime(side), name));
  out.x.label = "items (A to the left, B to the right)";
  out.columns = 1;
  out.panel_height = 40 + 34 * static_cast<double>(order.size());
  Panel panel;
  panel.title = fmt::format("{} ({}): {} is better", plain_words(comparison.a.score_name), comparison.a.score_unit, comparison.a.higher_is_better ? "higher" : "lower");
  double most = 1;
  size_t longest = 0;
  for (size_t row = 0; row < order.size(); ++row) {
    const PairComparison& pair = comparison.pairs[order[row]];
    const auto [only_a, only_b] = discordance(comparison, pair);
    const auto y = static_cast<double>(row);
    panel.boxes.push_back({.series = 0, .x_low = -only_a, .x_high = 0, .y_low = y - 0.34, .y_high = y + 0.34});
    panel.boxes.push_back({.series = 1, .x_low = 0, .x_high = only_b, .y_low = y - 0.34, .y_high = y + 0.34});
    const std::string p = comparison.pairs.size() > 1 ? fmt::format("p {:.2g}, Holm {:.2g}", pair.p_value, pair.p_holm) : fmt::format("p {:.3g}", pair.p_value);
    panel.texts.push_back({.x = only_b, .y = y, .text = fmt::format("{:g} : {:g} of {}; {}", only_a, only_b, pair.num_items, p)});
    const std::string label_a = config_label(comparison.a, pair.config_a), label_b = config_label(comparison.b, pair.config_b);
    out.y.ticks.emplace_back(y, label_a == label_b ? label_a : fmt::format("A {} | B {}", label_a, label_b));
    longest = std::max(longest, out.y.ticks.back().second.size());
    most = std::max({most, only_a, only_b});
  }
  out.left = 40 + 8.0 * static_cast<double>(longest);
  out.panel_width = 560;
  out.y.range = {-0.7, static_cast<double>(order.size()) - 0.3};
  out.y.reversed = true;
  out.x.range = {-1.08 * most, 2.4 * most};  // room for the words on the right
  const double step = std::max(1.0, std::pow(10, std::floor(std::log10(most))) * (most / std::pow(10, std::floor(std::log10(most))) > 4 ? 2 : 1));
  for (double at = -std::floor(most / step) * step; at <= most; at += step) out.x.ticks.emplace_back(at, fmt::format("{:g}", std::abs(at)));
  const char* test = verdicts ? "p: McNemar's exact test" : "p: sign flips per item (McNemar's exact test where scores are verdicts); repeats averaged first";
  out.caption = fmt::format("A: {}. B: {}. {}.", comparison.a.path, comparison.b.path, test);
  if (order.size() < comparison.pairs.size()) out.caption += fmt::format(" The {} pairs with the smallest p of {}.", order.size(), comparison.pairs.size());
  for (const auto& note : comparison.notes) out.caption += " Note: " + note + ".";
  out.panels.push_back(std::move(panel));
  return out;
}

}  // namespace canvaslab
