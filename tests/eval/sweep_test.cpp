// Plans, TOML mistakes, and results that depend on nothing but the plan.
#include "eval/sweep.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>

#include "core/error.h"
#include "eval/results.h"
#include "tests/support/h5_contents.h"
#include "tests/support/temporary.h"

namespace canvaslab {
namespace {

constexpr const char* kPlan = R"toml([run]
name = "small"
seed = [1, 7]
repeats = 2
record = "positions"
[denoiser]
model = "hmm(states=3, alphabet=5)"
[dataset]
name = "source(items=6)"
[[grid]]
sampler = ["entropy_bound(0.1)", "fixed_step"]
steps = [2, 3]
canvas_length = [4, 6]
temperature = ["constant(1)", "linear_remaining(t_min=0.4, t_max=0.8)"]
max_new_tokens = 8
[[grid]]
sampler = "entropy_bound(0.1)"
stop = "any_of(entropy(0.5), token_stability)"
steps = 4
canvas_length = 6
max_new_tokens = 8
)toml";

SweepPlan plan_of(const std::string& text, const std::vector<std::string>& overrides = {}) {
  const TemporaryFolder folder;
  write_file(folder / "plan.toml", text);
  return read_sweep(folder / "plan.toml", overrides);
}

std::string mistake(const std::string& text, const std::vector<std::string>& overrides = {}) {
  try {
    prepare_sweep(plan_of(text, overrides), nullptr);
    return "no error";
  } catch (const UserError& error) {
    EXPECT_EQ(error.code(), ExitCode::kUsage) << error.what();
    return error.what();
  }
}

std::string replaced(std::string text, const std::string& what, const std::string& with) {
  const auto at = text.find(what);
  EXPECT_NE(at, std::string::npos) << what;
  return text.replace(at, what.size(), with);
}

TEST(SweepPlan, ExpandsTheProductOfItsListsOnce) {
  const auto sweep = prepare_sweep(plan_of(kPlan), nullptr);
  size_t controls = 0;
  for (const auto& config : sweep.plan.configs) controls += config.control;
  EXPECT_EQ(controls, 2u);                                    // one a canvas length
  EXPECT_EQ(sweep.plan.configs.size(), 2u * 2 * 2 * 2 + 1 + 2);
  EXPECT_EQ(sweep.num_samples(), sweep.plan.configs.size() * 6 * 4);
  EXPECT_EQ(std::set(sweep.settings_text.begin(), sweep.settings_text.end()).size(), sweep.settings_text.size());
  // Written twice, kept once.
  const auto twice = prepare_sweep(plan_of(std::string(kPlan) + "[[grid]]\nsampler = \"fixed_step\"\nsteps = 2\ncanvas_length = 4\ntemperature = 1\nmax_new_tokens = 8\n"), nullptr);
  EXPECT_EQ(twice.plan.configs.size(), sweep.plan.configs.size());
}

TEST(SweepPlan, MistakesNameLineColumnAndTheNearestKey) {
  EXPECT_NE(mistake(replaced(kPlan, "repeats", "repeat")).find("plan.toml:4:1: unknown key 'repeat' in [run]; did you mean 'repeats'?"), std::string::npos);
  EXPECT_NE(mistake(replaced(kPlan, "[2, 3]", "[2, 0]")).find("plan.toml:12:13: 'steps' is 0; expected 1 to"), std::string::npos) << mistake(replaced(kPlan, "[2, 3]", "[2, 0]"));
  EXPECT_NE(mistake(replaced(kPlan, "[2, 3]", "[]")).find("plan.toml:12:9: 'steps' is an empty list"), std::string::npos);
  EXPECT_NE(mistake(replaced(kPlan, "repeats = 2", "repeats = \"2\"")).find("plan.toml:4:11: 'repeats' must be a whole number"), std::string::npos);
  EXPECT_NE(mistake(replaced(kPlan, "fixed_step", "fixed_stop")).find("did you mean 'fixed_step'?"), std::string::npos);
  EXPECT_NE(mistake(replaced(kPlan, "fixed_step", "fixed_stop")).find("plan.toml:11:11: "), std::string::npos);
  EXPECT_NE(mistake(replaced(kPlan, "constant(1)", "constnt(1)")).find("did you mean 'constant'?"), std::string::npos);
  EXPECT_NE(mistake(replaced(kPlan, "states=3", "stats=3")).find("plan.toml:7:9: "), std::string::npos);
  EXPECT_NE(mistake(replaced(kPlan, "\"positions\"", "\"position\"")).find("did you mean 'positions'?"), std::string::npos);
  EXPECT_NE(mistake(replaced(kPlan, "[dataset]", "[dataset")).find("plan.toml:8:"), std::string::npos);
  EXPECT_NE(mistake(kPlan, {"run.repeets=3"}).find("(with --set): unknown key 'repeets'"), std::string::npos);
  EXPECT_NE(mistake(kPlan, {"run.repeats"}).find("expected key=value"), std::string::npos);
}

TEST(SweepPlan, SetOverridesDottedKeys) {
  const auto plan = plan_of(kPlan, {"run.repeats=5", "dataset.name=source(items=2)", "run.seed=[3]"});
  EXPECT_EQ(plan.repeats, 5u);
  EXPECT_EQ(plan.dataset, "source(items=2)");
  EXPECT_EQ(plan.seeds, std::vector<uint64_t>{3});
}

TEST(SweepPlan, ShardsAreDisjointAndTogetherWhole) {
  const auto sweep = prepare_sweep(plan_of(kPlan), nullptr);
  std::set<Sha256> seen;
  for (uint32_t shard = 1; shard <= 3; ++shard)
    for (const auto& task : shard_tasks(sweep, shard, 3)) EXPECT_TRUE(seen.insert(task.key).second);
  EXPECT_EQ(seen.size(), sweep.num_samples());
}

/// How a run is carried out, which must not matter.
struct Way {
  int threads = 2, batch = 1;
  uint32_t shard = 1, num_shards = 1;
  uint64_t shuffle = 0;
};

std::string run_into(const std::string& folder, Way way, const std::vector<std::string>& overrides = {}) {
  const auto sweep = prepare_sweep(plan_of(kPlan, overrides), nullptr);
  SweepOptions options;
  options.out_dir = folder;
  options.threads = way.threads, options.batch = way.batch, options.shuffle = way.shuffle;
  options.shard = way.shard, options.num_shards = way.num_shards;
  const auto outcome = run_sweep(sweep, options);
  EXPECT_EQ(outcome.failed, 0u);
  EXPECT_EQ(outcome.ran + outcome.already_done, outcome.total);
  return outcome.results_path;
}

TEST(Sweep, FilesAreEqualForAnyThreadsBatchAndOrder) {
  const TemporaryFolder folder;
  const std::string plain = run_into(folder / "plain", {.threads = 1});
  EXPECT_EQ(h5_difference(plain, run_into(folder / "threads", {.threads = 3})), "");
  EXPECT_EQ(h5_difference(plain, run_into(folder / "batch", {.threads = 2, .batch = 5})), "");
  EXPECT_EQ(h5_difference(plain, run_into(folder / "order", {.threads = 2, .shuffle = 99})), "");
  EXPECT_NE(h5_difference(plain, run_into(folder / "seed", {.threads = 2}, {"run.seed=[1, 8]"})), "") << "the comparison must see another seed";
}

/// A run of millions is written a block of rows at a time, from the journal; the file must not show it.
TEST(Sweep, FilesAreEqualForAnySizeOfBlock) {
  const auto sweep = prepare_sweep(plan_of(kPlan), nullptr);
  const TemporaryFolder folder;
  std::vector<SampleRecord> samples;
  std::vector<SampleRef> refs;
  {
    JournalWriter journal(folder / "run.journal", "plan\n");
    for (const auto& task : shard_tasks(sweep, 1, 1)) {
      samples.push_back(run_tasks(sweep, std::span(&task, 1)).front());
      if (samples.size() % 50 == 0) samples.back().error = "failed", samples.back().steps_per_canvas = {}, samples.back().steps = {}, samples.back().positions = {};
      refs.push_back(journal.append(samples.back()));
    }
  }
  write_results(sweep, SampleRows(samples), folder / "whole.h5", {});
  for (const size_t rows : {size_t{37}, samples.size() - 1, samples.size()}) {
    const SampleRows in_memory(samples, rows), in_journal(folder / "run.journal", refs, rows);
    EXPECT_EQ(samples_digest(in_memory), samples_digest(in_journal));
    write_results(sweep, in_memory, folder / "memory.h5", {});
    write_results(sweep, in_journal, folder / "journal.h5", {});
    EXPECT_EQ(h5_difference(folder / "whole.h5", folder / "memory.h5"), "") << rows;
    EXPECT_EQ(h5_difference(folder / "whole.h5", folder / "journal.h5"), "") << rows;
  }
  samples[3].token_ids[0] ^= 1;
  write_results(sweep, SampleRows(samples, 100), folder / "other.h5", {});
  EXPECT_NE(h5_difference(folder / "whole.h5", folder / "other.h5"), "") << "the comparison cannot fail";
}

TEST(Sweep, ItemsAndInitialNoiseAreSharedAcrossConfigurations) {
  const TemporaryFolder folder;
  const H5Reader file(run_into(folder / "run", {.threads = 2}));
  const auto step_row = file.read<uint64_t>("positions/step_row"), begin = file.read<uint64_t>("positions/begin");
  const auto step_idx = file.read<int32_t>("steps/step_idx"), canvas_idx = file.read<int32_t>("canvases/canvas_idx");
  const auto canvas_row = file.read<uint64_t>("steps/canvas_row"), sample_idx = file.read<uint64_t>("canvases/sample_idx");
  const auto item = file.read<uint32_t>("samples/item_idx"), repeat = file.read<uint32_t>("samples/repeat"), config = file.read<uint32_t>("samples/config_idx");
  const auto length = file.read<int32_t>("config/canvas_length"), canvas_in = file.read<int32_t>("positions/canvas_in");
  std::map<std::tuple<uint32_t, uint32_t, int32_t>, std::vector<int32_t>> first;
  size_t compared = 0;
  for (size_t i = 0; i < step_row.size(); ++i) {
    const auto step = step_row[i];
    const auto canvas = canvas_row[step];
    if (step_idx[step] != 0 || canvas_idx[canvas] != 0) continue;
    const auto sample = sample_idx[canvas];
    const std::vector<int32_t> noise(canvas_in.begin() + static_cast<ptrdiff_t>(begin[i]), canvas_in.begin() + static_cast<ptrdiff_t>(begin[i + 1]));
    ASSERT_EQ(noise.size(), static_cast<size_t>(length[config[sample]]));
    const auto [at, fresh] = first.insert({{item[sample], repeat[sample], length[config[sample]]}, noise});
    compared += !fresh;
    EXPECT_EQ(at->second, noise) << "sample " << sample;
  }
  EXPECT_GT(compared, 100u);
  std::set<std::vector<int32_t>> distinct;
  for (const auto& [key, noise] : first) distinct.insert(noise);
  EXPECT_GT(distinct.size(), 30u) << "items and repeats must differ";
}

TEST(Sweep, CanvasLengthsMayBeDecidedOnTheWay) {
  const TemporaryFolder folder;
  const std::string text = replaced(replaced(kPlan, "canvas_length = [4, 6]", "canvas_length = [4, \"growing(shortest=1, longest=4)\"]"), "max_new_tokens = 8", "max_new_tokens = 10");
  const auto sweep = prepare_sweep(plan_of(text), nullptr);
  SweepOptions options;
  options.out_dir = folder / "run", options.threads = 2;
  run_sweep(sweep, options);
  EXPECT_EQ(run_sweep(sweep, options).ran, 0u) << "the journal keeps the lengths";
  const H5Reader file(folder / "run/run.h5");
  const auto policy = file.read_strings("config/canvas_policy");
  const auto config = file.read<uint32_t>("samples/config_idx"), tokens = file.read<uint32_t>("samples/num_tokens"), canvases = file.read<uint32_t>("samples/num_canvases");
  const auto sample = file.read<uint64_t>("canvases/sample_idx"), canvas_row = file.read<uint64_t>("steps/canvas_row"), begin = file.read<uint64_t>("positions/begin"),
             step_row = file.read<uint64_t>("positions/step_row");
  const auto length = file.read<uint32_t>("canvases/length");
  const auto canvas_length = file.read<int32_t>("config/canvas_length");
  size_t grown = 0;
  for (size_t c = 0; c < length.size(); ++c) {
    const bool decided = !policy[config[sample[c]]].empty();
    EXPECT_TRUE(decided || length[c] == static_cast<uint32_t>(canvas_length[config[sample[c]]])) << c;
  }
  for (size_t i = 0; i < config.size(); ++i) {
    if (policy[config[i]].empty()) continue;
    ++grown;
    EXPECT_EQ(tokens[i], 12u) << "three canvases of the longest length";
    EXPECT_EQ(canvases[i], 5u) << "1, 2, 4, 4, 1";
  }
  EXPECT_GT(grown, 50u);
  ASSERT_EQ(begin.size(), step_row.size() + 1);
  for (size_t i = 0; i < step_row.size(); ++i) EXPECT_EQ(begin[i + 1] - begin[i], length[canvas_row[step_row[i]]]) << i;
  EXPECT_EQ(begin.back(), file.shape("positions/canvas_in")[0]);
  EXPECT_FALSE(H5Reader(run_into(folder / "fixed", {.threads = 2})).has("canvases/length")) << "files of fixed lengths stay as they were";
  EXPECT_NE(mistake(replaced(kPlan, "canvas_length = [4, 6]", "canvas_length = [\"growin\"]")).find("did you mean 'growing'?"), std::string::npos);
}

/// Joins the sample columns and flat tokens of shards by hand and compares them with the whole run's.
TEST(Sweep, ShardsJoinToTheWholeRun) {
  const TemporaryFolder folder;
  const H5Reader whole(run_into(folder / "whole", {.threads = 2}));
  using Row = std::tuple<uint32_t, uint32_t, uint32_t, double, double, uint8_t, std::vector<int32_t>>;
  const auto rows = [](const H5Reader& file, std::vector<Row>& out) {
    const auto config = file.read<uint32_t>("samples/config_idx"), item = file.read<uint32_t>("samples/item_idx"), repeat = file.read<uint32_t>("samples/repeat");
    const auto score = file.read<double>("samples/score"), metric = file.read<double>("metrics/repeated_token_frac");
    const auto reason = file.read<uint8_t>("samples/stop_reason");
    const auto begin = file.read<uint64_t>("samples/ids_begin");
    const auto count = file.read<int32_t>("samples/num_tokens"), ids = file.read<int32_t>("text/ids");
    for (size_t i = 0; i < config.size(); ++i) {
      const auto at = ids.begin() + static_cast<ptrdiff_t>(begin[i]);
      out.emplace_back(config[i], item[i], repeat[i], score[i], metric[i], reason[i], std::vector<int32_t>(at, at + count[i]));
    }
  };
  std::vector<Row> one, joined;
  rows(whole, one);
  for (uint32_t shard = 1; shard <= 3; ++shard) {
    const H5Reader part(run_into(folder / "shards", {.threads = 2, .shard = shard, .num_shards = 3}));
    rows(part, joined);
    EXPECT_EQ(part.list_attribute("canvases/stop_reason", "names"), whole.list_attribute("canvases/stop_reason", "names"));
    for (const auto& name : whole.names("config")) EXPECT_EQ(h5_contents(part.path())["config/" + name].bytes, h5_contents(whole.path())["config/" + name].bytes) << name;
  }
  std::sort(joined.begin(), joined.end());
  EXPECT_TRUE(std::is_sorted(one.begin(), one.end())) << "rows are ordered by (config, item, repeat)";
  EXPECT_EQ(joined, one);
}

TEST(Sweep, AChangedPlanIsRefusedAndAStaleResultsFileIsMadeAgain) {
  const TemporaryFolder folder;
  const std::string path = run_into(folder / "run", {.threads = 2});
  EXPECT_THROW(run_into(folder / "run", {.threads = 2}, {"run.repeats=3"}), UserError);
  const std::string before = read_file(path);
  run_into(folder / "run", {.threads = 2});
  EXPECT_EQ(read_file(path), before) << "nothing to do: the file must not be touched";
  write_file(path, before.substr(0, before.size() / 2));
  run_into(folder / "run", {.threads = 2});
  EXPECT_TRUE(h5_contents(path).contains("samples/score"));
}

/// Fails on one item as long as a flag is set.
class Flaky final : public Dataset {
 public:
  inline static bool broken = true;
  std::vector<Example> load() const override {
    std::vector<Example> out(3);
    for (size_t i = 0; i < 3; ++i) out[i].id = "item-" + std::to_string(i), out[i].has_ids = true;
    return out;
  }
  ScoreFacts score_facts() const override { return {}; }
  Score score(const Example& example, std::span<const int32_t>, const Denoiser&) const override {
    if (broken && example.id == "item-1") throw std::runtime_error("the grader broke");
    return {.value = 1, .metrics = {}};
  }
  std::string content_hash() const override { return "flaky"; }
};
[[maybe_unused]] const bool registered = datasets().add({.name = "flaky", .summary = "", .source = "ours", .aliases = {}, .parameters = {}, .facts = {},
                                                         .make = [](const Options&) { return std::make_unique<Flaky>(); }});

TEST(Sweep, AFailedSampleTakesNoOtherWithItAndIsTriedAgain) {
  const TemporaryFolder folder;
  const auto sweep = prepare_sweep(plan_of("[denoiser]\nmodel = \"hmm(states=2, alphabet=3)\"\n[dataset]\nname = \"flaky\"\n[grid]\nsampler = \"fixed_step\"\nsteps = 1\n"), nullptr);
  SweepOptions options;
  options.out_dir = folder / "run";
  options.batch = 3;  // the bad row shares its batch with the others
  std::vector<std::string> messages;
  options.on_failure = [&](const std::string& text) { messages.push_back(text); };
  Flaky::broken = true;
  const auto first = run_sweep(sweep, options);
  EXPECT_EQ(first.failed, 1u);
  EXPECT_EQ(first.ran, 3u);
  ASSERT_EQ(messages.size(), 1u);
  EXPECT_NE(messages[0].find("item-1"), std::string::npos);
  EXPECT_NE(messages[0].find("the grader broke"), std::string::npos);
  {
    const H5Reader file(first.results_path);
    EXPECT_EQ(file.read<uint8_t>("samples/failed"), (std::vector<uint8_t>{0, 1, 0}));
    EXPECT_TRUE(std::isnan(file.read<double>("samples/score")[1]));
    EXPECT_EQ(file.read<int64_t>("aggregates/num_failed"), std::vector<int64_t>{1});
  }
  Flaky::broken = false;
  const auto second = run_sweep(sweep, options);
  EXPECT_EQ(second.ran, 1u);
  EXPECT_EQ(second.failed, 0u);
  EXPECT_EQ(H5Reader(second.results_path).read<uint8_t>("samples/failed"), (std::vector<uint8_t>{0, 0, 0}));
}

TEST(Sweep, TheControlRowIsExactAndTheCollapsedSamplerIsSeen) {
  const TemporaryFolder folder;
  const H5Reader file(run_into(folder / "run", {.threads = 2}, {"dataset.name=source(items=120)", "run.repeats=1", "run.seed=1", "run.record=steps"}));
  EXPECT_FALSE(file.has("positions"));
  const auto divergence = file.read<double>("aggregates/pair_divergence_nats"), bias = file.read<double>("aggregates/pair_divergence_plugin_bias_nats");
  const auto control = file.read<uint8_t>("config/control");
  double worst = 0, largest_control = 0;
  for (size_t c = 0; c < control.size(); ++c) (control[c] ? largest_control : worst) = std::max(control[c] ? largest_control : worst, divergence[c]);
  for (size_t c = 0; c < control.size(); ++c) {
    if (!control[c]) continue;
    EXPECT_LT(divergence[c], 3 * bias[c]) << "what is left is the plug-in bias";
  }
  EXPECT_GT(worst, 2 * largest_control);
}

}  // namespace
}  // namespace canvaslab
