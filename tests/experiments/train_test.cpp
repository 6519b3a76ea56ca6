// canvaslab train: the same model whatever stops it, mistakes told, curves drawn.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <filesystem>
#include <random>
#include <thread>

#include "core/json.h"
#include "core/safetensors_header.h"
#include "eval/training_log.h"
#include "tests/support/mistakes.h"
#include "tests/support/temporary.h"

namespace canvaslab {
namespace {

using testing::expect_mistakes;

const std::string kBase = std::string(CANVASLAB_SOURCE_DIR) + "/experiments/models/base";

/// Twelve steps of few rows, a checkpoint at every third.
const std::string kConfig = R"toml([run]
name = "brief"
seed = 3
log_every = 2
checkpoint_every = 3
[model]
base = ")toml" + kBase + R"toml("
[optimizer]
steps = 12
warmup_steps = 4
[batch]
rows = 4
batches_per_step = 1
canvas_lengths = [32, 16]
[evaluate]
every = 6
items = 3
settings = ["sampler=fixed_step; steps=2", "sampler=fixed_step; steps=4"]
[[task]]
dataset = "dependency(level=1)"
[[task]]
dataset = "arithmetic(level=1)"
weight = 2
)toml";

class TrainCommand : public ::testing::Test {
 protected:
  void SetUp() override { write_file(folder / "brief.toml", kConfig); }
  std::string command(const std::string& out, const std::string& more = "") const { return fmt::format("{} train {} --quiet --out {} {}", CANVASLAB_PROGRAM, folder / "brief.toml", folder / out, more); }
  ShellResult train(const std::string& out, const std::string& more = "") const { return shell(command(out, more)); }
  std::string model(const std::string& out) const { return read_file(folder / (out + "/model/model.safetensors")); }
  /// The log without the times in it.
  std::string log(const std::string& out) const {
    std::istringstream in(read_file(folder / (out + "/log.jsonl")));
    std::string text;
    for (std::string line; std::getline(in, line);) {
      Json object = parse_json(line);
      object.erase("seconds");
      text += json_text(object) + "\n";
    }
    return text;
  }
  void expect_same(const std::string& a, const std::string& b) const {
    EXPECT_TRUE(model(a) == model(b)) << "the models differ";
    EXPECT_EQ(log(a), log(b));
  }
  TemporaryFolder folder;
};

TEST_F(TrainCommand, StopsAndKillsChangeNothing) {
  ASSERT_EQ(train("whole").exit_code, 0);
  ASSERT_GT(model("whole").size(), 2'000'000u);
  for (const int stop : {1, 3, 4, 8}) {
    const auto result = train("stopped", fmt::format("--stop-after {}", stop));
    EXPECT_EQ(result.exit_code, 130) << result.output;
    EXPECT_THAT(result.output, ::testing::HasSubstr(fmt::format("stopped after {} of 12 steps, all kept", stop)));
  }
  const auto last = train("stopped");
  EXPECT_EQ(last.exit_code, 0) << last.output;
  expect_same("stopped", "whole");

  const auto seed = std::random_device()();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  std::mt19937 random(seed);
  for (int kills = 0; kills < 4; ++kills) {
    const size_t lines = static_cast<size_t>(kills) * 5 + random() % 5;  // of the log, when it is killed; 12 steps and 8 evaluations in all: each kill comes later in the course
    const pid_t child = ::fork();
    if (child == 0) {
      ::execl("/bin/sh", "sh", "-c", ("exec " + command("killed") + " >/dev/null 2>&1").c_str(), nullptr);
      ::_exit(127);
    }
    int status = 0;
    while (::waitpid(child, &status, WNOHANG) == 0) {
      const std::string text = read_file(folder / "killed/log.jsonl");
      if (static_cast<size_t>(std::count(text.begin(), text.end(), '\n')) >= lines) ::kill(child, SIGKILL);
      std::this_thread::yield();
    }
  }
  const auto again = train("killed");
  EXPECT_EQ(again.exit_code, 0) << again.output;
  expect_same("killed", "whole");

  const auto idle = train("killed");
  EXPECT_EQ(idle.exit_code, 0);
  EXPECT_THAT(idle.output, ::testing::HasSubstr("nothing to do: all 12 steps are done"));
  // The comparison sees another course.
  ASSERT_EQ(train("other", "--set run.seed=4").exit_code, 0);
  EXPECT_FALSE(model("other") == model("whole"));
}

TEST_F(TrainCommand, AFullDiskLeavesTheCheckpointBefore) {
  ASSERT_EQ(train("limited", "--stop-after 3").exit_code, 130);
  const std::string state = read_file(folder / "limited/state.safetensors");
  const auto result = shell(fmt::format("bash -c 'ulimit -f 4000; exec {}'", command("limited")));  // the model fits, the state does not
  EXPECT_EQ(result.exit_code, 3) << result.output;
  EXPECT_THAT(result.output, ::testing::HasSubstr("state.safetensors"));
  EXPECT_TRUE(read_file(folder / "limited/state.safetensors") == state);
  const auto again = train("limited");
  EXPECT_EQ(again.exit_code, 0) << again.output;
  ASSERT_EQ(train("whole").exit_code, 0);
  expect_same("limited", "whole");
}

TEST_F(TrainCommand, ALossThatIsNotFiniteStopsWithTheCheckpointKept) {
  ASSERT_EQ(train("wild", "--stop-after 3").exit_code, 130);
  const std::string path = folder / "wild/state.safetensors";
  std::string state = read_file(path);
  const auto headers = read_safetensors_header(path);
  const auto weights = std::find_if(headers.begin(), headers.end(), [](const auto& header) { return header.name == "weights"; });
  ASSERT_NE(weights, headers.end());
  const float nan = std::nanf("");
  for (uint64_t i = 0; i < weights->num_elements; ++i) state.replace(weights->first_byte + i * sizeof nan, sizeof nan, reinterpret_cast<const char*>(&nan), sizeof nan);
  write_file(path, state);
  const auto result = train("wild");
  EXPECT_EQ(result.exit_code, 3) << result.output;
  EXPECT_THAT(result.output, ::testing::HasSubstr("step 3, batch 0: the loss is not finite"));
  EXPECT_TRUE(read_file(path) == state) << "the checkpoint was written over";
}

/// Fine-tuning: a model, adapters on it, stops between that change nothing, and both outputs run.
TEST_F(TrainCommand, AdaptersAreTrainedFromAModelAndStopsChangeNothing) {
  const std::string quick = " --set evaluate.every=0 --set optimizer.steps=6 --set batch.canvas_lengths='[16]' --set batch.rows=2";
  ASSERT_EQ(train("base", quick).exit_code, 0);
  const std::string base = folder / "base/model";
  const std::string more = quick + " --from " + base + " --set lora.rank=4 --set lora.alpha=8 --set optimizer.learning_rate=0.02 --set optimizer.average_decay=0 --set model.dtype=f32";
  ASSERT_EQ(train("whole", more).exit_code, 0);
  for (const int stop : {1, 3, 5}) {
    const auto result = train("stopped", more + fmt::format(" --stop-after {}", stop));
    EXPECT_EQ(result.exit_code, 130) << result.output;
  }
  const auto last = train("stopped", more);
  ASSERT_EQ(last.exit_code, 0) << last.output;
  EXPECT_THAT(last.output, ::testing::HasSubstr("stopped/adapter"));
  expect_same("stopped", "whole");
  const auto adapter = [&](const std::string& out) { return read_file(folder / (out + "/adapter/adapter_model.safetensors")); };
  EXPECT_TRUE(adapter("stopped") == adapter("whole"));
  EXPECT_LT(std::filesystem::file_size(folder / "whole/state.safetensors"), std::filesystem::file_size(folder / "base/state.safetensors") / 4) << "the state holds the factors only";

  const auto generated = [&](const std::string& model) { return shell(fmt::format("{} generate --model '{}' --prompt '6+7-5=' --steps 4 --seed 3 2>/dev/null", CANVASLAB_PROGRAM, model)).output; };
  const std::string merged = generated(folder / "whole/model");
  EXPECT_EQ(generated(folder / "whole/adapter"), merged);
  EXPECT_EQ(generated(fmt::format("checkpoint(\"{}\", adapter=\"{}\")", base, folder / "whole/adapter")), merged);
  EXPECT_NE(generated(base), merged) << "the adapter changes nothing";
  const auto inspected = shell(fmt::format("{} inspect {} --json", CANVASLAB_PROGRAM, folder / "whole/adapter"));
  EXPECT_THAT(inspected.output, ::testing::HasSubstr("\"rank\":4,\"alpha\":8.0")) << inspected.output;

  ASSERT_EQ(train("other", quick + " --set run.seed=9").exit_code, 0);
  expect_mistakes(folder.path(), {
      {"train brief.toml --out whole --from other/model --set lora.rank=4 --set lora.alpha=8" + quick + " --set optimizer.learning_rate=0.02 --set optimizer.average_decay=0 --set model.dtype=f32", 3, "started from other weights"},
      {"train brief.toml --out x --from nowhere", 3, "nowhere"},
      {"train brief.toml --out x --from " + kBase, 3, "holds no weights to start from"},
      {"train brief.toml --out x --set lora.rank=4", 3, "holds no weights to start from"},
      {"train brief.toml --out x --from base/model --set lora.rank=0", 2, "'rank'"},
      {"train brief.toml --out x --from base/model --set lora.targets='[\"atention\"]'", 2, "did you mean 'attention'"},
      {"train brief.toml --out x --from base/model --set lora.dropout=0.1", 2, "unknown key 'dropout'"},
      {"train brief.toml --out x --set model.base='\"\"'", 2, "--from DIR"},
      {"generate --model 'checkpoint(\"base/model\", adapter=\"base/model\")' --prompt a", 3, "adapter_config.json"},
  });
}

TEST_F(TrainCommand, FineTuningOfAllWeightsStartsFromTheModelGiven) {
  const std::string quick = " --set evaluate.every=0 --set optimizer.steps=4 --set batch.canvas_lengths='[16]' --set batch.rows=2";
  ASSERT_EQ(train("base", quick).exit_code, 0);
  const std::string from = quick + " --from " + (folder / "base/model");
  ASSERT_EQ(train("still", from + " --set optimizer.learning_rate=0 --set optimizer.steps=1").exit_code, 0);
  EXPECT_TRUE(model("still") == model("base")) << "at rate 0 the model is the one given";
  ASSERT_EQ(train("whole", from).exit_code, 0);
  EXPECT_EQ(train("stopped", from + " --stop-after 2").exit_code, 130);
  ASSERT_EQ(train("stopped", from).exit_code, 0);
  expect_same("stopped", "whole");
  EXPECT_FALSE(model("whole") == model("base"));
}

TEST_F(TrainCommand, MistakesAreTold) {
  ASSERT_EQ(train("run", "--stop-after 3").exit_code, 130);
  std::filesystem::copy(folder / "run", folder / "cut", std::filesystem::copy_options::recursive);
  std::filesystem::resize_file(folder / "cut/state.safetensors", 5000);
  std::filesystem::copy(folder / "run", folder / "scribbled", std::filesystem::copy_options::recursive);
  write_file(folder / "scribbled/log.jsonl", "{\"step\": 1}\n");
  std::filesystem::create_directory(folder / "no_tokenizer");
  std::filesystem::copy_file(kBase + "/config.json", folder / "no_tokenizer/config.json");
  expect_mistakes(folder.path(), {
      {"train none.toml", 3, "none.toml"},
      {"train brief.toml --out run --set run.seed=9", 3, "was written with other settings"},
      {"train brief.toml --out run --set run.sed=9", 2, "unknown key 'sed'"},
      {"train brief.toml --out x --set optimizer.learning_rate=fast", 2, "learning_rate"},
      {"train brief.toml --out x --set optimizer.beta1=2", 2, "expected 0 to 0.9999"},
      {"train brief.toml --out x --set model.products=f16", 2, "expected f32 or bf16"},
      {"train brief.toml --out x --device gpu", 2, "expected cpu or cuda"},
      {"train brief.toml --out x --set model.base=nowhere", 3, "nowhere"},
      {"train brief.toml --out x --set model.base=no_tokenizer", 3, "holds no tokenizer.json"},
      {"train brief.toml --out x --set task='[{dataset=\"source\"}]'", 2, "makes no questions of its own"},
      {"train brief.toml --out x --set task='[{dataset=\"arithmetik\"}]'", 2, "arithmetic"},
      {"train brief.toml --out x --set task='[{dataset=\"arithmetic\", weight=0}]'", 2, "'weight' must be positive"},
      {"train brief.toml --out x --set task=3", 2, "[[task]]"},
      {"train brief.toml --out x --set batch.canvas_length_weights='[1]'", 2, "has 1 values for 2 canvas lengths"},
      {"train brief.toml --out /proc/nowhere/x", 3, "/proc/nowhere/x"},
      {"train brief.toml --out cut", 3, "cut/state.safetensors"},
      {"train brief.toml --out scribbled", 3, "scribbled/log.jsonl:1"},
      {"plot scribbled/log.jsonl", 3, "log.jsonl"},
  });
}

TEST_F(TrainCommand, LogsArePlottedAndReadByPython) {
  ASSERT_EQ(train("run").exit_code, 0);
  const auto plotted = shell(fmt::format("{} plot {}", CANVASLAB_PROGRAM, folder / "run"));
  EXPECT_EQ(plotted.exit_code, 0) << plotted.output;
  for (const char* name : {"training_losses.png", "training_losses.svg", "training_accuracy.png", "training_accuracy.svg"})
    EXPECT_GT(std::filesystem::file_size(folder / (std::string("run/plots/") + name)), 2000u) << name;
  const TrainingLog log = read_training_h5(folder / "run/training.h5");
  ASSERT_EQ(log.lines.size(), 6u);
  EXPECT_EQ(log.lines.back().step, 12);
  EXPECT_EQ(log.tasks, (std::vector<std::string>{"dependency(level=1)", "arithmetic(level=1)"}));
  ASSERT_EQ(log.evaluations.size(), 8u);
  EXPECT_GT(log.evaluations[0].tokens_per_forward, 1.5 * log.evaluations[1].tokens_per_forward) << "two steps and four cost the same";
  EXPECT_EQ(log.evaluations[0].step, 6);
  EXPECT_EQ(log.evaluations[0].num_items, 3);
  if (!std::getenv("CANVASLAB_PYTHON")) GTEST_SKIP() << "the rest needs CANVASLAB_PYTHON with h5py";
  const auto read = shell(fmt::format("$CANVASLAB_PYTHON -c \"import h5py; f = h5py.File('{}'); print(f['log/causal'].shape, [str(n, 'utf8') for n in f.attrs['task_names']], f['log/causal'].attrs['unit'], f['evaluation/accuracy'][:])\"",
                                      folder / "run/training.h5"));
  EXPECT_THAT(read.output, ::testing::HasSubstr("(6, 2) ['dependency(level=1)', 'arithmetic(level=1)']")) << read.output;
}

/// The shipped recipe on the easiest task for a few seconds.
TEST_F(TrainCommand, LearnsInSeconds) {
  const auto result = train("smoke", "--set optimizer.steps=120 --set optimizer.warmup_steps=20 --set batch.rows=16 --set batch.canvas_lengths='[16]' --set evaluate.every=0 --set run.log_every=20 "
                                     "--set run.checkpoint_every=60 --set task='[{dataset=\"dependency(level=1)\"}]'");
  ASSERT_EQ(result.exit_code, 0) << result.output;
  const TrainingLog log = read_training_h5(folder / "smoke/training.h5");
  ASSERT_EQ(log.lines.size(), 6u);
  const double first = log.lines.front().diffusion[0], last = log.lines.back().diffusion[0];
  EXPECT_LT(last, first / 3) << "from " << first << " to " << last;
  EXPECT_LT(log.lines.back().causal[0], std::log(26.0)) << "worse than a guess among the letters";
}

}  // namespace
}  // namespace canvaslab
