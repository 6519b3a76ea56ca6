// Self-conditioning: what is fed back, when it is renewed and in what shape; texts, refusals, stored settings.
#include "samplers/self_conditioning.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "core/error.h"
#include "samplers/engine.h"
#include "samplers/plan_notes.h"

namespace canvaslab {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

constexpr int32_t kVocabulary = 7;
constexpr size_t kLength = 5, kRow = kVocabulary;

/// Logits that depend on the canvas and, by its softmax, on what is fed back, which it keeps as networks do: tempered logits.
class Echo final : public LogitsDenoiser {
 public:
  Echo() {
    facts_.vocabulary = kVocabulary;
    facts_.self_conditioning = true;
    facts_.defaults = {.temperature = "linear(1.1, 0.6)", .emission = {}, .num_steps = 8, .canvas_length = static_cast<int32_t>(kLength), .max_new_tokens = 10, .end_ids = {}, .pad_id = 0, .plugin_values = {}};
  }
  const DenoiserFacts& facts() const override { return facts_; }
  std::string content_hash() const override { return "echo"; }
  std::unique_ptr<Sequence> prefill(const Prompt& prompt) const override {
    auto out = std::make_unique<State>();
    out->context = static_cast<float>(prompt.ids.size());
    return out;
  }
  std::vector<float> append(Sequence& sequence, std::span<const int32_t> canvas, bool) const override {
    auto& s = dynamic_cast<State&>(sequence);
    for (const int32_t token : canvas) s.context = 0.5f * s.context + static_cast<float>(token);
    s.prediction.clear();
    return {};
  }

  struct Asked {
    int32_t step_idx;
    SelfConditioning way;
    std::vector<float> given;
    bool hold, want_logits, outlook;
  };
  DenoiserFacts facts_;
  mutable std::vector<Asked> asked;

 protected:
  struct State final : Sequence {
    float context = 0;
    std::vector<float> prediction;
    std::unique_ptr<Sequence> fork() const override { return std::make_unique<State>(*this); }
  };
  std::vector<float> row_logits(Sequence& sequence, const StepRequest& r) const override {
    auto& s = dynamic_cast<State&>(sequence);
    asked.push_back({r.step_idx, r.self_conditioning, {r.given_logits.begin(), r.given_logits.end()}, r.hold_prediction, r.want_logits, r.outlook != nullptr});
    std::span<const float> fed;
    if (r.self_conditioning == SelfConditioning::kGiven) fed = r.given_logits;
    if (r.self_conditioning == SelfConditioning::kPrevious && r.step_idx > 0) fed = s.prediction;
    std::vector<float> out(r.canvas.size() * kRow);
    for (size_t p = 0; p < r.canvas.size(); ++p) {
      double total = 0, weight[kRow] = {};
      for (size_t v = 0; v < kRow && !fed.empty(); ++v) total += weight[v] = std::exp(static_cast<double>(fed[p * kRow + v]));
      for (size_t v = 0; v < kRow; ++v) {
        const double phase = 1.3 * static_cast<double>(r.canvas[p]) + 0.7 * static_cast<double>(p) + 0.9 * static_cast<double>(v * v) + 0.1 * s.context;
        out[p * kRow + v] = static_cast<float>(1.5 * std::sin(phase) + (total > 0 ? 2 * weight[(v + 1) % kRow] / total : 0.0));
      }
    }
    if (!r.hold_prediction) {
      s.prediction = out;
      if (r.temperature > 0)
        for (float& x : s.prediction) x /= r.temperature;
    }
    return out;
  }
};

/// Every step's canvas and logits.
struct Steps final : Observer {
  struct Step {
    size_t row;
    int32_t canvas_idx, step_idx;
    float temperature;
    bool frozen;
    std::vector<int32_t> canvas, out, candidate;
    std::vector<float> logits;
    bool operator==(const Step&) const = default;
  };
  bool wants_logits() const override { return true; }
  void on_step(const StepRecord& r) override {
    all.push_back({r.row, r.canvas_idx, r.step_idx, r.temperature, r.frozen, {r.canvas_in.begin(), r.canvas_in.end()}, {r.canvas_out.begin(), r.canvas_out.end()}, r.statistics->candidate, {r.logits.begin(), r.logits.end()}});
  }
  std::vector<Step> all;
};

std::vector<Steps::Step> steps_of(const std::string& feedback, PlanRequest request = {}, size_t rows = 1) {
  const Echo denoiser;
  request.feedback = feedback;
  if (!request.stop) request.stop = "never";
  std::vector<RowInput> inputs(rows);
  for (size_t r = 0; r < rows; ++r) inputs[r].seed = 3, inputs[r].item = r, inputs[r].prompt.ids.assign(r + 1, 2);
  Steps steps;
  generate(denoiser, resolve_plan(request, denoiser), inputs, &steps);
  return steps.all;
}

PlanRequest with(const std::string& sampler, RngMode rng = RngMode::kCounter) {
  PlanRequest out;
  out.sampler = sampler;
  out.rng = rng;
  return out;
}

/// What differs of two runs, in words; empty: not a bit.
std::string difference(const std::vector<Steps::Step>& a, const std::vector<Steps::Step>& b) {
  if (a.size() != b.size()) return fmt::format("{} steps and {}", a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i)
    if (!(a[i] == b[i])) return fmt::format("step {} of canvas {}", a[i].step_idx, a[i].canvas_idx);
  return "";
}

/// The steps of one run made again: each recorded canvas is asked for by itself, given what `fed` makes of the recorded steps.
template <typename Fed>
std::string differs_by_hand(const std::vector<Steps::Step>& run, Fed fed) {
  const Echo denoiser;
  std::unique_ptr<Sequence> sequence = denoiser.prefill({.ids = {2}, .token_types = {}, .media = {}, .left_padding = 0});
  for (size_t i = 0; i < run.size(); ++i) {
    const auto& now = run[i];
    if (now.canvas_idx > 0) break;  // the second canvas's context is the engine's affair
    const std::vector<float> given = now.step_idx == 0 ? std::vector<float>() : fed(std::span(run).first(i));
    DenoiseRow row{.sequence = sequence.get(), .request = {}};
    row.request.step_idx = now.step_idx, row.request.canvas = now.canvas, row.request.want_logits = row.request.hold_prediction = true;
    row.request.self_conditioning = given.empty() ? SelfConditioning::kNone : SelfConditioning::kGiven;
    row.request.given_logits = given;
    row.request.wanted = {Statistic::kMax};
    if (denoiser.denoise(std::span(&row, 1)).front().logits != now.logits) return fmt::format("step {}", now.step_idx);
  }
  return "";
}
std::vector<float> tempered(const Steps::Step& step, float temperature) {
  std::vector<float> out = step.logits;
  for (float& x : out) x /= temperature;
  return out;
}

TEST(SelfConditioning, StaleByOneStepIsOnBitForBit) {
  for (const char* sampler : {"entropy_bound", "ddim", "loo_corrector", "entropy_bound_locked"}) {
    const auto on = steps_of("on", with(sampler));
    ASSERT_EQ(on.size(), std::string(sampler) == "loo_corrector" ? 10u : 16u) << sampler << ": two canvases of 8 forwards";
    EXPECT_EQ(difference(steps_of("stale(1)", with(sampler)), on), "") << sampler;
    EXPECT_NE(difference(steps_of("stale(2)", with(sampler)), on), "") << sampler;
    EXPECT_NE(difference(steps_of("off", with(sampler)), on), "") << sampler;
  }
}

TEST(SelfConditioning, StaleFeedsThePredictionOfEveryKthStep) {
  for (const size_t k : {1, 2, 3, 5, 100}) {
    const auto run = steps_of(fmt::format("stale({})", k));
    const auto hand = [](size_t every) { return [every](std::span<const Steps::Step> before) {
      const Steps::Step& source = before[(before.size() - 1) / every * every];
      return tempered(source, source.temperature);
    }; };
    EXPECT_EQ(differs_by_hand(run, hand(k)), "") << k;
    EXPECT_NE(differs_by_hand(run, hand(k == 2 ? 3 : 2)), "") << k << ": a wrong loop must show";
  }
}

/// The denoiser is handed the very numbers that it would have kept.
TEST(SelfConditioning, AllTokensOrTheStepsOwnTemperatureAreOnBitForBit) {
  for (const auto& request : {with("entropy_bound"), with("ddim"), with("loo_corrector"), with("entropy_bound", RngMode::kTorch)}) {
    const size_t rows = request.rng == RngMode::kTorch ? 3 : 1;
    const auto on = steps_of("on", request, rows);
    for (const char* same : {"top_k(7)", "top_k(1000)", "temperature(linear(1.1, 0.6))", "stale(1, top_k(7, temperature(linear(1.1, 0.6))))"})
      EXPECT_EQ(difference(steps_of(same, request, rows), on), "") << same << " with " << request.sampler;
    for (const char* other : {"top_k(6)", "temperature(linear(1.1, 0.601))", "temperature(1)", "stale(2, top_k(7))"})
      EXPECT_NE(difference(steps_of(other, request, rows), on), "") << other << " with " << request.sampler;
    EXPECT_EQ(difference(steps_of("stale(3, top_k(7))", request, rows), steps_of("stale(3)", request, rows)), "");
    EXPECT_EQ(difference(steps_of("top_k(7, stale(3))", request, rows), steps_of("stale(3)", request, rows)), "");
  }
}

/// In torch mode rows that have converged go on until all have: what they are fed stays, as the prediction denoisers hold.
TEST(SelfConditioning, FrozenRowsAreFedWhatTheyWere) {
  PlanRequest request = with("entropy_bound", RngMode::kTorch);
  size_t frozen = 0;
  for (const char* stop : {"entropy(1.3)", "entropy(1.4)", "entropy(1.5)", "entropy(1.6)"}) {
    request.stop = stop;
    const auto on = steps_of("on", request, 4);
    frozen += static_cast<size_t>(std::count_if(on.begin(), on.end(), [](const Steps::Step& step) { return step.frozen; }));
    for (const char* same : {"top_k(7)", "stale(1)"}) EXPECT_EQ(difference(steps_of(same, request, 4), on), "") << same << " until " << stop;
    EXPECT_NE(difference(steps_of("stale(2, top_k(2))", request, 4), on), "") << stop;
  }
  EXPECT_GT(frozen, 10u) << "some rows end while others go on";
}

TEST(SelfConditioning, TemperatureZeroIsFedBackAsDenoisersDo) {
  PlanRequest request;
  request.temperature = "constant(0)";
  EXPECT_EQ(difference(steps_of("top_k(7)", request), steps_of("on", request)), "");
}

std::vector<float> shaped(const std::string& feedback, std::vector<float> logits, float step_temperature = 1, Progress ramp = {.step_idx = 0, .num_steps = 4}) {
  shape_prediction(*configure_feedback(feedback).feedback, ramp, step_temperature, 4, logits);
  return logits;
}

TEST(SelfConditioning, ShapesByHand) {
  const float no = -INFINITY;
  const std::vector<float> two_rows = {1, 3, 3, 2, -1, no, -5, -1};
  EXPECT_THAT(shaped("top_k(1)", two_rows), ElementsAre(no, 3, no, no, -1, no, no, no)) << "ties go to the lower id";
  EXPECT_THAT(shaped("top_k(2)", two_rows), ElementsAre(no, 3, 3, no, -1, no, no, -1));
  EXPECT_THAT(shaped("top_k(3)", two_rows), ElementsAre(no, 3, 3, 2, -1, no, -5, -1));
  EXPECT_THAT(shaped("top_k(3)", {4, 4, 4, 4}), ElementsAre(4, 4, 4, no));
  EXPECT_THAT(shaped("top_k(3)", {no, 4, no, no}), ElementsAre(no, 4, no, no));
  EXPECT_THAT(shaped("top_k(2)", two_rows, 0.5f), ElementsAre(no, 6, 6, no, -2, no, no, -2)) << "at the step's temperature";
  EXPECT_THAT(shaped("top_k(2, temperature(0.25))", two_rows, 0.5f), ElementsAre(no, 12, 12, no, -4, no, no, -4)) << "at its own";
  EXPECT_EQ(shaped("temperature(0.25, top_k(2))", two_rows, 0.5f), shaped("top_k(2, temperature(0.25))", two_rows, 0.5f));
  EXPECT_THAT(shaped("temperature(linear(2, 1))", {4, 4, 8, 0}, 0.5f, {.step_idx = 2, .num_steps = 4}), ElementsAre(4 / 1.5f, 4 / 1.5f, 8 / 1.5f, 0));
}

/// p = (0.1, 0.3, 0.4, 0.2): the two largest, renormalised, are 3/7 and 4/7; the largest alone is certain.
TEST(SelfConditioning, TheKLargestProbabilitiesAreRenormalised) {
  const std::vector<float> logits = {std::log(0.1f), std::log(0.3f), std::log(0.4f), std::log(0.2f)};
  const auto law = [](const std::vector<float>& row) {
    double total = 0;
    std::vector<double> out;
    for (const float x : row) total += std::exp(static_cast<double>(x));
    for (const float x : row) out.push_back(std::exp(static_cast<double>(x)) / total);
    return out;
  };
  const double tolerance = 8 * 0x1p-24;  // logarithms of at most 2.4 rounded to f32 err by 2^-23 at most, probabilities by as much of themselves
  const auto two = law(shaped("top_k(2)", logits));
  EXPECT_EQ(two[0] + two[3], 0);
  EXPECT_NEAR(two[1], 3.0 / 7, tolerance);
  EXPECT_NEAR(two[2], 4.0 / 7, tolerance);
  EXPECT_GT(std::abs(two[1] - 0.3), 1000 * tolerance) << "not renormalised";
  EXPECT_EQ(law(shaped("top_k(1)", logits)), (std::vector<double>{0, 0, 1, 0}));
}

TEST(SelfConditioning, TheLikeliestAloneIsFedBackByTheEngine) {
  const auto run = steps_of("top_k(1)");
  const auto one_hot = [](std::span<const Steps::Step> before, auto order) {
    std::vector<float> out(before.back().logits.size(), -INFINITY);
    for (size_t p = 0; p < kLength; ++p) {
      const auto row = std::span(before.back().logits).subspan(p * kRow, kRow);
      out[p * kRow + static_cast<size_t>(std::max_element(row.begin(), row.end(), order) - row.begin())] = 0;
    }
    return out;
  };
  EXPECT_EQ(differs_by_hand(run, [&](auto before) { return one_hot(before, std::less<>()); }), "");
  EXPECT_NE(differs_by_hand(run, [&](auto before) { return one_hot(before, std::greater<>()); }), "") << "the least likely must show";
}

TEST(SelfConditioning, AStaleShapeIsMadeAtTheStepsThatRenewIt) {
  const auto run = steps_of("stale(2, top_k(3, temperature(linear(0.9, 0.5))))");
  const auto hand = [&](size_t k, const char* temperature) {
    return differs_by_hand(run, [=](std::span<const Steps::Step> before) {
      const Steps::Step& source = before[(before.size() - 1) / 2 * 2];
      auto out = tempered(source, static_cast<float>(make_schedule(parse_plugin(temperature))->value({.step_idx = source.step_idx, .num_steps = 8})));
      for (size_t p = 0; p < kLength; ++p) {
        const auto row = std::span(out).subspan(p * kRow, kRow);
        std::vector<float> sorted(row.begin(), row.end());
        std::sort(sorted.rbegin(), sorted.rend());
        for (float& x : row)
          if (x < sorted[k - 1]) x = -INFINITY;
      }
      return out;
    });
  };
  EXPECT_EQ(hand(3, "linear(0.9, 0.5)"), "");
  EXPECT_NE(hand(2, "linear(0.9, 0.5)"), "");
  EXPECT_NE(hand(3, "linear(0.8, 0.5)"), "");
}

/// Sweeps of a corrector come after the step and see its prediction, renewed or not.
TEST(SelfConditioning, DenoisersAreAskedForNoMoreThanIsNeeded) {
  const auto asked = [](const std::string& feedback, bool runs_ahead = false) {
    Echo denoiser;
    denoiser.facts_.runs_ahead = runs_ahead;
    PlanRequest request;
    request.feedback = feedback, request.max_new_tokens = kLength, request.num_steps = 4, request.stop = "never";
    const RowInput row;
    generate(denoiser, resolve_plan(request, denoiser), std::span(&row, 1));
    return std::move(denoiser.asked);
  };
  for (const auto& a : asked("on")) EXPECT_TRUE(a.way == SelfConditioning::kPrevious && !a.hold && !a.want_logits) << a.step_idx;
  for (const auto& a : asked("off")) EXPECT_TRUE(a.way == SelfConditioning::kNone && !a.hold && !a.want_logits) << a.step_idx;
  for (const auto& a : asked("stale(3)")) EXPECT_TRUE(a.way == SelfConditioning::kPrevious && a.hold == (a.step_idx % 3 != 0) && !a.want_logits) << a.step_idx;
  for (const auto& a : asked("stale(3, top_k(2))"))
    EXPECT_TRUE(a.way == (a.step_idx == 0 ? SelfConditioning::kNone : SelfConditioning::kGiven) && a.hold && a.want_logits == (a.step_idx % 3 == 0)) << a.step_idx;
  for (const auto& a : asked("on", true)) EXPECT_EQ(a.outlook, a.step_idx == 0);
  for (const char* feedback : {"stale(1)", "stale(2)", "top_k(2)", "temperature(1)"})
    for (const auto& a : asked(feedback, true)) EXPECT_FALSE(a.outlook) << feedback << ": steps run ahead feed back every prediction";
}

// --- texts

std::string refusal(const std::string& feedback, const Denoiser& denoiser) {
  PlanRequest request;
  request.feedback = feedback;
  try {
    resolve_plan(request, denoiser);
    return "none";
  } catch (const UserError& error) {
    EXPECT_EQ(error.code(), ExitCode::kUsage);
    return error.what();
  }
}

TEST(SelfConditioning, TextsAreReadBackAsTheyAreWritten) {
  for (const auto& [text, canonical] : std::vector<std::pair<std::string, std::string>>{{"on", "on"}, {"off", "off"}, {"On()", "on"}, {"true", "on"}, {"false", "off"}, {"stale(4)", "stale(every=4, inner=on)"},
           {"top-k(50, temperature=0.7)", ""}, {"top_k(50, inner=temperature(0.7))", "top_k(k=50, inner=temperature(temperature=0.7, inner=on))"},
           {"stale(4, top_k(50))", "stale(every=4, inner=top_k(k=50, inner=on))"}, {"temperature(linear(1, 0.5))", "temperature(temperature=linear(1, 0.5), inner=on)"}}) {
    if (canonical.empty()) {
      EXPECT_THROW(configure_feedback(text), UserError) << text;
      continue;
    }
    EXPECT_EQ(configure_feedback(text).canonical, canonical);
    EXPECT_EQ(configure_feedback(canonical).canonical, canonical) << "read back";
    const Echo denoiser;
    PlanRequest request;
    request.feedback = text;
    const auto settings = resolve_plan(request, denoiser).settings();
    EXPECT_THAT(settings, Contains(Pair("self_conditioning", canonical)));
    EXPECT_EQ(resolve_plan(request_of_settings(settings, "test"), denoiser).settings(), settings);
  }
}

TEST(SelfConditioning, MistakesSayWhatIsAllowed) {
  const Echo denoiser;
  const auto refused = [&](const std::string& text) { return refusal(text, denoiser); };
  EXPECT_THAT(refused("stail(2)"), HasSubstr("there is no self-conditioning 'stail'; did you mean 'stale'?\nknown: off, on, stale, temperature, top_k"));
  EXPECT_THAT(refused("stale(0)"), HasSubstr("self-conditioning 'stale', parameter 'every'"));
  EXPECT_THAT(refused("stale(1.5)"), HasSubstr("parameter 'every'"));
  EXPECT_THAT(refused("stale"), HasSubstr("parameter 'every' must be given"));
  EXPECT_THAT(refused("stale(evry=2)"), HasSubstr("did you mean 'every'?"));
  EXPECT_THAT(refused("top_k(0)"), HasSubstr("parameter 'k'"));
  EXPECT_THAT(refused("top_k(2, stail(2))"), HasSubstr("did you mean 'stale'?"));
  EXPECT_THAT(refused("temperature(0)"), HasSubstr("parameter 'temperature'"));
  EXPECT_THAT(refused("temperature(linear(1, 0))"), HasSubstr("the schedule runs over [0, 1], allowed is (0, 1000]"));
  EXPECT_THAT(refused("stale(2, off)"), HasSubstr("'stale' around 'off', which feeds nothing back"));
  EXPECT_THAT(refused("temperature(1, top_k(2, temperature(2)))"), HasSubstr("'temperature' stands around another 'temperature'"));
  EXPECT_THAT(refused("on(2)"), HasSubstr("takes at most 0 values"));
  EXPECT_EQ(refused("stale(2)"), "none");
}

TEST(SelfConditioning, DenoisersThatCannotAreRefused) {
  Echo denoiser;
  denoiser.facts_.unconditional_forwards = 1;  // as classifier-free guidance
  EXPECT_THAT(refusal("top_k(2)", denoiser), HasSubstr("asks several contexts and feeds each its own prediction"));
  EXPECT_EQ(refusal("stale(2)", denoiser), "none");
  const auto hmm = denoisers().make("hmm(states=3, alphabet=5, length=4)");
  for (const char* text : {"stale(1)", "top_k(2)", "temperature(1)"}) EXPECT_THAT(refusal(text, *hmm), HasSubstr("this denoiser feeds no prediction back")) << text;
  EXPECT_EQ(refusal("on", *hmm), "none");
  EXPECT_EQ(refusal("off", *hmm), "none");
}

TEST(SelfConditioning, NotesTellTheCosts) {
  const auto notes = [](const std::string& feedback, bool runs_ahead = false, RngMode rng = RngMode::kCounter) {
    Echo denoiser;
    denoiser.facts_.runs_ahead = runs_ahead;
    PlanRequest request = with("entropy_bound", rng);
    request.feedback = feedback;
    return plan_notes(resolve_plan(request, denoiser), denoiser);
  };
  EXPECT_THAT(notes("on", true, RngMode::kTorch), IsEmpty());
  EXPECT_THAT(notes("off", true), IsEmpty());
  EXPECT_THAT(notes("stale(2)"), IsEmpty());
  EXPECT_THAT(notes("stale(2)", true), ElementsAre(HasSubstr("asked for one by one")));
  EXPECT_THAT(notes("top_k(2)"), ElementsAre(HasSubstr("MB a sequence")));
  EXPECT_THAT(notes("stale(2)", false, RngMode::kTorch), ElementsAre(HasSubstr("in the reference's order")));
}

/// The texts of finished runs: on and off are stored as they always were, and in the same place.
TEST(SelfConditioning, OnAndOffKeepTheirStoredText) {
  const Echo denoiser;
  PlanRequest request;
  EXPECT_EQ(resolve_plan(request, denoiser).settings()[4], std::make_pair(std::string("self_conditioning"), std::string("on")));
  request.feedback = "off";
  EXPECT_EQ(resolve_plan(request, denoiser).settings()[4], std::make_pair(std::string("self_conditioning"), std::string("off")));
}

}  // namespace
}  // namespace canvaslab
