// Opening what a plan names: model, examples, resolved configurations, the plan's identity.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "core/error.h"
#include "core/json.h"
#include "core/model.h"
#include "core/text/tools.h"
#include "eval/datasets/joined.h"
#include "eval/halving.h"
#include "eval/subset.h"
#include "eval/sweep.h"

namespace canvaslab {
namespace {

std::vector<Example> take_subset(const SweepPlan& plan, std::vector<Example> all) {
  const auto count = static_cast<size_t>(*plan.subset);
  if (count > all.size()) throw usage_error("[dataset] subset is {}, but '{}' has {} items; leave subset out to take them all", count, plan.dataset, all.size());
  std::vector<Example> out;
  for (const size_t i : stratified_subset(all, count, plan.subset_seed)) out.push_back(std::move(all[i]));
  return out;
}

/// The first items of each data set in turn, in the order they had.
std::vector<Example> take_first(std::vector<Example> all, size_t count) {
  std::map<std::string_view, size_t> seen;
  std::vector<std::pair<size_t, size_t>> turns;  // place within its data set, place among all
  for (size_t i = 0; i < all.size(); ++i) turns.emplace_back(seen[all[i].set]++, i);
  std::sort(turns.begin(), turns.end());
  turns.resize(std::min(count, turns.size()));
  std::sort(turns.begin(), turns.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  std::vector<Example> out;
  for (const auto& [turn, i] : turns) out.push_back(std::move(all[i]));
  return out;
}

/// Turns go through the chat template; without one, their contents are joined by blank lines. `tools`: null for none.
std::vector<int32_t> prompt_ids_of(const Example& example, const TextModel& text, bool thinking, const OrderedJson& tools) {
  const ChatOptions options{.thinking = thinking};
  if (example.messages.empty() && !tools.is_null()) return text.conversation(OrderedJson::array({{{"role", "user"}, {"content", example.prompt_text}}}), tools, options);
  if (example.messages.empty()) return text.prompt(example.prompt_text, text.has_chat(), options);
  if (!text.has_chat()) {
    std::string joined_text;
    for (const auto& turn : example.messages) joined_text += (joined_text.empty() ? "" : "\n\n") + turn.content;
    return text.prompt(joined_text, false, options);
  }
  OrderedJson turns = OrderedJson::array();
  for (const auto& turn : example.messages) turns.push_back({{"role", turn.role}, {"content", turn.content}});
  return text.conversation(turns, tools, options);
}

std::vector<Example> load_examples(const SweepPlan& plan, const Dataset& dataset, const Denoiser& denoiser, const PromptEncoder& encode) {
  auto examples = dataset.load();
  OrderedJson tools = nullptr;
  if (!plan.tools.empty()) {
    if (!encode) throw usage_error("[denoiser] tools go through the chat template, but there is no tokenizer for model '{}'", plan.denoiser);
    tools = read_tools(plan.tools);
    check_takes_tools(*encode, tools, "[denoiser] tools");
  }
  for (size_t i = 0; i < examples.size(); ++i)
    if (examples[i].set.empty()) examples[i].number = static_cast<uint32_t>(i);
  if (plan.limit && plan.subset) throw usage_error("'limit' takes the first items, 'subset' draws some by category; give one of them");
  if (plan.subset) examples = take_subset(plan, std::move(examples));
  if (plan.limit) examples = take_first(std::move(examples), static_cast<size_t>(*plan.limit));
  for (auto& example : examples) {
    if (!example.has_ids) {
      if (!encode)
        throw usage_error("item '{}' has a text prompt, but there is no tokenizer for model '{}'; name one with tokenizer = \"FILE\" in [denoiser], or give prompt_ids", example.id,
                          plan.denoiser);
      example.prompt_ids = prompt_ids_of(example, *encode, plan.thinking, tools);
    }
    check_token_ids(example.prompt_ids, denoiser.facts().vocabulary, fmt::format("item '{}'", example.id));
  }
  return examples;
}

/// Collects resolved configurations; the same point written twice is one point.
class Points {
 public:
  explicit Points(PreparedSweep& sweep) : sweep_(sweep) {}
  /// Index of the configuration among the kept ones.
  size_t add(SweepConfig config) {
    GenerationPlan generation = resolve(config);
    std::string text = settings_line(generation, config.control);
    const auto found = std::find(sweep_.settings_text.begin(), sweep_.settings_text.end(), text);
    if (found != sweep_.settings_text.end()) return static_cast<size_t>(found - sweep_.settings_text.begin());
    sweep_.settings_text.push_back(std::move(text));
    sweep_.generation.push_back(std::move(generation));
    sweep_.plan.configs.push_back(std::move(config));
    return sweep_.settings_text.size() - 1;
  }

 private:
  GenerationPlan resolve(const SweepConfig& config) const {
    try {
      return resolve_plan(config.request, *sweep_.denoiser);
    } catch (const UserError& error) {
      throw UserError(error.code(), config.where.empty() ? std::string(error.what()) : config.where + ": " + error.what());
    }
  }
  PreparedSweep& sweep_;
};

void add_controls(PreparedSweep& sweep, Points& points) {
  std::set<std::pair<int32_t, int32_t>> lengths;
  for (const auto& generation : sweep.generation) lengths.insert({generation.canvas_length, generation.max_new_tokens});
  for (const auto& [length, most] : lengths) {
    SweepConfig control;
    control.control = true;
    control.request.canvas_length = length;
    control.request.max_new_tokens = most;
    points.add(std::move(control));
  }
}

/// A line of the header, or nothing when all items are run: plans without a subset keep the header they had.
std::string subset_line(const PreparedSweep& sweep) {
  if (!sweep.plan.subset) return "";
  std::string ids;
  for (const auto& example : sweep.examples) ids += example.id + "\n";
  return fmt::format("subset {} seed {} of items {}\n", *sweep.plan.subset, sweep.plan.subset_seed, hex(sha256(ids)));
}

/// Lines of the header that plans without them never had.
std::string text_lines(const SweepPlan& plan) {
  return (plan.tokenizer.empty() ? "" : "tokenizer " + plan.tokenizer + "\n") + (plan.thinking ? "thinking on\n" : "") + (plan.tools.empty() ? "" : "tools " + plan.tools + "\n");
}

/// One line a fact, so that a refusal can name the line that differs.
std::string plan_header(const PreparedSweep& sweep) {
  const SweepPlan& plan = sweep.plan;
  const std::string halving = plan.halving ? fmt::format("halving {}\n", plan.halving->text()) : "";
  return fmt::format("canvaslab run 1\nengine {}\ndenoiser {}\nmodel {}\ndtype {}\n{}dataset {}\ndata {}\nitems {}\n{}{}seeds {}\nrepeats {}\nrecord {}\n{}reference {}\n"
                     "configurations {}\n{}\n",
                     kEngineVersion, plan.denoiser, sweep.model_hash, plan.arithmetic(), text_lines(plan), plan.dataset, sweep.data_hash, sweep.examples.size(), subset_line(sweep), halving, fmt::join(plan.seeds, " "),
                     plan.repeats, plan.record_positions ? "positions" : "steps", plan.record_items ? fmt::format("record_items {}\n", *plan.record_items) : "", sweep.reference ? sweep.settings_text[*sweep.reference] : "none",
                     plan.configs.size(), fmt::join(sweep.settings_text, "\n"));
}

}  // namespace

std::string settings_line(const GenerationPlan& generation, bool control) {
  std::string text = control ? "control=exact samples; " : "";
  for (const auto& [key, value] : generation.settings())
    if (!control || key == "canvas_length" || key == "max_new_tokens") text += fmt::format("{}={}; ", key, value);
  text.resize(text.size() - 2);
  return text;
}

PreparedSweep prepare_sweep(SweepPlan plan, const PromptEncoder& encode, const ConfigChooser& choose) {
  PreparedSweep out;
  std::vector<SweepConfig> asked = std::exchange(plan.configs, {});
  out.plan = std::move(plan);
  out.denoiser = open_model(out.plan.denoiser, {.dtype = out.plan.dtype, .device = out.plan.device});
  if (out.plan.runs_on.empty()) out.plan.runs_on = out.denoiser->facts().runs_on;
  out.dataset = datasets().make(out.plan.dataset);
  const DatasetFacts facts = facts_of_dataset(out.plan.dataset);
  if (facts.needs_source && !out.denoiser->source())
    throw usage_error("data set '{}' needs a denoiser with an exact source, such as hmm(...); '{}' has none", out.plan.dataset, out.plan.denoiser);
  if (const std::string why = out.dataset->cannot_score(); !why.empty()) throw usage_error("data set '{}' cannot be scored here: {}", out.plan.dataset, why);
  if (facts.needs_text) {
    if (!encode)
      throw usage_error("data set '{}' grades texts, but there is no tokenizer for model '{}'; name one with tokenizer = \"FILE\" in [denoiser]", out.plan.dataset, out.plan.denoiser);
    out.text = encode;
    out.dataset->use_text(grading::text_decoder(encode->tokenizer(), out.denoiser->facts().defaults.end_ids));
  }
  if (out.plan.thinking && !(encode && encode->has_chat())) throw usage_error("[denoiser] thinking = true needs a chat template, and '{}' has none", out.plan.denoiser);
  out.model_hash = out.denoiser->content_hash();
  out.data_hash = out.dataset->content_hash();
  out.examples = load_examples(out.plan, *out.dataset, *out.denoiser, encode);
  if (choose) asked = choose(std::move(asked), *out.denoiser);
  Points points(out);
  for (auto& config : asked) points.add(std::move(config));
  out.num_candidates = out.plan.configs.size();
  if (out.plan.reference) out.reference = points.add(*out.plan.reference);
  else if (!out.dataset->wants_control()) out.reference = 0;  // without an exact law, the first configuration is the yardstick
  if (out.dataset->wants_control()) add_controls(out, points);
  if (out.plan.halving) check_halving(out);
  out.header = plan_header(out);
  return out;
}

bool PreparedSweep::records_positions(uint32_t item, uint32_t repeat) const {
  if (!plan.record_positions || !plan.record_items) return plan.record_positions;
  const auto asked = static_cast<uint64_t>(*plan.record_items), all = static_cast<uint64_t>(examples.size());
  return repeat == 0 && (asked >= all || item * asked / all != (item + 1) * asked / all);
}

Sha256 PreparedSweep::content_key(uint32_t config, uint32_t item, uint32_t repeat) const {
  const Example& example = examples[item];
  const std::string_view id = std::string_view(example.id).substr(example.set.empty() ? 0 : example.set.size() + 1);  // as its data set has it alone
  return sha256(fmt::format("canvaslab sample 1\nengine {}\nmodel {}\ndtype {}\ndata {}\nitem {} {}\nprompt {}\nsettings {}\nseed {}\nrepeat {}\n", kEngineVersion, model_hash,
                            plan.arithmetic(), hash_of_set(data_hash, example.set), example.number, id, fmt::join(example.prompt_ids, " "), settings_text[config], plan.seed_of(repeat),
                            repeat % plan.repeats));
}

}  // namespace canvaslab
