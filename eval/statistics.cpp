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

double PairCounts::conditional_entropy_nats() const { return total_ > 0 ? canvaslab::conditional_entropy_nats(law(), vocabulary_) : 0; }

double conditional_entropy_nats(std::span<const double> law, size_t vocabulary) {
  double entropy = 0;
  for (size_t a = 0; a < vocabulary; ++a) {
    const auto row = law.subspan(a * vocabulary, vocabulary);
    double total = 0;
    for (double p : row) total += p;
    for (double p : row)
      if (p > 0) entropy -= p * std::log(p / total);
  }
  return entropy;
}

double plugin_bias_nats(std::span<const double> exact, double num_pairs) {
  const auto possible = static_cast<double>(std::count_if(exact.begin(), exact.end(), [](double p) { return p > 0; }));
  return num_pairs > 0 ? (possible - 1) / (8 * num_pairs) : 0;
}

Divergence pair_divergence(const std::vector<std::span<const int32_t>>& sequences, std::span<const uint32_t> item_of,
                           std::span<const double> exact, int32_t vocabulary) {
  std::vector<PairCounts> groups(kJackknifeGroups, PairCounts(vocabulary));
  for (size_t i = 0; i < sequences.size(); ++i) groups[item_of[i] % kJackknifeGroups].add(sequences[i]);
  return pair_divergence(groups, exact);
}

Divergence pair_divergence(std::span<const PairCounts> groups, std::span<const double> exact) {
  PairCounts all = groups[0];
  for (const auto& group : groups.subspan(1)) all.add(group);
  Divergence out;
  if (all.total() == 0) return out;
  out.value = jensen_shannon(all.law(), exact);
  out.output_entropy_nats = all.conditional_entropy_nats();
  out.bias_nats = plugin_bias_nats(exact, all.total());
  for (size_t g = 0; g < groups.size(); ++g) {
    if (groups[g].total() == 0 || groups[g].total() == all.total()) continue;
    PairCounts rest = all;
    rest.add(groups[g], -1);
    out.left_out[g] = jensen_shannon(rest.law(), exact);
  }
  out.standard_error = jackknife_error(out.left_out);
  return out;
}

double jackknife_error(std::span<const double> left_out) {
  std::vector<double> values;
  for (double v : left_out)
    if (!std::isnan(v)) values.push_back(v);
  // (g - 1)/g * sum of squares = (g - 1)^2 * (standard error of the mean)^2.
  const MeanError spread = mean_error(values);
  return static_cast<double>(std::max<int64_t>(0, spread.count - 1)) * spread.standard_error;
}

double paired_error(std::span<const double> left_out_a, std::span<const double> left_out_b) {
  std::vector<double> difference;
  for (size_t g = 0; g < std::min(left_out_a.size(), left_out_b.size()); ++g) difference.push_back(left_out_a[g] - left_out_b[g]);
  return jackknife_error(difference);
}

std::vector<double> left_out_means(std::span<const double> values, std::span<const uint32_t> item_of) {
  std::vector<double> sum(kJackknifeGroups), count(kJackknifeGroups), out(kJackknifeGroups, std::numeric_limits<double>::quiet_NaN());
  double total = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    sum[item_of[i] % kJackknifeGroups] += values[i];
    count[item_of[i] % kJackknifeGroups] += 1;
    total += values[i];
  }
  const auto n = static_cast<double>(values.size());
  for (size_t g = 0; g < kJackknifeGroups; ++g)
    if (count[g] > 0 && count[g] < n) out[g] = (total - sum[g]) / (n - count[g]);
  return out;
}

}  // namespace canvaslab
