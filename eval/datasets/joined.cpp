#include "eval/datasets/joined.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <limits>
#include <map>
#include <stdexcept>

#include "core/error.h"
#include "eval/subset.h"

namespace canvaslab {
namespace {

constexpr const char* kName = "joined";

std::vector<ParamSpec> set_params() {
  const auto canonical = [](const PluginExpr& inner) { return datasets().resolve(inner).canonical(); };
  return {plugin_param("data_set", canonical, "the data set"), text_param("label", "", "first part of its items' ids and categories (default: its name)"),
          int_param("subset", 0, 0, 1e9, "items", "so many, drawn by category; 0: all"), int_param("subset_seed", 1, 0, 9007199254740991.0, "", "which")};
}

JoinedSet set_of(const PluginExpr& written) {
  PluginExpr expr = written;
  if (canonical_name(written.name) != "set") {
    expr = {.name = "set", .has_parentheses = true, .arguments = {{.key = "", .value = std::make_shared<PluginExpr>(written)}}};
  }
  const Options options = resolve_options("part of data set", "joined: set", set_params(), expr);
  return {.label = options.text("label"), .dataset = datasets().resolve(options.inner("data_set")).canonical(), .subset = options.integer("subset"),
          .subset_seed = static_cast<uint64_t>(options.integer("subset_seed"))};
}

/// Fills in the label and checks what can be said of one set alone.
void complete(JoinedSet& set) {
  const std::string name = parse_plugin(set.dataset).name;
  if (name == kName) throw usage_error("data set 'joined' cannot be part of another; name its data sets one by one");
  if (set.label.empty()) set.label = name;
  if (set.label == kName) throw usage_error("label 'joined' names all data sets together in exports; give '{}' another one", name);
  const auto fits = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-' || c == '.'; };
  if (!std::all_of(set.label.begin(), set.label.end(), fits)) throw usage_error("label '{}' of data set '{}': expected letters, digits, '_', '-' and '.'", set.label, name);
}

std::string text_of(const JoinedSet& set) { return fmt::format("set(data_set={}, label={}, subset={}, subset_seed={})", set.dataset, set.label, set.subset, set.subset_seed); }

std::string canonical_set(const PluginExpr& written) {
  JoinedSet set = set_of(written);
  complete(set);
  return text_of(set);
}

std::vector<JoinedSet> sets_of(const Options& options) {
  std::vector<JoinedSet> out;
  for (const auto& part : options.plugins("sets")) {
    complete(out.emplace_back(set_of(part)));
    for (size_t i = 0; i + 1 < out.size(); ++i)
      if (out[i].label == out.back().label) throw usage_error("two data sets are called '{}'; give one of them another label", out[i].label);
  }
  return out;
}

std::string meaning(const ScoreFacts& facts) { return fmt::format("'{}'{}{}, {} is better", facts.name, facts.unit.empty() ? "" : " in ", facts.unit, facts.higher_is_better ? "higher" : "lower"); }

/// The place of a name in a list of facts, or its end.
template <typename List, typename Name>
size_t place(const List& list, const Name& name) {
  return static_cast<size_t>(std::find_if(list.begin(), list.end(), name) - list.begin());
}

class Joined final : public Dataset {
 public:
  explicit Joined(std::vector<JoinedSet> sets) {
    for (auto& set : sets) {
      Part& part = parts_.emplace_back();
      part.set = std::move(set);
      part.dataset = datasets().make(part.set.dataset);
      join_facts(part);
    }
  }
  void use_text(grading::TextDecoder decoder) override {
    for (auto& part : parts_)
      if (facts_of_dataset(part.set.dataset).needs_text) part.dataset->use_text(decoder);
  }
  std::vector<Example> load() const override {
    std::vector<Example> out;
    std::map<std::string, std::string> label_of;  // by content
    for (const auto& part : parts_) {
      for (auto& example : items_of(part)) out.push_back(std::move(example));
      const auto [known, fresh] = label_of.insert({part.dataset->content_hash(), part.set.label});
      if (!fresh) throw usage_error("data sets '{}' and '{}' hold the same items, whose samples could not be told apart; leave one out, or take a larger subset of it", known->second, part.set.label);
    }
    return out;
  }
  ScoreFacts score_facts() const override { return facts_; }
  Score score(const Example& example, std::span<const int32_t> tokens, const Denoiser& denoiser) const override {
    const Part& part = part_of(example);
    Score own = part.dataset->score(alone(example), tokens, denoiser);
    Score out{.value = own.value, .metrics = std::vector<double>(facts_.metrics.size(), std::numeric_limits<double>::quiet_NaN()), .texts = spread(part, std::move(own.texts))};
    for (size_t m = 0; m < own.metrics.size(); ++m) out.metrics[part.metrics[m]] = own.metrics[m];
    return out;
  }
  std::vector<std::string> texts(const Example& example, std::span<const int32_t> tokens, const Denoiser& denoiser) const override {
    const Part& part = part_of(example);
    return spread(part, part.dataset->texts(alone(example), tokens, denoiser));
  }
  std::string content_hash() const override {
    std::string out = kName;
    for (const auto& part : parts_) {
      const std::string hash = part.dataset->content_hash();
      out += fmt::format(" {} {}:{}", part.set.label, hash.size(), hash);
    }
    return out;
  }
  std::string cannot_score() const override {
    for (const auto& part : parts_)
      if (const std::string why = part.dataset->cannot_score(); !why.empty()) return fmt::format("its part '{}': {}", part.set.label, why);
    return "";
  }

 private:
  struct Part {
    JoinedSet set;
    std::unique_ptr<Dataset> dataset;
    std::vector<size_t> metrics, texts;  ///< places of its own among all
  };

  /// Adds what a part's scores say. Scores must mean the same, or their mean would mean nothing.
  void join_facts(Part& part) {
    const ScoreFacts own = part.dataset->score_facts();
    if (part.dataset->wants_control())
      throw usage_error("data set '{}' cannot be joined with others: it is judged by a divergence over all its samples, not item by item\ngive it a sweep file of its own", part.set.label);
    if (parts_.size() == 1) facts_ = {.name = own.name, .unit = own.unit, .higher_is_better = own.higher_is_better, .metrics = {}, .texts = {}, .is_quality = own.is_quality};
    if (meaning(own) != meaning(facts_) || own.is_quality != facts_.is_quality)
      throw usage_error("data sets '{}' and '{}' cannot be joined: the score of one is {}, of the other {}{}\ngive them sweep files of their own", parts_.front().set.label, part.set.label, meaning(facts_),
                        meaning(own), own.is_quality == facts_.is_quality ? "" : fmt::format(", and only that of '{}' is a quality", (own.is_quality ? part : parts_.front()).set.label));
    for (const auto& metric : own.metrics) {
      const size_t at = place(facts_.metrics, [&](const MetricFacts& known) { return known.name == metric.name; });
      if (at == facts_.metrics.size()) facts_.metrics.push_back(metric);
      const MetricFacts& known = facts_.metrics[at];
      if (known.unit != metric.unit || known.higher_is_better != metric.higher_is_better || known.names != metric.names)
        throw usage_error("data set '{}' cannot be joined with those before it: its metric '{}' means something else there\ngive it a sweep file of its own", part.set.label, metric.name);
      part.metrics.push_back(at);
    }
    for (const auto& text : own.texts) {
      part.texts.push_back(place(facts_.texts, [&](const std::string& known) { return known == text; }));
      if (part.texts.back() == facts_.texts.size()) facts_.texts.push_back(text);
    }
  }

  /// Numbers are the places in the whole of the data set, as it has them alone.
  static std::vector<Example> items_of(const Part& part) {
    std::vector<Example> all = part.dataset->load(), out;
    for (size_t i = 0; i < all.size(); ++i) all[i].number = static_cast<uint32_t>(i);
    const auto count = static_cast<size_t>(part.set.subset);
    if (count > all.size()) throw usage_error("data set '{}': subset is {}, but it has {} items; leave subset out to take them all", part.set.label, count, all.size());
    if (count == 0) out = std::move(all);
    else
      for (const size_t i : stratified_subset(all, count, part.set.subset_seed)) out.push_back(std::move(all[i]));
    for (auto& example : out) {
      example.set = part.set.label;
      example.id = fmt::format("{}/{}", part.set.label, example.id);
      if (!example.group.empty()) example.group = fmt::format("{}/{}", part.set.label, example.group);
      example.category = example.category.empty() ? part.set.label : fmt::format("{}/{}", part.set.label, example.category);
    }
    return out;
  }
  /// The item as its data set made it.
  static Example alone(const Example& example) {
    Example out = example;
    const size_t prefix = example.set.size() + 1;
    for (std::string* text : {&out.id, &out.group, &out.category}) text->erase(0, prefix);
    out.set.clear();
    return out;
  }
  const Part& part_of(const Example& example) const {
    const auto at = std::find_if(parts_.begin(), parts_.end(), [&](const Part& part) { return part.set.label == example.set; });
    if (at == parts_.end()) throw std::logic_error("an item of no data set: " + example.id);
    return *at;
  }
  std::vector<std::string> spread(const Part& part, std::vector<std::string> own) const {
    std::vector<std::string> out(facts_.texts.size());
    for (size_t t = 0; t < own.size(); ++t) out[part.texts[t]] = std::move(own[t]);
    return out;
  }

  std::vector<Part> parts_;
  ScoreFacts facts_;
};

[[maybe_unused]] const bool registered = datasets().add({
    .name = kName,
    .summary = "several data sets as one, each a category of its own: what [[dataset]] tables of a sweep file make",
    .source = "ours",
    .aliases = {},
    .parameters = {plugins_param("sets", canonical_set, "data sets, each as it is written alone, or as set(DATA SET, label=, subset=, subset_seed=)")},
    .facts = {},  // those of its parts: facts_of_dataset
    .make = [](const Options& options) { return std::make_unique<Joined>(sets_of(options)); }});

}  // namespace

std::string joined_text(std::vector<JoinedSet> sets) {
  std::string out;
  for (auto& set : sets) {
    complete(set);
    out += (out.empty() ? "joined(" : ", ") + text_of(set);
  }
  out += ")";
  sets_of(datasets().resolve(parse_plugin(out)));  // refuses a label used twice
  return out;
}

std::vector<JoinedSet> joined_sets(const std::string& dataset) {
  const PluginExpr expr = parse_plugin(dataset);
  return canonical_name(expr.name) == kName ? sets_of(datasets().resolve(expr)) : std::vector<JoinedSet>{};
}

DatasetFacts facts_of_dataset(const std::string& dataset) {
  const auto sets = joined_sets(dataset);
  if (sets.empty()) return datasets().find(parse_plugin(dataset).name).facts;
  DatasetFacts out;
  for (const auto& set : sets) {
    const DatasetFacts& own = datasets().find(parse_plugin(set.dataset).name).facts;
    out.needs_source |= own.needs_source, out.needs_text |= own.needs_text, out.runs_programs |= own.runs_programs;
  }
  return out;
}

std::string_view hash_of_set(std::string_view content_hash, std::string_view set) {
  if (set.empty()) return content_hash;
  std::string_view rest = content_hash.substr(std::min(content_hash.size(), std::string_view(kName).size()));
  while (rest.starts_with(' ')) {
    const size_t space = rest.find(' ', 1), colon = rest.find(':', space);
    size_t size = 0;
    if (colon == std::string_view::npos || std::from_chars(rest.data() + space + 1, rest.data() + colon, size).ptr != rest.data() + colon || rest.size() - colon - 1 < size) break;
    if (rest.substr(1, space - 1) == set) return rest.substr(colon + 1, size);
    rest.remove_prefix(colon + 1 + size);
  }
  throw std::invalid_argument(fmt::format("no data set '{}' in '{}'", set, content_hash));
}

}  // namespace canvaslab
