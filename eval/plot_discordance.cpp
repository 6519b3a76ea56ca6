// Items on which two configurations disagree.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
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

/// What tells the pairs apart: the settings in which A and B differ, or else A's own.
std::string pair_label(const RunComparison& all, const PairComparison& pair) {
  const auto value = [](const std::string& settings, const std::string& key) {
    for (const auto& [name, text] : split_settings(settings))
      if (name == key) return text;
    return std::string("exact samples");
  };
  const std::string &a = all.a.configs[pair.config_a].settings, &b = all.b.configs[pair.config_b].settings;
  std::string out = fmt::format("A {}: {}, {} steps", pair.config_a, value(a, "sampler"), value(a, "num_steps"));
  if (a != b) out += fmt::format(" | B {}: {}, {} steps", pair.config_b, value(b, "sampler"), value(b, "num_steps"));
  else out += fmt::format(", L {}", value(a, "canvas_length"));
  if (out.size() > 84) out.replace(81, std::string::npos, "...");
  return out;
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
  out.title = verdicts ? "Items that flip between A and B" : "Items at which A or B is better";
  out.key = KeyShape::kBox;
  out.series = verdicts ? std::vector<std::string>{"only A right", "only B right"} : std::vector<std::string>{"A better", "B better"};
  out.x.label = "items (A to the left, B to the right)";
  out.columns = 1;
  out.panel_height = 40 + 34 * static_cast<double>(order.size());
  Panel panel;
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
    out.y.ticks.emplace_back(y, pair_label(comparison, pair));
    longest = std::max(longest, out.y.ticks.back().second.size());
    most = std::max({most, only_a, only_b});
  }
  out.left = 30 + 7.2 * static_cast<double>(longest);
  out.panel_width = 560;
  out.y.range = {-0.7, static_cast<double>(order.size()) - 0.3};
  out.y.reversed = true;
  out.x.range = {-1.08 * most, 1.9 * most};  // room for the words on the right
  const double step = std::max(1.0, std::pow(10, std::floor(std::log10(most))) * (most / std::pow(10, std::floor(std::log10(most))) > 4 ? 2 : 1));
  for (double at = -std::floor(most / step) * step; at <= most; at += step) out.x.ticks.emplace_back(at, fmt::format("{:g}", std::abs(at)));
  const char* test = verdicts ? "p: McNemar's exact test" : "p: sign flips per item (McNemar's exact test where scores are verdicts); repeats averaged first";
  out.caption = fmt::format("A: {}. B: {}. {} ({}). {}.", comparison.a.path, comparison.b.path, plain_words(comparison.a.score_name), comparison.a.score_unit, test);
  if (order.size() < comparison.pairs.size()) out.caption += fmt::format(" The {} pairs with the smallest p of {}.", order.size(), comparison.pairs.size());
  out.panels.push_back(std::move(panel));
  return out;
}

}  // namespace canvaslab
