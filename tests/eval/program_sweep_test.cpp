// A sweep whose answers are programs: graded beside the generation, resumed, written without running anything again.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

#include "core/error.h"
#include "core/h5.h"
#include "core/json.h"
#include "core/text/chat.h"
#include "eval/results.h"
#include "eval/work_queue.h"
#include "tests/support/h5_contents.h"
#include "tests/support/sandbox.h"
#include "tests/support/temporary.h"

namespace canvaslab {
namespace {

TEST(WorkQueue, DoesEveryPieceOnceAndHoldsBackWhoBringsTooMany) {
  std::atomic<int> done{0}, begun{0};
  std::atomic<bool> open{false};
  std::atomic<int> brought{0};
  {
    WorkQueue queue(2, 3);
    std::thread bringer([&] {
      for (int i = 0; i < 50; ++i) {
        queue.add([&] {
          ++begun;
          while (!open) std::this_thread::yield();
          ++done;
        });
        ++brought;
      }
    });
    while (brought < 2 + 3) std::this_thread::yield();
    for (int i = 0; i < 10000; ++i) std::this_thread::yield();  // time in which a queue without a bound takes the rest
    EXPECT_EQ(begun, 2);
    EXPECT_EQ(brought, 2 + 3) << "two at work, three waiting; the sixth has to wait outside";
    open = true;
    bringer.join();
    queue.finish();
    EXPECT_EQ(done, 50);
  }
  EXPECT_EQ(done, 50);
}

TEST(WorkQueue, WhatWaitsCanBeForgotten) {
  std::atomic<int> done{0};
  std::atomic<bool> open{false}, begun{false};
  WorkQueue queue(1, 10);
  for (int i = 0; i < 5; ++i)
    queue.add([&] {
      begun = true;
      while (!open) std::this_thread::yield();
      ++done;
    });
  while (!begun) std::this_thread::yield();
  queue.drop_waiting();
  open = true;
  queue.finish();
  EXPECT_EQ(done, 1);
}

/// A model that writes a program which returns 1, 2, 3 or 4 times x, one of them at random.
class ProgramSweep : public testing::WithSandbox {
 protected:
  static constexpr size_t kItems = 24;  // more than an interrupt finds generated: two threads, eight waiting to be judged, one at it
  void SetUp() override {
    testing::WithSandbox::SetUp();
    static const TemporaryFolder cache;
    ::setenv("XDG_CACHE_HOME", cache.path().c_str(), 1);
    text_ = std::make_shared<const TextModel>(*TextModel::load(CANVASLAB_SOURCE_DIR "/tests/fixtures/text/gemma_like.json"));
    const Tokenizer& tokenizer = text_->tokenizer();
    auto tokens = Json::array();
    for (const int32_t id : tokenizer.encode("def f(x): return x * ")) tokens.push_back(id);
    place_ = tokens.size();
    tokens.push_back(nullptr);
    tokens.push_back(*tokenizer.id("<turn|>"));
    Json digits;
    for (const char* digit : {"1", "2", "3", "4"}) digits[std::to_string(*tokenizer.id(digit))] = 30;
    write_file(folder_ / "script.json", json_text(Json{{"vocabulary", tokenizer.size()}, {"canvas_length", tokens.size()}, {"end_ids", {*tokenizer.id("<turn|>")}},
                                                       {"canvases", {{{{"tokens", tokens}, {"peak", 30}, {"logits", {{std::to_string(place_), digits}}}}}}}}));
    std::string lines;
    for (size_t i = 0; i < kItems; ++i)
      lines += json_text(Json{{"task_id", fmt::format("T/{}", i)}, {"prompt", "def f(x):\n    \"\"\"A multiple.\"\"\"\n"}, {"entry_point", "f"}, {"canonical_solution", ""},
                              {"test", fmt::format("def check(candidate):\n    assert candidate(10) == {}\n", 10 * factor_of(i))}}) + "\n";
    write_file(folder_ / "problems.jsonl", lines);
  }
  static int factor_of(size_t item) { return static_cast<int>(1 + item * 3 % 4); }
  PreparedSweep prepare() const {
    write_file(folder_ / "plan.toml", fmt::format("[run]\nname = \"programs\"\nseed = 1\n[denoiser]\nmodel = \"scripted(path='{}')\"\n[dataset]\nname = \"human_eval(file='{}')\"\n[grid]\nsampler = "
                                                  "\"fixed_step\"\nsteps = 1\nemission = \"canvas\"\n",
                                                  folder_ / "script.json", folder_ / "problems.jsonl"));
    return prepare_sweep(read_sweep(folder_ / "plan.toml", {}), text_);
  }
  TemporaryFolder folder_;
  PromptEncoder text_;
  size_t place_ = 0;
};

TEST_F(ProgramSweep, EndsInAnAccuracyThatCountsThePrograms) {
  SweepOptions options;
  options.out_dir = folder_ / "run";
  options.threads = 2;
  const auto outcome = run_sweep(prepare(), options);
  EXPECT_EQ(outcome.ran, kItems);
  EXPECT_EQ(outcome.failed, 0u);
  const H5Reader file(outcome.results_path);
  const auto ids = file.read<int32_t>("text/ids");
  const auto begin = file.read<uint64_t>("samples/ids_begin");
  const auto score = file.read<double>("samples/score"), verdict = file.read<double>("metrics/outcome");
  ASSERT_EQ(score.size(), kItems);
  double right = 0;
  for (size_t i = 0; i < kItems; ++i) {
    const bool correct = *text_->tokenizer().token(ids[begin[i] + place_]) == std::to_string(factor_of(i));
    EXPECT_EQ(score[i], correct) << i;
    EXPECT_EQ(file.list_attribute("metrics/outcome", "names").at(static_cast<size_t>(verdict[i])), correct ? "passed" : "wrong_answer");
    right += correct;
  }
  EXPECT_GT(right, 0);
  EXPECT_LT(right, kItems);
  EXPECT_DOUBLE_EQ(file.read<double>("aggregates/accuracy").at(0), right / kItems);
  EXPECT_DOUBLE_EQ(file.read<double>("aggregates/outcome_is_passed_mean").at(0), right / kItems);
}

TEST_F(ProgramSweep, AnInterruptedRunResumesToTheSameResults) {
  SweepOptions options;
  options.out_dir = folder_ / "whole";
  options.threads = 2;
  const std::string whole = run_sweep(prepare(), options).results_path;
  options.out_dir = folder_ / "again";
  std::atomic<int> stop{0};
  options.interrupt = &stop;
  options.on_progress = [&](const ProgressMeter&) { stop = 1; };
  const auto sweep = prepare();
  const auto first = run_sweep(sweep, options);
  EXPECT_TRUE(first.interrupted);
  EXPECT_GE(first.ran, 1u);
  EXPECT_LT(first.ran, kItems);
  options.interrupt = nullptr;
  const auto finished = run_sweep(sweep, options);
  EXPECT_EQ(finished.already_done, first.ran);
  EXPECT_EQ(finished.failed, 0u);
  EXPECT_EQ(h5_difference(whole, finished.results_path), "");
}

}  // namespace
}  // namespace canvaslab
