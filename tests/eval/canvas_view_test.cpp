// Lines for a terminal: widths, escapes, and what a settling canvas shows.
#include "eval/canvas_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/model.h"
#include "core/text/utf8.h"
#include "eval/terminal_lines.h"

namespace canvaslab {
namespace {

using ::testing::ElementsAre;

std::vector<std::string> laid_out(const std::string& text, size_t columns, bool dim = false) {
  TerminalLines lines(columns);
  lines.add(text, dim);
  return lines.take();
}

TEST(TerminalLines, CountWideCharactersTwiceAndMarksNot) {
  EXPECT_THAT(laid_out("abcdef", 4), ElementsAre("abcd", "ef"));
  EXPECT_THAT(laid_out("漢字漢", 5), ElementsAre("漢字", "漢"));  // the third would begin in the fifth column
  EXPECT_THAT(laid_out("ab\u0301c", 3), ElementsAre("ab\u0301c"));  // an accent that sits on the b
  EXPECT_EQ(terminal_columns(0x1F600), 2);
  EXPECT_EQ(terminal_columns(0x00E9), 1);
}

TEST(TerminalLines, NothingReachesTheTerminalThatItWouldObey) {
  EXPECT_THAT(laid_out("a\x1b[2Jb\tc\x7f", 80), ElementsAre("a\\x1B[2Jb\\tc\\x7F"));
  EXPECT_THAT(laid_out("\u202Eabc\u2028\u0085", 80), ElementsAre("\\u{202E}abc\\u{2028}\\x85"));
  EXPECT_THAT(laid_out("x\xff\xc3", 80), ElementsAre("x\uFFFD\uFFFD"));
  EXPECT_THAT(laid_out("\u2764\uFE0F", 80), ElementsAre("\u2764"));  // no variation selector
  for (int32_t code = 0; code < 0x110000; ++code) {
    std::string text;
    if (code >= 0xD800 && code < 0xE000) continue;
    append_utf8(text, static_cast<uint32_t>(code));
    const auto lines = laid_out(text, 80);
    for (const auto& line : lines)
      for (const char c : line) ASSERT_TRUE(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f) << code;
  }
}

TEST(TerminalLines, ALineFeedIsSeenAndEndsTheLineOnce) {
  EXPECT_THAT(laid_out("a\n\n\nb", 80), ElementsAre("a\u21B5\u21B5\u21B5", "b"));
  EXPECT_THAT(laid_out("\n", 80), ElementsAre("\u21B5"));
  EXPECT_TRUE(laid_out("", 80).empty());
}

TEST(TerminalLines, DimmingEndsWithItsLine) {
  EXPECT_THAT(laid_out("abcd", 2, true), ElementsAre("\033[2mab\033[0m", "\033[2mcd\033[0m"));
  TerminalLines lines(80);
  lines.add("a", false), lines.add("b", true), lines.add("c", true), lines.add("d", false);
  EXPECT_THAT(lines.take(), ElementsAre("a\033[2mbc\033[0md"));
  EXPECT_EQ(clipped("a long status", 6), "a long");
}

class CanvasViewTest : public ::testing::Test {
 protected:
  CanvasViewTest() : denoiser(open_model("hmm(states=3, alphabet=5)", {})) {
    PlanRequest request;
    request.canvas_length = 4, request.num_steps = 8, request.max_new_tokens = 12, request.emission = "argmax";
    plan = resolve_plan(request, *denoiser);
    statistics.argmax = {10, 11, 12, 13};
    statistics.entropy_nats = {0.125f, kConfidentNats, 0.75f, 2.f};
  }
  StepRecord record(int32_t canvas_idx, int32_t step_idx) const {
    return {.row = 0, .canvas_idx = canvas_idx, .step_idx = step_idx, .canvas_in = {}, .canvas_out = out, .statistics = &statistics, .accepted = accepted, .logits = {}};
  }
  std::unique_ptr<Denoiser> denoiser;
  GenerationPlan plan;
  RowStatistics statistics;
  std::vector<int32_t> out = {20, 21, 22, 23};
  std::vector<uint8_t> accepted = {1, 0, 1, 0};
};

TEST_F(CanvasViewTest, ShowsWhatWouldBeEmittedNowWithUncertainTokensDimmed) {
  CanvasView view(plan, {}, id_texts);
  view.on_step(record(0, 2));
  EXPECT_THAT(view.lines({}, 2), ElementsAre("10 11 \033[2m12 13 \033[0m", "canvas 1/3  step 3/8  entropy 0.844 nats  accepted 2/4  1 tokens/s"));  // (0.125 + 0.5 + 0.75 + 2) / 4
  plan.emission = Emission::kCanvas;
  view.on_step(record(0, 2));
  EXPECT_EQ(view.lines({}, 2)[0], "20 21 \033[2m22 23 \033[0m");
  CanvasView pinned(plan, {{3, 7}}, id_texts);
  pinned.on_step(record(0, 2));
  EXPECT_EQ(pinned.lines({}, 2)[0], "20 21 \033[2m22 \033[0m7 ");
}

TEST_F(CanvasViewTest, KeepsToTheScreen) {
  CanvasView view(plan, {}, [](std::span<const int32_t> tokens) { return std::vector<std::string>(tokens.size(), "0123456789"); });
  for (int canvas = 0; canvas < 3; ++canvas) {
    view.on_step(record(canvas, 0));
    view.on_canvas(out);
  }
  view.on_step(record(3, 1));
  for (const ViewSize size : {ViewSize{80, 24}, ViewSize{20, 6}, ViewSize{20, 5}, ViewSize{10, 5}, ViewSize{10, 4}}) {
    const auto lines = view.lines(size, 1);
    EXPECT_LE(lines.size(), size.rows - 1);
    EXPECT_EQ(lines.back(), std::string("canvas 4/3  step 2/8  entropy 0.844 nats  accepted 2/4  14 tokens/s").substr(0, size.columns));
  }
  EXPECT_EQ(view.lines({20, 6}, 1).size(), 5u);       // 2 lines of the canvas, 2 of what came before, the status
  EXPECT_EQ(view.lines({10, 5}, 1)[2], "... 2 more");  // 4 lines of the canvas, 3 places for them
}

}  // namespace
}  // namespace canvaslab
