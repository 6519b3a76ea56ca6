#include "eval/category_rates.h"

#include <algorithm>
#include <limits>
#include <set>

#include "core/error.h"

namespace canvaslab {
namespace {

/// A column of a group, NaN where the file was written before there was one.
std::vector<double> column(const H5Reader& file, const std::string& name, size_t rows) {
  return file.has(name) ? file.read<double>(name) : std::vector<double>(rows, std::numeric_limits<double>::quiet_NaN());
}

/// Rows of /aggregates or /categories without their names.
std::vector<CategoryRates> rates_of(const H5Reader& file, const std::string& group, const std::string& score, size_t rows) {
  const auto at = [&](const std::string& name) { return column(file, group + "/" + name, rows); };
  const auto mean = at(score == "score" ? "score_mean" : score), low = at(score + "_low"), high = at(score + "_high"), truncated = at("truncated_mean"), no_answer = at("verdict_is_no_answer_mean"),
             unclosed = at("thought_unclosed_mean"), loop = at("loop_mean");
  std::vector<CategoryRates> out(rows);
  for (size_t i = 0; i < rows; ++i) {
    out[i].accuracy = mean[i], out[i].low = low[i], out[i].high = high[i];
    out[i].truncated = truncated[i], out[i].no_answer = no_answer[i], out[i].thought_unclosed = unclosed[i], out[i].loop = loop[i];
  }
  return out;
}

/// All rows of /categories or /data_sets.
std::vector<CategoryRates> parts_of(const H5Reader& file, const std::string& group, const std::string& column) {
  const auto config = file.read<uint32_t>(group + "/config_idx");
  const auto name = file.read_strings(group + "/" + column);
  const auto items = file.read<int64_t>(group + "/num_items");
  auto out = rates_of(file, group, "score", config.size());
  for (size_t i = 0; i < out.size(); ++i) out[i].config_idx = config[i], out[i].category = name[i].empty() ? "(none)" : name[i], out[i].num_items = items[i];
  return out;
}

/// label/category as (label, category).
std::pair<std::string, std::string> split(const std::string& name) {
  const size_t slash = std::min(name.find('/'), name.size());
  return {name.substr(0, slash), name.substr(slash)};
}

}  // namespace

std::string shown_dataset(const H5Reader& file) {
  return file.has("items/data_set") ? joined(file.list_attribute("items/data_set", "labels")) : file.text_attribute("/", "dataset");
}

std::vector<CategoryRates> category_rates(const H5Reader& file) {
  if (!file.has("categories") || !file.has("aggregates/verdict_is_no_answer_mean")) return {};
  const size_t configs = file.shape("config/settings")[0];
  std::vector<CategoryRates> out = rates_of(file, "aggregates", file.text_attribute("aggregates", "quality"), configs);
  for (size_t c = 0; c < configs; ++c) out[c].config_idx = static_cast<uint32_t>(c), out[c].category = "all";
  auto parts = parts_of(file, "categories", "category");
  for (const auto& part : parts) out.at(part.config_idx).num_items += part.num_items;
  if (parts.size() < 2 * configs) parts.clear();
  if (file.has("data_sets")) {
    const auto sets = parts_of(file, "data_sets", "data_set");
    std::set<std::string> labels;
    for (const auto& set : sets) labels.insert(set.category);
    std::erase_if(parts, [&](const CategoryRates& part) { return labels.contains(part.category); });  // a data set without categories of its own
    parts.insert(parts.end(), sets.begin(), sets.end());
    std::sort(parts.begin(), parts.end(), [](const auto& a, const auto& b) { return std::pair(split(a.category), a.config_idx) < std::pair(split(b.category), b.config_idx); });
  }
  out.insert(out.end(), parts.begin(), parts.end());
  std::stable_sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.config_idx < b.config_idx; });
  return out;
}

}  // namespace canvaslab
