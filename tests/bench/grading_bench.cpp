// Speed of grading on one long line without an answer, the worst case of every rule; time must grow as the size does.
#include <benchmark/benchmark.h>

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

#define SIZES Arg(200'000)->Arg(1'600'000)->Unit(benchmark::kMillisecond)
BENCHMARK(MmluProOfficial)->SIZES;
BENCHMARK(MmluProHouse)->SIZES;
BENCHMARK(GpqaHouse)->SIZES;
BENCHMARK(GpqaLmEval)->SIZES;
BENCHMARK(AimeHouse)->SIZES;
BENCHMARK(AimeLmEval)->SIZES;
BENCHMARK(MathVision)->SIZES;

}  // namespace
}  // namespace canvaslab::grading
