// GPQA Diamond: evaluation.md 4.1, 4.4 and 5.3.
#include "eval/recipe.h"

namespace canvaslab {
namespace {

const char* const kReport = "DiffusionGemma Technical Report (arXiv:2608.00146) Tab. 3 and 4; model card";
const std::string kPrompt = "our wording, options in a random order per item";

Recipe recipe(const std::string& mode, bool thinking, Published figure) {
  const auto limit = thinking ? kThinkingTokens : kPlainTokens;
  return {.benchmark = "GPQA Diamond", .mode = mode, .parts = {{.dataset = "gpqa", .files = {{"file", {"gpqa_diamond.csv", "gpqa_diamond.jsonl"}}}, .num_items = 198}}, .thinking = thinking,
          .repeats = 1, .grid = released_sampler(limit), .published = {std::move(figure)}, .forwards_per_answer = thinking ? 443.4 : 48.1, .unknown = report_unknowns(limit, kPrompt)};
}

Recipe of_report(bool thinking) {
  Recipe out = recipe(thinking ? "thinking" : "no thinking", thinking, {.value = thinking ? 73.2 : 64.6, .margin = 5});
  out.published = with_speed(out.published[0], thinking ? speed_figures(16.7, 15.1, 443.4, 5647) : speed_figures(16.5, 13.4, 48.1, 726));
  return out;
}

Recipe causal(bool thinking) {
  Recipe out = recipe(thinking ? "autoregressive, thinking" : "autoregressive, no thinking", thinking, {.value = thinking ? 79.8 : 67.2, .margin = 5});
  out.grid = autoregressive(thinking ? kThinkingTokens : kPlainTokens);
  out.forwards_per_answer = thinking ? 5647 : 726;
  out.unknown.push_back("how the autoregressive mode drew; here temperature 1, top-k 64, top-p 0.95");
  return out;
}

/// Runs of others with the released sampler; their prompts and limits are theirs.
Recipe third_party(bool thinking, double value, const std::string& note, int32_t limit, const std::string& prompt) {
  Recipe out = recipe(thinking ? "thinking" : "no thinking", thinking, {.value = value, .margin = 5, .note = note});
  out.grid = released_sampler(limit);
  out.unknown = {"the wording; here " + prompt, "how answers were read; here the house rule, with the published one beside it"};
  return out;
}

Recipe fixed() {
  Recipe out = recipe("no thinking, 48 steps always", false, {.value = 67.00, .margin = 5, .note = "mean of three seeds"});
  out.grid = fixed_steps(48, 2048);
  out.repeats = 3;
  out.forwards_per_answer = 48 * 3.0;
  out.unknown = {"the wording; here ours", "how answers were read; here the house rule, with the published one beside it", "which temperatures were run; here the released ramp"};
  return out;
}

[[maybe_unused]] const bool registered =
    add_recipe("gpqa_thinking", "GPQA Diamond, released sampler, thinking", kReport, of_report(true)) &&
    add_recipe("gpqa_no_thinking", "GPQA Diamond, released sampler, no thinking", kReport, of_report(false)) &&
    add_recipe("gpqa_ar_thinking", "GPQA Diamond, the same weights autoregressively, thinking", kReport, causal(true)) &&
    add_recipe("gpqa_ar_no_thinking", "GPQA Diamond, the same weights autoregressively, no thinking", kReport, causal(false)) &&
    add_recipe("gpqa_thinking_redhat", "GPQA Diamond, thinking, bf16 in vLLM", "RedHatAI FP8-dynamic and NVFP4 model cards, BF16 row (third party)", third_party(true, 69.8, "", kThinkingTokens, kPrompt)) &&
    add_recipe("gpqa_no_thinking_redhat", "GPQA Diamond, no thinking, bf16 in vLLM", "RedHatAI FP8-dynamic and NVFP4 model cards, BF16 row (third party)", third_party(false, 64.1, "", kPlainTokens, kPrompt)) &&
    add_recipe("gpqa_thinking_vllm", "GPQA Diamond, thinking, vLLM on an A100, answers of at most 13,824 tokens", "tenstorrent/tt-inference-server issue 4732 (third party)",
               third_party(true, 70.46, "mean of two runs, 70.71 and 70.20", 13824, kPrompt)) &&
    add_recipe("gpqa_no_thinking_vllm", "GPQA Diamond, no thinking, vLLM on an A100", "tenstorrent/tt-inference-server issue 4732 (third party)",
               third_party(false, 64.65, "mean of three runs, 64.14, 64.65 and 65.15", 13824, kPrompt)) &&
    add_recipe("gpqa_fixed_48", "GPQA Diamond, no thinking, 48 steps in every canvas", "TADM preprint Tab. 1 (third party)", fixed());

}  // namespace
}  // namespace canvaslab
