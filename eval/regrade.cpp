#include "eval/regrade.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include "core/error.h"

namespace canvaslab {
namespace {

/// The value of a header's line.
std::string header_value(const ShardJournal& journal, const std::string& key) {
  const size_t at = ("\n" + journal.plan).find("\n" + key + " ");
  if (at == std::string::npos) throw input_error("{}: the header has no line '{} ...'; was it written by another build?", journal.path, key);
  const size_t begin = at + key.size() + 1;
  return journal.plan.substr(begin, journal.plan.find('\n', begin) - begin);
}

/// Each sample once, in row order: a failure gives way to what came of a later try.
std::vector<const SampleRecord*> last_tries(const ShardJournal& journal) {
  std::map<Sha256, const SampleRecord*> found;
  for (const auto& sample : journal.samples)
    if (const auto [at, fresh] = found.insert({sample.content_key, &sample}); !fresh && !at->second->error.empty()) at->second = &sample;
  std::vector<const SampleRecord*> out;
  for (const auto& [key, sample] : found) out.push_back(sample);
  std::sort(out.begin(), out.end(), [](const auto* a, const auto* b) { return std::tie(a->config_idx, a->item_idx, a->repeat) < std::tie(b->config_idx, b->item_idx, b->repeat); });
  return out;
}

/// Whether a sample is named by the plan that the journal was written with.
bool key_before(const PreparedSweep& before, const SampleRecord& stored) {
  try {
    return before.content_key(stored.config_idx, stored.item_idx, stored.repeat) == stored.content_key;
  } catch (const std::invalid_argument&) {  // a data set that the journal knows under no such label
    return false;
  }
}

bool same(double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); }

}  // namespace

Regraded regrade(const PreparedSweep& sweep, const ShardJournal& journal) {
  PreparedSweep before = {};  // names samples as the journal does; everything but the data's identity is equal
  before.plan = sweep.plan, before.model_hash = header_value(journal, "model"), before.data_hash = header_value(journal, "data");
  before.examples = sweep.examples, before.settings_text = sweep.settings_text;
  Regraded out;
  for (const SampleRecord* at : last_tries(journal)) {
    const SampleRecord& stored = *at;
    if (stored.config_idx >= sweep.settings_text.size() || stored.item_idx >= sweep.examples.size())
      throw usage_error("{}: holds configurations or items that the plan does not have now; put the data file back that it ran on", journal.path);
    const std::string& item = sweep.examples[stored.item_idx].id;
    if (!key_before(before, stored))
      throw usage_error("{}: item '{}' was asked otherwise (its prompt, id or settings differ now)\nonly the grading may change: the same items, options order and template", journal.path, item);
    SampleRecord sample = stored;
    sample.content_key = sweep.content_key(stored.config_idx, stored.item_idx, stored.repeat);
    if (!was_generated(sample)) {
      ++out.failed;
      out.samples.push_back(std::move(sample));
      continue;
    }
    if (!sample.error.empty()) {  // could not be graded when it ran, and perhaps cannot be now
      sample.error.clear();
      score_sample(sweep, sample);
      ++(sample.error.empty() ? out.recovered : out.failed);
      out.samples.push_back(std::move(sample));
      continue;
    }
    const Score score = sweep.dataset->score(sweep.examples[sample.item_idx], sample.token_ids, *sweep.denoiser);
    sample.score = score.value;
    sample.metrics = score.metrics;
    if (!same(stored.score, sample.score)) out.changes.push_back({sample.config_idx, sample.item_idx, sample.repeat, stored.score, sample.score});
    if (stored.metrics.size() == sample.metrics.size()) out.metric_changes += !std::equal(stored.metrics.begin(), stored.metrics.end(), sample.metrics.begin(), same);
    out.samples.push_back(std::move(sample));
  }
  return out;
}

}  // namespace canvaslab
