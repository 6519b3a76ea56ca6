// The journal: nothing finished is lost, nothing wrong is read.
#include "eval/journal.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "eval/merge.h"
#include "eval/sample_rows.h"
#include "eval/sweep.h"
#include "eval/sweep_plan.h"
#include "tests/support/small_sweep.h"
#include "tests/support/temporary.h"

namespace canvaslab {
namespace {

SampleRecord full_sample(uint32_t number) {
  SampleRecord s;
  s.config_idx = 3, s.item_idx = number, s.repeat = 2, s.seed = 0x123456789abcdef0u;
  for (size_t i = 0; i < s.content_key.size(); ++i) s.content_key[i] = static_cast<uint8_t>(i * 7 + number);
  s.error = "";
  s.token_ids = {1, -2, 3}, s.canvas_ids = {1, -2, 3, 0};
  s.stop_reason = "end_token", s.canvas_stop = {"entropy", "step_limit"};
  s.steps_per_canvas = {1, 1}, s.valid_per_canvas = {2, 1};
  s.steps = {{0.8f, 1.5f, 2.5f, 4, 5}, {0.4f, 0.5f, 0.75f, 1, 0}};
  s.positions = {.canvas_in = {5, 6}, .candidate = {7, 8}, .argmax = {9, 10}, .canvas_out = {11, 12}, .accepted = {1, 0}, .entropy_nats = {0.25f, 0.5f}};
  s.forwards = {.denoise = 2, .verify = 3, .unconditional = 4, .append = 1, .prefill = 6};
  s.seconds = {.prefill = 0.125, .denoise = 0.25, .append = 0.5};
  s.tokens_per_forward = 1.5, s.tokens_per_forward_report = 1.25, s.score = -3.75, s.metrics = {0.5, 2};
  return s;
}

/// All fields but through the codec itself: what the test would miss if encode forgot a field, decode would too.
void expect_equal(const SampleRecord& a, const SampleRecord& b) {
  EXPECT_EQ(std::tie(a.config_idx, a.item_idx, a.repeat, a.seed, a.content_key, a.error, a.token_ids, a.canvas_ids, a.stop_reason, a.canvas_stop),
            std::tie(b.config_idx, b.item_idx, b.repeat, b.seed, b.content_key, b.error, b.token_ids, b.canvas_ids, b.stop_reason, b.canvas_stop));
  EXPECT_EQ(std::tie(a.steps_per_canvas, a.valid_per_canvas, a.tokens_per_forward, a.tokens_per_forward_report, a.score, a.metrics),
            std::tie(b.steps_per_canvas, b.valid_per_canvas, b.tokens_per_forward, b.tokens_per_forward_report, b.score, b.metrics));
  EXPECT_EQ(std::tie(a.positions.canvas_in, a.positions.candidate, a.positions.argmax, a.positions.canvas_out, a.positions.accepted, a.positions.entropy_nats),
            std::tie(b.positions.canvas_in, b.positions.candidate, b.positions.argmax, b.positions.canvas_out, b.positions.accepted, b.positions.entropy_nats));
  EXPECT_EQ(std::tie(a.forwards.denoise, a.forwards.verify, a.forwards.unconditional, a.forwards.append, a.forwards.prefill),
            std::tie(b.forwards.denoise, b.forwards.verify, b.forwards.unconditional, b.forwards.append, b.forwards.prefill));
  EXPECT_EQ(std::tie(a.seconds.prefill, a.seconds.denoise, a.seconds.append), std::tie(b.seconds.prefill, b.seconds.denoise, b.seconds.append));
  ASSERT_EQ(a.steps.size(), b.steps.size());
  for (size_t i = 0; i < a.steps.size(); ++i)
    EXPECT_EQ(std::tie(a.steps[i].temperature, a.steps[i].mean_entropy_nats, a.steps[i].max_entropy_nats, a.steps[i].num_accepted, a.steps[i].num_argmax_changed),
              std::tie(b.steps[i].temperature, b.steps[i].mean_entropy_nats, b.steps[i].max_entropy_nats, b.steps[i].num_accepted, b.steps[i].num_argmax_changed));
}

/// A journal of `count` samples; returns its bytes and where each frame ends.
std::string journal_bytes(const std::string& path, uint32_t count, std::vector<size_t>& ends) {
  std::filesystem::remove(path);
  { JournalWriter made(path, "plan\nseed 1\n"); }
  ends = {std::filesystem::file_size(path)};
  for (uint32_t i = 0; i < count; ++i) {
    JournalWriter writer(path, "plan\nseed 1\n");
    writer.append(full_sample(i));
    ends.push_back(std::filesystem::file_size(path));
  }
  return read_file(path);
}

TEST(Journal, SamplesSurviveTheRoundTripFieldByField) { expect_equal(decode_sample(encode_sample(full_sample(4))), full_sample(4)); }

TEST(Journal, APayloadThatIsTooShortOrTooLongIsRefused) {
  const std::string bytes = encode_sample(full_sample(0));
  for (size_t n = 0; n < bytes.size(); ++n) EXPECT_THROW(decode_sample(std::string_view(bytes).substr(0, n)), std::runtime_error) << n;
  EXPECT_THROW(decode_sample(bytes + 'x'), std::runtime_error);
}

TEST(Journal, ATailTornAtAnyByteCostsOnlyTheTornSample) {
  const TemporaryFolder folder;
  const std::string path = folder / "j";
  std::vector<size_t> ends;
  const std::string bytes = journal_bytes(path, 3, ends);
  for (size_t n = 0; n <= bytes.size(); ++n) {
    write_file(path, bytes.substr(0, n));
    size_t whole = 0;
    for (size_t i = 1; i < ends.size(); ++i) whole += ends[i] <= n;
    JournalWriter writer(path, "plan\nseed 1\n");
    ASSERT_EQ(writer.found().size(), whole) << "cut at byte " << n;
    writer.append(full_sample(9));  // and it can go on from there
    size_t seen = 0;
    scan_journal(path, [&](FrameType type, std::string_view) { seen += type == FrameType::kSample; });
    ASSERT_EQ(seen, whole + 1) << "cut at byte " << n;
  }
}

TEST(Journal, AFlippedBitIsAnErrorOrADroppedTailAndNeverWrongData) {
  const TemporaryFolder folder;
  const std::string path = folder / "j";
  std::vector<size_t> ends;
  const std::string bytes = journal_bytes(path, 2, ends);
  size_t refused = 0, dropped = 0;
  for (size_t byte = 0; byte < bytes.size(); ++byte) {
    const size_t bit = byte * 8 + byte % 8;  // every byte, every bit of it in turn
    std::string broken = bytes;
    broken[bit / 8] = static_cast<char>(broken[bit / 8] ^ (1 << (bit % 8)));
    write_file(path, broken);
    try {
      JournalWriter writer(path, "plan\nseed 1\n");
      // Only damage in the last frame may look like a torn tail: whole frames behind it must never be cut off.
      ASSERT_GE(bit / 8, ends[1]) << "bit " << bit;
      ASSERT_EQ(writer.found().size(), 1u) << "bit " << bit;
      expect_equal(SampleRows(path, writer.found()).read(0, 1)[0], full_sample(0));
      ++dropped;
    } catch (const UserError& error) {
      ASSERT_EQ(read_file(path), broken) << "a refused journal must be left as it is; bit " << bit;
      ++refused;
    }
  }
  EXPECT_GT(refused, 100u);
  EXPECT_GT(dropped, 100u);
}

TEST(Journal, AnotherPlanIsRefusedWithTheLineThatDiffers) {
  const TemporaryFolder folder;
  { JournalWriter writer(folder / "j", "plan\nseed 1\nitems 5\n"); }
  try {
    JournalWriter writer(folder / "j", "plan\nseed 2\nitems 6\n");
    FAIL() << "a changed plan was accepted";
  } catch (const UserError& error) {
    EXPECT_EQ(error.code(), ExitCode::kUsage);
    EXPECT_NE(std::string(error.what()).find("there: seed 1\n  now:   seed 2"), std::string::npos) << error.what();
  }
}

TEST(Journal, TwoWritersInOneFolderAreRefused) {
  const TemporaryFolder folder;
  const JournalWriter first(folder / "j", "plan\n");
  EXPECT_THROW(JournalWriter(folder / "j", "plan\n"), UserError);
}

TEST(Journal, AFileThatIsNoJournalIsLeftAlone) {
  const TemporaryFolder folder;
  write_file(folder / "j", "something else entirely");
  EXPECT_THROW(JournalWriter(folder / "j", "plan\n"), UserError);
  EXPECT_EQ(read_file(folder / "j"), "something else entirely");
}

/// Found while the fuzz target was written: a pattern that matches digit by digit took a stack frame for each.
TEST(Journal, AnEndlessHeaderLineIsAnErrorAndNoStackOverflow) {
  const std::string plan = "canvaslab run 1\nengine 1\ndenoiser d\nmodel m\ndtype f32\ndataset s\ndata x\nitems 2\nsubset 2 seed 1 of items " + std::string(2'000'000, 'a') + "\nseeds 1\n";
  EXPECT_THROW(plan_of_journal({.path = "j", .plan = plan, .name = "", .samples = {}}), UserError);
}

/// Samples of a GPU are merged and regraded where there is none: the header says what they were made on, the model is opened on the CPU.
TEST(Journal, PlansOfRunsOnADeviceAreReadBack) {
  const TemporaryFolder folder;
  write_file(folder / "s.toml", testing::kSmallPlan);
  SweepPlan plan = read_sweep(folder / "s.toml", {});
  const std::string on_cpu = prepare_sweep(plan, {}).header;
  plan.runs_on = "cuda";
  const PreparedSweep made = prepare_sweep(plan, {});
  EXPECT_NE(made.header.find("\ndtype f32 on cuda\n"), std::string::npos) << made.header;
  EXPECT_NE(made.header, on_cpu);
  const SweepPlan back = plan_of_journal({.path = "j", .plan = made.header, .name = "small", .samples = {}});
  EXPECT_EQ(back.dtype, "f32");
  EXPECT_EQ(back.device, "cpu");
  EXPECT_EQ(prepare_sweep(back, {}).header, made.header);
}

}  // namespace
}  // namespace canvaslab
