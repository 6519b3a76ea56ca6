// MMLU-Pro: evaluation.md 4.1 and 4.4.
#include "eval/recipe.h"

namespace canvaslab {
namespace {

const char* const kReport = "DiffusionGemma Technical Report (arXiv:2608.00146) Tab. 3; model card";
const std::string kPrompt = "no shots, our wording";

RecipePart part(const std::string& options) {
  const bool shots = options.find("shots") != std::string::npos;
  RecipePart out{.dataset = "mmlu_pro" + options, .files = {{"file", {"data/test-00000-of-00001.parquet", "mmlu_pro.jsonl", "mmlu_pro.parquet"}}}, .num_items = 12032};
  if (shots) out.files.push_back({"validation", {"data/validation-00000-of-00001.parquet", "mmlu_pro_validation.jsonl", "mmlu_pro_validation.parquet"}});
  return out;
}

/// Lengths of MMLU-Pro answers are not published: those of GPQA, the nearest, predict the cost.
Recipe recipe(const std::string& mode, bool thinking, double value, std::vector<std::pair<std::string, std::string>> grid) {
  return {.benchmark = "MMLU-Pro", .mode = mode, .parts = {part("")}, .thinking = thinking, .repeats = 1, .grid = std::move(grid), .published = {{.value = value, .margin = 2}},
          .forwards_per_answer = thinking ? 443.4 : 48.1, .forwards_are_assumed = true, .unknown = report_unknowns(thinking ? kThinkingTokens : kPlainTokens, kPrompt)};
}

Recipe causal(const std::string& mode, bool thinking, double value) {
  Recipe out = recipe(mode, thinking, value, autoregressive(thinking ? kThinkingTokens : kPlainTokens));
  out.forwards_per_answer = thinking ? 5647 : 726;  // a forward a token
  out.unknown.push_back("how the autoregressive mode drew; here temperature 1, top-k 64, top-p 0.95");
  return out;
}

Recipe fixed() {
  Recipe out = recipe("no thinking, 48 steps always", false, 77.15, fixed_steps(48, 2048));
  out.parts = {part("(shots=5)")};
  out.repeats = 3;
  out.published[0].note = "mean of three seeds";
  out.forwards_per_answer = 48 * 3.0;
  out.unknown = {"the wording around the five shots; here ours", "how answers were read; here the house rule, with the published one beside it", "which temperatures were run; here the released ramp"};
  return out;
}

[[maybe_unused]] const bool registered =
    add_recipe("mmlu_pro_thinking", "MMLU-Pro, released sampler, thinking", kReport, recipe("thinking", true, 77.6, released_sampler(kThinkingTokens))) &&
    add_recipe("mmlu_pro_no_thinking", "MMLU-Pro, released sampler, no thinking", kReport, recipe("no thinking", false, 77.9, released_sampler(kPlainTokens))) &&
    add_recipe("mmlu_pro_ar_thinking", "MMLU-Pro, the same weights autoregressively, thinking", kReport, causal("autoregressive, thinking", true, 78.8)) &&
    add_recipe("mmlu_pro_ar_no_thinking", "MMLU-Pro, the same weights autoregressively, no thinking", kReport, causal("autoregressive, no thinking", false, 79.1)) &&
    add_recipe("mmlu_pro_fixed_48", "MMLU-Pro, five shots, 48 steps in every canvas", "TADM preprint Tab. 1 (third party)", fixed());

}  // namespace
}  // namespace canvaslab
