// The plan that a journal's header describes.
#include <map>
#include <regex>
#include <sstream>

#include "core/error.h"
#include "eval/merge.h"
#include "eval/run_scores.h"

namespace canvaslab {
namespace {

/// Lines of "key value", in the order in which plan_header (sweep_prepare.cpp) writes them.
class HeaderLines {
 public:
  HeaderLines(const std::string& path, const std::string& text) : path_(path), in_(text) {}
  std::string next() {
    std::string line;
    if (!std::getline(in_, line)) throw input_error("{}: the header ends early; was it written by another build?", path_);
    return line;
  }
  /// The value of the next line, which must have this key.
  std::string value(const std::string& key) {
    const std::string line = next();
    if (!line.starts_with(key + " ")) throw input_error("{}: the header has '{}' where '{} ...' was expected; was it written by another build?", path_, line, key);
    return line.substr(key.size() + 1);
  }
  /// The value of the next line when it has this key; else "" and the line stays.
  std::string optional_value(const std::string& key) {
    const auto here = in_.tellg();
    const std::string line = next();
    if (line.starts_with(key + " ")) return line.substr(key.size() + 1);
    in_.seekg(here);
    return "";
  }
  int64_t integer(const std::string& key) { return parse_integer(value(key), path_ + ": header line '" + key + "'"); }

 private:
  std::string path_;
  std::istringstream in_;
};

SweepConfig config_of(const std::string& path, const std::string& line) {
  SweepConfig out;
  out.where = path;
  out.request = request_of_settings(split_settings(line), path + ": header");
  return out;
}

}  // namespace

SweepPlan plan_of_journal(const ShardJournal& journal) {
  HeaderLines lines(journal.path, journal.plan);
  if (const auto first = lines.next(); first != "canvaslab run 1") throw input_error("{}: the header begins with '{}', expected 'canvaslab run 1'", journal.path, first);
  if (const auto engine = lines.integer("engine"); engine != kEngineVersion)
    throw input_error("{}: was written by engine version {}; this program is version {}\nmerge it with the build that ran it", journal.path, engine, kEngineVersion);
  SweepPlan plan;
  plan.name = journal.name;
  plan.denoiser = lines.value("denoiser");
  lines.value("model");
  // Samples are there: the model is opened on the CPU, whatever they were made on.
  plan.dtype = lines.value("dtype");
  if (const size_t on = plan.dtype.find(" on "); on != std::string::npos) {
    plan.runs_on = plan.dtype.substr(on + 4);
    plan.dtype.resize(on);
  }
  plan.tokenizer = lines.optional_value("tokenizer");
  plan.thinking = lines.optional_value("thinking") == "on";
  plan.tools = lines.optional_value("tools");
  plan.dataset = lines.value("dataset");
  lines.value("data");
  plan.limit = lines.integer("items");
  if (const auto subset = lines.optional_value("subset"); !subset.empty()) {
    static const std::regex form(R"((\d{1,18}) seed (\d{1,19}) of items [0-9a-f]{64})");
    std::smatch match;
    if (!std::regex_match(subset, match, form)) throw input_error("{}: the header's 'subset {}' is not understood", journal.path, subset);
    plan.limit.reset();
    plan.subset = std::stoll(match[1]);
    plan.subset_seed = std::stoull(match[2]);
  }
  std::istringstream seeds(lines.value("seeds"));
  plan.seeds.clear();
  for (uint64_t seed; seeds >> seed;) plan.seeds.push_back(seed);
  plan.repeats = static_cast<uint32_t>(lines.integer("repeats"));
  plan.record_positions = lines.value("record") == "positions";
  if (const auto items = lines.optional_value("record_items"); !items.empty()) plan.record_items = parse_integer(items, journal.path + ": header line 'record_items'");
  if (const auto reference = lines.value("reference"); reference != "none") plan.reference = config_of(journal.path, reference);
  const int64_t count = lines.integer("configurations");
  for (int64_t c = 0; c < count; ++c)
    if (const std::string line = lines.next(); !line.starts_with("control=")) plan.configs.push_back(config_of(journal.path, line));  // controls follow from the data set
  return plan;
}

}  // namespace canvaslab
