#include "eval/category_rates.h"

#include <algorithm>
#include <limits>

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

}  // namespace

std::vector<CategoryRates> category_rates(const H5Reader& file) {
  if (!file.has("categories") || !file.has("aggregates/verdict_is_no_answer_mean")) return {};
  const size_t configs = file.shape("config/settings")[0], rows = file.shape("categories/config_idx")[0], per_config = rows / std::max<size_t>(1, configs);
  const auto whole = rates_of(file, "aggregates", file.text_attribute("aggregates", "quality"), configs), parts = rates_of(file, "categories", "score", rows);
  const auto config = file.read<uint32_t>("categories/config_idx");
  const auto name = file.read_strings("categories/category");
  const auto items = file.read<int64_t>("categories/num_items");
  std::vector<CategoryRates> out;
  for (size_t c = 0, next = 0; c < configs; ++c) {
    const size_t total = out.size();
    out.push_back(whole[c]);
    out[total].config_idx = static_cast<uint32_t>(c), out[total].category = "all";
    for (; next < rows && config[next] == c; ++next) {
      out[total].num_items += items[next];
      if (per_config < 2) continue;
      out.push_back(parts[next]);
      out.back().config_idx = config[next], out.back().category = name[next].empty() ? "(none)" : name[next], out.back().num_items = items[next];
    }
  }
  return out;
}

}  // namespace canvaslab
