// AIME 2026 and 2025: evaluation.md 4.1, 4.4 and 5.3.
#include "eval/recipe.h"

namespace canvaslab {
namespace {

const char* const kReport = "DiffusionGemma Technical Report (arXiv:2608.00146) Tab. 3 and 4; model card";
const char* const kRedHat = "RedHatAI FP8-dynamic and NVFP4 model cards, BF16 row (third party)";

Recipe recipe(int year, const std::string& mode, bool thinking, Published figure) {
  const auto limit = thinking ? kThinkingTokens : kPlainTokens;
  const std::string stem = fmt::format("aime_{}", year);
  Recipe out{.benchmark = fmt::format("AIME {}, no tools", year), .mode = mode,
             .parts = {{.dataset = "aime", .files = {{"file", {stem + ".parquet", stem + ".jsonl", "data/train-00000-of-00001.parquet"}}}, .num_items = 30}}, .thinking = thinking, .repeats = 4,
             .grid = released_sampler(limit), .published = {std::move(figure)}, .forwards_per_answer = thinking ? 390.6 : 91.1, .unknown = report_unknowns(limit, "our wording")};
  out.unknown.push_back("the number of repeats; here 4, of which most published values are multiples");
  return out;
}

Recipe of_report(bool thinking) {
  Recipe out = recipe(2026, thinking ? "thinking" : "no thinking", thinking, {.value = thinking ? 69.1 : 50.8, .margin = 10});
  out.published = with_speed(out.published[0], thinking ? speed_figures(19.3, 12.6, 390.6, 6445) : speed_figures(16.7, 14.1, 91.1, 1309));
  return out;
}

Recipe causal(bool thinking) {
  Recipe out = recipe(2026, thinking ? "autoregressive, thinking" : "autoregressive, no thinking", thinking, {.value = thinking ? 84.2 : 57.5, .margin = 10});
  out.grid = autoregressive(thinking ? kThinkingTokens : kPlainTokens);
  out.forwards_per_answer = thinking ? 6445 : 1309;
  out.unknown.push_back("how the autoregressive mode drew; here temperature 1, top-k 64, top-p 0.95");
  return out;
}

Recipe of_2025(bool thinking) {
  Recipe out = recipe(2025, thinking ? "thinking" : "no thinking", thinking, {.value = thinking ? 65.0 : 43.7, .margin = 10});
  out.forwards_are_assumed = true;
  return out;
}

Recipe fixed() {
  Recipe out = recipe(2026, "no thinking, 48 steps always", false, {.value = 47.78, .margin = 10, .note = "mean of three seeds"});
  out.grid = fixed_steps(48, 4096);
  out.repeats = 3;
  out.forwards_per_answer = 48 * 5.0;
  return out;
}

[[maybe_unused]] const bool registered =
    add_recipe("aime_2026_thinking", "AIME 2026, released sampler, thinking", kReport, of_report(true)) &&
    add_recipe("aime_2026_no_thinking", "AIME 2026, released sampler, no thinking", kReport, of_report(false)) &&
    add_recipe("aime_2026_ar_thinking", "AIME 2026, the same weights autoregressively, thinking", kReport, causal(true)) &&
    add_recipe("aime_2026_ar_no_thinking", "AIME 2026, the same weights autoregressively, no thinking", kReport, causal(false)) &&
    add_recipe("aime_2026_fixed_48", "AIME 2026, no thinking, 48 steps in every canvas", "TADM preprint Tab. 1 (third party)", fixed()) &&
    add_recipe("aime_2025_thinking_redhat", "AIME 2025, thinking, bf16 in vLLM", kRedHat, of_2025(true)) &&
    add_recipe("aime_2025_no_thinking_redhat", "AIME 2025, no thinking, bf16 in vLLM", kRedHat, of_2025(false));

}  // namespace
}  // namespace canvaslab
