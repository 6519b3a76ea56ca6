#include "eval/data_check.h"

#include <algorithm>
#include <filesystem>

#include "core/error.h"
#include "core/json.h"
#include "eval/records.h"
#include "eval/rows.h"
#include "eval/test_cases.h"

namespace canvaslab {
namespace {

std::vector<std::string> missing_columns(const Json& row, const FileFacts& facts) {
  std::vector<std::string> out;
  for (const auto& column : facts.columns)
    if (!row.contains(column)) out.push_back(column);
  return out;
}

/// The data set whose columns a row has. Of several the one that asks for most.
std::string dataset_of(const Json& row) {
  std::string found;
  size_t most = 0;
  for (const auto& entry : datasets().entries()) {
    const FileFacts& facts = entry.facts.files;
    if (facts.columns.size() <= most || !missing_columns(row, facts).empty()) continue;
    found = entry.name, most = facts.columns.size();
  }
  return found;
}

std::string category_of(const Json& row, const std::string& column) {
  const auto at = row.find(column);
  return at != row.end() && at->is_string() ? at->get<std::string>() : "";
}

void compare_with_known(DataReport& report, const FileFacts& facts) {
  const auto known = std::find_if(facts.known.begin(), facts.known.end(), [&](const KnownFile& file) { return file.num_rows == report.num_rows; });
  if (known == facts.known.end()) {
    std::string sizes;
    for (const auto& file : facts.known) sizes += fmt::format("{}{} ({})", sizes.empty() ? "" : ", ", file.num_rows, file.name);
    report.notes.push_back(fmt::format("{} rows are no published file's; those have {}", report.num_rows, sizes));
    return;
  }
  report.known_as = known->name;
  if (known->num_bytes != 0 && !is_record_file(report.path) && known->num_bytes != report.num_bytes) report.notes.push_back(fmt::format("{} bytes; the published file was measured at {}", report.num_bytes, known->num_bytes));
  if (known->categories.empty() || known->categories == report.categories) return;
  for (const auto& [name, count] : known->categories) {
    const auto at = report.categories.find(name);
    if (at == report.categories.end() || at->second != count) report.notes.push_back(fmt::format("category '{}': {} rows, expected {}", name, at == report.categories.end() ? 0 : at->second, count));
  }
}

}  // namespace

const DatasetRegistry::Entry& file_dataset(const std::string& name) {
  const auto& entry = datasets().find(name);
  if (!entry.facts.files.columns.empty()) return entry;
  std::vector<std::string> names;
  for (const auto& other : datasets().entries())
    if (!other.facts.files.columns.empty()) names.push_back(other.name);
  throw usage_error("data set '{}' has no published files; those that have: {}", name, joined(names));
}

size_t load_whole(const std::string& path, const std::string& dataset) {
  const auto& entry = file_dataset(dataset);
  PluginExpr expr = parse_plugin(entry.name + "(file=x" + entry.facts.files.reading_options + ")");
  expr.arguments.front().value = std::make_shared<PluginExpr>(PluginExpr{.name = path, .has_parentheses = false, .arguments = {}});
  return datasets().make(expr)->load().size();
}

DataReport check_data_file(const std::string& path, const std::string& wanted) {
  DataReport report;
  report.path = path;
  if (!wanted.empty()) report.dataset = file_dataset(wanted).name;
  const FileFacts* facts = nullptr;
  read_rows(path, [&](const DataRow& row) {
    if (report.num_rows++ == 0) {
      for (const auto& [name, value] : row.fields.items()) report.columns.push_back(name);
      if (report.dataset.empty()) report.dataset = dataset_of(row.fields);
      if (report.dataset.empty()) throw input_error("{}: its columns ({}) are no known data set's; say which it should be with --dataset", path, joined(report.columns));
      facts = &file_dataset(report.dataset).facts.files;
    }
    for (const auto& column : missing_columns(row.fields, *facts))
      if (report.problems.size() < 5) report.problems.push_back(fmt::format("{}the column '{}' is missing", row.where, column));
    if (!facts->category_column.empty()) ++report.categories[category_of(row.fields, facts->category_column)];
    if (report.dataset != "live_code_bench" || report.problems.size() >= 5) return;
    try {
      program_tests_of(row);
    } catch (const UserError& problem) {
      report.problems.push_back(problem.what());
    }
  });
  if (report.num_rows == 0) throw input_error("{}: holds no rows", path);
  report.num_bytes = static_cast<int64_t>(std::filesystem::file_size(path));
  report.sha256 = data_identity(path);
  if (report.problems.empty()) {
    try {
      load_whole(path, report.dataset);
    } catch (const UserError& problem) {
      report.problems.push_back(problem.what());
    }
  }
  compare_with_known(report, *facts);
  return report;
}

}  // namespace canvaslab
