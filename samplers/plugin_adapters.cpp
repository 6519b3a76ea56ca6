#include "samplers/plugin_adapters.h"

#include <array>
#include <cmath>
#include <cstring>

namespace canvaslab {
namespace {

constexpr uint32_t kErrorBytes = 1024;

/// Calls into a library: whatever goes wrong there becomes an error that names the plug-in.
template <typename Function>
auto guarded(const std::string& where, Function function) {
  try {
    return function();
  } catch (const UserError&) {
    throw;
  } catch (...) {
    throw UserError(ExitCode::kSomeFailed, fmt::format("{}: an exception left the library; it must answer with a reason instead", where));
  }
}

class ErrorText {
 public:
  CanvaslabError* slot() { return &slot_; }
  std::string text() const {
    const std::string out(text_.data(), strnlen(text_.data(), text_.size()));
    return out.empty() ? "it gave no reason" : out;
  }
  bool written() const { return text_[0] != 0; }

 private:
  std::array<char, kErrorBytes> text_{};
  CanvaslabError slot_{.size = sizeof(CanvaslabError), .capacity = kErrorBytes, .text = text_.data()};
};

/// An instance of a plug-in, or null where the plug-in makes none.
class Instance {
 public:
  template <typename Plugin>
  Instance(const Plugin& plugin, const std::vector<ParamSpec>& table, const Options& options, const std::string& where) : destroy_(plugin.destroy) {
    if (!plugin.create) return;
    std::vector<CanvaslabValue> values;
    for (const auto& spec : table) {
      CanvaslabValue value{.size = sizeof(CanvaslabValue), .type = 0, .name = spec.name.c_str(), .real = 0, .integer = 0, .text = nullptr};
      switch (spec.type) {
        case ParamType::kReal: value.type = CANVASLAB_REAL, value.real = options.real(spec.name); break;
        case ParamType::kInteger: value.type = CANVASLAB_INTEGER, value.integer = options.integer(spec.name); break;
        case ParamType::kBoolean: value.type = CANVASLAB_BOOLEAN, value.integer = options.boolean(spec.name); break;
        case ParamType::kText: value.type = CANVASLAB_TEXT, value.text = options.text(spec.name).c_str(); break;
        default: continue;  // schedules come as knobs
      }
      values.push_back(value);
    }
    std::vector<const CanvaslabValue*> pointers;
    for (const auto& value : values) pointers.push_back(&value);
    ErrorText error;
    pointer_ = guarded(where, [&] { return plugin.create(pointers.data(), static_cast<uint32_t>(pointers.size()), error.slot()); });
    if (!pointer_) throw usage_error("{} refuses its parameters: {}", where, error.text());
  }
  ~Instance() {
    if (pointer_ && destroy_) destroy_(pointer_);
  }
  Instance(const Instance&) = delete;
  Instance& operator=(const Instance&) = delete;
  const void* get() const { return pointer_; }

 private:
  void* pointer_ = nullptr;
  void (*destroy_)(void*);
};

/// A step as the library sees it.
class ForeignStep {
 public:
  ForeignStep(const StepView& view, StatisticSet declared, const std::string& where) : view_(view), where_(where) {
    allowed_.assign(view.allowed.begin(), view.allowed.end());
    allowed_.resize(view.length(), 1);
    const RowStatistics& s = *view.statistics;
    const auto reals = [&](Statistic bit, const std::vector<float>& values) { return declared.has(bit) ? values.data() : nullptr; };
    const auto ids = [&](Statistic bit, const std::vector<int32_t>& values) { return declared.has(bit) ? values.data() : nullptr; };
    step_ = {.size = sizeof(CanvaslabStep), .step_idx = view.step_idx, .num_steps = view.num_steps, .is_last = view.is_last, .vocabulary = view.vocabulary,
             .length = static_cast<int32_t>(view.length()), .temperature = view.temperature, .level_now = view.level_now, .level_next = view.level_next,
             .knobs = view.knobs.data(), .num_knobs = static_cast<int32_t>(view.knobs.size()), .reserved = 0, .canvas = view.canvas.data(), .allowed = allowed_.data(),
             .argmax = ids(Statistic::kMax, s.argmax), .argmax_logprob = reals(Statistic::kMax, s.argmax_logprob), .second = ids(Statistic::kTop2, s.second),
             .second_logprob = reals(Statistic::kTop2, s.second_logprob), .entropy_nats = reals(Statistic::kEntropy, s.entropy_nats),
             .candidate = ids(Statistic::kCandidate, s.candidate), .candidate_logprob = reals(Statistic::kCandidate, s.candidate_logprob),
             .current_logprob = reals(Statistic::kCurrent, s.current_logprob), .argmax_logprob_t1 = reals(Statistic::kUntempered, s.argmax_logprob_t1),
             .entropy_t1_nats = reals(Statistic::kUntempered, s.entropy_t1_nats), .kl_nats = reals(Statistic::kDivergence, s.kl_nats),
             .alternative = ids(Statistic::kAlternative, s.alternative), .uniform = &draw, .engine = this};
  }
  ForeignStep(const ForeignStep&) = delete;
  ForeignStep& operator=(const ForeignStep&) = delete;
  const CanvaslabStep* get() const { return &step_; }
  /// Throws when the library asked for a draw that there is not.
  void check_draws() const {
    if (!wrong_draw_.empty()) throw UserError(ExitCode::kSomeFailed, fmt::format("{} asks for a draw that there is not: {}", where_, wrong_draw_));
  }

 private:
  static double draw(const CanvaslabStep* step, int32_t purpose, int32_t position) {
    const auto& self = *static_cast<const ForeignStep*>(step->engine);
    const bool known = purpose == CANVASLAB_ROUTE || purpose == CANVASLAB_POSITION_KEY || purpose == CANVASLAB_OWN;
    if (known && position >= 0 && position < step->length) return self.view_.uniform(static_cast<Purpose>(purpose), static_cast<size_t>(position));
    self.wrong_draw_ = fmt::format("purpose {}, position {} of {}", purpose, position, step->length);
    return std::nan("");
  }
  const StepView& view_;
  const std::string& where_;
  std::vector<uint8_t> allowed_;
  CanvaslabStep step_{};
  mutable std::string wrong_draw_;
};

class ForeignSampler final : public Sampler {
 public:
  ForeignSampler(const CanvaslabSampler& plugin, const std::vector<ParamSpec>& table, const Options& options, StatisticSet statistics, const std::string& where)
      : plugin_(plugin), where_(where), statistics_(statistics), instance_(plugin, table, options, where) {}

  void begin(CanvasState& state, size_t length, int32_t num_steps) const override {
    Sampler::begin(state, length, num_steps);
    if (!plugin_.scratch_length) return;
    const int32_t count = guarded(where_, [&] { return plugin_.scratch_length(instance_.get(), static_cast<int32_t>(length)); });
    if (count < 0) throw UserError(ExitCode::kSomeFailed, fmt::format("{} asks for {} doubles of scratch", where_, count));
    state.scratch.assign(static_cast<size_t>(count), 0);
  }

  void step(const StepView& view, CanvasState& state, StepDecision& decision) const override {
    const size_t L = view.length();
    const ForeignStep step(view, statistics_, where_);
    std::vector<uint8_t> action(L, CANVASLAB_KEEP);
    std::vector<int32_t> token(L, -1);
    CanvaslabState foreign_state{.size = sizeof(CanvaslabState), .num_scratch = static_cast<int32_t>(state.scratch.size()), .revealed = state.revealed.data(),
                                 .scratch = state.scratch.empty() ? nullptr : state.scratch.data()};
    CanvaslabDecision foreign_decision{.size = sizeof(CanvaslabDecision), .reserved = 0, .action = action.data(), .token = token.data()};
    ErrorText error;
    const int32_t failed = guarded(where_, [&] { return plugin_.step(instance_.get(), step.get(), &foreign_state, &foreign_decision, error.slot()); });
    step.check_draws();
    if (failed != 0) throw UserError(ExitCode::kSomeFailed, fmt::format("{} failed: {}", where_, error.text()));
    decision.action.resize(L);
    bool tokens = false;
    for (size_t p = 0; p < L; ++p) {
      decision.action[p] = static_cast<Action>(action[p]);  // the engine refuses what is none
      tokens = tokens || action[p] == CANVASLAB_TOKEN;
    }
    if (tokens) decision.token = std::move(token);
  }

 private:
  const CanvaslabSampler plugin_;
  const std::string where_;
  const StatisticSet statistics_;
  const Instance instance_;
};

class ForeignStop final : public StopRule {
 public:
  ForeignStop(const CanvaslabStopRule& plugin, const std::vector<ParamSpec>& table, const Options& options, StatisticSet statistics, const std::string& where)
      : plugin_(plugin), where_(where), statistics_(statistics), instance_(plugin, table, options, where) {}

  std::optional<std::string> check(const StepView& view, const CanvasState& state, const StepDecision& decision, const StopHistory& history) const override {
    const ForeignStep step(view, statistics_, where_);
    std::vector<const int32_t*> argmax;
    for (const auto& earlier : history.argmax) argmax.push_back(earlier.data());
    std::vector<uint8_t> action(view.length(), CANVASLAB_KEEP), revealed = state.revealed;
    for (size_t p = 0; p < decision.action.size(); ++p) action[p] = static_cast<uint8_t>(decision.action[p]);
    revealed.resize(view.length(), 0);
    const CanvaslabHistory foreign_history{.size = sizeof(CanvaslabHistory), .num_steps = static_cast<int32_t>(argmax.size()), .argmax = argmax.data(),
                                           .action = action.data(), .revealed = revealed.data()};
    ErrorText error;
    const int32_t answer = guarded(where_, [&] { return plugin_.check(instance_.get(), step.get(), &foreign_history, error.slot()); });
    step.check_draws();
    if (answer == 1) return plugin_.name;
    if (answer == 0) return std::nullopt;
    throw UserError(ExitCode::kSomeFailed, fmt::format("{} failed with {} (0 goes on, 1 stops): {}", where_, answer, error.text()));
  }

 private:
  const CanvaslabStopRule plugin_;
  const std::string where_;
  const StatisticSet statistics_;
  const Instance instance_;
};

class ForeignSchedule final : public Schedule {
 public:
  ForeignSchedule(const CanvaslabSchedule& plugin, const std::vector<ParamSpec>& table, const Options& options, const std::string& where)
      : plugin_(plugin), where_(where), instance_(plugin, table, options, where) {
    guarded(where_, [&] { plugin_.range(instance_.get(), &low_, &high_); });
    if (!(low_ <= high_)) throw usage_error("{}: its range [{}, {}] is none; the smallest value comes first", where_, low_, high_);
  }
  double value(const Progress& progress) const override {
    const double out = guarded(where_, [&] { return plugin_.value(instance_.get(), progress.step_idx, progress.num_steps); });
    const double slack = 1e-9 * std::max({1.0, std::abs(low_), std::abs(high_)});  // rounding at the ends
    if (!(out >= low_ - slack && out <= high_ + slack))
      throw UserError(ExitCode::kSomeFailed, fmt::format("{} is {} at step {} of {}, outside the range [{}, {}] that it declares", where_, out, progress.step_idx, progress.num_steps, low_, high_));
    return out;
  }
  std::pair<double, double> range() const override { return {low_, high_}; }

 private:
  const CanvaslabSchedule plugin_;
  const std::string where_;
  const Instance instance_;
  double low_ = std::nan(""), high_ = std::nan("");
};

StatisticSet statistics_of(uint32_t bits) {
  StatisticSet out;
  for (uint32_t bit = 1; bit != 0; bit <<= 1)
    if (bits & bit) out = out | StatisticSet{static_cast<Statistic>(bit)};
  return out;
}

}  // namespace

SamplerRegistry::Entry sampler_entry(const CanvaslabSampler& plugin, std::vector<ParamSpec> parameters, const std::string& where) {
  const auto says = [&](uint32_t fact) { return (plugin.facts & fact) != 0; };
  SamplerFacts facts;
  facts.statistics = statistics_of(plugin.statistics);
  facts.needs_level = says(CANVASLAB_NEEDS_LEVEL);
  facts.revocable = says(CANVASLAB_REVOCABLE);
  facts.locks = says(CANVASLAB_LOCKS);
  facts.edits_only = says(CANVASLAB_EDITS_ONLY);
  facts.fixed_steps = says(CANVASLAB_FIXED_STEPS);
  facts.permutation_equivariant = !says(CANVASLAB_ORDERED);
  facts.product_law = says(CANVASLAB_PRODUCT_LAW);
  facts.uniform_corruption_only = says(CANVASLAB_UNIFORM_ONLY);
  facts.min_accepted = plugin.min_accepted;
  if (plugin.default_stop) facts.default_stop = plugin.default_stop;
  if (plugin.default_emission) facts.default_emission = plugin.default_emission;
  return {.name = plugin.name, .summary = plugin.summary, .source = plugin.source, .aliases = {}, .parameters = parameters, .facts = facts,
          .make = [plugin, parameters, statistics = facts.statistics, where](const Options& options) -> std::unique_ptr<Sampler> {
            return std::make_unique<ForeignSampler>(plugin, parameters, options, statistics, where);
          }};
}

StopRegistry::Entry stop_entry(const CanvaslabStopRule& plugin, std::vector<ParamSpec> parameters, const std::string& where) {
  const StopFacts facts{.statistics = statistics_of(plugin.statistics), .breaks_level = plugin.breaks_level != 0};
  return {.name = plugin.name, .summary = plugin.summary, .source = plugin.source, .aliases = {}, .parameters = parameters, .facts = facts,
          .make = [plugin, parameters, statistics = facts.statistics, where](const Options& options) -> std::unique_ptr<StopRule> {
            return std::make_unique<ForeignStop>(plugin, parameters, options, statistics, where);
          }};
}

ScheduleRegistry::Entry schedule_entry(const CanvaslabSchedule& plugin, std::vector<ParamSpec> parameters, const std::string& where) {
  return {.name = plugin.name, .summary = plugin.summary, .source = plugin.source, .aliases = {}, .parameters = parameters, .facts = {},
          .make = [plugin, parameters, where](const Options& options) -> std::unique_ptr<Schedule> {
            return std::make_unique<ForeignSchedule>(plugin, parameters, options, where);
          }};
}

}  // namespace canvaslab
