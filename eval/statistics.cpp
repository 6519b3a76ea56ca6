#include "eval/statistics.h"

#include <algorithm>
#include <cmath>

namespace canvaslab {

MeanError mean_error(std::span<const double> values) {
  MeanError out{.mean = 0, .standard_error = 0, .count = static_cast<int64_t>(values.size())};
  if (values.empty()) return out;
  const double n = static_cast<double>(values.size());
  for (double v : values) out.mean += v / n;
  double squares = 0;
  for (double v : values) squares += (v - out.mean) * (v - out.mean);
  if (values.size() > 1) out.standard_error = std::sqrt(squares / (n * (n - 1)));
  return out;
}

double jensen_shannon(std::span<const double> p, std::span<const double> q) {
  double sum = 0;
  for (size_t i = 0; i < p.size(); ++i) {
    const double middle = 0.5 * (p[i] + q[i]);
    if (p[i] > 0) sum += 0.5 * p[i] * std::log(p[i] / middle);
    if (q[i] > 0) sum += 0.5 * q[i] * std::log(q[i] / middle);
  }
  return std::max(0.0, sum);
}

void PairCounts::add(std::span<const int32_t> tokens) {
  for (size_t p = 0; p + 1 < tokens.size(); ++p) {
    count_[static_cast<size_t>(tokens[p]) * vocabulary_ + static_cast<size_t>(tokens[p + 1])] += 1;
    total_ += 1;
  }
}

void PairCounts::add(const PairCounts& other, double sign) {
  for (size_t i = 0; i < count_.size(); ++i) count_[i] += sign * other.count_[i];
  total_ += sign * other.total_;
}

std::vector<double> PairCounts::law() const {
  std::vector<double> out(count_);
  for (double& c : out) c /= std::max(1.0, total_);
  return out;
}

double PairCounts::conditional_entropy_nats() const {
  double entropy = 0;
  for (size_t a = 0; a < vocabulary_; ++a) {
    double row = 0;
    for (size_t b = 0; b < vocabulary_; ++b) row += count_[a * vocabulary_ + b];
    for (size_t b = 0; b < vocabulary_; ++b) {
      const double c = count_[a * vocabulary_ + b];
      if (c > 0) entropy -= c / total_ * std::log(c / row);
    }
  }
  return entropy;
}

Divergence pair_divergence(const std::vector<std::span<const int32_t>>& sequences, std::span<const uint32_t> item_of,
                           std::span<const double> exact, int32_t vocabulary) {
  constexpr size_t kGroups = 20;
  std::vector<PairCounts> groups(kGroups, PairCounts(vocabulary));
  for (size_t i = 0; i < sequences.size(); ++i) groups[item_of[i] % kGroups].add(sequences[i]);
  PairCounts all(vocabulary);
  for (const auto& group : groups) all.add(group);
  Divergence out;
  if (all.total() == 0) return out;
  out.value = jensen_shannon(all.law(), exact);
  out.output_entropy_nats = all.conditional_entropy_nats();
  std::vector<double> left_out;
  for (const auto& group : groups) {
    if (group.total() == 0 || group.total() == all.total()) continue;
    PairCounts rest = all;
    rest.add(group, -1);
    left_out.push_back(jensen_shannon(rest.law(), exact));
  }
  const MeanError spread = mean_error(left_out);
  // Jackknife: (g - 1)/g * sum of squares = (g - 1)^2 * (standard error of the mean)^2.
  out.standard_error = static_cast<double>(std::max<int64_t>(0, spread.count - 1)) * spread.standard_error;
  return out;
}

}  // namespace canvaslab
