#include "eval/sweep_view.h"

#include <algorithm>
#include <map>
#include <regex>
#include <set>

#include <fmt/format.h>

#include "core/error.h"
#include "eval/run_scores.h"
#include "samplers/sampler.h"

namespace canvaslab {
namespace {

/// entropy_bound(entropy_bound=0.1) -> entropy_bound(0.1).
std::string without_keys(const std::string& plugin) {
  static const std::regex key("[a-z0-9_]+=");
  return std::regex_replace(plugin, key, "");
}

/// Whether a sampler denoises canvases, so that the run's temperature has a part in what it does. One that is not known here, of
/// another build or an imported file, is taken to.
bool denoises(const std::string& sampler) {
  try {
    return configure_sampler(parse_plugin(sampler)).sampler->num_decisions(1) > 0;
  } catch (const UserError&) {
    return true;
  }
}

std::string config_line(const ProgressMeter& meter, size_t number, const std::string& label) {
  const auto& config = meter.configs()[number];
  const MeanError quality = meter.quality(config);
  const std::string value = quality.count == 0 ? "" : quality.count == 1 ? fmt::format("{:.4f}", quality.mean) : fmt::format("{:.4f} +- {:.4f}", quality.mean, kZ95 * quality.standard_error);
  const std::string forwards = config.forwards > 0 ? fmt::format("{:.2f}", config.tokens / config.forwards) : "";
  const std::string seconds = config.seconds > 0 ? fmt::format("{:.0f}", config.tokens / config.seconds) : "";
  const std::string failed = config.failed > 0 ? fmt::format("{} FAILED  ", config.failed) : "";
  return fmt::format("{:>3} {:>11} {:>19} {:>7} {:>7}  {}{}", number, fmt::format("{}/{}", config.done, config.planned), value, forwards, seconds, failed, label);
}

}  // namespace

std::vector<std::string> short_labels(const std::vector<std::string>& settings) {
  std::map<std::string, std::set<std::string>> values;
  std::map<std::string, std::map<std::string, std::set<std::string>>> by_sampler;  // key, sampler -> values
  std::vector<std::map<std::string, std::string>> split;
  std::vector<std::string> keys = {"control", "sampler", "num_steps", "canvas_length"};  // in this order, then the others as they stand
  for (const auto& text : settings) {
    split.emplace_back();
    for (const auto& [key, value] : split_settings(text)) {
      split.back()[key] = value;
      if (key != "temperature" || !split.back().contains("sampler") || denoises(split.back()["sampler"])) values[key].insert(value);
      if (std::find(keys.begin(), keys.end(), key) == keys.end()) keys.push_back(key);
    }
  }
  for (const auto& setting : split)
    if (const auto sampler = setting.find("sampler"); sampler != setting.end())
      for (const auto& [key, value] : setting) by_sampler[key][sampler->second].insert(value);
  // What every sampler brings along, its stop rule say, tells no two configurations apart that the sampler does not.
  const auto follows = [&](const std::string& key) {
    return key != "temperature" && std::all_of(by_sampler[key].begin(), by_sampler[key].end(), [](const auto& one) { return one.second.size() == 1; });
  };
  std::vector<std::string> out;
  for (const auto& setting : split) {
    std::string label;
    for (const auto& key : keys) {
      const bool first = key == "sampler" || key == "control";
      const auto found = setting.find(key);
      if (found == setting.end() || !(first || (values[key].size() > 1 && !follows(key)))) continue;
      const std::string name = key == "num_steps" ? "steps" : key == "canvas_length" ? "canvas" : key;
      label += (label.empty() ? "" : " ") + (first ? without_keys(found->second) : name + "=" + without_keys(found->second));
    }
    out.push_back(std::move(label));
  }
  return out;
}

std::vector<std::string> sweep_lines(const ProgressMeter& meter, const std::vector<std::string>& labels, ViewSize size) {
  const size_t room = std::max<size_t>(size.rows, 6) - 3;  // beside the configurations: heading, the whole, the cursor's line
  std::vector<size_t> shown, over;
  for (size_t c = 0; c < meter.configs().size(); ++c) {
    const auto& config = meter.configs()[c];
    if (config.planned > 0) (config.done < config.planned ? shown : over).push_back(c);
  }
  const size_t all = shown.size() + over.size();
  shown.insert(shown.end(), over.begin(), over.end());
  if (all > room) shown.resize(room - 1);
  std::sort(shown.begin(), shown.end());
  std::vector<std::string> out = {fmt::format("{:>3} {:>11} {:>19} {:>7} {:>7}  {}", "", "samples", meter.quality_name(), "tok/fwd", "tok/s", "settings")};
  for (const size_t c : shown) out.push_back(config_line(meter, c, labels[c]));
  if (all > shown.size()) out.push_back(fmt::format("... and {} more configurations; {} of {} are done", all - shown.size(), over.size(), all));
  out.push_back(meter.text());
  for (auto& line : out) line = clipped(line, size.columns);
  return out;
}

}  // namespace canvaslab
