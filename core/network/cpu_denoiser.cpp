#include "core/network/cpu_denoiser.h"

#include <c10/core/GradMode.h>

#include <algorithm>

namespace canvaslab {
namespace {

/// The last prediction is kept as what comes of it: its soft embedding, or, until somebody asks for that, the states before
/// the head. Both are [L, D]; logits would be [L, V].
struct CpuSequence final : Sequence {
  KvCache cache;
  RopeTables tables;
  std::vector<float> soft, hidden;
  float hidden_temperature = 1;
  bool has_soft = false, has_hidden = false;
  void forget_prediction() { has_soft = has_hidden = false; }
  std::unique_ptr<Sequence> fork() const override { return std::make_unique<CpuSequence>(*this); }  // the cache's tensors are never written in place
};

/// One thread's memory on the way: logits of some rows, states before the head, the embedding of logits that were given.
struct Scratch {
  std::vector<float> logits, states, given;
};
thread_local Scratch scratch;

class CpuDenoiser final : public Denoiser {
 public:
  CpuDenoiser(CpuNetwork network, DenoiserFacts facts) : network_(std::move(network)), facts_(std::move(facts)) {}
  const DenoiserFacts& facts() const override { return facts_; }
  std::string content_hash() const override { return network_.content_hash(); }

  std::unique_ptr<Sequence> prefill(const Prompt& prompt) const override {
    check_token_ids(prompt.ids, facts_.vocabulary, "prompt");
    const c10::NoGradGuard no_grad;
    auto sequence = std::make_unique<CpuSequence>();
    sequence->cache = network_.empty_cache(prompt.left_padding);
    network_.encode(prompt.ids, prompt.token_types, sequence->cache, nullptr);
    return sequence;
  }

  std::vector<StepResult> denoise(std::span<const DenoiseRow> rows) const override {
    const c10::NoGradGuard no_grad;
    std::vector<StepResult> results;
    results.reserve(rows.size());
    for (const auto& row : rows) results.push_back(one(dynamic_cast<CpuSequence&>(*row.sequence), row.request));
    return results;
  }

  std::vector<float> append(Sequence& sequence, std::span<const int32_t> canvas, bool want_causal_logits) const override {
    const c10::NoGradGuard no_grad;
    auto& s = dynamic_cast<CpuSequence&>(sequence);
    check_token_ids(canvas, facts_.vocabulary, "canvas");
    s.forget_prediction();
    std::vector<float> logits;
    if (want_causal_logits) scratch.states.resize(canvas.size() * width());
    network_.encode(canvas, {}, s.cache, want_causal_logits ? scratch.states.data() : nullptr);
    if (want_causal_logits) {
      logits.resize(canvas.size() * vocabulary());
      network_.head(scratch.states.data(), static_cast<int64_t>(canvas.size()), logits.data());
    }
    return logits;
  }

  std::unique_ptr<Sequence> cut(const Sequence& before, const Sequence& after, std::span<const int32_t> kept) const override {
    const c10::NoGradGuard no_grad;
    auto out = std::make_unique<CpuSequence>(dynamic_cast<const CpuSequence&>(before));
    out->forget_prediction();
    if (!network_.cut(out->cache, dynamic_cast<const CpuSequence&>(after).cache, static_cast<int64_t>(kept.size()))) return nullptr;
    return out;
  }

 private:
  size_t width() const { return static_cast<size_t>(network_.config().hidden_size); }
  size_t vocabulary() const { return static_cast<size_t>(facts_.vocabulary); }

  /// Calls use(first, last, logits of [first, last)) for all rows of hidden [L, D], some at a time.
  template <typename Use>
  void for_logits(const float* hidden, size_t L, Use use) const {
    const auto most = std::min(L, static_cast<size_t>(network_.head_rows()));
    scratch.logits.resize(std::max(scratch.logits.size(), most * vocabulary()));
    for (size_t first = 0; first < L; first += most) {
      const size_t last = std::min(L, first + most);
      network_.head(hidden + first * width(), static_cast<int64_t>(last - first), scratch.logits.data());
      use(first, last, std::span<const float>(scratch.logits).first((last - first) * vocabulary()));
    }
  }

  void soften(std::span<const float> logits, float temperature, float* soft) const {
    network_.soft_embedding(logits.data(), static_cast<int64_t>(logits.size() / vocabulary()), temperature, soft);
  }

  /// What this step is conditioned on, or null.
  const float* feedback(CpuSequence& s, const StepRequest& request) const {
    const size_t L = request.canvas.size();
    if (request.self_conditioning == SelfConditioning::kGiven) {
      scratch.given.resize(L * width());
      soften(request.given_logits, 1, scratch.given.data());
      return scratch.given.data();
    }
    if (request.self_conditioning == SelfConditioning::kNone || request.step_idx == 0) return nullptr;
    if ((s.has_hidden && s.hidden.size() != L * width()) || (s.has_soft && s.soft.size() != L * width())) throw std::logic_error("a canvas changed its length between steps");
    if (s.has_hidden) {
      s.soft.resize(L * width());
      for_logits(s.hidden.data(), L, [&](size_t first, size_t, std::span<const float> logits) { soften(logits, s.hidden_temperature, s.soft.data() + first * width()); });
      s.has_hidden = false;
      s.has_soft = true;
    }
    return s.has_soft ? s.soft.data() : nullptr;
  }

  StepResult one(CpuSequence& s, const StepRequest& request) const {
    const size_t L = request.canvas.size();
    check_token_ids(request.canvas, facts_.vocabulary, "canvas");
    const float* soft = feedback(s, request);
    StepResult result;
    result.statistics.resize(L, request.wanted);
    if (request.want_logits) result.logits.resize(L * vocabulary());
    // A prediction that this step was not fed will hardly be wanted by the next one either: its states will do until then.
    const bool hold = request.hold_prediction, now = !hold && request.self_conditioning == SelfConditioning::kPrevious;
    std::vector<float>& hidden = hold || now ? scratch.states : s.hidden;
    hidden.resize(L * width());
    network_.decode(request.canvas, s.cache, soft, s.tables, hidden.data());
    const float temperature = request.temperature > 0 ? request.temperature : 1;
    if (now) s.soft.resize(L * width());
    for_logits(hidden.data(), L, [&](size_t first, size_t last, std::span<const float> logits) {
      StatisticsRequest statistics = request.statistics_request();
      if (!statistics.previous_logits.empty()) statistics.previous_logits = statistics.previous_logits.subspan(first * vocabulary(), logits.size());
      compute_row_statistics(logits, facts_.vocabulary, first, last, statistics, result.statistics);
      if (request.want_logits) std::copy(logits.begin(), logits.end(), result.logits.begin() + static_cast<ptrdiff_t>(first * vocabulary()));
      if (now) soften(logits, temperature, s.soft.data() + first * width());
    });
    if (hold) return result;
    s.has_soft = now;
    s.has_hidden = !now;
    s.hidden_temperature = temperature;
    return result;
  }

  CpuNetwork network_;
  DenoiserFacts facts_;
};

}  // namespace

std::unique_ptr<Denoiser> cpu_denoiser(CpuNetwork network, DenoiserFacts facts) { return std::make_unique<CpuDenoiser>(std::move(network), std::move(facts)); }

}  // namespace canvaslab
