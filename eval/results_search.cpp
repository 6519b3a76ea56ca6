// /search of a results file: what successive halving tested, dropped and confirmed.
#include "eval/halving.h"
#include "eval/results.h"

namespace canvaslab {
namespace {

template <typename T>
void put(H5Writer& file, const std::string& name, const std::vector<T>& values, const std::string& unit) {
  file.write("search/" + name, values);
  if (!unit.empty()) file.attribute("search/" + name, "unit", unit);
}

void write_tests(H5Writer& file, const HalvingRecord& record) {
  std::vector<int64_t> items;
  std::vector<uint32_t> round, config, other;
  std::vector<double> level, difference, worse, faster;
  std::vector<uint8_t> drops;
  for (size_t r = 0; r < record.rounds.size(); ++r) {
    items.push_back(record.rounds[r].num_items), level.push_back(record.rounds[r].level);
    for (const auto& test : record.rounds[r].tests) {
      round.push_back(static_cast<uint32_t>(r)), config.push_back(test.config), other.push_back(test.other);
      difference.push_back(test.difference), worse.push_back(test.p_worse), faster.push_back(test.p_faster);
      drops.push_back(test.drops);
    }
  }
  put(file, "round_items", items, "items, those of earlier rounds included");
  put(file, "round_level", level, "p-value at which a test drops");
  put(file, "test_round", round, "row of round_items");
  put(file, "test_config_idx", config, "row of /config");
  put(file, "test_other_idx", other, "row of /config");
  put(file, "test_difference", difference, "quality; positive: the configuration is worse than the other");
  put(file, "test_p_worse", worse, "one-sided");
  put(file, "test_p_faster", faster, "one-sided");
  put(file, "test_drops", drops, "");
}

void write_fates(H5Writer& file, const HalvingRecord& record) {
  std::vector<uint32_t> config = record.rounds.front().candidates;
  std::vector<int32_t> dropped(config.size(), -1);
  for (size_t r = 0; r < record.rounds.size(); ++r)
    for (const uint32_t gone : record.rounds[r].dropped) dropped[gone] = static_cast<int32_t>(r);
  put(file, "candidate_config_idx", config, "row of /config");
  put(file, "candidate_dropped_in_round", dropped, "row of round_items; -1: never");
}

void write_confirmation(H5Writer& file, const Confirmation& end) {
  std::vector<uint32_t> config;
  std::vector<std::string> role;
  std::vector<double> difference, p_value, p_holm;
  for (const auto& against : end.against) {
    config.push_back(against.config), role.push_back(against.role);
    difference.push_back(against.difference), p_value.push_back(against.p_value), p_holm.push_back(against.p_holm);
  }
  put(file, "confirm_other_idx", config, "row of /config");
  file.write_strings("search/confirm_role", role);
  put(file, "confirm_difference", difference, "quality; positive: the winner is better");
  put(file, "confirm_p_value", p_value, "one-sided");
  put(file, "confirm_p_holm", p_holm, "one-sided, Holm over the comparisons");
  file.attribute("search", "winner_config_idx", static_cast<int64_t>(end.winner));
  file.attribute("search", "confirm_items", end.num_items);
  file.attribute("search", "confirmed", int64_t{end.confirmed});
}

}  // namespace

void write_halving(H5Writer& file, const HalvingPlan& plan, const HalvingRecord& record) {
  file.group("search");
  file.attribute("search", "kind", std::string("halving"));
  file.attribute("search", "plan", plan.text());
  file.attribute("search", "quality", record.quality_name);
  file.attribute("search", "test", record.test);
  file.attribute("search", "spending", std::string("Bonferroni: alpha / (rounds K (K - 1)) a test, K candidates at the start; the confirmation has alpha for itself"));
  write_tests(file, record);
  write_fates(file, record);
  if (record.confirmation) write_confirmation(file, *record.confirmation);
}

}  // namespace canvaslab
