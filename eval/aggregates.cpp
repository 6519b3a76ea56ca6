// One row per configuration: quality with its error, speed in both definitions, agreement with the reference.
#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <map>
#include <set>

#include "eval/paired.h"
#include "eval/results.h"
#include "eval/statistics.h"

namespace canvaslab {
namespace {

constexpr double kUndefined = std::numeric_limits<double>::quiet_NaN();

/// Samples of one configuration. Items that ask the same thing count as one: cluster[item] is the first of them.
struct Group {
  std::vector<const SampleRecord*> samples;
  const std::vector<uint32_t>* cluster = nullptr;
  auto begin() const { return samples.begin(); }
  auto end() const { return samples.end(); }
  bool empty() const { return samples.empty(); }
  size_t size() const { return samples.size(); }
  void push_back(const SampleRecord* sample) { samples.push_back(sample); }
};

/// For each item the first one of its group.
std::vector<uint32_t> clusters_of(const std::vector<Example>& examples) {
  std::map<std::string_view, uint32_t> first;
  std::vector<uint32_t> out;
  for (uint32_t i = 0; i < examples.size(); ++i) out.push_back(examples[i].group.empty() ? i : first.emplace(examples[i].group, i).first->second);
  return out;
}

/// The finished samples of one configuration, without their steps and positions. One configuration is in memory at a time.
class Finished {
 public:
  Finished() = default;
  Finished(const SampleRows& samples, size_t config, const std::vector<uint32_t>& cluster) {
    group_.cluster = &cluster;
    const auto [begin, end] = rows_of(samples, config);
    for (size_t row = begin; row < end;) {
      const size_t next = samples.block_end(row, end);
      for (auto& sample : samples.read(row, next)) {
        if (!sample.error.empty()) {
          ++num_failed_;
          continue;
        }
        sample.steps = {}, sample.positions = {}, sample.canvas_ids = {};
        samples_.push_back(std::move(sample));
      }
      row = next;
    }
    for (const auto& sample : samples_) group_.push_back(&sample);
  }
  const Group& group() const { return group_; }
  int64_t num_failed() const { return num_failed_; }

 private:
  static std::pair<size_t, size_t> rows_of(const SampleRows& samples, size_t config) {
    const auto first = [&](size_t wanted) {  // rows are ordered by configuration
      size_t low = 0, high = samples.size();
      while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (samples.ref(middle).config_idx < wanted) low = middle + 1;
        else high = middle;
      }
      return low;
    };
    return {first(config), first(config + 1)};
  }
  std::vector<SampleRecord> samples_;
  Group group_;
  int64_t num_failed_ = 0;
};

/// Columns that grow by one value per configuration.
struct Columns {
  std::map<std::string, std::vector<double>> values;
  std::map<std::string, std::string> units;
  std::vector<double> left_out;  // [C, G] of the quality
  void add(const std::string& name, double value, const std::string& unit) {
    values[name].push_back(value);
    units[name] = unit;
  }
};

/// One value per item: repeats of an item, and items of one group, are averaged first, since they are no independent samples.
struct ItemMeans {
  std::vector<double> values;
  std::vector<uint32_t> items;
};
template <typename Get>
ItemMeans item_means(const Group& samples, Get get) {
  std::map<uint32_t, std::pair<double, double>> sums;
  for (const auto* s : samples) {
    const std::optional<double> value = get(*s);
    if (!value) continue;
    auto& [sum, count] = sums[(*samples.cluster)[s->item_idx]];
    sum += *value;
    count += 1;
  }
  ItemMeans out;
  for (const auto& [item, sum] : sums) {
    out.items.push_back(item);
    out.values.push_back(sum.first / sum.second);
  }
  return out;
}

/// Share of positions at which two token lists agree, over the longer one.
double agreement(std::span<const int32_t> a, std::span<const int32_t> b) {
  const size_t longest = std::max(a.size(), b.size());
  if (longest == 0) return 1;
  size_t equal = 0;
  for (size_t p = 0; p < std::min(a.size(), b.size()); ++p) equal += a[p] == b[p];
  return static_cast<double>(equal) / static_cast<double>(longest);
}

void add_mean(Columns& out, const std::string& name, const std::string& unit, const ItemMeans& means) {
  const MeanError mean = mean_error(means.values);
  out.add(name + "_mean", mean.count ? mean.mean : kUndefined, unit);
  out.add(name + "_standard_error", mean.count ? mean.standard_error : kUndefined, unit);
}

/// The error of a paired difference follows from the quality without each group of items.
void add_left_out(Columns& out, const ItemMeans& means) {
  const auto left_out = left_out_means(means.values, means.items);
  out.left_out.insert(out.left_out.end(), left_out.begin(), left_out.end());
}

/// Every metric's mean; of words the share of each. `chosen`: which metrics.
template <typename Chosen>
void add_metrics(Columns& out, const ScoreFacts& facts, const Group& samples, Chosen chosen) {
  for (size_t m = 0; m < facts.metrics.size(); ++m) {
    const MetricFacts& metric = facts.metrics[m];
    if (!chosen(metric)) continue;
    const auto defined = [m](const SampleRecord& s) { return std::isnan(s.metrics.at(m)) ? std::nullopt : std::optional<double>(s.metrics[m]); };
    if (metric.names.empty()) add_mean(out, metric.name, metric.unit, item_means(samples, defined));
    for (size_t name = 0; name < metric.names.size(); ++name)  // of words there is no mean, but a share each
      add_mean(out, metric.name + "_is_" + metric.names[name], "share of items", item_means(samples, [&](const SampleRecord& s) -> std::optional<double> {
                 const auto value = defined(s);
                 return value ? std::optional<double>(*value == static_cast<double>(name)) : std::nullopt;
               }));
  }
}

void add_scores(Columns& out, const ScoreFacts& facts, const Group& samples) {
  add_mean(out, "score", facts.unit, item_means(samples, [](const auto& s) -> std::optional<double> { return s.score; }));
  add_metrics(out, facts, samples, [](const MetricFacts&) { return true; });
}

bool one_sample_an_item(const PreparedSweep& sweep) {
  return sweep.plan.total_repeats() == 1 && std::all_of(sweep.examples.begin(), sweep.examples.end(), [](const auto& example) { return example.group.empty() || example.group == example.id; });
}

/// 95% interval of a mean score: Wilson's for one sample an item that is right or wrong, else the bootstrap over items.
Interval score_interval(const std::vector<double>& means, bool single) {
  if (means.empty()) return {kUndefined, kUndefined};
  const auto right = std::count(means.begin(), means.end(), 1.0), wrong = std::count(means.begin(), means.end(), 0.0);
  const auto count = static_cast<int64_t>(means.size());
  return single && right + wrong == count ? wilson_interval(right, count) : bootstrap_interval(means, 1);
}

ItemMeans mean_scores(const Group& samples) {
  return item_means(samples, [](const SampleRecord& s) -> std::optional<double> { return s.score; });
}

/// The quality where scores are one: the mean score over items with its interval, and the mean over categories.
void add_quality_score(Columns& out, const PreparedSweep& sweep, const ScoreFacts& facts, const Group& samples) {
  const ItemMeans means = mean_scores(samples);
  const Interval interval = score_interval(means.values, one_sample_an_item(sweep));
  const MeanError mean = mean_error(means.values);
  const auto add = [&](const std::string& column, double value) {
    if (facts.name + column != "score_standard_error") out.add(facts.name + column, value, facts.unit);  // add_scores has that one
  };
  add("", mean.count ? mean.mean : kUndefined);
  add("_standard_error", mean.count ? mean.standard_error : kUndefined);
  add("_low", interval.low);
  add("_high", interval.high);
  std::map<std::string, std::pair<double, double>> categories;
  for (size_t i = 0; i < means.items.size(); ++i) {
    auto& [sum, count] = categories[sweep.examples[means.items[i]].category];
    sum += means.values[i];
    count += 1;
  }
  double macro = 0;
  for (const auto& [category, at] : categories) macro += at.first / at.second;
  add("_category_mean", categories.empty() ? kUndefined : macro / static_cast<double>(categories.size()));
  add_left_out(out, means);
}

/// Speed: mean of per-sample ratios and ratio of sums, both, for both definitions of a forward (evaluation.md 1.6, 5.1).
void add_speed(Columns& out, const Group& samples) {
  double tokens = 0, valid = 0, denoise = 0, all = 0, seconds = 0, canvases = 0, steps = 0, weighted = 0, at_limit = 0;
  for (const auto* s : samples) {
    if (writing_forwards(s->forwards) == 0) continue;
    tokens += static_cast<double>(s->token_ids.size());
    denoise += static_cast<double>(writing_forwards(s->forwards));
    steps += static_cast<double>(s->forwards.denoise);
    all += static_cast<double>(s->forwards.denoise + s->forwards.verify + s->forwards.unconditional + s->forwards.append);
    seconds += s->seconds.denoise + s->seconds.append;
    canvases += static_cast<double>(s->steps_per_canvas.size());
    for (size_t c = 0; c < s->steps_per_canvas.size(); ++c) {
      valid += s->valid_per_canvas[c];
      weighted += static_cast<double>(s->steps_per_canvas[c]) * s->valid_per_canvas[c];
      at_limit += s->canvas_stop[c] == "step_limit";
    }
  }
  const auto ratio = [](double over, double under) { return under > 0 ? over / under : kUndefined; };
  const std::string unit = "tokens per forward";
  const auto defined = [](auto get) {
    return [get](const SampleRecord& s) { return writing_forwards(s.forwards) > 0 ? std::optional<double>(get(s)) : std::nullopt; };
  };
  add_mean(out, "tokens_per_denoiser_forward", unit, item_means(samples, defined([](const auto& s) { return s.tokens_per_forward; })));
  add_mean(out, "tokens_per_forward_report", unit, item_means(samples, defined([](const auto& s) { return s.tokens_per_forward_report; })));
  out.add("tokens_per_denoiser_forward_ratio_of_sums", ratio(tokens, denoise), unit);
  out.add("tokens_per_forward_report_ratio_of_sums", ratio(valid, all), unit);
  out.add("steps_per_canvas_mean", ratio(steps, canvases), "steps");
  out.add("effective_denoising_steps", ratio(weighted, valid), "steps, weighted by valid tokens");
  out.add("step_limit_frac", ratio(at_limit, canvases), "fraction of canvases");
  out.add("tokens_per_second_ratio_of_sums", ratio(tokens, seconds), "tokens per second, prefill left out");
  add_mean(out, "tokens_per_second", "tokens per second, prefill left out", item_means(samples, defined([](const auto& s) {
             const double time = s.seconds.denoise + s.seconds.append;
             return time > 0 ? static_cast<double>(s.token_ids.size()) / time : 0;
           })));
}

void add_divergence(Columns& out, const Source& source, const std::vector<double>& exact, const Group& samples) {
  std::vector<std::span<const int32_t>> sequences;
  std::vector<uint32_t> items;
  for (const auto* s : samples) {
    sequences.emplace_back(s->token_ids);
    items.push_back(s->item_idx);
  }
  const Divergence divergence = pair_divergence(sequences, items, exact, source.vocabulary());
  const bool any = !samples.empty();
  out.add("pair_divergence_nats", any ? divergence.value : kUndefined, "nats");
  out.add("pair_divergence_standard_error", any ? divergence.standard_error : kUndefined, "nats");
  out.add("pair_divergence_plugin_bias_nats", any ? divergence.bias_nats : kUndefined, "nats");
  out.add("output_entropy_nats", any ? divergence.output_entropy_nats : kUndefined, "nats, of a token given the one before");
  out.left_out.insert(out.left_out.end(), divergence.left_out.begin(), divergence.left_out.end());
}

void add_agreement(Columns& out, const Group& samples, const Group& reference, bool is_quality) {
  std::map<std::pair<uint32_t, uint32_t>, const SampleRecord*> partner;
  for (const auto* s : reference) partner[{s->item_idx, s->repeat}] = s;
  const ItemMeans means = item_means(samples, [&](const SampleRecord& s) -> std::optional<double> {
    const auto found = partner.find({s.item_idx, s.repeat});
    if (found == partner.end()) return std::nullopt;
    return agreement(s.token_ids, found->second->token_ids);
  });
  add_mean(out, "agreement", "fraction of positions", means);
  if (is_quality) add_left_out(out, means);
}

/// /categories and /data_sets: one row per configuration and part of the items.
class Parts {
 public:
  /// `group` and `column`: names in the file. `name`: the part that an item belongs to, a member of Example.
  Parts(const PreparedSweep& sweep, std::string group, std::string column, std::string Example::* name) : sweep_(sweep), group_(std::move(group)), column_(std::move(column)), name_(name) {
    for (const auto& example : sweep.examples) names_.insert(example.*name);
  }
  void add(uint32_t config, const Group& group) {
    for (const auto& name : names_) {
      Group samples{.samples = {}, .cluster = group.cluster};
      std::copy_if(group.begin(), group.end(), std::back_inserter(samples.samples), [&](const SampleRecord* s) { return sweep_.examples[s->item_idx].*name_ == name; });
      const ItemMeans means = mean_scores(samples);
      const MeanError mean = mean_error(means.values);
      const Interval interval = score_interval(means.values, one_sample_an_item(sweep_));
      config_idx_.push_back(config), part_.push_back(name), num_items_.push_back(mean.count);
      values_["score_mean"].push_back(mean.count ? mean.mean : kUndefined);
      values_["score_standard_error"].push_back(mean.count ? mean.standard_error : kUndefined);
      values_["score_low"].push_back(interval.low);
      values_["score_high"].push_back(interval.high);
      // Which rules fired stands in /metrics; a share of each and every rule would bury the rest.
      add_metrics(rates_, sweep_.dataset->score_facts(), samples, [](const MetricFacts& metric) { return metric.names.empty() || metric.name == "verdict"; });
    }
  }
  void write(H5Writer& file) const {
    file.group(group_);
    file.write(group_ + "/config_idx", config_idx_);
    file.attribute(group_ + "/config_idx", "unit", std::string("row of /config"));
    file.write_strings(group_ + "/" + column_, part_);
    file.write(group_ + "/num_items", num_items_);
    file.attribute(group_ + "/num_items", "unit", std::string("items"));
    for (const auto& [name, column] : values_) {
      file.write(group_ + "/" + name, column);
      file.attribute(group_ + "/" + name, "unit", sweep_.dataset->score_facts().unit);
    }
    for (const auto& [name, column] : rates_.values) {
      file.write(group_ + "/" + name, column);
      file.attribute(group_ + "/" + name, "unit", rates_.units.at(name));
    }
  }

 private:
  const PreparedSweep& sweep_;
  std::string group_, column_;
  std::string Example::* name_;
  std::set<std::string> names_;
  std::vector<uint32_t> config_idx_;
  std::vector<std::string> part_;
  std::vector<int64_t> num_items_;
  std::map<std::string, std::vector<double>> values_;
  Columns rates_;
};

}  // namespace

void write_aggregates(H5Writer& file, const PreparedSweep& sweep, const SampleRows& samples) {
  const size_t num_configs = sweep.plan.configs.size();
  const std::vector<uint32_t> cluster = clusters_of(sweep.examples);
  std::vector<int64_t> count, failed;
  const bool exact_law = sweep.dataset->wants_control();
  const Source* source = exact_law ? sweep.denoiser->source() : nullptr;
  const std::vector<double> law = source ? source->pair_law() : std::vector<double>{};
  const ScoreFacts facts = sweep.dataset->score_facts();
  const Finished reference = sweep.reference ? Finished(samples, *sweep.reference, cluster) : Finished();
  Parts categories(sweep, "categories", "category", &Example::category), sets(sweep, "data_sets", "data_set", &Example::set);
  const bool joined = std::any_of(sweep.examples.begin(), sweep.examples.end(), [](const auto& example) { return !example.set.empty(); });
  Columns out;
  for (uint32_t config = 0; config < num_configs; ++config) {
    const Finished finished(samples, config, cluster);
    const Group& group = finished.group();
    count.push_back(static_cast<int64_t>(group.size()));
    failed.push_back(finished.num_failed());
    add_scores(out, facts, group);
    add_speed(out, group);
    if (source) add_divergence(out, *source, law, group);
    if (facts.is_quality) {
      add_quality_score(out, sweep, facts, group);
      categories.add(config, group);
    }
    if (joined) sets.add(config, group);
    if (sweep.reference) add_agreement(out, group, reference.group(), !source && !facts.is_quality);
  }
  file.group("aggregates");
  file.write("aggregates/num_samples", count);
  file.write("aggregates/num_failed", failed);
  for (const char* name : {"aggregates/num_samples", "aggregates/num_failed"}) file.attribute(name, "unit", std::string("samples"));
  for (const auto& [name, values] : out.values) {
    file.write("aggregates/" + name, values);
    file.attribute("aggregates/" + name, "unit", out.units[name]);
    if (name.starts_with("tokens_per_second")) mark_volatile(file, "aggregates/" + name);
  }
  const std::string quality = source ? "pair_divergence_nats" : facts.is_quality ? facts.name : "agreement_mean";
  file.write<double>("aggregates/quality_left_out", out.left_out, {num_configs, kJackknifeGroups});
  file.attribute("aggregates/quality_left_out", "unit", std::string("as the quality, with items of one group (item_idx modulo 20) left out"));
  file.attribute("aggregates", "quality", quality);
  file.attribute("aggregates", "quality_standard_error", source ? "pair_divergence_standard_error" : facts.is_quality ? facts.name + "_standard_error" : std::string("agreement_standard_error"));
  file.attribute("aggregates", "quality_higher_is_better", int64_t{facts.is_quality ? facts.higher_is_better : !source});
  if (facts.is_quality) {
    file.attribute("aggregates", "quality_interval", std::string(one_sample_an_item(sweep) ? "Wilson, 95%" : "percentile bootstrap over items, 95%"));
    categories.write(file);
  }
  if (joined) sets.write(file);
  if (source) {
    file.attribute("aggregates", "source_entropy_rate_nats", source->entropy_rate_nats());
    if (!source->pairs_show_rule())
      file.attribute("aggregates", kQualityCaveat, std::string("pair_divergence_nats compares neighbouring tokens, and this source's rule joins tokens further apart: samples that break the rule may look better than exact ones; judge by negative_log_likelihood beside output_entropy_nats"));
    file.attribute("aggregates", "source_pair_entropy_nats", conditional_entropy_nats(law, static_cast<size_t>(source->vocabulary())));
  }
  if (sweep.reference) file.attribute("aggregates", "agreement_reference_config_idx", static_cast<int64_t>(*sweep.reference));
}

}  // namespace canvaslab
