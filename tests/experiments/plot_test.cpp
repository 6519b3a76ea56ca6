// canvaslab plot: every figure, and the report in a real browser.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <set>
#include <sstream>

#include <fmt/format.h>

#include "core/h5.h"
#include "eval/recorded_steps.h"
#include "tests/support/temporary.h"

namespace canvaslab {
namespace {

const std::string kProgram = CANVASLAB_PROGRAM;
const std::string kHere = CANVASLAB_SOURCE_DIR "/tests/experiments/";

constexpr const char* kPlan = R"toml([run]
name = "small"
repeats = 2
record = "positions"
record_items = 3
[denoiser]
model = "hmm(states=4, alphabet=6)"
[dataset]
name = "source(items=20)"
[grid]
sampler = ["entropy_bound(0.1)", "fixed_step", "confidence_threshold(0.6)"]
steps = [2, 5]
canvas_length = [6, 8]
)toml";

class PlotCommand : public ::testing::Test {
 protected:
  void SetUp() override {
    if (shell("command -v gnuplot").exit_code != 0) GTEST_SKIP() << "gnuplot is not installed";
    write_file(folder / "plan.toml", kPlan);
  }
  void sweep(const std::string& run, const std::string& more = "") const {
    const auto result = shell("cd " + folder.path() + " && " + kProgram + " sweep plan.toml --quiet --out " + run + " " + more);
    ASSERT_EQ(result.exit_code, 0) << result.output;
  }
  ShellResult plot(const std::string& arguments) const { return shell("cd " + folder.path() + " && " + kProgram + " plot " + arguments); }
  /// The page after its script ran, with the view that `hash` names; "" where there is no browser.
  std::string in_browser(const std::string& page, const std::string& hash) const {
    const auto found = shell("command -v chromium || command -v chromium-browser || command -v google-chrome");
    if (found.exit_code != 0) return "";
    const std::string browser = found.output.substr(0, found.output.find('\n')), dom = folder / "dom.html";
    const auto result = shell("HOME=" + folder.path() + " timeout 120 " + browser + " --headless --no-sandbox --disable-gpu --dump-dom 'file://" + (folder / page) + "#" + hash + "' 2>/dev/null >" + dom);
    EXPECT_EQ(result.exit_code, 0) << result.output;
    return dom;
  }
  TemporaryFolder folder;
};

const char* python() { return std::getenv("CANVASLAB_PYTHON"); }

TEST_F(PlotCommand, EveryFigureIsDrawnAndThePageIsWellFormed) {
  sweep("run");
  const auto result = plot("run --config-a 0 --config-b 4 --config-b 8");
  ASSERT_EQ(result.exit_code, 0) << result.output;
  EXPECT_EQ(result.output.find("note:"), std::string::npos) << result.output;
  for (const char* name : {"quality_vs_tokens_per_forward_report", "quality_vs_steps", "accepted_per_step", "entropy_by_step", "accepted_by_position", "steps_histogram", "stop_reasons", "discordance"}) {
    const std::string stem = folder / ("run/plots/" + std::string(name));
    EXPECT_EQ(read_file(stem + ".png").substr(0, 8), "\x89PNG\r\n\x1a\n") << name;
    EXPECT_GT(std::filesystem::file_size(stem + ".png"), 10000u) << name;
    const auto parsed = shell("python3 -c 'import sys, xml.dom.minidom as m; m.parse(sys.argv[1])' " + stem + ".svg");
    EXPECT_EQ(parsed.exit_code, 0) << name << parsed.output;
  }
  const auto checked = shell("python3 " + kHere + "report_html.py " + (folder / "run/plots/report.html"));
  EXPECT_EQ(checked.exit_code, 0) << checked.output;
  EXPECT_EQ(checked.output, "36\n") << "12 configurations by 3 items";
  EXPECT_NE(read_file(folder / "run/plots/report.html").find("36 of 36 recorded samples (3 of 3 recorded items)"), std::string::npos);
}

/// Which samples have positions on record: 3 of 20 items, evenly spread, first repeat, every configuration but controls.
TEST_F(PlotCommand, RecordItemsKeepsPositionsOfThoseItemsOnly) {
  sweep("run");
  sweep("one", "--shard 1/2");
  sweep("one", "--shard 2/2");
  ASSERT_EQ(shell(kProgram + " merge " + (folder / "one")).exit_code, 0);
  sweep("all", "--set run.record_items=20");
  for (const char* run : {"run", "one"}) {
    const H5Reader file(folder / (std::string(run) + "/run.h5"));
    const auto samples = read_plot_samples(file);
    const auto repeat = file.read<uint32_t>("samples/repeat");
    const auto recorded = read_recorded_steps(file, samples, read_plot_history(file));
    std::set<std::pair<uint32_t, uint32_t>> seen;
    for (const uint64_t s : recorded.sample) {
      EXPECT_EQ(repeat[s], 0u);
      seen.insert({samples.config[s], samples.item[s]});
    }
    EXPECT_EQ(seen.size(), 12u * 3);
    for (const auto& [config, item] : seen) EXPECT_TRUE(item == 6 || item == 13 || item == 19) << item;
  }
  const auto digest = [&](const char* run) { return H5Reader(folder / (std::string(run) + "/run.h5")).text_attribute("/", "samples_sha256"); };
  EXPECT_EQ(digest("run"), digest("all")) << "what is recorded changes no sample";
  const auto refused = shell("cd " + folder.path() + " && " + kProgram + " sweep plan.toml --set run.record=steps --out other");
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_NE(refused.output.find("record_items"), std::string::npos) << refused.output;
}

TEST_F(PlotCommand, HeatMapsAreNumpysMeans) {
  if (!python()) GTEST_SKIP() << "CANVASLAB_PYTHON is not set";
  sweep("run");
  write_file(folder / "means.py", R"py(import h5py, numpy as np, sys
f = h5py.File(sys.argv[1])
row, at = f["positions/step_row"][:], f["positions/begin"][:]
config = f["samples/config_idx"][:][f["canvases/sample_idx"][:][f["steps/canvas_row"][:][row]]]
for c in range(12):
    steps = {}
    for r in np.flatnonzero(config == c):
        steps.setdefault(int(f["steps/step_idx"][row[r]]), []).append((f["positions/entropy_nats"][at[r]:at[r + 1]].astype("f8"), f["positions/accepted"][at[r]:at[r + 1]]))
    for k in sorted(steps):
        for name, i in (("e", 0), ("a", 1)):
            print(c, k, name, *("%.12g" % v for v in np.mean([s[i] for s in steps[k]], axis=0)))
)py");
  const auto result = shell(std::string(python()) + " " + (folder / "means.py") + " " + (folder / "run/run.h5"));
  ASSERT_EQ(result.exit_code, 0) << result.output;
  const H5Reader file(folder / "run/run.h5");
  const auto samples = read_plot_samples(file);
  const auto recorded = read_recorded_steps(file, samples, read_plot_history(file));
  std::istringstream lines(result.output);
  size_t compared = 0;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    uint32_t config = 0;
    size_t step = 0;
    std::string name;
    words >> config >> step >> name;
    const StepMeans means = step_means(file, recorded, config);
    ASSERT_LT(step, means.steps);
    size_t p = 0;
    for (double expected; words >> expected; ++p, ++compared)
      EXPECT_NEAR((name == "e" ? means.entropy_nats : means.accepted)[step * means.positions + p], expected, 1e-11 * std::max(1.0, expected)) << line;  // printed with 12 digits
    EXPECT_EQ(p, means.positions);
  }
  EXPECT_GT(compared, 400u);
}

TEST_F(PlotCommand, TheReportSortsScrubsAndZoomsInABrowser) {
  if (!python()) GTEST_SKIP() << "CANVASLAB_PYTHON is not set";
  sweep("run");
  ASSERT_EQ(plot("run").exit_code, 0);
  struct View {
    int left, right, step, item, sort;
  };
  for (const View v : {View{3, 7, 2, 1, -11}, View{0, 11, 0, 2, 8}, View{5, 1, 99, 0, 11}}) {
    const std::string dom = in_browser("run/plots/report.html", fmt::format("item={}&a={}&b={}&step={}&sort={}&zoom=1:2", v.item, v.left, v.right, v.step, v.sort));
    if (dom.empty()) GTEST_SKIP() << "no Chromium is installed: the page's script is not run";
    const std::string check = std::string(python()) + " " + kHere + "report_dom.py " + dom + " " + (folder / "run/run.h5");
    const auto result = shell(fmt::format("{} {} {} {} {} {}", check, v.left, v.right, v.step, v.item, v.sort));
    EXPECT_EQ(result.exit_code, 0) << result.output;
    const auto wrong = shell(fmt::format("{} {} {} {} {} {}", check, v.right, v.left, v.step, v.item, v.sort));
    if (v.step > 0) { EXPECT_NE(wrong.exit_code, 0) << "another sampler's tokens pass for these"; }
  }
}

/// Ids, categories and texts of others neither end the page's elements nor run.
TEST_F(PlotCommand, TextsOfOthersStayTexts) {
  write_file(folder / "prompts.jsonl", R"({"id": "</script><script>document.title='taken'</script>", "category": "a<b`touch taken`'\"", "prompt_ids": [1]}
{"id": "<img src=x onerror=alert(1)>", "category": "</svg></table>", "prompt_ids": [2]}
{"id": "plain", "category": "</svg></table>", "prompt_ids": [3]}
)");
  write_file(folder / "plan.toml", R"toml([run]
name = "evil"
record = "positions"
[denoiser]
model = "hmm(states=4, alphabet=6)"
[dataset]
name = "prompts(path=prompts.jsonl)"
[grid]
sampler = ["entropy_bound(0.1)", "fixed_step"]
steps = 3
canvas_length = 8
)toml");
  sweep("run");
  const auto result = plot("run");
  ASSERT_EQ(result.exit_code, 0) << result.output;
  EXPECT_NE(result.output.find("score_by_category.svg"), std::string::npos) << result.output;
  EXPECT_FALSE(std::filesystem::exists(folder / "taken")) << "gnuplot ran a category";
  const auto checked = shell("python3 " + kHere + "report_html.py " + (folder / "run/plots/report.html"));
  EXPECT_EQ(checked.exit_code, 0) << checked.output;
  EXPECT_EQ(checked.output, "6\n");
  const std::string dom = in_browser("run/plots/report.html", "item=1&step=2");
  if (dom.empty()) GTEST_SKIP() << "no Chromium is installed: the page's script is not run";
  const std::string text = read_file(dom);
  EXPECT_NE(text.find("<title>evil - CanvasLab</title>"), std::string::npos);
  EXPECT_NE(text.find("&lt;img src=x onerror=alert(1)&gt;, repeat 0"), std::string::npos);
  EXPECT_EQ(text.find("<img"), std::string::npos);
}

TEST_F(PlotCommand, AxesQualitiesAndTwoRuns) {
  sweep("one");
  sweep("two", "--set run.seed=2");
  const auto cost = plot("one --out cost --x cost-weighted-forwards --cost verify=0.3 --per-token --quality score");
  ASSERT_EQ(cost.exit_code, 0) << cost.output;
  EXPECT_NE(cost.output.find("cost/quality_vs_cost_weighted_forwards_per_token.png"), std::string::npos) << cost.output;
  EXPECT_NE(read_file(folder / "cost/report.html").find("verify 0.3"), std::string::npos);
  EXPECT_NE(read_file(folder / "cost/quality_vs_steps.svg").find("negative log likelihood (nats per token)"), std::string::npos);
  EXPECT_EQ(plot("one --out v --x forwards_verify").exit_code, 0) << "all at 0: a linear axis";
  const auto both = plot("one two --out both");
  ASSERT_EQ(both.exit_code, 0) << both.output;
  EXPECT_NE(both.output.find("both/one-discordance.png"), std::string::npos) << both.output;
  EXPECT_NE(both.output.find("both/two-report.html"), std::string::npos) << both.output;
  sweep("data", "--set 'dataset.name=source(items=10)'");
  const auto other = plot("one data --out other");
  EXPECT_EQ(other.exit_code, 0);
  EXPECT_NE(other.output.find("no discordance plot: the runs are on different data"), std::string::npos) << other.output;
  const std::pair<const char*, const char*> mistakes[] = {{"one --x tokens", "there is no such axis"},
                                                          {"one --quality agreement", "has none of that name"},
                                                          {"one --cost verify=0.3", "--x cost_weighted_forwards"},
                                                          {"one --x tokens_per_forward --per-token", "--per-token"},
                                                          {"one --config-a 0", "both --config-a and --config-b"},
                                                          {"", "nothing to plot"}};
  for (const auto& [arguments, words] : mistakes) {
    const auto result = plot(arguments);
    EXPECT_EQ(result.exit_code, 2) << arguments;
    EXPECT_NE(result.output.find(words), std::string::npos) << result.output;
  }
}

/// Wrong numbers in a file that opens: an error that names the column.
TEST_F(PlotCommand, DamagedColumnsAreErrors) {
  if (!python()) GTEST_SKIP() << "CANVASLAB_PYTHON is not set";
  sweep("run");
  for (const char* name : {"samples/config_idx", "samples/item_idx", "canvases/sample_idx", "steps/canvas_row", "steps/step_idx", "positions/begin"}) {
    const auto damaged = shell("cd " + folder.path() + " && cp run/run.h5 bad.h5 && " + python() + " -c 'import h5py, sys; f = h5py.File(\"bad.h5\", \"r+\"); f[sys.argv[1]][1] = 2000000000' " + name);
    ASSERT_EQ(damaged.exit_code, 0) << damaged.output;
    const auto result = plot("bad.h5 --out bad");
    EXPECT_EQ(result.exit_code, 3) << name;
    EXPECT_NE(result.output.find(std::string(name) == "positions/begin" ? "/positions" : name), std::string::npos) << result.output;
  }
}

TEST_F(PlotCommand, TracesMakeAPageWithTheText) {
  const std::string generate = "cd " + folder.path() + " && " + kProgram + " generate --model 'hmm(states=4)' --canvas-length 8 --max-new-tokens 16 --prompt-ids 1 --seed 3 --json";
  ASSERT_EQ(shell(generate + " --steps 4 --trace a.h5 --sampler ddim").exit_code, 0);
  ASSERT_EQ(shell(generate + " --steps 3 --trace b.h5 --sampler fixed_step").exit_code, 0);
  const auto result = plot("--trace a.h5 --trace b.h5 --tokenizer " CANVASLAB_SOURCE_DIR "/tests/network/goldens/text");
  ASSERT_EQ(result.exit_code, 0) << result.output;
  EXPECT_EQ(result.output, (folder / "plots/report.html") + "\n");
  const std::string dom = in_browser("plots/report.html", "a=0&b=1&canvas=1&step=0");
  if (dom.empty()) GTEST_SKIP() << "no Chromium is installed: the page's script is not run";
  const std::string text = read_file(dom);
  EXPECT_NE(text.find("both start canvases are the same"), std::string::npos);
  EXPECT_NE(text.find("0 of 4 steps"), std::string::npos);
  EXPECT_NE(text.find("text: "), std::string::npos);
  EXPECT_EQ(plot("--trace plan.toml").exit_code, 3);
}

}  // namespace
}  // namespace canvaslab
