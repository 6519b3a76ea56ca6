// A recorded run decided again: as recorded, otherwise, and from recordings that cannot serve.
#include "eval/replay.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "core/error.h"
#include "core/json.h"
#include "eval/trace.h"
#include "samplers/contract.h"
#include "tests/support/temporary.h"

namespace canvaslab {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr uint64_t kSeed = 11;

/// Hands steps on to a trace, changed on the way.
class Tampering final : public Observer {
 public:
  using Change = std::function<void(const StepRecord&, std::vector<int32_t>& canvas_out, std::vector<uint8_t>& accepted)>;
  Tampering(TraceWriter& trace, Change change) : trace_(trace), change_(std::move(change)) {}
  bool wants_logits() const override { return trace_.wants_logits(); }
  void on_step(const StepRecord& record) override {
    std::vector<int32_t> canvas_out(record.canvas_out.begin(), record.canvas_out.end());
    std::vector<uint8_t> accepted(record.accepted.begin(), record.accepted.end());
    if (change_) change_(record, canvas_out, accepted);
    StepRecord changed = record;
    changed.canvas_out = canvas_out, changed.accepted = accepted;
    trace_.on_step(changed);
  }

 private:
  TraceWriter& trace_;
  Change change_;
};

class Replays : public ::testing::Test {
 protected:
  std::string record(const PlanRequest& request, size_t num_rows = 1, const Tampering::Change& change = {}, const std::map<int64_t, int32_t>& pins = {}) const {
    const GenerationPlan plan = resolve_plan(request, *denoiser);
    const std::string path = folder / "trace.h5";
    TraceWriter trace(path, num_rows, plan, denoiser->facts(), true);
    Tampering observer(trace, change);
    std::vector<RowInput> rows(num_rows);
    for (size_t r = 0; r < num_rows; ++r) rows[r].seed = kSeed, rows[r].item = r, rows[r].pins = pins;
    const auto results = generate(*denoiser, plan, rows, &observer);
    OrderedJson config;
    for (const auto& [key, value] : plan.settings()) config[key] = value;
    config["end_ids"] = plan.end_ids;
    config["pad_id"] = plan.pad_id;
    config["seed"] = kSeed;
    for (const auto& [position, token] : pins) config["pins"][std::to_string(position)] = token;
    trace.finish(results, {{"config", json_text(config)}});
    return path;
  }
  /// The recording again, with a change to what was asked for.
  static ReplayReport again(const std::string& path, const std::function<void(PlanRequest&)>& change = {}, uint64_t seed = kSeed, bool first_divergence = false) {
    const RecordedTrace trace(path);
    PlanRequest request = recorded_request(trace).request;
    if (change) change(request);
    return replay(trace, request, seed, {.first_divergence = first_divergence});
  }
  template <typename Run>
  static std::string refusal(Run run) {
    try {
      run();
    } catch (const UserError& error) {
      return error.what();
    }
    return "(nothing was thrown)";
  }
  static size_t differences(const ReplayReport& report) {
    size_t out = 0;
    for (const auto& row : report.rows) {
      out += row.num_tokens_differ;
      for (const auto& canvas : row.canvases) {
        out += canvas.ends_differ();
        for (const auto& step : canvas.steps) out += step.differs() + step.candidates.size();
      }
    }
    return out;
  }

  TemporaryFolder folder;
  std::unique_ptr<Denoiser> denoiser = denoisers().make("hmm(states=3, alphabet=6, length=8)");
};

TEST_F(Replays, CanvasesOfDecidedLengthsAreFollowedAsTheyWere) {
  PlanRequest request;
  request.sampler = "confidence_threshold(0.5)", request.num_steps = 6, request.max_new_tokens = 32;
  set_canvas_length(request, "by_steps(shortest=2, longest=8, few=0.7)");
  for (const size_t num_rows : {1, 3}) {
    const std::string path = record(request, num_rows, {}, {{3, 2}, {20, 4}});
    const ReplayReport report = again(path);
    EXPECT_EQ(report.self_differences, 0u);
    EXPECT_EQ(differences(report), 0u);
    EXPECT_THAT(report.differing, IsEmpty());
    const RecordedTrace trace(path);
    EXPECT_EQ(trace.length(), 8u);
    std::set<int32_t> lengths;
    for (size_t r = 0; r < num_rows; ++r) {
      const auto& steps = trace.steps(r);
      EXPECT_EQ(steps.num_tokens(), 32);
      lengths.insert(steps.canvas_length.begin(), steps.canvas_length.end());
      for (size_t i = 0; i < steps.size(); ++i) {
        EXPECT_EQ(trace.logits(r, i).size(), steps.length(i) * 6);
        for (size_t p = steps.length(i); p < 8; ++p) EXPECT_EQ(steps.canvas_in[i * 8 + p], -1) << "filled up";
      }
    }
    EXPECT_GT(lengths.size(), 2u) << "one length only: nothing was tested";
    EXPECT_GT(differences(again(path, [](PlanRequest& now) { now.sampler = "confidence_threshold(0.9)"; })), 0u) << "another sampler on the recorded canvases";
    EXPECT_THAT(refusal([&] { again(path, [](PlanRequest& now) { set_canvas_length(now, "8"); }); }), HasSubstr("holds canvases of by_steps"));
  }
  const auto replayed = denoisers().make("replay(path=\"" + record(request) + "\")");
  EXPECT_EQ(replayed->facts().defaults.max_new_tokens, 32);
  const RowInput row{.prompt = {}, .seed = kSeed, .item = 0, .repeat = 0, .init_canvas = {}, .pins = {}};
  EXPECT_EQ(generate(*replayed, resolve_plan(request, *replayed), std::span(&row, 1))[0].token_ids, RecordedTrace(folder / "trace.h5").tokens(0));
}

TEST_F(Replays, EveryColumnOfATraceHasAUnit) {
  for (const RngMode rng : {RngMode::kCounter, RngMode::kTorch})
    for (const size_t num_rows : {1u, 3u}) {
      PlanRequest request;
      request.num_steps = 3, request.max_new_tokens = 16, request.rng = rng;
      const H5Reader file(record(request, num_rows));
      const auto names = file.datasets();
      EXPECT_GE(names.size(), 10u);
      for (const auto& name : names) EXPECT_TRUE(file.has_attribute(name, "unit")) << name;
    }
}

TEST_F(Replays, EverySamplerDecidesItsOwnRecordingAlike) {
  size_t exact = 0, refused = 0;
  for (const auto& entry : samplers().entries())
    for (const RngMode rng : {RngMode::kCounter, RngMode::kTorch}) {
      if (!contract::has_defaults(entry)) continue;
      const size_t num_rows = rng == RngMode::kTorch || entry.name == "entropy_bound" ? 3 : 1;
      PlanRequest request;
      request.sampler = entry.name, request.num_steps = 5, request.max_new_tokens = 16, request.rng = rng;
      request.temperature = "linear_remaining(t_min=0.5, t_max=1.2)";
      try {
        if (resolve_plan(request, *denoiser).num_decisions() == 0) continue;  // no steps to record
      } catch (const UserError&) {
        EXPECT_EQ(rng, RngMode::kTorch) << entry.name << ": only the reference's order of draws is not for all";
        continue;
      }
      const std::string path = record(request, num_rows, {}, {{3, 2}});
      const auto facts = configure_sampler(parse_plugin(entry.name)).facts;
      if (facts.extra_canvas || facts.causal_verify || facts.causal_checks) {
        const bool denoises = configure_sampler(parse_plugin(entry.name)).sampler->num_decisions(5) > 0;
        EXPECT_THAT(refusal([&] { again(path); }), HasSubstr(facts.extra_canvas ? "beside one a step" : denoises ? "no causal logits" : "holds no denoising steps")) << entry.name;
        ++refused;
        continue;
      }
      const ReplayReport report = again(path);
      EXPECT_EQ(report.self_differences, 0u) << entry.name;
      EXPECT_EQ(differences(report), 0u) << entry.name;
      EXPECT_THAT(report.notes, IsEmpty()) << entry.name;
      EXPECT_THAT(report.differing, IsEmpty()) << entry.name << ": " << (report.differing.empty() ? "" : report.differing[0].key);
      ASSERT_EQ(report.rows.size(), num_rows);
      for (const auto& row : report.rows) {
        EXPECT_FALSE(row.parting) << entry.name;
        EXPECT_EQ(row.canvases.size(), 2u) << entry.name;
      }
      ++exact;
    }
  EXPECT_GE(exact, 25u) << "the registry holds more";
  EXPECT_GE(refused, 2u);
}

TEST_F(Replays, EndTokensMasksFiltersAndStopsComeOutAlikeToo) {
  PlanRequest request;
  request.max_new_tokens = 16;
  denoiser = denoisers().make("scripted(\"" CANVASLAB_SOURCE_DIR "/tests/golden/script.json\")");
  for (const RngMode rng : {RngMode::kCounter, RngMode::kTorch}) {  // stops in the middle of canvases, an end token in the second
    request.rng = rng;
    const auto report = again(record(request, 3));
    EXPECT_EQ(report.self_differences, 0u);
    EXPECT_EQ(report.rows[0].canvases[0].recorded.stop, "stable_and_confident");
    EXPECT_EQ(report.rows[1].tokens_recorded, report.rows[1].tokens_replayed);
  }
  request = {};
  request.num_steps = 6, request.sampler = "quota_confidence", request.top_p = 0.9, request.stats_on = "unfiltered";
  denoiser = denoisers().make("hmm(states=3, alphabet=6, length=8, corruption=absorbing)");
  const auto masked = again(record(request));
  EXPECT_EQ(masked.self_differences, 0u) << "noise is the recorded denoiser's mask";
}

TEST_F(Replays, AWrongRecordingIsNoticedWhereItIsWrong) {
  PlanRequest request;
  request.num_steps = 5, request.stop = "never";
  const auto report = again(record(request, 1, [](const StepRecord& step, std::vector<int32_t>& canvas_out, std::vector<uint8_t>& accepted) {
    if (step.step_idx != 2) return;
    canvas_out[6] = (canvas_out[6] + 1) % 6;
    accepted[1] ^= 1;
  }));
  EXPECT_EQ(report.self_differences, 2u);
  ASSERT_EQ(report.notes.size(), 1u);
  EXPECT_THAT(report.notes[0], HasSubstr("THE RECORDING DOES NOT REPEAT"));
  ASSERT_TRUE(report.rows[0].parting);
  EXPECT_EQ(report.rows[0].parting->step_idx, 2);
  const auto& step = report.rows[0].canvases[0].steps[2];
  EXPECT_THAT(step.canvas_out, ElementsAre(6));
  EXPECT_EQ(step.only_recorded.size() + step.only_replayed.size(), 1u);
  EXPECT_EQ((step.tokens_replayed[0] + 1) % 6, step.tokens_recorded[0]);
}

/// The entropy bound in f64 from the recorded logits, written down anew.
std::vector<int32_t> accepted_by_bound(const std::vector<float>& logits, size_t length, double temperature, double bound) {
  const size_t V = logits.size() / length;
  std::vector<double> entropy(length);
  for (size_t p = 0; p < length; ++p) {
    double sum = 0, weighted = 0, top = -1e300;
    for (size_t v = 0; v < V; ++v) top = std::max(top, logits[p * V + v] / temperature);
    for (size_t v = 0; v < V; ++v) {
      const double x = logits[p * V + v] / temperature - top;
      if (!std::isfinite(x)) continue;
      sum += std::exp(x), weighted += std::exp(x) * x;
    }
    entropy[p] = std::log(sum) - weighted / sum;
  }
  std::vector<int32_t> order(length), out;
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return entropy[static_cast<size_t>(a)] < entropy[static_cast<size_t>(b)]; });
  double before = 0;
  for (const int32_t p : order) {
    if (before > bound) break;
    out.push_back(p);
    before += entropy[static_cast<size_t>(p)];
  }
  std::sort(out.begin(), out.end());
  return out;
}

TEST_F(Replays, AnotherBoundAcceptsWhatTheFormulaSays) {
  PlanRequest request;
  request.sampler = "entropy_bound(0.3)", request.num_steps = 6, request.stop = "never", request.temperature = "constant(1)";
  const std::string path = record(request);
  const auto report = again(path, [](PlanRequest& now) { now.sampler = "entropy_bound(2.5)"; });
  ASSERT_EQ(report.differing.size(), 1u);
  EXPECT_EQ(report.differing[0].key, "sampler");
  EXPECT_EQ(report.self_differences, 0u);
  const RecordedTrace trace(path);
  size_t more = 0;
  for (const auto& step : report.rows[0].canvases[0].steps) {
    const auto i = static_cast<size_t>(step.step_idx);
    const auto wide = accepted_by_bound(trace.logits(0, i), 8, 1, 2.5), narrow = accepted_by_bound(trace.logits(0, i), 8, 1, 0.3);
    std::vector<int32_t> gained;
    std::set_difference(wide.begin(), wide.end(), narrow.begin(), narrow.end(), std::back_inserter(gained));
    EXPECT_EQ(step.only_replayed, gained) << "step " << i;
    EXPECT_THAT(step.only_recorded, IsEmpty());
    EXPECT_THAT(step.candidates, IsEmpty()) << "same temperature, same draws";
    EXPECT_EQ(step.num_accepted_replayed, static_cast<int32_t>(wide.size()));
    more += gained.size();
  }
  EXPECT_GT(more, 0u);
  ASSERT_TRUE(report.rows[0].parting);
  const auto short_report = again(path, [](PlanRequest& now) { now.sampler = "entropy_bound(2.5)"; }, kSeed, true);
  EXPECT_EQ(static_cast<int32_t>(short_report.rows[0].canvases[0].steps.size()), report.rows[0].parting->step_idx + 1);
}

TEST_F(Replays, OneMayStopWhereTheOtherGoesOn) {
  PlanRequest request;
  request.num_steps = 6, request.max_new_tokens = 16, request.stop = "never";
  for (const RngMode rng : {RngMode::kCounter, RngMode::kTorch}) {
    request.rng = rng;
    const auto shorter = again(record(request), [](PlanRequest& now) { now.stop = "max_steps(2)"; });
    for (const auto& canvas : shorter.rows[0].canvases) {
      EXPECT_EQ(canvas.recorded.num_steps, 6);
      EXPECT_EQ(canvas.replayed.num_steps, 2);
      EXPECT_EQ(canvas.replayed.stop, "max_steps");
      ASSERT_EQ(canvas.steps.size(), 2u);
      for (const auto& step : canvas.steps) EXPECT_THAT(step.candidates, IsEmpty()) << "the stream of draws stays where it was, canvas " << canvas.canvas_idx;
    }
    ASSERT_TRUE(shorter.rows[0].parting);
    EXPECT_TRUE(shorter.rows[0].parting->by_stop);
    EXPECT_EQ(shorter.rows[0].parting->step_idx, 1);
    const auto limited = again(record(request), [](PlanRequest& now) { now.num_steps = 4, now.anneal_over = 6; });
    EXPECT_EQ(limited.rows[0].canvases[1].replayed.num_steps, 4);
    EXPECT_EQ(limited.rows[0].canvases[1].replayed.stop, "step_limit");
  }
  request.stop = "max_steps(3)";
  const auto longer = again(record(request), [](PlanRequest& now) { now.stop = "never"; });
  EXPECT_EQ(longer.rows[0].canvases[0].recorded.stop, "max_steps");
  EXPECT_EQ(longer.rows[0].canvases[0].replayed.stop, kCourseEnds);
  ASSERT_TRUE(longer.rows[0].parting);
  EXPECT_TRUE(longer.rows[0].parting->by_stop);
}

TEST_F(Replays, TemperatureSeedAndEmissionChangeWhatTheyShould) {
  PlanRequest request;
  request.num_steps = 5, request.stop = "never", request.temperature = "constant(1)";
  const std::string path = record(request);
  const auto candidates = [](const ReplayReport& report) {
    size_t out = 0;
    for (const auto& step : report.rows[0].canvases[0].steps) out += step.candidates.size();
    return out;
  };
  EXPECT_GT(candidates(again(path, {}, kSeed + 1)), 0u);
  EXPECT_GT(candidates(again(path, [](PlanRequest& now) { now.temperature = "constant(3)"; })), 0u);
  const auto emitted = again(path, [](PlanRequest& now) { now.emission = "canvas"; });
  EXPECT_EQ(candidates(emitted), 0u);
  EXPECT_FALSE(emitted.rows[0].parting);
  const RecordedTrace trace(path);
  const auto& out = trace.steps(0).canvas_out;
  EXPECT_EQ(emitted.rows[0].tokens_replayed, std::vector<int32_t>(out.end() - 8, out.end()));
}

TEST_F(Replays, TheLevelIsServedFromTheRecordingWithANote) {
  PlanRequest request;
  request.num_steps = 5, request.stop = "never", request.emission = "canvas";
  const auto report = again(record(request), [](PlanRequest& now) { now.sampler = "ddim"; });
  EXPECT_THAT(report.notes, ElementsAre(HasSubstr("was not told the noise level, and 'ddim' would tell it")));
  request.sampler = "ddim";
  EXPECT_THAT(again(record(request), [](PlanRequest& now) { now.noise_level = "withheld"; }).notes, ElementsAre(HasSubstr("was told the noise level, and 'ddim' would not")));
  EXPECT_THAT(again(record(request), [](PlanRequest& now) { now.sampler = "psi"; }).notes, IsEmpty());
}

TEST_F(Replays, WhatARecordingCannotServeIsRefusedWithTheReason) {
  PlanRequest request;
  request.num_steps = 4, request.stop = "never";
  const std::string path = record(request, 2);
  const auto asked = [&](auto change) { return refusal([&] { again(path, change); }); };
  EXPECT_THAT(asked([](PlanRequest& now) { now.sampler = "loo_corrector"; }), HasSubstr("asks for canvas forwards beside one a step"));
  EXPECT_THAT(asked([](PlanRequest& now) { now.sampler = "causal_verify"; }), HasSubstr("no causal logits"));
  EXPECT_THAT(asked([](PlanRequest& now) { now.feedback = "off"; }), HasSubstr("self-conditioning changes the logits"));
  EXPECT_THAT(asked([](PlanRequest& now) { now.feedback = "stale(2)"; }), HasSubstr("holds those with it on"));
  EXPECT_THAT(asked([](PlanRequest& now) { now.canvas_length = 4; }), HasSubstr("canvases of 8 tokens, not of 4"));
  EXPECT_THAT(asked([](PlanRequest& now) { now.rng = RngMode::kTorch; }), HasSubstr("recorded each on its own course"));
  EXPECT_THAT(asked([](PlanRequest& now) { now.sampler = "ddim", now.stop = "max_steps(2)"; }), HasSubstr("use --stop never"));
}

TEST_F(Replays, TracesThatAreNoneAreNamed) {
  PlanRequest request;
  request.num_steps = 4, request.stop = "never";
  const auto other = refusal([&] { RecordedTrace trace(record(request, 1, [](const StepRecord& step, std::vector<int32_t>& canvas_out, std::vector<uint8_t>&) {
    if (step.step_idx == 3) canvas_out[7] = 6;
  })); });
  EXPECT_THAT(other, HasSubstr("'steps/canvas_out' holds token 6 (row 0, step 3, position 7), but its logits are over a vocabulary of 6"));
  const auto file = [&](const std::string& name, const std::function<void(H5Writer&)>& fill) {
    H5Writer out(folder / name);
    fill(out);
    out.finish();
    return refusal([&] { RecordedTrace trace(folder / name); });
  };
  EXPECT_THAT(file("a.h5", [](H5Writer& out) { out.group("aggregates"); }), HasSubstr("is no trace"));
  const auto steps = [](H5Writer& out) {
    out.group("steps");
    out.write<int32_t>("steps/canvas_in", std::vector<int32_t>{0, 1}, {1, 2});
  };
  EXPECT_THAT(file("b.h5", steps), HasSubstr("schema unknown; this program reads schema 1"));
  EXPECT_THAT(file("c.h5", [&](H5Writer& out) { steps(out), out.attribute("/", "schema_version", int64_t{7}); }), HasSubstr("schema 7; this program reads schema 1\nrecord it again with"));
  EXPECT_THAT(file("d.h5", [&](H5Writer& out) { steps(out), out.attribute("/", "schema_version", kTraceSchema); }), HasSubstr("holds no logits ('steps/logits'); record it again with --trace-logits"));
}

}  // namespace
}  // namespace canvaslab
