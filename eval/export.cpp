#include "eval/export.h"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>

#include "core/error.h"
#include "eval/category_rates.h"
#include "eval/export_json.h"
#include "eval/statistics.h"
#include "eval/sweep_view.h"

namespace canvaslab {
namespace {

/// Quoted when it must be (RFC 4180).
std::string csv_cell(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string out = "\"";
  for (char c : text) out += c == '"' ? "\"\"" : std::string(1, c);
  return out + "\"";
}

/// Shortest text that reads back as the same number; empty where undefined.
std::string csv_number(double value) { return std::isnan(value) ? "" : fmt::format("{}", value); }

/// A column as texts: strings as they are, enumerations by their words, numbers exactly.
std::vector<std::string> column_text(const H5Reader& file, const std::string& name) {
  if (!file.is_number(name)) return file.read_strings(name);
  std::vector<std::string> out;
  const auto names = file.has_attribute(name, "names") ? file.list_attribute(name, "names") : std::vector<std::string>{};
  if (name == "samples/seed") {  // 64 bits do not fit a double
    for (const auto value : file.read<uint64_t>(name)) out.push_back(fmt::format("{}", value));
    return out;
  }
  for (const double value : file.read<double>(name)) {
    const bool word = value >= 0 && value < static_cast<double>(names.size());  // never for NaN
    out.push_back(word ? names[static_cast<size_t>(value)] : csv_number(value));
  }
  return out;
}

using Table = std::vector<std::pair<std::string, std::vector<std::string>>>;

void write_csv(const std::string& path, const Table& table) {
  std::ofstream out(path, std::ios::binary);
  for (size_t c = 0; c < table.size(); ++c) out << (c ? "," : "") << csv_cell(table[c].first);
  out << "\n";
  for (size_t row = 0; row < table[0].second.size(); ++row) {
    for (size_t c = 0; c < table.size(); ++c) out << (c ? "," : "") << csv_cell(table[c].second[row]);
    out << "\n";
  }
  finish_export(out, path);
}

/// Every column of a group with one value a row.
void add_group(Table& table, const H5Reader& file, const std::string& group, size_t rows) {
  for (const auto& name : file.names(group)) {
    const std::string path = group + "/" + name;
    if (const auto shape = file.shape(path); shape.size() == 1 && shape[0] == rows) table.emplace_back(name, column_text(file, path));
  }
}

std::vector<std::string> export_csv(const H5Reader& file, const std::string& folder) {
  const size_t configs = file.shape("config/settings")[0], samples = file.shape("samples/score")[0];
  Table table = {{"config_idx", {}}};
  for (size_t c = 0; c < configs; ++c) table[0].second.push_back(std::to_string(c));
  add_group(table, file, "config", configs);
  add_group(table, file, "aggregates", configs);
  write_csv(folder + "/configurations.csv", table);
  table.clear();
  const auto ids = file.read_strings("items/item_id"), category = file.read_strings("items/category");
  table = {{"item_id", {}}, {"category", {}}};
  for (const auto item : file.read<uint32_t>("samples/item_idx")) table[0].second.push_back(ids[item]), table[1].second.push_back(category[item]);
  add_group(table, file, "samples", samples);
  add_group(table, file, "metrics", samples);
  if (file.has("answers")) add_group(table, file, "answers", samples);
  write_csv(folder + "/samples.csv", table);
  std::vector<std::string> out = {folder + "/configurations.csv", folder + "/samples.csv"};
  for (const std::string group : {"categories", "data_sets"}) {
    if (!file.has(group)) continue;
    table.clear();
    add_group(table, file, group, file.shape(group + "/config_idx")[0]);
    write_csv(out.emplace_back(folder + "/" + group + ".csv"), table);
  }
  return out;
}

/// Text inside a Markdown table's cell.
std::string markdown_cell(const std::string& text) {
  std::string out;
  for (char c : text) out += c == '|' ? "\\|" : std::string(1, c);
  return out;
}

/// Accuracy and what went wrong, by category, below the table of configurations.
void write_rates(std::ofstream& out, const std::vector<CategoryRates>& rates) {
  if (rates.empty()) return;
  out << "\nBy category: cut off at the token limit, no answer found, thought never closed, ended in a loop (shares of items).\n\n"
         "|  | category | items | accuracy | 95% interval | cut off | no answer | unclosed | loop |\n|--:|---|--:|--:|--:|--:|--:|--:|--:|\n";
  for (const auto& row : rates)
    out << fmt::format("| {} | {} | {} | {:.4g} | {:.4g} to {:.4g} | {:.4g} | {:.4g} | {:.4g} | {:.4g} |\n", row.config_idx, markdown_cell(row.category), row.num_items, row.accuracy, row.low, row.high, row.truncated,
                       row.no_answer, row.thought_unclosed, row.loop);
}

std::vector<std::string> export_markdown(const H5Reader& file, const std::string& folder) {
  const std::string path = folder + "/results.md", quality = file.text_attribute("aggregates", "quality");
  const auto read = [&](const std::string& name) { return file.read<double>("aggregates/" + name); };
  const auto value = read(quality), error = read(file.text_attribute("aggregates", "quality_standard_error")), score = read("score_mean"), score_error = read("score_standard_error");
  const auto speed = read("tokens_per_denoiser_forward_mean"), speed_error = read("tokens_per_denoiser_forward_standard_error");
  const auto count = file.read<int64_t>("aggregates/num_samples"), failed = file.read<int64_t>("aggregates/num_failed");
  const auto settings = file.read_strings("config/settings");
  // A graded data set's score is its quality: its interval, which is not symmetric, stands beside it.
  const bool graded = file.has_attribute("aggregates", "quality_interval");
  const auto low = graded ? read(quality + "_low") : std::vector<double>{}, high = graded ? read(quality + "_high") : std::vector<double>{};
  const std::string beside_name = graded ? "95% interval" : file.text_attribute("samples/score", "quality_name");
  const std::string beside_unit = graded ? file.text_attribute("aggregates", "quality_interval") : file.text_attribute("samples/score", "unit");
  std::ofstream out(path, std::ios::binary);
  out << "# " << file.text_attribute("/", "name") << "\n\n" << file.text_attribute("/", "denoiser") << "; " << shown_dataset(file) << "; seeds "
      << file.text_attribute("/", "seeds") << ". After +-: half a 95% interval.\n\n"
      << fmt::format("|  | samples | failed | {} ({}) | {} ({}) | tokens per denoiser forward | settings |\n|--:|--:|--:|--:|--:|--:|---|\n", quality,
                     file.integer_attribute("aggregates", "quality_higher_is_better") ? "higher is better" : "lower is better", beside_name, beside_unit);
  const auto cell = [](double mean, double spread) {
    if (spread <= 1e-12 * std::abs(mean)) return fmt::format("{:.5g}", mean);  // rounding, no spread
    return std::isnan(mean) ? std::string("-") : fmt::format("{:.5g} +- {:.2g}", mean, kZ95 * spread);
  };
  for (size_t c = 0; c < settings.size(); ++c)
    out << fmt::format("| {} | {} | {} | {} | {} | {} | {} |\n", c, count[c], failed[c], cell(value[c], error[c]),
                       graded ? fmt::format("{:.4g} to {:.4g}", low[c], high[c]) : cell(score[c], score_error[c]), cell(speed[c], speed_error[c]),
                       markdown_cell(settings[c]));
  write_rates(out, category_rates(file));
  finish_export(out, path);
  return {path};
}

/// What fits a page: a short label a configuration, quality with its interval by category, tokens per forward.
std::vector<std::string> export_compact(const H5Reader& file, const std::string& folder) {
  const std::string path = folder + "/compact.md", quality = file.text_attribute("aggregates", "quality");
  const auto labels = short_labels(file.read_strings("config/settings"));
  const auto value = file.read<double>("aggregates/" + quality), error = file.read<double>("aggregates/" + file.text_attribute("aggregates", "quality_standard_error"));
  const auto speed = file.read<double>("aggregates/tokens_per_forward_report_mean");
  const bool graded = file.has_attribute("aggregates", "quality_interval");
  const auto low = graded ? file.read<double>("aggregates/" + quality + "_low") : std::vector<double>(), high = graded ? file.read<double>("aggregates/" + quality + "_high") : std::vector<double>();
  std::map<std::string, std::map<uint32_t, std::string>> by_category;
  for (const auto& row : category_rates(file))
    if (row.category != "all") by_category[row.category][row.config_idx] = fmt::format("{:.2f} ({:.2f} to {:.2f})", row.accuracy, row.low, row.high);
  std::ofstream out(path, std::ios::binary);
  out << file.text_attribute("/", "denoiser") << "; " << shown_dataset(file) << "; seeds " << file.text_attribute("/", "seeds") << ". In parentheses and after +-: 95% intervals.\n\n"
      << "| configuration | tokens per forward | " << quality;
  for (const auto& [name, cells] : by_category) out << " | " << markdown_cell(name);
  out << " |\n|---|--:|--:" << [&] { std::string line; for (size_t i = 0; i < by_category.size(); ++i) line += "|--:"; return line; }() << "|\n";
  for (size_t c = 0; c < labels.size(); ++c) {
    const std::string per_forward = std::isnan(speed[c]) ? "-" : fmt::format("{:.2f}", speed[c]);  // of exact samples, which need none
    out << fmt::format("| {} | {} | {}", markdown_cell(labels[c]), per_forward,
                       graded ? fmt::format("{:.3f} ({:.3f} to {:.3f})", value[c], low[c], high[c]) : fmt::format("{:.4f} +- {:.4f}", value[c], kZ95 * error[c]));
    for (const auto& [name, cells] : by_category) {
      const auto found = cells.find(static_cast<uint32_t>(c));
      out << " | " << (found == cells.end() ? "-" : found->second);
    }
    out << " |\n";
  }
  finish_export(out, path);
  return {path};
}

}  // namespace

void finish_export(std::ofstream& out, const std::string& path) {
  if (!out.flush()) throw input_error("{}: cannot be written; check that the folder is writable and has free space", path);
}

std::vector<std::string> export_run(const std::string& run, const std::string& format, const std::string& folder) {
  if (format != "csv" && format != "markdown" && format != "compact" && format != "json")
    throw usage_error("--format {}: expected csv, markdown, compact or json{}", format, did_you_mean(format, {"csv", "markdown", "compact", "json"}));
  const H5Reader file = open_results(run);
  std::error_code made;
  std::filesystem::create_directories(folder, made);
  if (made) throw input_error("{}: the folder cannot be created ({})\ngive another folder with --out", folder, made.message());
  if (format == "csv") return export_csv(file, folder);
  if (format == "markdown") return export_markdown(file, folder);
  if (format == "compact") return export_compact(file, folder);
  return export_json(file, folder);
}

}  // namespace canvaslab
