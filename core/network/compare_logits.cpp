// Two checkpoints of one shape on the same inputs.
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/network/cpu_network.h"
#include "core/network/network.h"
#include "core/network/quantise_checkpoint.h"
#include "core/philox.h"

namespace canvaslab {
namespace {

/// log-sum-exp of a row.
double log_sum(const float* row, int64_t count) {
  const double largest = static_cast<double>(*std::max_element(row, row + count));
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += std::exp(static_cast<double>(row[i]) - largest);
  return largest + std::log(sum);
}

struct Sums {
  double difference = 0, spread = 0, divergence = 0, same = 0, rows = 0;
  void add(const float* a, const float* b, int64_t count) {
    double mean = 0;
    for (int64_t i = 0; i < count; ++i) mean += static_cast<double>(a[i]) / static_cast<double>(count);
    const double sum_a = log_sum(a, count), sum_b = log_sum(b, count);
    for (int64_t i = 0; i < count; ++i) {
      const double x = static_cast<double>(a[i]), y = static_cast<double>(b[i]);
      difference += (x - y) * (x - y);
      spread += (x - mean) * (x - mean);
      divergence += std::exp(x - sum_a) * ((x - sum_a) - (y - sum_b));
    }
    same += std::max_element(a, a + count) - a == std::max_element(b, b + count) - b;
    rows += 1;
  }
};

}  // namespace

LogitDifference compare_logits(const std::string& first, const std::string& second, int num_canvases, uint64_t seed) {
  const c10::NoGradGuard no_grad;
  const auto load = [](const std::string& folder) { return CpuNetwork(Network::load(folder, at::kFloat, at::kCPU, "", QuantisedWeights::kPacked)); };
  const CpuNetwork networks[2] = {load(first), load(second)};
  const ModelConfig& config = networks[0].config();
  const int64_t V = config.vocab_size, L = config.canvas_length, P = std::max<int64_t>(1, L / 2);
  if (networks[1].config().vocab_size != V) throw usage_error("{} and {} have different vocabularies ({} and {})", first, second, V, networks[1].config().vocab_size);
  Sums sums;
  for (int canvas_idx = 0; canvas_idx < num_canvases; ++canvas_idx) {
    const DrawKey draw{.seed = seed, .item = static_cast<uint64_t>(canvas_idx)};
    const auto token = [&](int64_t position) {  // no image tokens, which stand for media
      const auto id = static_cast<int32_t>(draw.uniform(Purpose::kPrompt, static_cast<uint32_t>(position), 0) * static_cast<double>(V));
      return id == config.image_token_id ? 0 : id;
    };
    std::vector<int32_t> prompt, canvas;
    for (int64_t i = 0; i < P; ++i) prompt.push_back(token(i));
    for (int64_t i = 0; i < L; ++i) canvas.push_back(token(P + i));
    std::vector<float> soft, logits[2];
    for (int n = 0; n < 2; ++n) {
      KvCache cache = networks[n].empty_cache(0);
      networks[n].encode(prompt, {}, cache, nullptr);
      RopeTables tables;
      std::vector<float> hidden(static_cast<size_t>(L * config.hidden_size));
      logits[n].resize(static_cast<size_t>(L * V));
      const auto forward = [&] {
        networks[n].decode(canvas, cache, soft.empty() ? nullptr : soft.data(), tables, hidden.data());
        networks[n].head(hidden.data(), L, logits[n].data());
      };
      forward();
      if (n == 0 && 2 * canvas_idx >= num_canvases) {  // both get the first one's prediction
        soft.resize(hidden.size());
        networks[0].soft_embedding(logits[0].data(), L, 1, soft.data());
        forward();
      }
    }
    for (int64_t i = 0; i < L; ++i) sums.add(logits[0].data() + i * V, logits[1].data() + i * V, V);
  }
  return {.relative = std::sqrt(sums.difference / sums.spread), .mean_divergence = sums.divergence / sums.rows, .same_argmax = sums.same / sums.rows};
}

}  // namespace canvaslab
