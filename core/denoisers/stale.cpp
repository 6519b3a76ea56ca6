// stale - another denoiser behind a cache inside the canvas: a position sees itself now, and the others as they were.
#include "core/denoiser.h"

namespace canvaslab {
namespace {

struct StaleSequence final : Sequence {
  std::unique_ptr<Sequence> inner;
  std::vector<int32_t> snapshot;  ///< [L] canvas of the last refresh; empty: none yet
  int32_t canvas_idx = -1;
  std::unique_ptr<Sequence> fork() const override {
    auto copy = std::make_unique<StaleSequence>();
    copy->inner = inner->fork();
    copy->snapshot = snapshot;
    copy->canvas_idx = canvas_idx;
    return copy;
  }
};

/// What reusing keys and values inside a canvas does to an ideal denoiser: every `refresh`-th step is a full one; between,
/// the answer at a position is that for a canvas which holds this position's present token and every other position's
/// token of the last full step. An exact model of the error, not of the time saved: it asks the inner denoiser once a
/// changed position. Source: the caches of newer.md 5, idealised.
class Stale final : public LogitsDenoiser {
 public:
  explicit Stale(const Options& options) : inner_(denoisers().make(options.inner("inner"))), refresh_(static_cast<int32_t>(options.integer("refresh"))) {
    if (inner_->facts().self_conditioning)
      throw usage_error("denoiser 'stale' asks its inner denoiser several times a step, which self-conditioning would see; use one without, such as hmm");
    facts_ = inner_->facts();
    facts_.carries_steps = facts_.carries_steps || refresh_ > 1;
  }
  const DenoiserFacts& facts() const override { return facts_; }
  const Source* source() const override { return inner_->source(); }
  std::string content_hash() const override { return fmt::format("stale(inner={}, refresh={})", inner_->content_hash(), refresh_); }
  std::unique_ptr<Sequence> prefill(const Prompt& prompt) const override {
    auto sequence = std::make_unique<StaleSequence>();
    sequence->inner = inner_->prefill(prompt);
    return sequence;
  }
  std::vector<float> append(Sequence& sequence, std::span<const int32_t> canvas, bool want_causal_logits) const override {
    auto& s = dynamic_cast<StaleSequence&>(sequence);
    s.snapshot.clear();
    return inner_->append(*s.inner, canvas, want_causal_logits);
  }
  std::vector<float> next_logits(const Sequence& sequence) const override {
    return inner_->next_logits(*dynamic_cast<const StaleSequence&>(sequence).inner);
  }

 protected:
  std::vector<float> row_logits(Sequence& sequence, const StepRequest& request) const override {
    auto& s = dynamic_cast<StaleSequence&>(sequence);
    if (request.step_idx % refresh_ == 0 || s.canvas_idx != request.canvas_idx || s.snapshot.size() != request.canvas.size()) {
      s.snapshot.assign(request.canvas.begin(), request.canvas.end());
      s.canvas_idx = request.canvas_idx;
      return ask(s, request, s.snapshot);
    }
    auto out = ask(s, request, s.snapshot);  // right where the token is still the same
    const size_t V = out.size() / s.snapshot.size();
    std::vector<int32_t> seen = s.snapshot;
    for (size_t p = 0; p < seen.size(); ++p) {
      if (seen[p] == request.canvas[p]) continue;
      seen[p] = request.canvas[p];
      const auto logits = ask(s, request, seen);
      std::copy_n(logits.begin() + static_cast<ptrdiff_t>(p * V), V, out.begin() + static_cast<ptrdiff_t>(p * V));
      seen[p] = s.snapshot[p];
    }
    return out;
  }

 private:
  std::vector<float> ask(StaleSequence& s, const StepRequest& request, const std::vector<int32_t>& canvas) const {
    DenoiseRow call{.sequence = s.inner.get(), .request = request};
    call.request.canvas = canvas;
    call.request.wanted = {};
    call.request.want_logits = true;
    call.request.revealed = {};  // of the present canvas, not of this one
    return std::move(inner_->denoise(std::span(&call, 1)).front().logits);
  }

  std::unique_ptr<Denoiser> inner_;
  int32_t refresh_;
  DenoiserFacts facts_;
};

[[maybe_unused]] const bool registered = denoisers().add({
    .name = "stale",
    .summary = "another denoiser behind a cache inside the canvas: positions see each other as at the last full step",
    .source = "ours; the caches of newer.md 5 (dKV-Cache, arXiv:2505.15781, among them), idealised",
    .aliases = {"stale_kv"},
    .parameters = {inner_denoiser_param("inner", "denoiser behind the cache"), int_param("refresh", 2, 1, 1000000, "steps", "from one full step to the next; 1 is no cache")},
    .facts = {},
    .make = [](const Options& options) { return std::make_unique<Stale>(options); }});

}  // namespace
}  // namespace canvaslab
