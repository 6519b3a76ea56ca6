// Speed of grading on one long line without an answer, the worst case of every rule; time must grow as the size does.
#include <benchmark/benchmark.h>

#include <filesystem>
#include <fstream>

#include "core/denoiser.h"
#include "eval/dataset.h"
#include "eval/grading/choice.h"
#include "eval/grading/integer.h"
#include "eval/grading/math.h"

namespace canvaslab::grading {
namespace {

std::string line_of(std::string_view piece, int64_t bytes) {
  std::string out;
  while (static_cast<int64_t>(out.size()) < bytes) out += piece;
  return out;
}

template <typename Grade>
void run(benchmark::State& state, std::string_view piece, Grade grade) {
  const std::string text = line_of(piece, state.range(0));
  for (auto unused : state) benchmark::DoNotOptimize(grade(text));
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) * static_cast<int64_t>(text.size()));
}

void MmluProOfficial(benchmark::State& state) { run(state, "answer is no answer: ", [](const auto& text) { return mmlu_pro_official(text); }); }
void MmluProHouse(benchmark::State& state) { run(state, "answer is no answer: ", [](const auto& text) { return mmlu_pro_house(text, 10); }); }
void GpqaHouse(benchmark::State& state) { run(state, "Answer: \\boxed{x ", [](const auto& text) { return gpqa_house(text, 4); }); }
void GpqaLmEval(benchmark::State& state) { run(state, "aaaa", [](const auto& text) { return gpqa_lm_eval(text, {std::string(1000, 'a') + "b", "aab", "aaab", "c"}); }); }
void AimeHouse(benchmark::State& state) { run(state, "1,2/3 \\boxed{", [](const auto& text) { return aime_house(text); }); }
void AimeLmEval(benchmark::State& state) { run(state, "\\frac{1 \\sqrt{ ", [](const auto& text) { return aime_lm_eval_correct(text, "7"); }); }
void MathVision(benchmark::State& state) { run(state, "((1+", [](const auto& text) { return math_vision_correct(math_vision_official(text).text, "7", {}); }); }

void MathVisionRoots(benchmark::State& state) { run(state, "\\sqrt2/", [](const auto& text) { return math_vision_correct(math_vision_official(text).text, "7", {}); }); }
void MathVisionFractions(benchmark::State& state) { run(state, "\\frac12", [](const auto& text) { return math_vision_correct(math_vision_official(text).text, "7", {}); }); }

/// All of MMLU-Pro's 12,032 answers, from tokens (a byte each) to both graders' verdicts: 4,000 bytes of thought with wrong
/// letters in it and an answer that a rule finds, each as the data set scores it.
void MmluProAll(benchmark::State& state) {
  const std::string file = std::filesystem::temp_directory_path() / "canvaslab-grading-bench.jsonl";
  std::ofstream(file) << R"({"question_id": 1, "question": "q", "options": ["a","b","c","d","e","f","g","h","i","j"], "answer": "B", "answer_index": 1, "cot_content": "", "category": "law", "src": ""})";
  const auto dataset = datasets().make("mmlu_pro(file='" + file + "')");
  dataset->use_text({.decode = [](std::span<const int32_t> ids) { return std::string(ids.begin(), ids.end()); }, .count_tokens = [](const std::string& text) { return text.size(); },
                     .stop_ids = {1}, .channel_open = 2, .channel_close = 3});
  const auto denoiser = denoisers().make("uniform(alphabet=4)");
  const auto example = dataset->load().at(0);
  std::vector<std::vector<int32_t>> answers;
  for (int i = 0; i < 100; ++i) {
    std::string text = line_of(fmt::format("Option {} might hold, since I find {} in the text.\n", static_cast<char>('A' + i % 10), i), 4000);
    text += i % 4 ? fmt::format("The answer is ({}).", static_cast<char>('A' + i % 10)) : fmt::format("\\boxed{{{}}}", static_cast<char>('A' + i % 10));
    answers.emplace_back(text.begin(), text.end()), answers.back().push_back(1);
  }
  for (auto unused : state)
    for (size_t i = 0; i < 12032; ++i) benchmark::DoNotOptimize(dataset->score(example, answers[i % answers.size()], *denoiser));
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()) * 12032);
  std::filesystem::remove(file);
}

#define SIZES Arg(200'000)->Arg(1'600'000)->Unit(benchmark::kMillisecond)
BENCHMARK(MmluProOfficial)->SIZES;
BENCHMARK(MmluProHouse)->SIZES;
BENCHMARK(GpqaHouse)->SIZES;
BENCHMARK(GpqaLmEval)->SIZES;
BENCHMARK(AimeHouse)->SIZES;
BENCHMARK(AimeLmEval)->SIZES;
BENCHMARK(MathVision)->SIZES;
BENCHMARK(MathVisionRoots)->SIZES;
BENCHMARK(MathVisionFractions)->SIZES;
BENCHMARK(MmluProAll)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace canvaslab::grading
