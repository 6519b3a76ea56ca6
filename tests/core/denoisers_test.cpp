// scripted, replay and checking: right and wrong input.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "core/denoiser.h"
#include "eval/trace.h"
#include "samplers/engine.h"

namespace canvaslab {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// A folder of this test process, removed at the end.
class Denoisers : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() /
              fmt::format("canvaslab-denoisers-{}-{}", getpid(),
                          ::testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string file(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ / name) << text;
    return (folder_ / name).string();
  }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  std::filesystem::path folder_;
};

StepResult ask(const Denoiser& denoiser, Sequence& sequence, const std::vector<int32_t>& canvas, int32_t canvas_idx,
               int32_t step_idx, bool logits = true) {
  DenoiseRow row{.sequence = &sequence, .request = {}};
  row.request.canvas = canvas;
  row.request.canvas_idx = canvas_idx;
  row.request.step_idx = step_idx;
  row.request.want_logits = logits;
  row.request.wanted = {Statistic::kMax, Statistic::kEntropy};
  return std::move(denoiser.denoise(std::span(&row, 1)).front());
}
std::string message(auto&& run) {
  try {
    run();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "(nothing was thrown)";
}

const char* const kScript =
    R"({"vocabulary": 4, "canvas_length": 2, "background": -1, "end_ids": [3], "comment": "two steps, then one",
  "canvases": [[{"tokens": [2, null], "peak": 5}, {"tokens": [2, 1], "peak": [6, 0.5], "logits": {"0": {"3": 2}, "1": {"1": 7}}}], [{}]]})";

TEST_F(Denoisers, ScriptedGivesWhatIsWritten) {
  const auto denoiser = denoisers().make(fmt::format("scripted(path=\"{}\")", file("a.json", kScript)));
  const auto s = denoiser->prefill({});
  EXPECT_THAT(ask(*denoiser, *s, {0, 0}, 0, 0).logits, ElementsAre(-1, -1, 5, -1, -1, -1, -1, -1));
  EXPECT_THAT(ask(*denoiser, *s, {0, 0}, 0, 1).logits, ElementsAre(-1, -1, 6, 2, -1, 7, -1, -1))
      << "'logits' are written over the peaks";
  EXPECT_EQ(ask(*denoiser, *s, {1, 3}, 0, 9).logits, ask(*denoiser, *s, {0, 0}, 0, 1).logits)
      << "the last step repeats";
  EXPECT_THAT(ask(*denoiser, *s, {0, 0}, 5, 0).logits, ::testing::Each(-1)) << "the last canvas repeats";
  EXPECT_EQ(denoiser->facts().defaults.num_steps, 2);
  EXPECT_EQ(denoiser->facts().defaults.max_new_tokens, 4);
  EXPECT_THAT(denoiser->facts().defaults.end_ids, ElementsAre(3));
  const auto strict = denoisers().make(fmt::format("scripted(\"{}\", past_end=error)", path("a.json")));
  EXPECT_THAT(message([&] { ask(*strict, *s, {0, 0}, 0, 2); }), HasSubstr("has 2 steps here, but step 2"));
  EXPECT_THAT(message([&] { ask(*denoiser, *s, {0, 0, 0}, 0, 0); }), HasSubstr("canvases of 2 tokens"));
  EXPECT_NE(strict->content_hash(), denoiser->content_hash());
  file("b.json", std::string(kScript) + "\n");
  EXPECT_NE(denoisers().make(fmt::format("scripted(\"{}\")", path("b.json")))->content_hash(),
            denoiser->content_hash());
}

TEST_F(Denoisers, ScriptedSaysWhatIsWrongAndWhere) {
  const auto error = [&](const std::string& text) {
    return message([&] { denoisers().make(fmt::format("scripted(\"{}\")", file("x.json", text))); });
  };
  EXPECT_THAT(message([] { denoisers().make("scripted"); }), HasSubstr("parameter 'path' must be given"));
  EXPECT_THAT(message([] { denoisers().make("scripted(/no/such.json)"); }),
              HasSubstr("/no/such.json: cannot be opened"));
  EXPECT_THAT(error("{"), HasSubstr("is no JSON"));
  EXPECT_THAT(error("[]"), HasSubstr("expected an object"));
  EXPECT_THAT(error(R"({"vocabluary": 4})"), HasSubstr("did you mean 'vocabulary'?"));
  EXPECT_THAT(error(R"({"vocabulary": 4})"), HasSubstr("canvas_length: is missing"));
  const auto step = [&](const std::string& s) {
    return error(R"({"vocabulary": 4, "canvas_length": 2, "canvases": [[{}, )" + s + "]]}");
  };
  EXPECT_THAT(step(R"({"tokens": [0, 4], "peak": 1})"),
              HasSubstr("canvases[0][1].tokens[1]: expected a token id in [0, 4), got 4"));
  EXPECT_THAT(step(R"({"tokens": [0], "peak": 1})"), HasSubstr("expected 2 token ids"));
  EXPECT_THAT(step(R"({"tokens": [0, 1]})"), HasSubstr("go together"));
  EXPECT_THAT(step(R"({"tokens": [0, 1], "peak": [1]})"), HasSubstr("expected a number, or 2 of them"));
  EXPECT_THAT(step(R"({"tokens": [0, 1], "peak": "x"})"), HasSubstr("expected a number"));
  EXPECT_THAT(step(R"({"logits": {"2": {"0": 1}}})"), HasSubstr("the key '2' is no index in [0, 2)"));
  EXPECT_THAT(step(R"({"logits": {"1": {"0": null}}})"), HasSubstr("expected a number"));
  EXPECT_THAT(step(R"({"peaks": 1})"), HasSubstr("did you mean 'peak'?"));
  EXPECT_THAT(error(R"({"vocabulary": 4, "canvas_length": 2, "canvases": []})"), HasSubstr("at least one canvas"));
  EXPECT_THAT(error(R"({"vocabulary": 4, "canvas_length": 2, "canvases": [[]]})"), HasSubstr("at least one step"));
}

/// Generates with hmm into a trace; returns the rows.
std::vector<RowResult> record(const std::string& path, size_t num_rows, RngMode rng, bool with_logits) {
  const auto denoiser = denoisers().make("hmm(states=3, alphabet=5, length=4)");
  PlanRequest request;
  request.num_steps = 3;
  request.max_new_tokens = 8;
  request.stop = "never";
  request.rng = rng;
  const auto plan = resolve_plan(request, *denoiser);
  std::vector<RowInput> rows(num_rows);
  for (size_t r = 0; r < num_rows; ++r) rows[r].item = r, rows[r].seed = 9;
  TraceWriter trace(path, num_rows, plan, denoiser->facts(), with_logits);
  const auto results = generate(*denoiser, plan, rows, &trace);
  trace.finish(results, {{"config", R"json({"end_ids": [], "pad_id": -1, "temperature": "constant(value=1)"})json"}});
  return results;
}

TEST_F(Denoisers, ReplayGivesTheSameGenerationFromEveryKindOfTrace) {
  for (const auto& [num_rows, rng] : {std::pair<size_t, RngMode>{1, RngMode::kCounter},
                                      {3, RngMode::kCounter},
                                      {1, RngMode::kTorch},
                                      {3, RngMode::kTorch}}) {
    const std::string trace = path(fmt::format("{}-{}.h5", num_rows, rng == RngMode::kTorch));
    const auto recorded = record(trace, num_rows, rng, true);
    for (size_t r = 0; r < num_rows; ++r) {
      const auto denoiser = denoisers().make(fmt::format("replay(\"{}\", row={})", trace, r));
      PlanRequest request;
      request.num_steps = 3;
      request.max_new_tokens = 8;
      request.stop = "never";
      if (rng == RngMode::kTorch && num_rows > 1) {  // a joint stream cannot be replayed row by row: look at the logits
        const auto s = denoiser->prefill({});
        const auto canvas = H5Reader(trace).read<int32_t>("steps/canvas_in");
        const auto logits = H5Reader(trace).read<float>("steps/logits");
        const std::vector<int32_t> first(canvas.begin() + static_cast<ptrdiff_t>(4 * r),
                                         canvas.begin() + static_cast<ptrdiff_t>(4 * r + 4));
        const std::vector<float> expected(logits.begin() + static_cast<ptrdiff_t>(20 * r),
                                          logits.begin() + static_cast<ptrdiff_t>(20 * r + 20));
        EXPECT_EQ(ask(*denoiser, *s, first, 0, 0).logits, expected);
        continue;
      }
      request.rng = rng;
      std::vector<RowInput> rows(1);
      rows[0].item = r;
      rows[0].seed = 9;
      EXPECT_EQ(generate(*denoiser, resolve_plan(request, *denoiser), rows)[0].canvas_ids, recorded[r].canvas_ids)
          << num_rows << " rows, row " << r;
    }
  }
}

TEST_F(Denoisers, ReplayRefusesOtherCanvasesMissingStepsAndTracesWithoutLogits) {
  const std::string trace = path("t.h5"), bare = path("bare.h5");
  record(trace, 1, RngMode::kCounter, true);
  record(bare, 1, RngMode::kCounter, false);
  const auto denoiser = denoisers().make(fmt::format("replay(\"{}\")", trace));
  const auto s = denoiser->prefill({});
  auto canvas = H5Reader(trace).read_row<int32_t>("steps/canvas_in", 0);
  EXPECT_EQ(ask(*denoiser, *s, canvas, 0, 0).logits, H5Reader(trace).read_row<float>("steps/logits", 0));
  canvas[2] = (canvas[2] + 1) % 5;
  EXPECT_THAT(message([&] { ask(*denoiser, *s, canvas, 0, 0); }),
              HasSubstr(fmt::format("canvas 0, step 0: the canvas fed in has token {} at position 2", canvas[2])));
  const auto any = denoisers().make(fmt::format("replay(\"{}\", check_canvas=off)", trace));
  EXPECT_EQ(ask(*any, *s, canvas, 0, 0).logits, H5Reader(trace).read_row<float>("steps/logits", 0));
  EXPECT_THAT(message([&] { ask(*any, *s, canvas, 0, 3); }), HasSubstr("no canvas 0, step 3; it recorded 6 steps"));
  EXPECT_THAT(message([&] { ask(*any, *s, {1, 2}, 0, 0); }), HasSubstr("holds 4 tokens of canvas 0, this one has 2"));
  EXPECT_THAT(message([&] { denoisers().make(fmt::format("replay(\"{}\")", bare)); }),
              HasSubstr("record it again with --trace-logits"));
  EXPECT_THAT(message([&] { denoisers().make(fmt::format("replay(\"{}\", row=1)", trace)); }),
              HasSubstr("no row 1; it has 1"));
  EXPECT_THAT(message([&] { denoisers().make(fmt::format("replay(\"{}\")", file("text.h5", "no HDF5"))); }),
              HasSubstr("not a readable HDF5 file"));
  EXPECT_THAT(message([&] { denoisers().make("replay(/no/such.h5)"); }), HasSubstr("no such file"));
}

TEST_F(Denoisers, CheckingPassesEqualsAndNamesTheWorstElement) {
  const std::string script = file(
      "a.json",
      R"({"vocabulary": 4, "canvas_length": 2, "canvases": [[{"logits": {"0": {"1": 2}}}, {"logits": {"1": {"3": 1}}}]]})");
  const std::string off = file(
      "b.json",
      R"({"vocabulary": 4, "canvas_length": 2, "canvases": [[{"logits": {"0": {"1": 2.00001}}}, {"logits": {"1": {"3": 1.25, "0": 0.1}}}]]})");
  const std::string shifted =
      file("c.json",
           R"({"vocabulary": 4, "canvas_length": 2, "background": 3, "canvases": [[{"logits": {"0": {"1": 5}}}]]})");
  const auto checking = [&](const std::string& b, const std::string& rest = "") {
    return denoisers().make(fmt::format("checking(a=scripted(\"{}\"), b=scripted(\"{}\"){})", script, b, rest));
  };
  const auto first = [&](const Denoiser& d, int32_t step) {
    const auto s = d.prefill({});
    return ask(d, *s->fork(), {0, 0}, 0, step);
  };
  const auto inner = denoisers().make(fmt::format("scripted(\"{}\")", script));
  EXPECT_EQ(first(*checking(off), 0).logits, first(*inner, 0).logits) << "within the tolerance: the first one's answer";
  const auto text = message([&] { first(*checking(off), 1); });
  EXPECT_THAT(text, HasSubstr("canvas 0, step 1"));
  EXPECT_THAT(text, HasSubstr("worst is the logit at position 1, token 3: 1 from a, 1.25 from b"));
  EXPECT_EQ(message([&] { first(*checking(off, ", tolerance=0.2"), 1); }), "(nothing was thrown)")
      << "0.25 <= 0.2 * (1 + 1.25)";
  EXPECT_THAT(message([&] { first(*checking(off, ", compare=statistics"), 1); }), HasSubstr("at position 1:"));
  EXPECT_THAT(message([&] { first(*checking(shifted), 0); }), HasSubstr("worst is the logit"));
  EXPECT_EQ(message([&] { first(*checking(shifted, ", compare=log_probs"), 0); }), "(nothing was thrown)")
      << "a constant a row does not matter";
  EXPECT_EQ(message([&] { first(*checking(shifted, ", compare=statistics"), 0); }), "(nothing was thrown)");
}

TEST_F(Denoisers, CheckingPropagatesContextSourceAndMistakes) {
  const auto denoiser =
      denoisers().make("checking(a=hmm(states=3, alphabet=5), b=hmm(states=3, alphabet=5, quadrature=64))");
  EXPECT_NE(denoiser->source(), nullptr);
  const auto s = denoiser->prefill({});
  denoiser->append(*s, std::vector<int32_t>{1, 2, 3}, false);
  EXPECT_NO_THROW(ask(*denoiser, *s, {4, 0, 0, 2}, 1, 0)) << "16 and 64 nodes are both exact here";
  const auto different = denoisers().make("checking(a=hmm(states=3, alphabet=5), b=hmm(states=3, alphabet=5, seed=2))");
  const auto d = different->prefill({});
  EXPECT_THAT(message([&] { ask(*different, *d, {4, 0, 0, 2}, 0, 0); }), HasSubstr("disagree at canvas 0, step 0"));
  try {
    ask(*different, *d, {4, 0, 0, 2}, 0, 0);
  } catch (const UserError& error) {
    EXPECT_EQ(error.code(), ExitCode::kSomeFailed) << "the sample failed, nothing the user wrote is wrong";
  }
  EXPECT_THAT(message([] { denoisers().make("checking(a=hmm(alphabet=5), b=uniform(alphabet=6))"); }),
              HasSubstr("a has a vocabulary of 5, b of 6"));
  EXPECT_THAT(message([] { denoisers().make("checking(a=hmm)"); }), HasSubstr("parameter 'b' must be given"));
  EXPECT_THAT(message([] { denoisers().make("checking(a=hmm, b=hmmm)"); }),
              HasSubstr("there is no denoiser 'hmmm'; did you mean 'hmm'?"));
  EXPECT_THAT(message([] { denoisers().make("checking(a=hmm, b=hmm(staets=3))"); }),
              HasSubstr("did you mean 'states'?"));
  EXPECT_EQ(
      denoisers().canonical("checking(uniform, b=uniform(alphabet=9))"),
      "checking(a=uniform(alphabet=32, length=32), b=uniform(alphabet=9, length=32), tolerance=1e-04, compare=logits)");
}

}  // namespace
}  // namespace canvaslab
