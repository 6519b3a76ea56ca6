// Commit-once plans on sources whose subset entropies have no closed form: exact terms over exact samples.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "eval/commit_once.h"

namespace canvaslab {
namespace {

constexpr Evidence kUnseen = {.token = 0, .gain = 0, .floor = 1};
Evidence seen(int32_t token) { return {.token = token, .gain = 1, .floor = 0}; }

std::vector<int32_t> sample_of(const Source& source, size_t length, uint64_t seed, uint64_t number) { return source.sample(length, {.seed = seed, .item = number}); }

double log_prob_at(const Source& source, std::span<const int32_t> tokens, std::span<const uint32_t> positions) {
  std::vector<Evidence> canvas(tokens.size(), kUnseen);
  for (const uint32_t p : positions) canvas[p] = seen(tokens[p]);
  double out = 0;
  source.posterior(source.start(), canvas, &out);
  return out;
}

std::vector<uint32_t> random_order(size_t length, uint64_t seed, uint64_t number) {
  const DrawKey key{.seed = seed, .item = number};
  std::vector<uint32_t> order(length);
  std::iota(order.begin(), order.end(), 0);
  for (size_t left = length; left > 1; --left) std::swap(order[left - 1], order[key.below(static_cast<uint32_t>(left), Purpose::kResample, static_cast<uint32_t>(left))]);
  return order;
}

}  // namespace

MeanError sampled_divergence(const Source& source, size_t length, const std::function<std::vector<std::vector<uint32_t>>(uint64_t)>& plan_of, uint64_t samples, uint64_t seed) {
  const auto V = static_cast<size_t>(source.vocabulary());
  std::vector<double> values;
  for (uint64_t number = 0; number < samples; ++number) {
    const auto tokens = sample_of(source, length, seed, number);
    double value = source.log_prob(tokens, {});
    std::vector<Evidence> canvas(length, kUnseen);
    for (const auto& round : plan_of(number)) {
      const auto law = source.posterior(source.start(), canvas);
      for (const uint32_t p : round) value -= std::log(law[p * V + static_cast<size_t>(tokens[p])]);
      for (const uint32_t p : round) canvas[p] = seen(tokens[p]);
    }
    values.push_back(value);
  }
  return mean_error(values);
}

SubsetEntropy sampled_entropy(const Source& source, size_t length, uint64_t samples, uint64_t seed) {
  std::vector<std::vector<int32_t>> texts;
  for (uint64_t number = 0; number < samples; ++number) texts.push_back(sample_of(source, length, seed, number));
  return [&source, texts = std::move(texts)](std::span<const uint32_t> positions) {
    double sum = 0;
    for (const auto& tokens : texts) sum -= positions.empty() ? 0 : log_prob_at(source, tokens, positions);
    return sum / static_cast<double>(texts.size());
  };
}

std::vector<double> sampled_mean_entropy(const Source& source, size_t length, uint64_t samples, uint64_t seed) {
  std::vector<double> out(length + 1, 0.0);
  for (uint64_t number = 0; number < samples; ++number) {
    const auto tokens = sample_of(source, length, seed, number);
    const auto order = random_order(length, seed, number);
    for (size_t size = 1; size <= length; ++size) out[size] -= log_prob_at(source, tokens, std::span(order).first(size)) / static_cast<double>(samples);
  }
  return out;
}

std::vector<std::vector<uint32_t>> random_rounds(std::span<const size_t> sizes, uint64_t seed, uint64_t number) {
  const auto order = random_order(std::accumulate(sizes.begin(), sizes.end(), size_t{0}), seed, number);
  std::vector<std::vector<uint32_t>> rounds;
  for (size_t begin = 0, i = 0; i < sizes.size(); begin += sizes[i++])
    rounds.emplace_back(order.begin() + static_cast<ptrdiff_t>(begin), order.begin() + static_cast<ptrdiff_t>(begin + sizes[i]));
  return rounds;
}

}  // namespace canvaslab
