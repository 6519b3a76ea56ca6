// LiveCodeBench v6 (test6.jsonl, 175 items): evaluation.md 4.1, 4.4 and 5.3.
#include "eval/recipe.h"

namespace canvaslab {
namespace {

const char* const kReport = "DiffusionGemma Technical Report (arXiv:2608.00146) Tab. 3 and 4; model card";

Recipe recipe(const std::string& mode, bool thinking, Published figure) {
  const auto limit = thinking ? kThinkingTokens : kPlainTokens;
  Recipe out{.benchmark = "LiveCodeBench v6", .mode = mode, .parts = {{.dataset = "live_code_bench", .files = {{"file", {"test6.jsonl", "test6.jsonl.gz"}}}, .num_items = 175}}, .thinking = thinking,
             .repeats = 1, .grid = released_sampler(limit), .published = {std::move(figure)}, .forwards_per_answer = thinking ? 581.8 : 195.7, .unknown = report_unknowns(limit, "our wording")};
  out.unknown.push_back("which items \"v6\" means; every published value is a multiple of 1/175, the length of test6.jsonl");
  return out;
}

Recipe of_report(bool thinking) {
  Recipe out = recipe(thinking ? "thinking" : "no thinking", thinking, {.value = thinking ? 69.1 : 60.6, .margin = 5});
  out.published = with_speed(out.published[0], thinking ? speed_figures(18.5, 13.8, 581.8, 7534) : speed_figures(16.9, 14.0, 195.7, 1847));
  return out;
}

Recipe causal(bool thinking) {
  Recipe out = recipe(thinking ? "autoregressive, thinking" : "autoregressive, no thinking", thinking, {.value = thinking ? 71.4 : 58.3, .margin = 5});
  out.grid = autoregressive(thinking ? kThinkingTokens : kPlainTokens);
  out.forwards_per_answer = thinking ? 7534 : 1847;
  out.unknown.push_back("how the autoregressive mode drew; here temperature 1, top-k 64, top-p 0.95");
  return out;
}

Recipe fixed() {
  Recipe out = recipe("no thinking, 48 steps always", false, {.value = 50.29, .margin = 5, .note = "mean of three seeds; answers of at most 2,000 tokens, here 2,048"});
  out.grid = fixed_steps(48, 2048);
  out.repeats = 3;
  out.forwards_per_answer = 48 * 7.0;
  return out;
}

[[maybe_unused]] const bool registered =
    add_recipe("live_code_bench_thinking", "LiveCodeBench v6, released sampler, thinking", kReport, of_report(true)) &&
    add_recipe("live_code_bench_no_thinking", "LiveCodeBench v6, released sampler, no thinking", kReport, of_report(false)) &&
    add_recipe("live_code_bench_ar_thinking", "LiveCodeBench v6, the same weights autoregressively, thinking", kReport, causal(true)) &&
    add_recipe("live_code_bench_ar_no_thinking", "LiveCodeBench v6, the same weights autoregressively, no thinking", kReport, causal(false)) &&
    add_recipe("live_code_bench_fixed_48", "LiveCodeBench v6, no thinking, 48 steps in every canvas", "TADM preprint Tab. 1 (third party)", fixed());

}  // namespace
}  // namespace canvaslab
