#include "eval/run_scores.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "core/error.h"
#include "eval/results.h"
#include "eval/statistics.h"

namespace canvaslab {
namespace {

std::string listing(const RunScores& run, const std::vector<size_t>& which) {
  std::string out;
  for (size_t i = 0; i < std::min<size_t>(12, which.size()); ++i) out += fmt::format("\n  {}  {}", which[i], run.configs[which[i]].settings);
  if (which.size() > 12) out += fmt::format("\n  and {} more", which.size() - 12);
  return out;
}

void add_samples(RunScores& run, const H5Reader& file) {
  const auto config = file.read<uint32_t>("samples/config_idx"), item = file.read<uint32_t>("samples/item_idx");
  const auto failed = file.read<uint8_t>("samples/failed");
  const auto score = file.read<double>("samples/score");
  for (size_t i = 0; i < score.size(); ++i) {
    if (failed[i]) continue;
    ItemScore& at = run.configs[config[i]].items[run.items[item[i]]];
    at.mean += score[i];  // a sum until all are there
    at.count += 1;
    at.binary = at.binary && (score[i] == 0 || score[i] == 1);
  }
  for (auto& entry : run.configs)
    for (auto& [id, at] : entry.items) at.mean /= static_cast<double>(at.count);
}

}  // namespace

std::string results_file(const std::string& run) {
  if (!std::filesystem::exists(run)) throw input_error("{}: no such file or folder; give a run folder or a run.h5", run);
  if (!std::filesystem::is_directory(run)) return run;
  const std::string path = run + "/run.h5";
  if (std::filesystem::exists(path)) return path;
  std::string shard;
  for (const auto& entry : std::filesystem::directory_iterator(run))
    if (entry.path().extension() == ".h5") shard = entry.path().string();
  if (!shard.empty()) throw input_error("{}: holds shards but no run.h5; join them with canvaslab merge {}, or give one by name, for example {}", run, run, shard);
  throw input_error("{}: there is no run.h5 in it; is the sweep finished? start the same sweep command again to go on", run);
}

H5Reader open_results(const std::string& run) {
  H5Reader file(results_file(run));
  if (!file.has("aggregates/score_mean")) throw input_error("{}: is no results file of a sweep (there is no /aggregates)", file.path());
  if (!file.has_attribute("/", "complete")) throw input_error("{}: is not complete; start the same sweep command again", file.path());
  return file;
}

std::string quality_caveat(const H5Reader& results) { return results.has_attribute("aggregates", kQualityCaveat) ? results.text_attribute("aggregates", kQualityCaveat) : std::string(); }

RunScores read_run_scores(const std::string& run_path) {
  const H5Reader file = open_results(run_path);
  const auto text = [&](const char* name) { return file.text_attribute("/", name); };
  RunScores out;
  out.path = file.path(), out.name = text("name"), out.denoiser = text("denoiser"), out.model_sha256 = text("model_sha256"), out.dtype = text("dtype");
  out.dataset = text("dataset"), out.dataset_sha256 = text("dataset_sha256");
  out.score_name = file.text_attribute("samples/score", "quality_name");
  out.score_unit = file.text_attribute("samples/score", "unit");
  out.higher_is_better = file.integer_attribute("samples/score", "higher_is_better") != 0;
  out.quality_name = file.text_attribute("aggregates", "quality");
  out.quality_caveat = quality_caveat(file);
  out.items = file.read_strings(file.has("items/group") ? "items/group" : "items/item_id");
  out.categories = file.read_strings("items/category");
  const auto settings = file.read_strings("config/settings");
  const std::string speed_name = "aggregates/tokens_per_forward_report_mean";
  const auto speed = file.has(speed_name) ? file.read<double>(speed_name) : std::vector<double>(settings.size(), std::nan(""));
  const auto control = file.read<uint8_t>("config/control");
  const auto left_out = file.read<double>("aggregates/quality_left_out"), quality = file.read<double>("aggregates/" + out.quality_name);
  for (size_t c = 0; c < settings.size(); ++c) {
    const auto group = left_out.begin() + static_cast<ptrdiff_t>(c * kJackknifeGroups);
    out.configs.push_back({.settings = settings[c], .control = control[c] != 0, .items = {}, .left_out = std::vector<double>(group, group + kJackknifeGroups), .quality = quality[c], .tokens_per_forward = speed[c]});
  }
  add_samples(out, file);
  return out;
}

std::vector<std::pair<std::string, std::string>> split_settings(const std::string& settings) {
  std::vector<std::pair<std::string, std::string>> out;
  for (size_t begin = 0; begin < settings.size();) {
    const size_t end = std::min(settings.find("; ", begin), settings.size()), equals = std::min(settings.find('=', begin), end);
    out.emplace_back(settings.substr(begin, equals - begin), equals < end ? settings.substr(equals + 1, end - equals - 1) : "");
    begin = end + 2;
  }
  return out;
}

size_t find_config(const RunScores& run, const std::string& label) {
  std::vector<size_t> fits, all;
  for (size_t c = 0; c < run.configs.size(); ++c) {
    all.push_back(c);
    if (run.configs[c].settings == label) return c;
    if (run.configs[c].settings.find(label) != std::string::npos) fits.push_back(c);
  }
  const bool number = !label.empty() && label.size() < 9 && label.find_first_not_of("0123456789") == std::string::npos;
  if (number) {
    const auto index = static_cast<size_t>(std::stoul(label));
    if (index < run.configs.size()) return index;
    throw usage_error("{}: there is no configuration {}; there are:{}", run.path, label, listing(run, all));
  }
  if (fits.size() == 1) return fits[0];
  if (fits.empty()) throw usage_error("{}: no configuration's settings contain '{}'; there are:{}", run.path, label, listing(run, all));
  throw usage_error("{}: '{}' fits {} configurations; give the number or more of the settings:{}", run.path, label, fits.size(), listing(run, fits));
}

}  // namespace canvaslab
