// Two checkpoints of one shape on the same inputs.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
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
  const Network networks[2] = {Network::load(first, at::kFloat, at::kCPU, "", QuantisedWeights::kPacked), Network::load(second, at::kFloat, at::kCPU, "", QuantisedWeights::kPacked)};
  const ModelConfig& config = networks[0].config();
  const int64_t V = config.vocab_size, L = config.canvas_length, P = std::max<int64_t>(1, L / 2);
  if (networks[1].config().vocab_size != V) throw usage_error("{} and {} have different vocabularies ({} and {})", first, second, V, networks[1].config().vocab_size);
  Sums sums;
  for (int canvas_idx = 0; canvas_idx < num_canvases; ++canvas_idx) {
    const DrawKey draw{.seed = seed, .item = static_cast<uint64_t>(canvas_idx)};
    const auto token = [&](int64_t position) {  // no image tokens, which stand for media
      const auto id = static_cast<int64_t>(draw.uniform(Purpose::kPrompt, static_cast<uint32_t>(position), 0) * static_cast<double>(V));
      return id == config.image_token_id ? 0 : id;
    };
    const at::Tensor prompt = at::empty({P}, at::kLong);
    for (int64_t i = 0; i < P; ++i) prompt.mutable_data_ptr<int64_t>()[i] = token(i);
    std::vector<int32_t> canvas;
    for (int64_t i = 0; i < L; ++i) canvas.push_back(static_cast<int32_t>(token(P + i)));
    std::vector<float> feedback, logits[2];
    for (int n = 0; n < 2; ++n) {
      KvCache cache = networks[n].empty_cache(0);
      networks[n].encode(prompt, {}, cache, false);
      RopeTables tables;
      logits[n].resize(static_cast<size_t>(L * V));
      networks[n].decode_cpu(canvas, cache, feedback.empty() ? nullptr : feedback.data(), 1, tables, logits[n].data());
      if (n == 0 && 2 * canvas_idx >= num_canvases) {
        feedback = logits[0];
        networks[0].decode_cpu(canvas, cache, feedback.data(), 1, tables, logits[0].data());
      }
    }
    for (int64_t i = 0; i < L; ++i) sums.add(logits[0].data() + i * V, logits[1].data() + i * V, V);
  }
  return {.relative = std::sqrt(sums.difference / sums.spread), .mean_divergence = sums.divergence / sums.rows, .same_argmax = sums.same / sums.rows};
}

}  // namespace canvaslab
