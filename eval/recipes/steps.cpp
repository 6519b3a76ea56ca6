// Quality and speed against the number of steps: evaluation.md 5.2 and 5.4.
#include "eval/recipe.h"

namespace canvaslab {
namespace {

/// No adaptive stop, temperature 1 throughout, the mean of GPQA Diamond and LiveCodeBench v6 at each step limit.
Recipe curve(bool thinking, const std::vector<std::pair<int32_t, double>>& values) {
  const auto limit = thinking ? kThinkingTokens : kPlainTokens;
  std::vector<int32_t> steps;
  Recipe out{.benchmark = "mean of GPQA Diamond and LiveCodeBench v6", .mode = thinking ? "thinking, by steps" : "no thinking, by steps",
             .parts = {{.dataset = "gpqa", .files = {{"file", {"gpqa_diamond.csv", "gpqa_diamond.jsonl"}}}, .num_items = 198},
                       {.dataset = "live_code_bench", .files = {{"file", {"test6.jsonl", "test6.jsonl.gz"}}}, .num_items = 175}},
             .thinking = thinking, .repeats = 3, .grid = {}, .published = {}, .forwards_per_answer = thinking ? 512.6 : 121.9, .unknown = report_unknowns(limit, "our wordings")};
  for (const auto& [limit_steps, value] : values) {
    out.published.push_back({.value = value, .margin = 5, .note = "read off a plot", .steps = limit_steps});
    steps.push_back(limit_steps);
  }
  out.grid = {{"sampler", "\"entropy_bound(entropy_bound=0.1)\""}, {"stop", "\"never\""}, {"temperature", "1"}, {"emission", "\"argmax\""}, {"canvas_length", "256"},
              {"steps", fmt::format("[{}]", fmt::join(steps, ", "))}, {"max_new_tokens", std::to_string(limit)}};
  out.unknown.push_back("the three seeds; here 1 with three repeats");
  return out;
}

/// A canvas of 256 tokens at 48 forwards: the figure follows from the settings, unless answers end early.
Recipe throughput() {
  return {.benchmark = "throughput at fixed steps", .mode = "no thinking, 48 steps always", .parts = {{.dataset = "prompts", .files = {{"path", {"prompts.jsonl"}}}, .num_items = 8}}, .thinking = false,
          .repeats = 1, .grid = fixed_steps(48, 256), .published = {{.quantity = Quantity::kTokensPerForward, .value = 5.3, .margin = 0.53, .note = "from 0.569 s per canvas at 11.9 ms a step"}},
          .forwards_per_answer = 48, .unknown = {"the prompts; any that fill a canvas will do, one object a line with prompt"}};
}

const char* const kFigure = "DiffusionGemma Technical Report (arXiv:2608.00146), figure of performance against denoising steps";
[[maybe_unused]] const bool registered =
    add_recipe("steps_curve_thinking", "accuracy at 8 to 256 steps a canvas, no adaptive stop, thinking", kFigure,
               curve(true, {{8, 11}, {16, 36}, {32, 57.3}, {48, 65.0}, {64, 65.1}, {128, 67.1}, {256, 66.3}})) &&
    add_recipe("steps_curve_no_thinking", "accuracy at 8 to 256 steps a canvas, no adaptive stop, no thinking", kFigure,
               curve(false, {{8, 33.7}, {16, 51.7}, {32, 55.2}, {48, 57.8}, {64, 58.0}, {128, 59.3}, {256, 57.6}})) &&
    add_recipe("throughput_fixed_48", "one canvas of 256 tokens at 48 steps", "SGLang pull request 34061, benchmark notes (third party)", throughput());

}  // namespace
}  // namespace canvaslab
