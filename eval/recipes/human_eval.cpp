// HumanEval: evaluation.md 4.2, 4.4 and 5.3.
#include "eval/recipe.h"

namespace canvaslab {
namespace {

const char* const kReport = "DiffusionGemma Technical Report (arXiv:2608.00146) Tab. 3 and 4";

Recipe recipe(const std::string& mode, bool thinking, Published figure) {
  const auto limit = thinking ? kThinkingTokens : kPlainTokens;
  return {.benchmark = "HumanEval", .mode = mode, .parts = {{.dataset = "human_eval", .files = {{"file", {"HumanEval.jsonl.gz", "HumanEval.jsonl"}}}, .num_items = 164}}, .thinking = thinking,
          .repeats = 1, .grid = released_sampler(limit), .published = {std::move(figure)}, .forwards_per_answer = thinking ? 55.6 : 14.3, .unknown = report_unknowns(limit, "our wording")};
}

Recipe of_report(bool thinking) {
  Recipe out = recipe(thinking ? "thinking" : "no thinking", thinking, {.value = thinking ? 94.5 : 92.7, .margin = 5, .note = "the margin is ours"});
  out.published = with_speed(out.published[0], thinking ? speed_figures(23.0, 9.4, 55.6, 1174) : speed_figures(24.3, 8.0, 14.3, 305));
  return out;
}

Recipe fixed() {
  Recipe out = recipe("no thinking, 48 steps always", false, {.value = 95.12, .margin = 5, .note = "mean of three seeds; the margin is ours"});
  out.grid = fixed_steps(48, 1024);
  out.repeats = 3;
  out.forwards_per_answer = 48 * 2.0;
  return out;
}

[[maybe_unused]] const bool registered = add_recipe("human_eval_thinking", "HumanEval, released sampler, thinking", kReport, of_report(true)) &&
                                         add_recipe("human_eval_no_thinking", "HumanEval, released sampler, no thinking", kReport, of_report(false)) &&
                                         add_recipe("human_eval_fixed_48", "HumanEval, no thinking, 48 steps in every canvas", "TADM preprint Tab. 1 (third party)", fixed());

}  // namespace
}  // namespace canvaslab
