// The sampler's side of a step: the library's own statistics, and acceptance written out.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "core/network/operators/on_host.h"
#include "core/row_statistics.h"

namespace canvaslab::on_host {

void row_statistics(const cuda::StatisticsCall& call) {
  constexpr StatisticSet kWanted = {Statistic::kMax, Statistic::kTop2, Statistic::kEntropy, Statistic::kCandidate, Statistic::kCurrent, Statistic::kUntempered};
  const auto V = static_cast<size_t>(call.vocabulary);
  RowStatistics row;
  row.resize(1, kWanted);
  for (int32_t i = call.num_rows; i-- > 0;) {  // the first bad row is the last to be written
    const cuda::StatisticsRow& request = call.rows[i];
    DrawKey draws = request.draws;
    draws.first_position += request.position;
    try {
      compute_row_statistics({call.logits + static_cast<size_t>(i) * V, V}, call.vocabulary, 0, 1,
                             {.temperature = request.greedy ? 0.0f : static_cast<float>(1 / request.inverse_temperature), .wanted = kWanted, .canvas = {&request.current, 1}, .draw_key = draws}, row);
    } catch (const NonFiniteLogits&) {
      *call.bad_row = std::min(*call.bad_row, i);
      continue;
    }
    const auto put = [&](auto* to, const auto& from) {
      if (to) to[i] = from[0];
    };
    put(call.out.argmax, row.argmax);
    put(call.out.argmax_logprob, row.argmax_logprob);
    put(call.out.second, row.second);
    put(call.out.second_logprob, row.second_logprob);
    put(call.out.entropy_nats, row.entropy_nats);
    put(call.out.candidate, row.candidate);
    put(call.out.candidate_logprob, row.candidate_logprob);
    put(call.out.current_logprob, row.current_logprob);
    put(call.out.argmax_logprob_t1, row.argmax_logprob_t1);
    put(call.out.entropy_t1_nats, row.entropy_t1_nats);
  }
}

void entropy_bound_step(const cuda::AcceptCall& call) {
  for (int32_t c = 0; c < call.num_canvases; ++c) {
    const cuda::CanvasRow& row = call.canvases[c];
    std::vector<int32_t> order;
    double entropies = 0, sum = 0;
    for (int32_t p = row.first; p < row.first + row.length; ++p) {
      call.accepted[p] = 0;
      if (call.allowed && !call.allowed[p]) continue;
      order.push_back(p);
      entropies += static_cast<double>(call.entropy_nats[p]);
    }
    const float mean = order.empty() ? 0.0f : static_cast<float>(entropies / static_cast<double>(order.size()));
    std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return call.entropy_nats[a] < call.entropy_nats[b]; });
    for (const int32_t p : order) {
      sum += static_cast<double>(call.entropy_nats[p]);
      if (static_cast<float>(sum) - call.entropy_nats[p] > row.bound) break;
      call.accepted[p] = 1;
    }
    bool changed = false;
    for (const int32_t p : order) {
      changed = changed || call.argmax[p] != call.last_argmax[p];
      int32_t token = call.accepted[p] ? call.candidate[p] : call.mask_id;
      for (uint32_t lane = 0; token < 0; ++lane) {
        token = static_cast<int32_t>(row.draws.below(static_cast<uint32_t>(call.vocabulary), Purpose::kNoise, static_cast<uint32_t>(p - row.first), lane));
        if (std::find(call.banned_ids, call.banned_ids + call.num_banned, token) != call.banned_ids + call.num_banned) token = -1;
      }
      call.canvas[p] = token;
    }
    std::copy(call.argmax + row.first, call.argmax + row.first + row.length, call.last_argmax + row.first);
    int32_t& equal = call.equal_steps[c];
    equal = equal < 0 || changed ? 0 : equal + 1;
    call.stop[c] = mean < row.confidence && equal >= row.stability;
  }
}

}  // namespace canvaslab::on_host
