// External plug-ins in Python through the real program: the client file, failures that stay with their sample, and results
// that do not depend on processes. Python is an oracle's language here; without it the tests are skipped.
#include <gtest/gtest.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/h5.h"
#include "tests/support/program.h"

namespace canvaslab {
namespace {

using Json = nlohmann::json;
using testing::Outcome;
using testing::TempFolder;

class ExternalPython : public ::testing::Test {
 protected:
  void SetUp() override {
    python = std::getenv("CANVASLAB_PYTHON") ? std::getenv("CANVASLAB_PYTHON") : "";
    if (python.empty()) GTEST_SKIP() << "CANVASLAB_PYTHON is not set";
    std::filesystem::copy(CANVASLAB_SOURCE_DIR "/experiments/external", folder.path() / "external", std::filesystem::copy_options::recursive);
  }
  Outcome run(const std::vector<std::string>& arguments) const { return testing::run_program(CANVASLAB_PROGRAM, arguments, folder.path()); }
  /// An expression that runs a script of the folder.
  std::string external(const std::string& script, const std::string& more = "") const { return fmt::format("external(command=\"{} external/{}\"{})", python, script, more); }
  void write_script(const std::string& name, const std::string& body) const {
    testing::write_text(folder.file("external/" + name), "import canvaslab_client as canvaslab\n" + body);
  }
  Outcome generate(const std::string& model, const std::string& sampler, std::vector<std::string> more = {}) const {
    std::vector<std::string> arguments = {"generate", "--model", model, "--sampler", sampler, "--steps", "6", "--canvas-length", "12", "--max-new-tokens", "24", "--seed", "3", "--temperature", "1", "--json"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(arguments);
  }
  Json tokens(const Outcome& got) const {
    EXPECT_EQ(got.exit_code, 0) << got.err;
    return got.exit_code == 0 ? Json::parse(got.out)["token_ids"] : Json();
  }
  TempFolder folder;
  std::string python;
};

const std::string kModel = "hmm(states=6, alphabet=12)";

TEST_F(ExternalPython, GivesTheTokensOfTheBuiltInPluginsItRepeats) {
  EXPECT_EQ(tokens(generate(kModel, external("entropy_bound.py", ", parameters=\"bound=0.5\""), {"--stop", external("entropy_bound.py")})),
            tokens(generate(kModel, "entropy_bound(0.5)", {"--stop", "stable_and_confident(1, 100)"})));
  // Level, draws, pins, tokens, revealed positions, scratch and the knob all take part in this one.
  write_script("everything.py", R"py(
class Everything(canvaslab.Sampler):
    statistics = ["max", "candidate"]
    draws = ["route", "own"]
    facts = ["needs_level", "locks", "fixed_steps", "ordered"]
    default_emission = "canvas"

    def step(self, view, state):
        assert view.level_now == view.step_idx / view.num_steps and view.level_next == (view.step_idx + 1) / view.num_steps
        assert len(state.scratch) == view.step_idx and state.scratch == [10.0 * s for s in range(view.step_idx)]
        assert abs(view.knob - (1 - view.step_idx / view.num_steps)) < 1e-12, view.knob
        assert all(0 < u < 1 for u in view.uniform["route"]) and view.uniform["own"].tolist() != view.uniform["route"].tolist()
        print("to standard error")
        actions = [canvaslab.KEEP] * view.length
        tokens = [0] * view.length
        for p in range(view.length):
            if state.revealed[p] or not view.allowed[p]:
                continue
            actions[p] = canvaslab.NOISE
            if view.is_last or p < 2 * (view.step_idx + 1):
                actions[p], tokens[p], state.revealed[p] = canvaslab.TOKEN, (7 * p + view.step_idx) % view.vocabulary, 1
        state.scratch.append(10.0 * view.step_idx)
        return actions, tokens

canvaslab.serve(Everything)
)py");
  const Json got = tokens(generate(kModel, external("everything.py", ", knob=linear(1, 0)"), {"--pin", "3=5"}));
  ASSERT_EQ(got.size(), 24u);
  for (int p = 0; p < 24; ++p) EXPECT_EQ(got[static_cast<size_t>(p)], p == 3 ? 5 : (7 * (p % 12) + p % 12 / 2) % 12) << p;
}

TEST_F(ExternalPython, DenoisesInsideTheEngine) {
  // bigram.py's most likely text counts on from the prompt's last token.
  const Json got = tokens(run({"generate", "--model", external("bigram.py", ", parameters=\"sharpness=30\""), "--sampler", "leftmost", "--prompt-ids", "1 7", "--json"}));
  EXPECT_EQ(got.dump(), "[8,9,0,1,2,3,4,5,6,7,8,9,0,1,2,3]");
  write_script("feedback.py", R"py(
import array
class Feedback(canvaslab.Denoiser):
    vocabulary = 5
    facts = ["self_conditioning", "uses_level"]
    suggests = {"canvas_length": 4, "num_steps": 3, "temperature": "constant(0.5)", "end_ids": [3], "pad_id": 0}

    def logits(self, request):
        assert (request.previous is None) == (request.step_idx == 0)
        if request.previous is not None:  # tempered: twice what was answered
            assert [request.previous[5 * p + v] for p in range(4) for v in range(5)] == [2.0 * (v * request.step_idx + p) for p in range(4) for v in range(5)]
        assert request.level == request.step_idx / 3
        return array.array("f", [float(v * (request.step_idx + 1) + p) for p in range(4) for v in range(5)])

canvaslab.serve(Feedback)
)py");
  const Outcome feedback = run({"generate", "--model", external("feedback.py"), "--sampler", "ddim", "--prompt-ids", "1", "--json"});
  EXPECT_EQ(feedback.exit_code, 0) << feedback.err;
  EXPECT_EQ(Json::parse(feedback.out)["forwards"]["denoise"], 3);
}

TEST_F(ExternalPython, KeepsTheContract) {
  for (const auto& [kind, script] : std::vector<std::pair<std::string, std::string>>{{"sampler", "entropy_bound.py"}, {"stop_rule", "entropy_bound.py"}, {"denoiser", "bigram.py"}}) {
    const Outcome got = run({"check", "--kind", kind, external(script)});
    EXPECT_EQ(got.exit_code, 0) << got.out << got.err;
  }
  EXPECT_NE(run({"check", external("bigram.py")}).err.find("say which with --kind"), std::string::npos);
  write_script("first.py", "class First(canvaslab.Sampler):\n    statistics = ['candidate']\n    def step(self, view, state):\n"
                           "        return [canvaslab.TAKE if p == 0 else canvaslab.NOISE for p in range(view.length)]\ncanvaslab.serve(First)\n");
  const Outcome got = run({"check", "--kind", "sampler", external("first.py")});
  EXPECT_EQ(got.exit_code, 4) << got.out;
  EXPECT_NE(got.out.find("FAIL  moves its decisions with the positions"), std::string::npos) << got.out;
}

TEST_F(ExternalPython, ANewScriptRunsAsWritten) {
  EXPECT_EQ(run({"plugin", "new", "bar", "--python"}).exit_code, 0);
  const std::string bar = fmt::format("external(command=\"{} bar/bar.py\", knob=linear(0.2, 1))", python);
  const Outcome check = run({"check", "--kind", "sampler", bar});
  EXPECT_EQ(check.exit_code, 0) << check.out << check.err;
  EXPECT_EQ(tokens(generate(kModel, bar)).size(), 24u);
}

TEST_F(ExternalPython, MistakesAreSaidWithTheirPlace) {
  const auto complaint = [&](const std::string& body, int exit_code, const std::string& more = "") {
    write_script("wrong.py", body);
    const Outcome got = generate(kModel, external("wrong.py", more));
    EXPECT_EQ(got.exit_code, exit_code) << got.err;
    return got.err;
  };
  const auto expect = [](const std::string& text, const std::string& part) { EXPECT_NE(text.find(part), std::string::npos) << text; };
  const std::string head = "class Wrong(canvaslab.Sampler):\n    statistics = ['candidate']\n    def step(self, view, state):\n        ", serve = "\ncanvaslab.serve(Wrong)\n";
  expect(complaint(head + "return 1 / 0" + serve, 4), "failed: ZeroDivisionError: division by zero (wrong.py:5)");
  expect(complaint(head + "return [9] * view.length" + serve, 4), "9 at position 0 is no action");
  expect(complaint(head + "return [canvaslab.TOKEN] * view.length, [view.vocabulary] * view.length" + serve, 4), "token 12 at position 0 is outside the vocabulary [0, 12)");
  expect(complaint(head + "return [canvaslab.TOKEN] * view.length" + serve, 4), "no tokens are given");
  expect(complaint(head + "return [0] * 3" + serve, 4), "step gave 3 actions for 12 positions");
  expect(complaint(head + "return view.entropy_nats" + serve, 4), "has no attribute 'entropy_nats'");
  expect(complaint(head + "import time; time.sleep(1000)" + serve, 4, ", timeout_s=0.3"), "it did not answer in time (0.3 s)");
  expect(complaint(head + "import os; os._exit(3)" + serve, 4), "it ended with exit code 3");
  expect(complaint("import nowhere\n", 2), "No module named 'nowhere'");
  expect(complaint("canvaslab.serve(canvaslab.StopRule)\n", 2), "serves 0 plug-ins of kind sampler");
  expect(complaint(head + "return []" + serve, 2, ", parameters=\"x=1\""), "takes no arguments");
  expect(complaint("class Wrong(canvaslab.Sampler):\n    statistics = ['entropi']" + serve, 2), "did you mean 'entropy'");
  write_script("nan.py", "class Nan(canvaslab.Denoiser):\n    vocabulary = 3\n    def logits(self, request):\n        return [[0.0, float('nan') if p == 2 else 0.0, 0.0] for p in range(request.length)]\ncanvaslab.serve(Nan)\n");
  const Outcome nan = generate(external("nan.py"), "fixed_step");
  EXPECT_EQ(nan.exit_code, 4);
  expect(nan.err, "NaN or infinite at canvas 0, step 0, position 2");
}

TEST_F(ExternalPython, DeathsAndMistakesFailTheirSamplesAloneAndResultsDoNotDependOnProcesses) {
  // Dies or raises by a draw: in the same samples whatever runs beside them.
  write_script("frail.py", R"py(
import os
class Frail(canvaslab.Sampler):
    statistics = ["candidate"]
    draws = ["own"]
    facts = ["revocable", "ordered"]
    default_emission = "canvas"

    def __init__(self, frail=True):
        self.frail = frail

    def step(self, view, state):
        if self.frail and view.uniform["own"][0] < 0.05:
            os.abort()
        if self.frail and view.uniform["own"][1] < 0.05:
            raise ValueError("a bad day")
        return [canvaslab.TAKE if u < 0.5 or view.is_last else canvaslab.NOISE for u in view.uniform["own"]]

canvaslab.serve(Frail)
)py");
  testing::write_text(folder.file("plan.toml"), fmt::format("[denoiser]\nmodel = \"{}\"\n[dataset]\nname = \"source(items=40)\"\n[grid]\nsampler = ['{}', '{}']\nsteps = 3\ncanvas_length = 8\n", kModel,
                                                            external("frail.py", ", parameters=\"frail=true\""), external("frail.py", ", parameters=\"frail=false\"")));
  const auto sweep = [&](const std::string& out, std::vector<std::string> more) {
    more.insert(more.begin(), {"sweep", "plan.toml", "--out", out, "--quiet"});
    const Outcome got = run(more);
    EXPECT_EQ(got.exit_code, 4) << got.err;
    EXPECT_NE(got.err.find("120 samples run"), std::string::npos) << got.err;
    return got.err;
  };
  const std::string said = sweep("one", {"--threads", "1"});
  sweep("three", {"--threads", "3", "--batch", "4"});
  EXPECT_NE(said.find("sample failed: item"), std::string::npos) << said;
  const H5Reader one(folder.file("one/run.h5")), three(folder.file("three/run.h5"));
  const auto failed = one.read<uint8_t>("samples/failed");
  const auto config = one.read<int32_t>("samples/config_idx"), item = one.read<int32_t>("samples/item_idx");
  ASSERT_EQ(failed.size(), 120u);
  EXPECT_EQ(failed, three.read<uint8_t>("samples/failed"));
  EXPECT_EQ(one.read<int32_t>("text/ids"), three.read<int32_t>("text/ids"));
  // Configuration 0 failed in some samples; its others have the tokens of configuration 1, which never fails.
  const auto begin = one.read<int64_t>("samples/ids_begin"), count = one.read<int64_t>("samples/num_tokens");
  const auto ids = one.read<int32_t>("text/ids");
  size_t lost = 0;
  for (size_t i = 0; i < 40; ++i) {
    ASSERT_TRUE(config[i] == 0 && config[i + 40] == 1 && item[i] == item[i + 40]);
    EXPECT_FALSE(failed[i + 40]);
    lost += failed[i];
    if (failed[i]) continue;
    ASSERT_EQ(count[i], 8);
    EXPECT_TRUE(std::equal(ids.begin() + begin[i], ids.begin() + begin[i] + 8, ids.begin() + begin[i + 40])) << i;
  }
  EXPECT_TRUE(lost > 4 && lost < 30) << lost;  // 3 steps of two draws under 0.05: 10.6 of 40 expected, 1 in 10^3 outside
  EXPECT_NE(testing::read_text(folder.file("one/run.journal")).find("ended by signal 6"), std::string::npos);
  EXPECT_NE(said.find("failed: ValueError: a bad day (frail.py:"), std::string::npos) << said;
}

TEST_F(ExternalPython, TheScriptIsPartOfTheContentKey) {
  testing::write_text(folder.file("plan.toml"), fmt::format("[denoiser]\nmodel = \"{}\"\n[dataset]\nname = \"source(items=2)\"\n[grid]\nsampler = '{}'\nstop = '{}'\nsteps = 3\ncanvas_length = 8\n", kModel,
                                                            external("entropy_bound.py"), external("entropy_bound.py")));
  const auto sweep = [&] { return run({"sweep", "plan.toml", "--out", "run", "--quiet"}); };
  EXPECT_EQ(sweep().exit_code, 0);
  EXPECT_NE(sweep().err.find("nothing to do"), std::string::npos);
  testing::write_text(folder.file("external/entropy_bound.py"), testing::read_text(folder.file("external/entropy_bound.py")) + "# changed\n");
  const Outcome changed = sweep();
  EXPECT_EQ(changed.exit_code, 2) << changed.err;
  EXPECT_NE(changed.err.find("code=external sha256:"), std::string::npos) << changed.err;
}

}  // namespace
}  // namespace canvaslab
