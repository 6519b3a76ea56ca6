// What several recipes share: the released sampler's settings, the report's speed table, and what it leaves open.
#include "core/error.h"
#include "eval/recipe.h"

namespace canvaslab {

std::vector<std::pair<std::string, std::string>> released_sampler(int32_t max_new_tokens) {
  return {{"sampler", "\"entropy_bound(entropy_bound=0.1)\""},
          {"stop", "\"stable_and_confident(stability_threshold=1, confidence_threshold=0.005)\""},
          {"temperature", "\"linear_remaining(t_min=0.4, t_max=0.8)\""},
          {"emission", "\"argmax\""},
          {"canvas_length", "256"},
          {"steps", "48"},
          {"max_new_tokens", std::to_string(max_new_tokens)}};
}

std::vector<std::pair<std::string, std::string>> fixed_steps(int32_t steps, int32_t max_new_tokens) {
  return {{"sampler", "\"entropy_bound(entropy_bound=0.1)\""},
          {"stop", "\"never\""},
          {"temperature", "\"linear_remaining(t_min=0.4, t_max=0.8)\""},
          {"emission", "\"argmax\""},
          {"canvas_length", "256"},
          {"steps", std::to_string(steps)},
          {"max_new_tokens", std::to_string(max_new_tokens)}};
}

std::vector<std::pair<std::string, std::string>> autoregressive(int32_t max_new_tokens) {
  return {{"sampler", "\"ar(temperature=1)\""}, {"top_k", "64"}, {"top_p", "0.95"}, {"max_new_tokens", std::to_string(max_new_tokens)}};
}

std::vector<Published> speed_figures(double tokens_per_forward, double effective_steps, double forwards, double tokens) {
  constexpr double kMargin = 0.1;  // of the figure: no error is published for any of them
  return {{.quantity = Quantity::kTokensPerForward, .value = tokens_per_forward, .margin = kMargin * tokens_per_forward},
          {.quantity = Quantity::kEffectiveSteps, .value = effective_steps, .margin = kMargin * effective_steps},
          {.quantity = Quantity::kForwards, .value = forwards, .margin = kMargin * forwards},
          {.quantity = Quantity::kTokens, .value = tokens, .margin = kMargin * tokens}};
}

std::vector<Published> with_speed(Published figure, std::vector<Published> more) {
  more.insert(more.begin(), std::move(figure));
  return more;
}

std::vector<std::string> report_unknowns(int32_t max_new_tokens, const std::string& prompt) {
  return {"prompt and shots; here " + prompt, fmt::format("the token limit; here {} (a multiple of the canvas)", max_new_tokens), "how answers were read; here by the default rule of the data set, with the other one beside it"};
}

const std::vector<NotExpressed>& not_expressed() {
  static const std::vector<NotExpressed> all = {
      {"Gemma 4 26B-A4B, autoregressive: 82.6, 82.3, 77.1, 88.3, 82.4 (and without thinking)", "another checkpoint, of an autoregressive network that is not loaded here"},
      {"FP8-dynamic and NVFP4 rows of the RedHatAI cards", "the network runs in f32 and bf16; quantised weights are not read"},
      {"GSM8K, IFEval, MMLU 0-shot of the RedHatAI cards; GSM8K of the fixed-48 runs", "no data set of these here (GSM8K's questions can be asked through jsonl)"},
      {"mean of seven benchmarks: 19.74 tokens per forward thinking, 18.76 without", "Codeforces and BigBench Extra Hard are no data sets here; the rows of the others are in the recipes of their benchmarks"},
      {"tokens per second of any row", "hardware, precision and kernels are the publishers'; runs here report their own (tokens_per_second)"},
      {"15.1 tokens per forward of the vLLM blog, 20 to 34 steps of llama.cpp, and other community rates", "their prompts are not published"},
      {"medians of effective steps per benchmark", "read off a box plot; the recipes judge the report's means instead"},
      {"training curves (SFT-only checkpoint over steps), Sudoku and PubMedQA adapters", "those weights are not released"},
      {"the 23 items on a Mac, steps capped at 8 to 48", "its items are not published"},
  };
  return all;
}

}  // namespace canvaslab
