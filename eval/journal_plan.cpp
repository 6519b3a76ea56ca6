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
  const auto split = split_settings(line);
  const std::map<std::string, std::string> settings(split.begin(), split.end());
  const auto get = [&](const char* key) {
    const auto at = settings.find(key);
    if (at == settings.end()) throw input_error("{}: the header's configuration '{}' has no '{}'", path, line, key);
    return at->second;
  };
  const auto number = [&](const char* key) { return static_cast<int32_t>(parse_integer(get(key), path + ": header, " + key)); };
  SweepConfig out;
  out.where = path;
  out.request = {.sampler = get("sampler"), .stop = get("stop"), .temperature = get("temperature"), .emission = get("emission"), .canvas_length = number("canvas_length"),
                 .num_steps = number("num_steps"), .anneal_over = number("anneal_over"), .max_new_tokens = number("max_new_tokens"),
                 .top_k = {}, .top_p = {}, .min_p = {}, .stats_on = {}, .self_conditioning = get("self_conditioning") == "on", .rng = get("rng") == "torch" ? RngMode::kTorch : RngMode::kCounter};
  // Filters stand there only when they were given.
  if (settings.contains("top_k")) out.request.top_k = number("top_k");
  if (settings.contains("top_p")) out.request.top_p = parse_real(get("top_p"), path + ": header, top_p");
  if (settings.contains("min_p")) out.request.min_p = parse_real(get("min_p"), path + ": header, min_p");
  if (settings.contains("stats_on")) out.request.stats_on = get("stats_on");
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
  plan.dtype = lines.value("dtype");
  plan.dataset = lines.value("dataset");
  lines.value("data");
  plan.limit = lines.integer("items");
  if (const auto subset = lines.optional_value("subset"); !subset.empty()) {
    static const std::regex form(R"((\d{1,18}) seed (\d{1,19}) of items [0-9a-f]+)");
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
