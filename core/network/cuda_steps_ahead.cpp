#include "core/network/cuda_steps_ahead.h"

#include <algorithm>
#include <iterator>

#include "core/network/device_statistics.h"

namespace canvaslab {
namespace {

constexpr size_t kMostSteps = 1024;  // what is recorded of a step is some kilobytes

/// Canvases in one piece of memory: what the loop is told of them, and what it leaves.
class CanvasLoop {
 public:
  CanvasLoop(const DenoiserFacts& facts, std::span<const DenoiseRow> rows) : facts_(facts), rows_(rows) {
    for (const DenoiseRow& row : rows) {
      positions_ += row.request.canvas.size();
      most_steps_ = std::max(most_steps_, row.request.outlook->bounds.size());
      wanted_ = wanted_ | row.request.wanted;
    }
  }
  int64_t bytes() const { return at(nullptr).bytes; }
  int64_t logit_bytes() const { return static_cast<int64_t>(positions_) * facts_.vocabulary * 4; }

  /// What the host sends, to the beginning of the memory.
  std::vector<std::byte> sent() const {
    std::vector<std::byte> out(static_cast<size_t>(at(nullptr).sent_bytes));
    const cuda::LoopMemory here = at(out.data());
    std::copy(facts_.banned_ids.begin(), facts_.banned_ids.end(), here.banned);
    *here.bad_row = cuda::kNoBadRow;
    int32_t first = 0;
    for (size_t c = 0; c < rows_.size(); ++c) {
      const StepRequest& request = rows_[c].request;
      const Outlook& outlook = *request.outlook;
      const auto length = static_cast<int32_t>(request.canvas.size());
      here.canvases[c] = {.draws = *request.draw_key, .first = first, .length = length, .num_steps = static_cast<int32_t>(outlook.bounds.size()), .confidence = outlook.confidence, .stability = outlook.stability};
      for (size_t step = 0; step < outlook.bounds.size(); ++step) {
        const float temperature = outlook.temperatures[step];
        here.steps[c * most_steps_ + step] = {.inverse_temperature = temperature > 0 ? 1 / static_cast<double>(temperature) : 1, .feedback_inverse_temperature = temperature > 0 ? 1 / temperature : 1,
                                              .bound = outlook.bounds[step], .greedy = temperature == 0};
      }
      std::copy(request.canvas.begin(), request.canvas.end(), here.canvas + first);
      std::copy(outlook.allowed.begin(), outlook.allowed.end(), here.allowed + first);
      here.equal_steps[c] = -1;
      first += length;
    }
    return out;
  }

  cuda::LoopCall call(std::byte* memory, const float* logits) const {
    const cuda::LoopMemory there = at(memory);
    const cuda::StatisticsArrays columns = wanted_of(columns_at(there.columns, positions_), wanted_, true);
    const void* in_order[] = {columns.argmax, columns.argmax_logprob, columns.second, columns.second_logprob, columns.entropy_nats, columns.candidate, columns.candidate_logprob, columns.current_logprob, columns.argmax_logprob_t1,
                              columns.entropy_t1_nats};
    static_assert(std::size(in_order) == kColumns && kColumns + 1 == cuda::kLoopColumns);
    uint32_t wanted = 0;
    for (size_t i = 0; i < kColumns; ++i) wanted |= in_order[i] ? 1u << i : 0;
    const auto num_rows = static_cast<int32_t>(positions_), num_canvases = static_cast<int32_t>(rows_.size());
    return {.canvases = there.canvases, .num_canvases = num_canvases, .num_rows = num_rows, .most_steps = static_cast<int32_t>(most_steps_), .steps = there.steps, .step = there.step, .finished = there.finished,
            .running = there.running, .feedback_inverse_temperature = there.feedback_inverse_temperature, .statistics_rows = there.statistics_rows, .accept_canvases = there.accept_canvases,
            .statistics = {.logits = logits, .rows = there.statistics_rows, .num_rows = num_rows, .vocabulary = facts_.vocabulary, .out = columns, .bad_row = there.bad_row},
            .accept = {.canvases = there.accept_canvases, .num_canvases = num_canvases, .vocabulary = facts_.vocabulary, .entropy_nats = columns.entropy_nats, .candidate = columns.candidate, .argmax = columns.argmax,
                       .allowed = there.allowed, .banned_ids = there.banned, .num_banned = static_cast<int32_t>(facts_.banned_ids.size()), .mask_id = facts_.absorbing ? facts_.mask_id : -1, .canvas = there.canvas,
                       .accepted = there.accepted, .last_argmax = there.last_argmax, .equal_steps = there.equal_steps, .stop = there.stop},
            .columns = there.columns, .wanted = wanted, .record = there.record};
  }

  /// Which bytes come back: [first, end).
  std::pair<int64_t, int64_t> coming_back() const { return {at(nullptr).back_at, at(nullptr).back_end}; }
  /// `memory`: the device's, of which these bytes have come back.
  std::vector<std::shared_ptr<const StepsAhead>> steps(std::byte* memory) const {
    const cuda::LoopMemory came = at(memory);
    std::vector<std::shared_ptr<const StepsAhead>> out;
    if (*came.bad_row != cuda::kNoBadRow) return out;
    size_t first = 0;
    for (size_t c = 0; c < rows_.size(); ++c) {
      const StepRequest& request = rows_[c].request;
      auto ahead = std::make_shared<StepsAhead>(StepsAhead{.canvas_idx = request.canvas_idx, .self_conditioning = request.self_conditioning, .wanted = request.wanted, .draws = *request.draw_key,
                                                           .temperatures = {request.outlook->temperatures.begin(), request.outlook->temperatures.end()}, .canvases = {}, .statistics = {}});
      for (int32_t step = 0; step < came.step[c]; ++step) {
        int32_t* record = came.record + static_cast<size_t>(step) * cuda::kLoopColumns * positions_;
        ahead->canvases.emplace_back(record + first, record + first + request.canvas.size());
        take_statistics(columns_at(record + positions_, positions_), first, request, ahead->statistics.emplace_back());
      }
      first += request.canvas.size();
      out.push_back(std::move(ahead));
    }
    return out;
  }

 private:
  cuda::LoopMemory at(std::byte* memory) const {
    return {memory, static_cast<int64_t>(rows_.size()), static_cast<int64_t>(positions_), static_cast<int64_t>(most_steps_), static_cast<int64_t>(facts_.banned_ids.size())};
  }

  const DenoiserFacts& facts_;
  std::span<const DenoiseRow> rows_;
  size_t positions_ = 0, most_steps_ = 0;
  StatisticSet wanted_;
};

}  // namespace

bool StepsAhead::possible(const StepRequest& request) {
  return request.outlook && request.step_idx == 0 && request.outlook->bounds.size() > 1 && request.outlook->bounds.size() <= kMostSteps && request.draw_key && !request.hold_prediction && !request.want_logits &&
         !needs_host(request) && request.self_conditioning != SelfConditioning::kGiven && request.canvas.size() <= static_cast<size_t>(cuda::kMaxCanvas) && request.wanted.has(Statistic::kMax) &&
         request.wanted.has(Statistic::kEntropy) && request.wanted.has(Statistic::kCandidate);
}

bool StepsAhead::answers(const StepRequest& request) const {
  const auto step = static_cast<size_t>(request.step_idx);
  if (step >= canvases.size() || request.canvas_idx != canvas_idx || request.temperature != temperatures[step] || request.self_conditioning != self_conditioning) return false;
  DrawKey expected = draws;
  expected.step_idx += static_cast<uint32_t>(step);
  if (!request.draw_key || *request.draw_key != expected || !(request.wanted == wanted) || request.want_logits || request.hold_prediction || needs_host(request)) return false;
  return std::equal(request.canvas.begin(), request.canvas.end(), canvases[step].begin(), canvases[step].end());
}

std::vector<std::shared_ptr<const StepsAhead>> steps_ahead(CudaNetwork& network, const DenoiserFacts& facts, std::span<const DenoiseRow> rows, std::span<const DeviceCanvas> canvases, std::unique_ptr<DeviceMemory>& memory) {
  const CanvasLoop loop(facts, rows);
  auto* base = grown(memory, network.device(), loop.bytes(), "a canvas's steps").as<std::byte>();
  float* logits = network.logits(loop.logit_bytes());
  const std::vector<std::byte> sent = loop.sent();
  network.check(network.device()->upload(base, sent.data(), static_cast<int64_t>(sent.size())));
  network.decode_loop(canvases, logits, loop.call(base, logits), rows.front().request.self_conditioning == SelfConditioning::kPrevious);
  const auto [first, end] = loop.coming_back();
  std::vector<std::byte> back(static_cast<size_t>(end));
  network.check(network.device()->download(back.data() + first, base + first, end - first));
  return loop.steps(back.data());
}

}  // namespace canvaslab
