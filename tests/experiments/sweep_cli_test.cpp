// canvaslab sweep and plot as a user runs them: interrupts, wrong plans, pictures. Kills, full disks and damage: fire_test.cpp.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <regex>
#include <thread>

#include "core/h5.h"
#include "tests/support/h5_contents.h"
#include "tests/support/small_sweep.h"
#include "tests/support/temporary.h"

namespace canvaslab {
namespace {

const std::string kProgram = CANVASLAB_PROGRAM;
const std::string kSource = CANVASLAB_SOURCE_DIR;

using testing::kSmallPlan;

class SweepCommand : public ::testing::Test {
 protected:
  SweepCommand() { write_file(folder / "plan.toml", kSmallPlan); }
  ShellResult sweep(const std::string& run, const std::string& more = "") const {
    return shell(kProgram + " sweep " + (folder / "plan.toml") + " --threads 2 --out " + (folder / run) + " " + more);
  }
  pid_t start(const std::string& run, const std::string& dataset = "source(items=40)") const { return testing::start_sweep(folder / "plan.toml", folder / run, dataset); }
  TemporaryFolder folder;
};

TEST_F(SweepCommand, RunsOnceThenSaysThereIsNothingToDo) {
  const auto first = sweep("run");
  EXPECT_EQ(first.exit_code, 0) << first.output;
  const auto second = sweep("run");
  EXPECT_EQ(second.exit_code, 0);
  EXPECT_NE(second.output.find("nothing to do: all 560 samples"), std::string::npos) << second.output;  // (12 configurations + 2 controls) x 40
}

TEST_F(SweepCommand, DryRunPrintsThePlanAndWritesNothing) {
  const auto result = sweep("run", "--dry-run");
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_NE(result.output.find("14 configurations x 40 items x 1 seeds x 1 repeats = 560 samples"), std::string::npos) << result.output;
  // (2 + 4 steps) x 3 samplers x 2 lengths x 40 items, one canvas each.
  EXPECT_NE(result.output.find("at most 1440 forwards"), std::string::npos) << result.output;
  EXPECT_FALSE(std::filesystem::exists(folder / "run"));
}

TEST_F(SweepCommand, AChangedPlanIsRefusedWithTheLineThatDiffers) {
  ASSERT_EQ(sweep("run").exit_code, 0);
  const auto result = sweep("run", "--limit 10");
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_NE(result.output.find("there: items 40"), std::string::npos) << result.output;
  EXPECT_NE(result.output.find("now:   items 10"), std::string::npos) << result.output;
}

TEST_F(SweepCommand, AnInterruptKeepsWhatIsDoneAndTheSameCommandGoesOn) {
  const std::string many = "source(items=3000)";
  const pid_t child = start("run", many);
  // Interrupt as soon as samples are on record: the journal grows beyond its header.
  while (!std::filesystem::exists(folder / "run/run.journal") || std::filesystem::file_size(folder / "run/run.journal") < 20000) {
    ASSERT_EQ(::waitpid(child, nullptr, WNOHANG), 0) << "the sweep ended early";
    std::this_thread::yield();
  }
  ::kill(child, SIGINT);
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 130);
  EXPECT_FALSE(std::filesystem::exists(folder / "run/run.h5"));
  // The rest of so many would take long; that it goes on is seen from the count it reports at the next interrupt.
  const auto before = std::filesystem::file_size(folder / "run/run.journal");
  const pid_t again = start("run", many);
  while (std::filesystem::file_size(folder / "run/run.journal") < before + 20000) {
    ASSERT_EQ(::waitpid(again, nullptr, WNOHANG), 0) << "the resumed sweep ended early";
    std::this_thread::yield();
  }
  const auto second = sweep("run", "--set 'dataset.name=" + many + "'");
  EXPECT_EQ(second.exit_code, 2);
  EXPECT_NE(second.output.find("another run is writing into this folder"), std::string::npos) << second.output;
  ::kill(again, SIGTERM);
  ::waitpid(again, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 130);
}

TEST_F(SweepCommand, WorksOnACheckpointWithAgreementAgainstAReference) {
  write_file(folder / "prompts.jsonl", "{\"prompt_ids\": [2, 5, 7]}\n{\"prompt_ids\": [2, 9], \"id\": \"b\"}\n{\"prompt_ids\": [3]}\n");
  write_file(folder / "plan.toml", "[denoiser]\nmodel = \"" + kSource + "/tests/network/goldens/base\"\n[dataset]\nname = \"prompts(path='" + (folder / "prompts.jsonl") +
                                       "')\"\n[reference]\nsampler = \"entropy_bound\"\nsteps = 8\n[grid]\nsampler = [\"entropy_bound\", \"fixed_step\"]\nsteps = [2, 4]\n");
  const auto result = sweep("run");
  ASSERT_EQ(result.exit_code, 0) << result.output;
  const auto contents = h5_contents(folder / "run/run.h5");
  ASSERT_TRUE(contents.contains("aggregates/agreement_mean"));
  ASSERT_EQ(contents.at("config/num_steps").shape, "[5]");  // the reference itself was added to the plan
  const auto& bytes = contents.at("aggregates/agreement_mean").bytes;
  EXPECT_EQ(reinterpret_cast<const double*>(bytes.data())[4], 1.0) << "the reference agrees with itself";
  EXPECT_LT(reinterpret_cast<const double*>(bytes.data())[2], 1.0);
  ASSERT_EQ(shell(kProgram + " sweep " + (folder / "plan.toml") + " --threads 1 --batch 3 --quiet --out " + (folder / "batch")).exit_code, 0);
  EXPECT_EQ(h5_difference(folder / "run/run.h5", folder / "batch/run.h5"), "");
  EXPECT_EQ(shell(kProgram + " plot " + (folder / "run")).exit_code, 0);
}

/// true and false are on and off, under the same content keys: a longer list takes what a shorter one made.
TEST_F(SweepCommand, SelfConditioningIsAnAxisAndOnAndOffKeepTheirKeys) {
  write_file(folder / "prompts.jsonl", "{\"prompt_ids\": [2, 5, 7]}\n{\"prompt_ids\": [2, 9], \"id\": \"b\"}\n{\"prompt_ids\": [3]}\n");
  const auto plan = [&](const std::string& values) {
    write_file(folder / "plan.toml", "[denoiser]\nmodel = \"" + kSource + "/tests/network/goldens/base\"\n[dataset]\nname = \"prompts(path='" + (folder / "prompts.jsonl") +
                                         "')\"\n[grid]\nsampler = \"fixed_step\"\nsteps = 4\nself_conditioning = " + values + "\n");
  };
  plan("[true, false]");
  const auto two = sweep("two");
  ASSERT_EQ(two.exit_code, 0) << two.output;
  EXPECT_NE(two.output.find("6 samples run"), std::string::npos) << two.output;
  plan("[\"on\", \"stale(2)\", \"off\", \"top_k(3, temperature(0.7))\"]");
  const auto four = sweep("four", "--reuse " + (folder / "two"));
  ASSERT_EQ(four.exit_code, 0) << four.output;
  EXPECT_NE(four.output.find("6 of them were generated before"), std::string::npos) << four.output;
  EXPECT_NE(sweep("four").output.find("nothing to do: all 12 samples"), std::string::npos);
  std::string settings;
  for (const auto& line : H5Reader(folder / "four/run.h5").read_strings("config/settings")) settings += line + "\n";
  for (const char* text : {"self_conditioning=on;", "self_conditioning=off;", "self_conditioning=stale(every=2, inner=on);", "self_conditioning=top_k(k=3, inner=temperature(temperature=0.7, inner=on));"})
    EXPECT_NE(settings.find(text), std::string::npos) << text << " in " << settings;
  plan("[true, \"stail(2)\"]");
  const auto wrong = sweep("wrong");
  EXPECT_EQ(wrong.exit_code, 2);
  EXPECT_NE(wrong.output.find("plan.toml:8:21: there is no self-conditioning 'stail'; did you mean 'stale'?"), std::string::npos) << wrong.output;
}

TEST_F(SweepCommand, TheReadmesExamplesRunInPython) {
  const char* python = std::getenv("CANVASLAB_PYTHON");
  if (!python) GTEST_SKIP() << "CANVASLAB_PYTHON is not set";
  ASSERT_EQ(sweep("run").exit_code, 0);
  const std::string readme = read_file(kSource + "/results/README.md");
  const bool pandas = shell(std::string(python) + " -c 'import pandas'").exit_code == 0;
  const std::regex block("```python\n([^`]*)```");
  int count = 0, left_out = 0;
  for (auto at = std::sregex_iterator(readme.begin(), readme.end(), block); at != std::sregex_iterator(); ++at, ++count) {
    std::string code = (*at)[1];
    EXPECT_EQ(std::count(code.begin(), code.end(), '\n'), 3) << code;
    if (code.find("pandas") != std::string::npos && !pandas) {
      ++left_out;
      continue;
    }
    code = std::regex_replace(code, std::regex("results/runs/quickstart"), folder / "run");
    write_file(folder / "example.py", code);
    const auto result = shell(std::string(python) + " " + (folder / "example.py"));
    EXPECT_EQ(result.exit_code, 0) << code << result.output;
    EXPECT_FALSE(result.output.empty()) << code;
  }
  EXPECT_EQ(count, 7);
  if (left_out) GTEST_SKIP() << left_out << " examples need pandas, which this Python lacks; the others ran";
}

/// Whoever opens the file must find out from it alone what every number means.
TEST_F(SweepCommand, EveryColumnSaysItsUnitOrItsNames) {
  const char* python = std::getenv("CANVASLAB_PYTHON");
  if (!python) GTEST_SKIP() << "CANVASLAB_PYTHON is not set";
  ASSERT_EQ(sweep("run", "--set run.repeats=2 --set reference.sampler=fixed_step").exit_code, 0);
  // No compounds, no variable-length types; text explains itself; a number has a unit, or names for its codes, all of which
  // are in the list.
  write_file(folder / "schema.py", R"py(import h5py, sys
bad, seen = [], 0
def look(name, d):
    global seen
    if not isinstance(d, h5py.Dataset):
        return
    seen += 1
    if d.dtype.kind not in "iufS":
        bad.append((name, "type", str(d.dtype)))
    if d.dtype.kind == "S":
        return
    names, unit = d.attrs.get("names"), d.attrs.get("unit", b"")
    if names is None and not unit.strip():
        bad.append((name, "neither unit nor names"))
    if names is not None and (len(set(names)) != len(names) or (d.size and d[:].max() >= len(names))):
        bad.append((name, "names do not cover the codes"))
with h5py.File(sys.argv[1], "r+") as f:
    if len(sys.argv) > 2:
        del f[sys.argv[2]].attrs["unit"]
    f.visititems(look)
print(seen, bad)
sys.exit(bool(bad) or seen < 50)
)py");
  const std::string look = std::string(python) + " " + (folder / "schema.py") + " " + (folder / "run/run.h5");
  const auto schema = shell(look);
  EXPECT_EQ(schema.exit_code, 0) << schema.output;
  EXPECT_EQ(shell(look + " steps/mean_entropy_nats").exit_code, 1) << "a column without a unit was not noticed";
}

TEST_F(SweepCommand, PlotsAreWrittenAndSelfContained) {
  if (shell("command -v gnuplot").exit_code != 0) GTEST_SKIP() << "gnuplot is not installed";
  ASSERT_EQ(sweep("run").exit_code, 0);
  const auto result = shell(kProgram + " plot " + (folder / "run"));
  ASSERT_EQ(result.exit_code, 0) << result.output;
  for (const char* name : {"quality_vs_tokens_per_forward_report", "quality_vs_steps", "accepted_per_step"}) {
    const std::string stem = folder / ("run/plots/" + std::string(name));
    EXPECT_EQ(read_file(stem + ".png").substr(0, 8), "\x89PNG\r\n\x1a\n") << name;
    EXPECT_GT(std::filesystem::file_size(stem + ".png"), 10000u);
    const auto parsed = shell("python3 -c 'import sys, xml.dom.minidom as m; m.parse(sys.argv[1])' " + stem + ".svg");
    EXPECT_EQ(parsed.exit_code, 0) << name << parsed.output;
  }
  const std::string html = read_file(folder / "run/plots/report.html");
  EXPECT_EQ(html.find("://"), std::string::npos) << html.substr(html.find("://") - 20, 100);
  EXPECT_NE(html.find("can be resolved"), std::string::npos);
  EXPECT_NE(html.find("exact samples (control)"), std::string::npos);
  EXPECT_EQ(std::count(html.begin(), html.end(), '\0'), 0);
  EXPECT_EQ(shell(kProgram + " plot " + (folder / "nothing")).exit_code, 3);
}

TEST_F(SweepCommand, ARunOfManyConfigurationsIsGroupedBySampler) {
  if (shell("command -v gnuplot").exit_code != 0) GTEST_SKIP() << "gnuplot is not installed";
  std::string bounds;
  for (int i = 1; i <= 40; ++i) bounds += (i > 1 ? ", " : "") + ("\"entropy_bound(0." + std::to_string(100 + i) + ")\"");
  write_file(folder / "plan.toml", "[denoiser]\nmodel = \"hmm(states=2, alphabet=4)\"\n[dataset]\nname = \"source(items=3)\"\n[grid]\nsampler = [" + bounds +
                                       ", \"fixed_step\"]\nsteps = [1, 2]\ncanvas_length = [2, 3, 4, 5]\n");
  ASSERT_EQ(sweep("run").exit_code, 0);
  const auto result = shell(kProgram + " plot " + (folder / "run"));
  ASSERT_EQ(result.exit_code, 0) << result.output;
  EXPECT_NE(read_file(folder / "run/plots/report.html").find("one colour a sampler"), std::string::npos);
}

}  // namespace
}  // namespace canvaslab
