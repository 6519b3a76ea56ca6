#include "samplers/external_view.h"

namespace canvaslab {
namespace {

const std::vector<std::string>& statistic_names() {  // in the order of their bits
  static const std::vector<std::string> names = {"max", "top2", "entropy", "candidate", "current", "untempered", "divergence", "alternative"};
  return names;
}

}  // namespace

ExternalWants::ExternalWants(HandshakeAnswer& answer) {
  for (const size_t bit : answer.words("statistics", statistic_names())) statistics = statistics | StatisticSet{static_cast<Statistic>(1u << bit)};
  static constexpr Purpose kPurposes[] = {Purpose::kRoute, Purpose::kPositionKey, Purpose::kSampler};
  for (const size_t i : answer.words("draws", {"route", "position_key", "own"})) draws.push_back(kPurposes[i]);
}

void put_step(FrameWriter& frame, ExternalMessage message, const StepView& view, const ExternalWants& wants, size_t count, double knob) {
  frame.put(message);
  for (const int32_t value : {view.step_idx, view.num_steps, static_cast<int32_t>(view.is_last), view.vocabulary, static_cast<int32_t>(view.length())}) frame.put(value);
  frame.put(wants.statistics.bits());
  frame.put(static_cast<uint32_t>(count));
  for (const double value : {static_cast<double>(view.temperature), view.level_now, view.level_next, knob}) frame.put(value);
  for (const Purpose purpose : wants.draws)
    for (size_t p = 0; p < view.length(); ++p) frame.put(view.uniform(purpose, p));
}

void put_tokens_and_statistics(FrameWriter& frame, const StepView& view, StatisticSet statistics) {
  const RowStatistics& s = *view.statistics;
  const auto put = [&](Statistic bit, const auto&... vectors) {
    if (statistics.has(bit)) (frame.put_all(std::span(vectors)), ...);
  };
  frame.put_all(view.canvas);
  put(Statistic::kMax, s.argmax, s.argmax_logprob);
  put(Statistic::kTop2, s.second, s.second_logprob);
  put(Statistic::kEntropy, s.entropy_nats);
  put(Statistic::kCandidate, s.candidate, s.candidate_logprob);
  put(Statistic::kCurrent, s.current_logprob);
  put(Statistic::kUntempered, s.argmax_logprob_t1, s.entropy_t1_nats);
  put(Statistic::kDivergence, s.kl_nats);
  put(Statistic::kAlternative, s.alternative);
}

void put_masks(FrameWriter& frame, const StepView& view, const CanvasState& state) {
  for (size_t p = 0; p < view.length(); ++p) frame.put(static_cast<uint8_t>(view.is_allowed(p)));
  for (size_t p = 0; p < view.length(); ++p) frame.put(p < state.revealed.size() ? state.revealed[p] : uint8_t{0});
}

}  // namespace canvaslab
