#include "eval/halving.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <numeric>

#include <fmt/format.h>

#include "core/error.h"
#include "eval/paired.h"
#include "eval/sample_rows.h"
#include "eval/subset.h"

namespace canvaslab {
namespace {

std::vector<uint32_t> first_items(const PreparedSweep& sweep, int64_t count) {
  const auto chosen = stratified_subset(sweep.examples, static_cast<size_t>(count), sweep.plan.halving->seed);
  return {chosen.begin(), chosen.end()};
}

std::vector<uint32_t> unseen_items(const PreparedSweep& sweep) {
  const HalvingPlan& plan = *sweep.plan.halving;
  const auto seen = first_items(sweep, plan.round_items.back()), all = first_items(sweep, plan.round_items.back() + plan.confirm_items);
  std::vector<uint32_t> out;
  std::set_difference(all.begin(), all.end(), seen.begin(), seen.end(), std::back_inserter(out));
  return out;
}

std::vector<uint32_t> with_controls(const PreparedSweep& sweep, std::vector<uint32_t> configs) {
  for (uint32_t c = 0; c < sweep.plan.configs.size(); ++c)
    if (sweep.plan.configs[c].control) configs.push_back(c);
  return configs;
}

std::vector<uint32_t> opponents_and_winner(const Confirmation& confirmation) {
  std::vector<uint32_t> out = {confirmation.winner};
  for (const auto& against : confirmation.against) out.push_back(against.config);
  return out;
}

}  // namespace

double halving_level(const HalvingPlan& plan, size_t num_candidates) {
  const auto count = static_cast<double>(num_candidates);
  return plan.alpha / (static_cast<double>(plan.round_items.size()) * count * (count - 1));
}

void check_halving(const PreparedSweep& sweep) {
  const HalvingPlan& plan = *sweep.plan.halving;
  if (sweep.num_candidates < 2) throw usage_error("successive halving needs at least two candidates; the plan has {}", sweep.num_candidates);
  const int64_t needed = plan.round_items.back() + plan.confirm_items, there = static_cast<int64_t>(sweep.examples.size());
  if (needed > there)
    throw usage_error("successive halving needs {} items ({} in the last round, {} unseen ones to confirm on), but there are {}\nlower 'items', 'rounds', 'growth' or 'confirm', or take more items", needed,
                      plan.round_items.back(), plan.confirm_items, there);
  QualityMeasure(sweep).name();  // there must be a quality
}

Halving::Halving(const PreparedSweep& sweep) : sweep_(sweep), plan_(*sweep.plan.halving), measure_(sweep) {
  record_.survivors.resize(sweep.num_candidates);
  std::iota(record_.survivors.begin(), record_.survivors.end(), 0u);
  record_.quality_name = measure_.name(), record_.test = measure_.test_text();
}

std::vector<SweepTask> Halving::tasks() const {
  if (record_.confirmation && record_.confirmation->decided) return {};
  if (record_.confirmation) return tasks_of(sweep_, unseen_items(sweep_), with_controls(sweep_, opponents_and_winner(*record_.confirmation)));
  return tasks_of(sweep_, first_items(sweep_, plan_.round_items[record_.rounds.size()]), with_controls(sweep_, record_.survivors));
}

void Halving::decide(std::span<const SampleRecord> given) {
  std::vector<SampleRecord> samples(given.begin(), given.end());
  sort_samples(samples);  // sums must not depend on the order in which threads finish
  if (record_.confirmation) return confirm(samples);
  decide_round(samples);
  if (record_.rounds.size() == plan_.round_items.size() || record_.survivors.size() == 1) choose_winner();
}

void Halving::decide_round(std::span<const SampleRecord> samples) {
  HalvingRound round{.num_items = plan_.round_items[record_.rounds.size()], .level = halving_level(plan_, sweep_.num_candidates), .candidates = record_.survivors, .dropped = {}, .qualities = {}, .tests = {}};
  const auto items = first_items(sweep_, round.num_items);
  for (const uint32_t config : round.candidates) round.qualities.push_back(measure_.measure(samples, config, items));
  for (size_t a = 0; a < round.candidates.size(); ++a) {
    bool dropped = false;
    for (size_t b = 0; b < round.candidates.size(); ++b) {
      if (a == b) continue;
      const OneSided worse = test_worse(measure_, round.qualities[a], round.qualities[b]), faster = test_faster(round.qualities[a], round.qualities[b]);
      HalvingTest test{.config = round.candidates[a], .other = round.candidates[b], .difference = worse.difference, .p_worse = worse.p_value, .p_faster = faster.p_value};
      test.drops = worse.p_value <= round.level && !(plan_.keep_faster && faster.p_value <= kFasterLevel);
      dropped = dropped || test.drops;
      round.tests.push_back(test);
    }
    if (dropped) round.dropped.push_back(round.candidates[a]);
  }
  // Over equal items the best mean is worse than none; only failed samples could make a circle. Then nobody goes.
  if (round.dropped.size() == round.candidates.size()) round.dropped.clear();
  std::erase_if(record_.survivors, [&](uint32_t config) { return std::find(round.dropped.begin(), round.dropped.end(), config) != round.dropped.end(); });
  record_.rounds.push_back(std::move(round));
}

/// The winner is the survivor of best quality; the runner-up the next of the survivors, or the best of those dropped last.
void Halving::choose_winner() {
  const HalvingRound& last = record_.rounds.back();
  std::vector<std::pair<double, uint32_t>> survivors, dropped;  // lower is better
  for (size_t i = 0; i < last.candidates.size(); ++i) {
    const bool gone = std::find(last.dropped.begin(), last.dropped.end(), last.candidates[i]) != last.dropped.end();
    const ConfigQuality& quality = last.qualities[i];
    const double rank = quality.items.empty() ? std::numeric_limits<double>::infinity() : measure_.higher_is_better() ? -quality.quality : quality.quality;
    (gone ? dropped : survivors).emplace_back(rank, last.candidates[i]);
  }
  std::sort(survivors.begin(), survivors.end());
  std::sort(dropped.begin(), dropped.end());
  Confirmation out{.winner = survivors[0].second, .num_items = plan_.confirm_items, .against = {}};
  if (survivors.size() > 1 || !dropped.empty()) out.against.push_back({.config = survivors.size() > 1 ? survivors[1].second : dropped[0].second, .role = "runner-up"});
  if (sweep_.plan.reference) {
    const auto reference = static_cast<uint32_t>(*sweep_.reference);
    if (reference != out.winner && (out.against.empty() || reference != out.against[0].config)) out.against.push_back({.config = reference, .role = "reference"});
  }
  record_.confirmation = std::move(out);
}

void Halving::confirm(std::span<const SampleRecord> samples) {
  Confirmation& out = *record_.confirmation;
  const auto items = unseen_items(sweep_);
  const ConfigQuality winner = measure_.measure(samples, out.winner, items);
  std::vector<double> p_values;
  for (auto& against : out.against) {
    const OneSided worse = test_worse(measure_, measure_.measure(samples, against.config, items), winner);
    against.difference = worse.difference, against.p_value = worse.p_value;
    p_values.push_back(worse.p_value);
  }
  const auto adjusted = holm_adjusted(p_values);
  out.confirmed = !out.against.empty();
  for (size_t i = 0; i < adjusted.size(); ++i) {
    out.against[i].p_holm = adjusted[i];
    out.confirmed = out.confirmed && adjusted[i] <= plan_.alpha;
  }
  out.decided = true;
}

std::vector<SweepTask> halving_worst_case(const PreparedSweep& sweep) {
  const HalvingPlan& plan = *sweep.plan.halving;
  std::vector<uint32_t> all(sweep.num_candidates), costly(sweep.plan.reference ? std::max(sweep.num_candidates, *sweep.reference + 1) : sweep.num_candidates);
  std::iota(all.begin(), all.end(), 0u);
  std::iota(costly.begin(), costly.end(), 0u);
  std::stable_sort(costly.begin(), costly.end(), [&](uint32_t a, uint32_t b) {
    const auto steps = [&](uint32_t c) { return sweep.generation[c].num_steps * sweep.generation[c].most_canvases(); };
    return steps(a) > steps(b);
  });
  costly.resize(std::min<size_t>(costly.size(), sweep.plan.reference ? 3 : 2));
  std::vector<SweepTask> out = tasks_of(sweep, first_items(sweep, plan.round_items.back()), with_controls(sweep, all));
  const auto confirm = tasks_of(sweep, unseen_items(sweep), with_controls(sweep, costly));
  out.insert(out.end(), confirm.begin(), confirm.end());
  return out;
}

std::string halving_text(const HalvingRecord& record, const PreparedSweep& sweep) {
  const auto name = [&](uint32_t config) { return fmt::format("configuration {}", config); };
  std::string out;
  if (record.confirmation && record.confirmation->decided) {
    const Confirmation& end = *record.confirmation;
    out = fmt::format("confirmation on {} unseen items, one-sided, Holm over {}, level {:g}:\n", end.num_items, end.against.size(), sweep.plan.halving->alpha);
    for (const auto& against : end.against)
      out += fmt::format("  {} better than {} ({}): {} by {:.4g}, p = {:.3g}, adjusted {:.3g}\n", name(end.winner), name(against.config), against.role, record.quality_name, against.difference,
                         against.p_value, against.p_holm);
    out += fmt::format("winner: {} {}\n  {}\n", name(end.winner), end.confirmed ? "(confirmed)" : "(NOT confirmed: the difference is within what chance does)", sweep.settings_text[end.winner]);
    return out;
  }
  const HalvingRound& round = record.rounds.back();
  out = fmt::format("round {} on {} items: {} of {} configurations stay (a test drops at p <= {:.3g})\n", record.rounds.size(), round.num_items, round.candidates.size() - round.dropped.size(),
                    round.candidates.size(), round.level);
  for (const uint32_t config : round.dropped) {
    const HalvingTest* clearest = nullptr;
    for (const auto& test : round.tests)
      if (test.config == config && test.drops && (!clearest || test.p_worse < clearest->p_worse)) clearest = &test;
    out += fmt::format("  dropped {}: {} worse than {}'s by {:.4g}, p = {:.3g}{}\n    {}\n", config, record.quality_name, clearest->other, clearest->difference, clearest->p_worse,
                       sweep.plan.halving->keep_faster ? fmt::format("; faster: p = {:.3g}", clearest->p_faster) : "", sweep.settings_text[config]);
  }
  return out;
}

}  // namespace canvaslab
