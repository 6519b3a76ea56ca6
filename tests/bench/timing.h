#pragma once
// Times of single runs, and what the benchmarks say of them: the median and how far runs lie apart.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

namespace canvaslab {

/// Wall-clock seconds of one call.
double seconds_of(const auto& run) {
  const auto begin = std::chrono::steady_clock::now();
  run();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// Seconds of single runs.
class Times {
 public:
  void add(double seconds) { all_.push_back(seconds); }
  double best() const { return quantile(0); }
  double median() const { return quantile(0.5); }
  /// What lies between the 10th and the 90th percentile, over the median; 0 for a single run.
  double spread() const { return (quantile(0.9) - quantile(0.1)) / median(); }

 private:
  std::vector<double> all_;  // in the order of the runs: keeping it sorted would cost time between them

  double quantile(double share) const {
    auto sorted = all_;
    const auto at = sorted.begin() + static_cast<ptrdiff_t>(share * static_cast<double>(sorted.size() - 1));
    std::nth_element(sorted.begin(), at, sorted.end());
    return *at;
  }
};

/// Sets the counters median_UNIT, best_UNIT (us or ms) and spread.
inline void report(benchmark::State& state, const Times& times, const std::string& unit) {
  const double units = unit == "us" ? 1e6 : 1e3;
  state.counters["median_" + unit] = times.median() * units;
  state.counters["best_" + unit] = times.best() * units;
  state.counters["spread"] = times.spread();
}

}  // namespace canvaslab
