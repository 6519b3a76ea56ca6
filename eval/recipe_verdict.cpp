#include "eval/recipe_verdict.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <set>

#include "core/error.h"
#include "core/h5.h"
#include "eval/run_scores.h"
#include "eval/statistics.h"
#include "samplers/engine.h"

namespace canvaslab {
namespace {

constexpr double kUndefined = std::numeric_limits<double>::quiet_NaN();
constexpr double kZ90 = 1.6448536269514722;

bool right_or_wrong(const std::vector<double>& values) {
  return std::all_of(values.begin(), values.end(), [](double v) { return v == 0 || v == 1; });
}

/// Intervals of one part's mean, in the unit of its values.
struct PartIntervals {
  double mean = 0;
  Interval wide, narrow;  // 95%, 90%
};

PartIntervals intervals_of(const std::vector<double>& values, bool share) {
  PartIntervals out{.mean = mean_error(values).mean, .wide = {kUndefined, kUndefined}, .narrow = {kUndefined, kUndefined}};
  if (values.size() < 2) return out;
  if (share && right_or_wrong(values)) {
    const auto right = static_cast<int64_t>(std::count(values.begin(), values.end(), 1.0)), count = static_cast<int64_t>(values.size());
    out.mean = static_cast<double>(right) / static_cast<double>(count);
    out.wide = wilson_interval(right, count), out.narrow = wilson_interval(right, count, kZ90);
    return out;
  }
  out.wide = bootstrap_interval(values, 1);
  std::vector<double> centred;
  for (double v : values) centred.push_back(v - out.mean);
  const Interval t = equivalence_test(centred, 1).interval90;  // the margin has no part in the interval
  out.narrow = {out.mean + t.low, out.mean + t.high};
  return out;
}

/// The interval of a mean of independent means: distances to the ends add in squares.
Interval joined_interval(const std::vector<PartIntervals>& parts, Interval PartIntervals::*which, double mean) {
  const auto count = static_cast<double>(parts.size());
  double below = 0, above = 0;
  for (const auto& part : parts) {
    below += std::pow((part.mean - (part.*which).low) / count, 2);
    above += std::pow(((part.*which).high - part.mean) / count, 2);
  }
  return {mean - std::sqrt(below), mean + std::sqrt(above)};
}

/// Columns of one results file that figures are made of.
class RunColumns {
 public:
  explicit RunColumns(const std::string& path) : file_(open_results(path)) {
    config_ = file_.read<uint32_t>("samples/config_idx"), item_ = file_.read<uint32_t>("samples/item_idx"), failed_ = file_.read<uint8_t>("samples/failed");
    items_ = file_.read_strings(file_.has("items/group") ? "items/group" : "items/item_id");
  }
  const H5Reader& file() const { return file_; }
  size_t num_items() const { return std::set<std::string_view>(items_.begin(), items_.end()).size(); }
  int64_t num_samples() const { return static_cast<int64_t>(config_.size()); }
  int64_t num_failed() const { return std::count(failed_.begin(), failed_.end(), uint8_t{1}); }

  /// The configuration of a step limit; without one the first.
  uint32_t config_of(std::optional<int32_t> steps) const {
    if (!steps) return 0;
    const auto limits = file_.read<int32_t>("config/num_steps");
    const auto at = std::find(limits.begin(), limits.end(), *steps);
    if (at == limits.end()) throw input_error("{}: has no configuration of {} steps, which a published figure belongs to", file_.path(), *steps);
    return static_cast<uint32_t>(at - limits.begin());
  }
  /// Means over the finished samples of each item.
  std::vector<double> item_means(uint32_t config, Quantity quantity) const {
    const auto values = values_of(quantity);
    std::map<std::string_view, std::pair<double, double>> sums;
    for (size_t i = 0; i < values.size(); ++i) {
      if (config_[i] != config || failed_[i] || std::isnan(values[i])) continue;
      auto& [sum, count] = sums[items_[item_[i]]];
      sum += values[i], count += 1;
    }
    std::vector<double> out;
    for (const auto& [item, at] : sums) out.push_back(at.first / at.second);
    return out;
  }

 private:
  std::vector<double> values_of(Quantity quantity) const {
    switch (quantity) {
      case Quantity::kAccuracy: return file_.read<double>("samples/score");
      case Quantity::kTokensPerForward: return file_.read<double>("samples/tokens_per_forward_report");
      case Quantity::kTokens: return file_.read<double>("samples/num_tokens");
      case Quantity::kForwards: {
        auto out = file_.read<double>("samples/forwards_denoise");
        for (const char* kind : {"verify", "unconditional", "append"}) {
          const auto more = file_.read<double>(std::string("samples/forwards_") + kind);
          for (size_t i = 0; i < out.size(); ++i) out[i] += more[i];
        }
        return out;
      }
      case Quantity::kEffectiveSteps: return effective_steps();
    }
    return {};
  }
  std::vector<double> effective_steps() const {
    const auto sample = file_.read<uint64_t>("canvases/sample_idx");
    const auto steps = file_.read<double>("canvases/num_steps"), valid = file_.read<double>("canvases/num_valid");
    std::vector<double> weighted(config_.size()), total(config_.size());
    for (size_t c = 0; c < sample.size(); ++c) weighted[sample[c]] += steps[c] * valid[c], total[sample[c]] += valid[c];
    for (size_t i = 0; i < total.size(); ++i) weighted[i] = total[i] > 0 ? weighted[i] / total[i] : kUndefined;
    return weighted;
  }

  H5Reader file_;
  std::vector<uint32_t> config_, item_;
  std::vector<uint8_t> failed_;
  std::vector<std::string> items_;
};

/// Share of samples in which a metric of 0 and 1 is set, over all parts; NaN without the metric.
double share_of(const std::vector<RunColumns>& parts, const std::string& metric, const std::string& word = "") {
  double set = 0, count = 0;
  for (const auto& part : parts) {
    const std::string column = "metrics/" + metric;
    if (!part.file().has(column)) return kUndefined;
    double wanted = 1;
    if (!word.empty()) {
      const auto names = part.file().list_attribute(column, "names");
      wanted = static_cast<double>(std::find(names.begin(), names.end(), word) - names.begin());
    }
    for (double value : part.file().read<double>(column))
      if (!std::isnan(value)) set += value == wanted, count += 1;
  }
  return count > 0 ? set / count : kUndefined;
}

double other_accuracy(const std::vector<RunColumns>& parts) {
  double sum = 0;
  for (const auto& part : parts) {
    const std::string name = part.file().has("metrics/accuracy_official") ? "accuracy_official" : "accuracy_house";
    if (!part.file().has("aggregates/" + name + "_mean")) return kUndefined;
    sum += part.file().read<double>("aggregates/" + name + "_mean")[0];
  }
  return 100 * sum / static_cast<double>(parts.size());
}

/// Settings that do not read as the recipe's, from the resolved ones in the file.
std::vector<std::string> setting_differences(const Recipe& recipe, const H5Reader& file) {
  std::vector<std::string> out;
  const auto settings = split_settings(file.read_strings("config/settings")[0]);
  const auto actual = [&](const std::string& key) {
    for (const auto& [name, value] : settings)
      if (name == (key == "steps" ? "num_steps" : key)) return value;
    return std::string("none");
  };
  for (const auto& [key, written] : recipe.grid) {
    if (written.front() == '[') continue;  // a list of step limits: each figure finds its own
    const std::string plain = written.front() == '"' ? written.substr(1, written.size() - 2) : written;
    std::string wanted = plain;
    if (key == "sampler") wanted = configure_sampler(parse_plugin(plain)).canonical;
    if (key == "stop") wanted = configure_stop(parse_plugin(plain)).canonical;
    if (key == "temperature") wanted = canonical_schedule(parse_plugin(plain));
    if (actual(key) != wanted) out.push_back(fmt::format("{}: published {}, here {}", key, wanted, actual(key)));
  }
  if (const auto repeats = file.integer_attribute("/", "repeats_per_seed"); repeats != recipe.repeats) out.push_back(fmt::format("repeats: published {}, here {}", recipe.repeats, repeats));
  return out;
}

OrderedJson number(double value) { return std::isfinite(value) ? OrderedJson(value) : OrderedJson(nullptr); }

std::string percent(double share) { return std::isnan(share) ? "-" : fmt::format("{:.1f}%", 100 * share); }

}  // namespace

std::string_view verdict_text(Verdict verdict) {
  return verdict == Verdict::kReproduced ? "reproduced" : verdict == Verdict::kNotReproduced ? "not reproduced" : "undecided";
}

Comparison compare_with_published(const std::vector<std::vector<double>>& parts, const Published& published, bool share) {
  if (!(published.margin > 0)) throw std::logic_error("a published figure has no margin");
  Comparison out;
  out.published = published;
  std::vector<PartIntervals> intervals;
  for (const auto& values : parts) {
    intervals.push_back(intervals_of(values, share));
    out.measured += intervals.back().mean / static_cast<double>(parts.size());
    out.num_items += static_cast<int64_t>(values.size());
  }
  const double unit = share ? 100 : 1;
  const auto scaled = [&](Interval interval, double shift) { return Interval{unit * interval.low - shift, unit * interval.high - shift}; };
  out.interval95 = scaled(joined_interval(intervals, &PartIntervals::wide, out.measured), 0);
  out.difference90 = scaled(joined_interval(intervals, &PartIntervals::narrow, out.measured), published.value);
  out.measured *= unit;
  out.inside95 = out.interval95.low <= published.value && published.value <= out.interval95.high;
  const auto [low, high] = out.difference90;
  if (low > -published.margin && high < published.margin) out.verdict = Verdict::kReproduced;
  else if (low >= published.margin || high <= -published.margin) out.verdict = Verdict::kNotReproduced;
  return out;
}

RecipeReport judge_recipe(const std::string& name, const std::vector<std::string>& results, std::vector<std::string> notes) {
  const auto& entry = recipes().find(name);
  const Recipe& recipe = entry.facts;
  if (results.size() != recipe.parts.size()) throw usage_error("recipe '{}' has {} parts, but {} results were given", entry.name, recipe.parts.size(), results.size());
  std::vector<RunColumns> parts;
  for (const auto& path : results) parts.emplace_back(path);
  RecipeReport out;
  out.name = entry.name;
  for (const auto& figure : recipe.published) {
    std::vector<std::vector<double>> values;
    for (const auto& part : parts) values.push_back(part.item_means(part.config_of(figure.steps), figure.quantity));
    out.figures.push_back(compare_with_published(values, figure, figure.quantity == Quantity::kAccuracy));
  }
  for (size_t p = 0; p < parts.size(); ++p) {
    out.num_items += static_cast<int64_t>(parts[p].num_items()), out.num_items_published += recipe.parts[p].num_items;
    out.num_samples += parts[p].num_samples(), out.num_failed += parts[p].num_failed();
    for (auto& line : setting_differences(recipe, parts[p].file()))
      if (std::find(out.differences.begin(), out.differences.end(), line) == out.differences.end()) out.differences.push_back(std::move(line));
  }
  if (out.num_items != out.num_items_published) out.differences.push_back(fmt::format("items: published {}, here {}", out.num_items_published, out.num_items));
  for (auto& note : notes) out.differences.push_back(std::move(note));
  out.truncated = share_of(parts, "truncated"), out.thought_unclosed = share_of(parts, "thought_unclosed"), out.loop = share_of(parts, "loop");
  out.no_answer = share_of(parts, "verdict", "no_answer");
  out.other_grader = other_accuracy(parts);
  return out;
}

std::string recipe_text(const RecipeReport& report) {
  const auto& entry = recipes().find(report.name);
  std::string out = fmt::format("{}: {}\npublished: {}\n\n{:<30} {:>9} {:>18} {:>10} {:>7} {:>20}  {}\n", entry.name, entry.summary, entry.source, "", "measured", "95% interval", "published", "margin",
                                "difference, 90%", "verdict");
  for (const auto& figure : report.figures) {
    const std::string name = fmt::format("{}{}", quantity_name(figure.published.quantity), figure.published.steps ? fmt::format(" at {} steps", *figure.published.steps) : "");
    out += fmt::format("{:<30} {:>9.4g} {:>18} {:>10.4g} {:>7.3g} {:>20}  {}{}\n", name, figure.measured, fmt::format("{:.4g} to {:.4g}", figure.interval95.low, figure.interval95.high),
                       figure.published.value, figure.published.margin, fmt::format("{:+.3g} to {:+.3g}", figure.difference90.low, figure.difference90.high), verdict_text(figure.verdict),
                       figure.inside95 ? "" : " (published value outside the 95% interval)");
  }
  out += fmt::format("\n{} of {} items, {} samples, {} failed", report.num_items, report.num_items_published, report.num_samples, report.num_failed);
  if (!std::isnan(report.truncated))
    out += fmt::format("; cut at the token limit {}, no answer {}, thought never closed {}, in a loop {}", percent(report.truncated), percent(report.no_answer), percent(report.thought_unclosed), percent(report.loop));
  if (!std::isnan(report.other_grader)) out += fmt::format("\nby the grader that does not count here: {:.4g}", report.other_grader);
  if (report.num_failed > 0) out += "\nsamples failed, so the figures are not of the whole run; the same command tries them again";
  out += "\n\nsettings that differ from the published ones:";
  if (report.differences.empty()) out += " none known";
  for (const auto& line : report.differences) out += "\n  " + line;
  out += "\nnot published:";
  for (const auto& line : entry.facts.unknown) out += "\n  " + line;
  return out + "\n";
}

OrderedJson recipe_json(const RecipeReport& report) {
  OrderedJson figures = OrderedJson::array();
  for (const auto& figure : report.figures)
    figures.push_back({{"quantity", quantity_name(figure.published.quantity)}, {"unit", quantity_unit(figure.published.quantity)},
                       {"steps", figure.published.steps ? OrderedJson(*figure.published.steps) : OrderedJson(nullptr)}, {"published", figure.published.value}, {"note", figure.published.note},
                       {"margin", figure.published.margin}, {"measured", number(figure.measured)}, {"interval_95", {number(figure.interval95.low), number(figure.interval95.high)}},
                       {"difference_90", {number(figure.difference90.low), number(figure.difference90.high)}}, {"items", figure.num_items}, {"published_inside_95", figure.inside95},
                       {"verdict", verdict_text(figure.verdict)}});
  const auto& entry = recipes().find(report.name);
  return {{"recipe", report.name}, {"source", entry.source}, {"figures", figures}, {"items", report.num_items}, {"items_published", report.num_items_published}, {"samples", report.num_samples},
          {"failed", report.num_failed}, {"truncated", number(report.truncated)}, {"no_answer", number(report.no_answer)}, {"thought_unclosed", number(report.thought_unclosed)},
          {"loop", number(report.loop)}, {"accuracy_other_grader", number(report.other_grader)}, {"differences", report.differences}, {"not_published", entry.facts.unknown}};
}

}  // namespace canvaslab
