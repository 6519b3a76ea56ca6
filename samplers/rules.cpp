#include "samplers/rules.h"

#include "schedules/random_count.h"

#include <algorithm>
#include <cmath>

namespace canvaslab {
namespace {

// A function, because plug-ins of other files register before this file's globals exist.
const std::vector<std::string>& score_names() {
  static const std::vector<std::string> names = {"confidence", "entropy", "margin", "probability", "random"};
  return names;
}

}  // namespace

ParamSpec mode_param() {
  return text_param("mode", "locked", "locked: taken positions are final; memoryless: all compete anew at every step and what is not taken is renoised",
                    {"locked", "memoryless"});
}

Mode mode_of(const Options& options) { return options.text("mode") == "locked" ? Mode::kLocked : Mode::kMemoryless; }

SamplerFacts with_mode(SamplerFacts facts, Mode mode) {
  if (mode == Mode::kLocked) return facts;
  facts.locks = false;
  facts.revocable = true;
  if (!facts.fixed_steps) {
    facts.default_stop = "stable_and_confident";
    facts.default_emission = "argmax";  // a canvas that stops early still holds noise
  }
  return facts;
}

void renoise_open(const StepView& view, const CanvasState& state, StepDecision& decision) {
  decision.action.assign(view.length(), Action::kKeep);
  for (size_t p = 0; p < view.length(); ++p)
    if (!state.revealed[p] && view.is_allowed(p)) decision.action[p] = Action::kNoise;
}

void take(size_t position, Mode mode, CanvasState& state, StepDecision& decision) {
  decision.action[position] = Action::kCandidate;
  if (mode == Mode::kLocked) state.revealed[position] = 1;
}

void RankedSampler::step(const StepView& view, CanvasState& state, StepDecision& decision) const {
  const auto order = order_by_falling(keys(view), open_positions(view, state));
  renoise_open(view, state, decision);
  if (order.empty()) return;
  const bool all = view.is_last && mode_ == Mode::kLocked;
  const size_t taken = all ? order.size() : std::min(order.size(), count(view, state, order));
  for (size_t i = 0; i < taken; ++i) take(order[i], mode_, state, decision);
}

ParamSpec score_param(const std::string& fallback) {
  return text_param("score", fallback,
                    "what goes first: confidence (probability of the candidate), entropy (lowest), margin (best minus second), probability (of the candidate at temperature 1), random",
                    score_names());
}

Score score_of(const Options& options) {
  return static_cast<Score>(std::find(score_names().begin(), score_names().end(), options.text("score")) - score_names().begin());
}

StatisticSet score_statistics(Score score) {
  switch (score) {
    case Score::kConfidence: return {Statistic::kCandidate};
    case Score::kEntropy: return {Statistic::kEntropy};
    case Score::kMargin: return {Statistic::kMax, Statistic::kTop2};
    case Score::kProbability: return {Statistic::kMax, Statistic::kCandidate, Statistic::kUntempered};
    default: return {};
  }
}

std::vector<float> scores(const StepView& view, Score score) {
  const RowStatistics& s = *view.statistics;
  if (score == Score::kConfidence) return s.candidate_logprob;
  // Statistics at temperature 0 are those at 1.
  const float temperature = view.temperature == 0 ? 1.0f : view.temperature;
  std::vector<float> out(view.length());
  for (size_t p = 0; p < out.size(); ++p) {
    switch (score) {
      case Score::kEntropy: out[p] = -s.entropy_nats[p]; break;
      case Score::kMargin: out[p] = std::exp(s.argmax_logprob[p]) - std::exp(s.second_logprob[p]); break;
      // The gap to the best token is T times as wide in logits as in log-probabilities at T.
      case Score::kProbability: out[p] = temperature * (s.candidate_logprob[p] - s.argmax_logprob[p]) + s.argmax_logprob_t1[p]; break;
      case Score::kRandom: out[p] = static_cast<float>(view.uniform(Purpose::kPositionKey, p)); break;
      default: out[p] = -static_cast<float>(p);
    }
  }
  return out;
}

SamplerFacts QuotaSampler::refine(SamplerFacts declared) const {
  SamplerFacts facts = with_mode(declared, mode_);
  facts.statistics = score_statistics(score_) | StatisticSet{Statistic::kCandidate};
  facts.permutation_equivariant = score_ != Score::kPosition;
  const bool reads_others = score_ == Score::kConfidence || score_ == Score::kProbability || score_ == Score::kRandom || has_choice_temperature_ || random_count_;
  facts.product_law = mode_ == Mode::kMemoryless && !reads_others;
  return facts;
}

std::vector<float> QuotaSampler::keys(const StepView& view) const {
  std::vector<float> out = scores(view, score_);
  const double temperature = has_choice_temperature_ ? view.knobs[0] : 0;
  if (temperature <= 0) return out;
  // The best of score / T + Gumbel noise are draws from softmax(score / T) without replacement.
  for (size_t p = 0; p < out.size(); ++p)
    out[p] = static_cast<float>(out[p] / temperature - std::log(-std::log(view.uniform(Purpose::kPositionKey, p))));
  return out;
}

size_t QuotaSampler::count(const StepView& view, const CanvasState& state, std::span<const uint32_t> order) const {
  if (random_count_) {
    // Memoryless, all positions compete at every step, so what was due before is drawn anew with it.
    const double due = mode_ == Mode::kLocked ? due_probability(budget_, view.step_idx, view.num_steps) : due_share(budget_, view.step_idx, view.num_steps);
    return static_cast<size_t>(std::count_if(order.begin(), order.end(), [&](uint32_t p) { return view.uniform(Purpose::kRoute, p) < due; }));
  }
  const size_t target = count_target(budget_, num_allowed(view), view.step_idx, view.num_steps), done = state.num_revealed();
  return target > done ? target - done : 0;
}

namespace {

/// The linear path by its bare name, so that it is the default in whatever way it is written.
std::string canonical_path(const PluginExpr& expr) {
  const std::string text = canonical_schedule(expr);
  for (const char* by_step : {"table(", "grid("})
    if (text.find(by_step) != std::string::npos)
      throw usage_error("path={}: schedule '{}' goes by the number of a step, and a path is a function of progress from 0 to 1; use one such as cosine(0, 1) or polynomial", text, std::string(by_step, std::string_view(by_step).size() - 1));
  return text == "linear(from=0, to=1)" ? "linear" : text;
}

}  // namespace

LevelSampler::LevelSampler(const Options& options) {
  if (const PluginExpr& path = options.inner("path"); canonical_path(path) != "linear") path_ = make_schedule(path);
}

double LevelSampler::path(double u) const {
  if (!path_) return u;
  constexpr int32_t kFine = 1 << 30;  // schedules count steps
  return path_->value({.step_idx = static_cast<int32_t>(std::llround(u * kFine)), .num_steps = kFine});
}

ParamSpec path_param() {
  ParamSpec out = plugin_param("path", canonical_path, "survival probability of a clean token as a schedule of progress, such as cosine(0, 1) or hold; its ends are 0 and 1 whatever it says");
  out.default_text = "linear";
  out.required = false;
  return added_late(std::move(out));
}

Routes posterior_routes(double now, double next, bool agree, int32_t vocabulary) {
  const double r = now / next;
  return {.clean = next * (1 - r) + (agree ? r * next * vocabulary : 0.0), .stay = r * (1 - next), .noise = (1 - r) * (1 - next)};
}

Action route(const Routes& routes, double u) {
  const double at = u * routes.sum();
  if (at < routes.clean) return Action::kCandidate;
  return at < routes.clean + routes.stay ? Action::kKeep : Action::kNoise;
}

Action psi_action(const StepView& view, size_t position, double kappa) {
  if (view.is_last) return Action::kCandidate;
  const bool agree = view.statistics->candidate[position] == view.canvas[position];
  const double next = view.level_next;
  Routes routes = posterior_routes(view.level_now, next, agree, view.vocabulary);
  const double corrupted = (1 - kappa) * routes.sum();
  routes = {.clean = kappa * routes.clean + corrupted * next, .stay = kappa * routes.stay, .noise = kappa * routes.noise + corrupted * (1 - next)};
  return route(routes, view.uniform(Purpose::kRoute, position));
}

double leave_one_out_logprob(double log_p, double level, int32_t vocabulary) {
  if (log_p >= 0) return 0;  // a certain token stays certain, whatever the level
  const double log_rest = std::log(-std::expm1(log_p)) + (level >= 1 ? INFINITY : std::log1p(vocabulary * level / (1 - level)));
  return -std::log1p(std::exp(log_rest - log_p));
}

}  // namespace canvaslab
