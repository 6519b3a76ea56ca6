// MATH-Vision: evaluation.md 4.1.
#include "eval/recipe.h"

namespace canvaslab {
namespace {

Recipe recipe() {
  Recipe out{.benchmark = "MATH-Vision", .mode = "thinking",
             .parts = {{.dataset = "math_vision", .files = {{"file", {"data/test-00000-of-00001-3532b8d3f1b4047a.parquet", "data/test.jsonl", "math_vision.jsonl"}}}, .num_items = 3040}}, .thinking = true,
             .repeats = 1, .grid = released_sampler(kThinkingTokens), .published = {{.value = 70.5, .margin = 5}}, .forwards_per_answer = 443.4, .forwards_are_assumed = true,
             .unknown = report_unknowns(kThinkingTokens, "our wording")};
  out.unknown.push_back("whether thinking was on, and the budget of image tokens");
  out.cannot_run = "3,038 of its 3,040 questions are about pictures, and no denoiser here takes pictures yet";
  return out;
}

[[maybe_unused]] const bool registered = add_recipe("math_vision_thinking", "MATH-Vision, released sampler, thinking", "model card", recipe());

}  // namespace
}  // namespace canvaslab
