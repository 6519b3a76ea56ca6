#pragma once
// Row statistics as the GPU leaves them: columns of four bytes, one behind the other.
#include <algorithm>

#include "core/denoiser.h"
#include "core/kernels/cuda/device_step.h"

namespace canvaslab {

/// Arrays of statistics for so many rows, one behind the other: all in four-byte numbers, so that one copy brings them.
inline constexpr size_t kColumns = 10;
inline cuda::StatisticsArrays columns_at(void* memory, size_t rows) {
  const auto ints = [&](size_t i) { return static_cast<int32_t*>(memory) + i * rows; };
  const auto floats = [&](size_t i) { return static_cast<float*>(memory) + i * rows; };
  return {.argmax = ints(0), .argmax_logprob = floats(1), .second = ints(2), .second_logprob = floats(3), .entropy_nats = floats(4), .candidate = ints(5), .candidate_logprob = floats(6),
          .current_logprob = floats(7), .argmax_logprob_t1 = floats(8), .entropy_t1_nats = floats(9)};
}

/// Leaves out what nobody wants.
inline cuda::StatisticsArrays wanted_of(cuda::StatisticsArrays all, StatisticSet wanted, bool draws) {
  if (!wanted.has(Statistic::kMax)) all.argmax = nullptr, all.argmax_logprob = nullptr;
  if (!wanted.has(Statistic::kTop2)) all.second = nullptr, all.second_logprob = nullptr;
  if (!wanted.has(Statistic::kEntropy)) all.entropy_nats = nullptr;
  if (!wanted.has(Statistic::kCandidate) || !draws) all.candidate = nullptr, all.candidate_logprob = nullptr;
  if (!wanted.has(Statistic::kCurrent)) all.current_logprob = nullptr;
  if (!wanted.has(Statistic::kUntempered)) all.argmax_logprob_t1 = nullptr, all.entropy_t1_nats = nullptr;
  return all;
}

/// Columns of rows [first, first + L) into what the request wants.
inline void take_statistics(const cuda::StatisticsArrays& columns, size_t first, const StepRequest& request, RowStatistics& out) {
  out.resize(request.canvas.size(), request.wanted);
  const auto take = [first](auto& to, const auto* from) { std::copy_n(from + first, to.size(), to.begin()); };
  take(out.argmax, columns.argmax);
  take(out.argmax_logprob, columns.argmax_logprob);
  take(out.second, columns.second);
  take(out.second_logprob, columns.second_logprob);
  take(out.entropy_nats, columns.entropy_nats);
  if (request.draw_key) {
    take(out.candidate, columns.candidate);
    take(out.candidate_logprob, columns.candidate_logprob);
  }
  take(out.current_logprob, columns.current_logprob);
  take(out.argmax_logprob_t1, columns.argmax_logprob_t1);
  take(out.entropy_t1_nats, columns.entropy_t1_nats);
}

/// Whether an answer takes logits on the host: filters, and statistics that no kernel makes.
inline bool needs_host(const StepRequest& request) { return request.filters.any() || request.wanted.has(Statistic::kDivergence) || request.wanted.has(Statistic::kAlternative); }

}  // namespace canvaslab
