// credit: what the two accounts of a position hold, and what they do to its confidence.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/step.h"

namespace canvaslab {
namespace {

using testing_support::decide;
using testing_support::sampler_of;
using testing_support::Step;

/// Statistics at temperature `t` of positions whose two best tokens have probabilities (first, second) at temperature 1. The
/// rest is one further token, so that the row at another temperature is known.
struct Row {
  int32_t best, next;
  double first, second;
};
Step step_of(const std::vector<Row>& rows, double t = 1) {
  Step step(rows.size());
  step.statistics.second.resize(rows.size());
  for (size_t p = 0; p < rows.size(); ++p) {
    const Row& row = rows[p];
    double all = 0;
    for (const double x : {row.first, row.second, 1 - row.first - row.second}) all += std::pow(x, 1 / t);
    step.statistics.argmax[p] = row.best, step.statistics.second[p] = row.next;
    step.statistics.argmax_logprob[p] = static_cast<float>(std::log(std::pow(row.first, 1 / t) / all));
    step.statistics.second_logprob[p] = static_cast<float>(std::log(std::pow(row.second, 1 / t) / all));
    step.statistics.argmax_logprob_t1[p] = static_cast<float>(std::log(row.first));
  }
  return step;
}
/// Token taken by each position, -1 for none, after the steps; the last one's decision.
std::vector<int32_t> taken_at_last(const std::string& text, const std::vector<Step>& steps, int32_t limit = 99, float temperature = 1) {
  const auto sampler = sampler_of(text);
  CanvasState state;
  sampler.sampler->begin(state, steps[0].canvas.size(), limit);
  StepDecision decision;
  for (size_t i = 0; i < steps.size(); ++i) {
    const auto knobs = sampler.knob_values({.step_idx = static_cast<int32_t>(i), .num_steps = limit});
    StepView view = steps[i].view(static_cast<int32_t>(i), limit);
    view.knobs = knobs, view.temperature = temperature;
    sampler.decide(view, state, decision);
  }
  std::vector<int32_t> out;
  for (size_t p = 0; p < decision.action.size(); ++p) out.push_back(decision.action[p] == Action::kToken ? decision.token[p] : -1);
  return out;
}
using Tokens = std::vector<int32_t>;

/// The surest position is 0 and is taken at the first step; what follows is about position 1.
Step about(Row row, double t = 1) { return step_of({{9, 8, 0.999, 0.0005}, row}, t); }

TEST(Credit, LiftsATokenThatStaysTheBest) {
  // One step: credit .6^.2 = .902892; odds 1.902892^.7 = 1.568824 against the rest, so .6 counts as .701792. After a second one the
  // credit is .8 * .902892 + .902892 = 1.625206, and .6 counts as 1.965289 * .6 / (1.965289 * .6 + .4) = .746695.
  const Row row{5, 6, 0.6, 0.2};
  EXPECT_EQ(taken_at_last("credit(0.7017)", {about(row)}), (Tokens{9, 5}));
  EXPECT_EQ(taken_at_last("credit(0.7019)", {about(row)}), (Tokens{9, -1}));
  EXPECT_EQ(taken_at_last("credit(0.7466)", {about(row), about(row)}), (Tokens{-1, 5}));
  // What was revealed is not open any more, so that position 1 is the surest and is taken in any case: hence a third position.
  const auto three = [&](Row last) { return step_of({{9, 8, 0.999, 0.0005}, {4, 3, 0.98, 0.01}, last}); };
  EXPECT_EQ(taken_at_last("credit(0.7466)", {three(row), three(row)}), (Tokens{-1, -1, 5})) << "0.98 was taken at the first step";
  const auto four = [&](Row last) { return step_of({{9, 8, 0.999, 0.0005}, {4, 3, 0.74, 0.01}, last}); };
  EXPECT_EQ(taken_at_last("credit(0.99)", {four(row), four(row)}), (Tokens{-1, 4, -1})) << "only the surest";
}

TEST(Credit, WithoutAlphaIsTheThresholdOnBestTokens) {
  std::mt19937 engine(17);
  for (int trial = 0; trial < 50; ++trial) {
    std::vector<Row> rows(1 + engine() % 20);
    for (auto& row : rows) {
      row.best = 1, row.next = 2;
      row.first = 0.34 + 0.65 * std::generate_canonical<double, 32>(engine);
      row.second = (1 - row.first) * 0.5;
    }
    const Step step = step_of(rows);
    const auto got = taken_at_last("credit(0.7, alpha=0)", {step});
    size_t surest = rows.size();
    for (size_t p = 0; p < rows.size(); ++p)
      if (step.allowed.empty() || step.allowed[p])
        if (surest == rows.size() || rows[p].first > rows[surest].first) surest = p;
    for (size_t p = 0; p < rows.size(); ++p) EXPECT_EQ(got[p] == 1, rows[p].first >= 0.7 || p == surest) << "position " << p << " seed 17 trial " << trial;
  }
}

TEST(Credit, ARivalKeepsItsOwnAndCanWinTheRow) {
  // Token 5 leads twice, then 6 leads by little: 5 has 1.625206 * .8 = 1.300165 of credit, 6 .45^.2 = .852397.
  // 6: .45 * 1.852397^.7 = .692789; 5: .44 * 2.300165^.7 = .788302.
  const Row before{5, 6, 0.6, 0.2}, after{6, 5, 0.45, 0.44};
  const auto three = [&](Row row) { return step_of({{9, 8, 0.999, 0.0005}, {4, 3, 0.998, 0.0005}, row}); };
  const auto got = taken_at_last("credit(0.999)", {three(before), three(before), three(after)});
  EXPECT_EQ(got[2], 5) << "the surest that is open, with the token that the credit prefers";
  EXPECT_EQ(taken_at_last("credit(0.999, alpha=0)", {three(before), three(before), three(after)})[2], 6);
  EXPECT_EQ(taken_at_last("credit(0.999, decay=0)", {three(before), three(before), three(after)})[2], 6) << "what was is forgotten";
}

TEST(Credit, DoesNotDependOnTheTemperatureAndTakesAllAtTheEnd) {
  const Row row{5, 6, 0.6, 0.2};
  for (const double t : {0.5, 2.0}) {
    EXPECT_EQ(taken_at_last("credit(0.7017)", {about(row, t)}, 99, static_cast<float>(t)), (Tokens{9, 5})) << t;
    EXPECT_EQ(taken_at_last("credit(0.7019)", {about(row, t)}, 99, static_cast<float>(t)), (Tokens{9, -1})) << t;
  }
  EXPECT_EQ(taken_at_last("credit(1)", {about(row)}, 1), (Tokens{9, 5}));
}

}  // namespace
}  // namespace canvaslab
