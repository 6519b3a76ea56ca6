#include "core/sources/source_denoiser.h"

#include <cmath>
#include <numbers>

namespace canvaslab {
namespace {

struct SourceSequence final : Sequence {
  SourceState state;
  std::unique_ptr<Sequence> fork() const override { return std::make_unique<SourceSequence>(*this); }
};

SourceState& state_of(Sequence& sequence) { return dynamic_cast<SourceSequence&>(sequence).state; }

/// Gauss-Legendre nodes and weights on (0, 1), for the level's uniform prior.
void gauss_legendre(int n, std::vector<double>& node, std::vector<double>& weight) {
  for (int i = 0; i < n; ++i) {
    double x = std::cos(std::numbers::pi * (i + 0.75) / (n + 0.5)), slope = 0;
    for (int newton = 0; newton < 100; ++newton) {
      double p0 = 1, p1 = x;
      for (int k = 2; k <= n; ++k) {
        const double p2 = ((2 * k - 1) * x * p1 - (k - 1) * p0) / k;
        p0 = p1;
        p1 = p2;
      }
      slope = n * (x * p1 - p0) / (x * x - 1);
      const double step = p1 / slope;
      x -= step;
      if (std::abs(step) < 1e-15) break;
    }
    node.push_back(0.5 * (1 - x));
    weight.push_back(1.0 / ((1 - x * x) * slope * slope));
  }
}

}  // namespace

SourceDenoiser::SourceDenoiser(std::unique_ptr<Source> source, const Options& options, std::string text)
    : source_(std::move(source)), text_(std::move(text)) {
  gauss_legendre(static_cast<int>(options.integer("quadrature")), node_, weight_);
  facts_.vocabulary = source_->vocabulary();
  facts_.absorbing = options.text("corruption") == "absorbing";
  if (facts_.absorbing) facts_.mask_id = facts_.vocabulary++;
  facts_.uses_level = options.boolean("use_level") && !facts_.absorbing;
  facts_.has_causal_mode = true;
  facts_.defaults.temperature = "constant(1)";
  facts_.defaults.emission = "canvas";
  facts_.defaults.num_steps = 32;
  facts_.defaults.canvas_length = static_cast<int32_t>(options.integer("length"));
  facts_.defaults.pad_id = -1;
}

void SourceDenoiser::refuse_masks(std::span<const int32_t> tokens, const std::string& what) const {
  for (size_t p = 0; facts_.absorbing && p < tokens.size(); ++p)
    if (tokens[p] == facts_.mask_id)
      throw UserError(ExitCode::kSomeFailed, fmt::format("{}: position {} holds the mask token {}; a context must be clean.\nuse a sampler "
                                                         "and a stop rule that leave no noise, or --emit argmax", what, p, facts_.mask_id));
}

std::unique_ptr<Sequence> SourceDenoiser::prefill(const Prompt& prompt) const {
  check_token_ids(prompt.ids, source_->vocabulary(), "prompt");
  auto sequence = std::make_unique<SourceSequence>();
  sequence->state = source_->start();
  source_->advance(sequence->state, prompt.ids);
  return sequence;
}

std::vector<float> SourceDenoiser::append(Sequence& sequence, std::span<const int32_t> canvas, bool want_causal_logits) const {
  check_token_ids(canvas, facts_.vocabulary, "canvas to append");
  refuse_masks(canvas, "canvas to append");
  SourceState& state = state_of(sequence);
  if (!want_causal_logits) {
    source_->advance(state, canvas);
    return {};
  }
  // A draft may hold what the source cannot write: behind it there is no law, and nobody can ask for one.
  std::vector<float> out;
  const auto V = static_cast<size_t>(facts_.vocabulary);
  for (const int32_t& token : canvas) {
    if (!(source_->next_law(state)[static_cast<size_t>(token)] > 0)) break;
    source_->advance(state, std::span(&token, 1));
    const auto logits = to_logits(source_->next_law(state));
    out.insert(out.end(), logits.begin(), logits.end());
  }
  out.resize(canvas.size() * V, std::nanf(""));
  return out;
}

std::vector<float> SourceDenoiser::next_logits(const Sequence& sequence) const {
  return to_logits(source_->next_law(dynamic_cast<const SourceSequence&>(sequence).state));
}

std::unique_ptr<Sequence> SourceDenoiser::cut(const Sequence& before, const Sequence&, std::span<const int32_t> kept) const {
  auto out = before.fork();
  source_->advance(state_of(*out), kept);
  return out;
}

/// Logits over the vocabulary, the mask impossible, from probabilities over the alphabet.
std::vector<float> SourceDenoiser::to_logits(std::span<const double> law) const {
  const auto A = static_cast<size_t>(source_->vocabulary()), V = static_cast<size_t>(facts_.vocabulary);
  std::vector<float> logits(law.size() / A * V, -INFINITY);
  for (size_t p = 0; p < law.size() / A; ++p)
    for (size_t v = 0; v < A; ++v) logits[p * V + v] = static_cast<float>(std::log(law[p * A + v]));
  return logits;
}

std::vector<Evidence> SourceDenoiser::evidence(const StepRequest& request, double survival) const {
  std::vector<Evidence> out(request.canvas.size());
  for (size_t p = 0; p < out.size(); ++p) {
    if (!facts_.absorbing) {
      out[p] = {.token = request.canvas[p], .gain = survival, .floor = (1.0 - survival) / static_cast<double>(facts_.vocabulary)};
    } else if (request.canvas[p] != facts_.mask_id) {
      out[p] = {.token = request.canvas[p], .gain = 1, .floor = 0};
    } else if (!request.revealed.empty() && request.revealed[p]) {
      throw std::logic_error(fmt::format("position {} is revealed, but holds the mask token", p));
    }
  }
  return out;
}

std::vector<float> SourceDenoiser::row_logits(Sequence& sequence, const StepRequest& request) const {
  const SourceState& state = state_of(sequence);
  if (facts_.absorbing) return to_logits(source_->posterior(state, evidence(request, 1)));
  if (request.noise_level && facts_.uses_level) return to_logits(source_->posterior(state, evidence(request, *request.noise_level)));
  return to_logits(marginal(request, state));
}

/// Posterior averaged over the unknown level, uniform a priori: sum_k w_k P(canvas | a_k) posterior_k, normalised.
std::vector<double> SourceDenoiser::marginal(const StepRequest& request, const SourceState& state) const {
  const size_t nodes = node_.size();
  std::vector<std::vector<double>> parts(nodes);
  std::vector<double> log_weight(nodes);
  double best = -INFINITY, sum = 0;
  for (size_t k = 0; k < nodes; ++k) {
    parts[k] = source_->posterior(state, evidence(request, node_[k]), &log_weight[k]);
    log_weight[k] += std::log(weight_[k]);
    best = std::max(best, log_weight[k]);
  }
  for (double& w : log_weight) sum += w = std::exp(w - best);
  std::vector<double> out(parts[0].size(), 0.0);
  for (size_t k = 0; k < nodes; ++k)
    for (size_t i = 0; i < out.size(); ++i) out[i] += log_weight[k] / sum * parts[k][i];
  return out;
}

std::vector<ParamSpec> corruption_parameters() {
  return {int_param("quadrature", 16, 2, 256, "nodes", "Gauss-Legendre nodes when the level is unknown; exact from (length + 1) / 2 on"),
          bool_param("use_level", true, "off: always marginalise the level, as a denoiser that is not told it"),
          added_late(text_param("corruption", "uniform", "uniform: noise is any token; absorbing: noise is a mask token, one id after the alphabet",
                                {"uniform", "absorbing"}))};
}

std::vector<ParamSpec> source_parameters(std::vector<ParamSpec> own, int64_t length) {
  own.push_back(int_param("length", length, 1, 65536, "tokens", "default canvas length"));
  for (auto& spec : corruption_parameters()) own.push_back(std::move(spec));
  return own;
}

ParamSpec slip_param(double fallback) {
  return real_param("slip", fallback, 0, 1, "fraction", "share of blocks whose tokens are all uniform; 0: what breaks the rule is impossible");
}

}  // namespace canvaslab
