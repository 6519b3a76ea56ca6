// The engine's causal mode: what it makes of finished drafts, and of spans of drafts that are still in work.
#include <algorithm>
#include <cmath>

#include "samplers/engine_run.h"

namespace canvaslab {
namespace {

/// softmax(logits / temperature); at temperature 0 all on the largest, the first of equals.
std::vector<double> law_of(std::span<const float> logits, double temperature) {
  const auto largest = std::max_element(logits.begin(), logits.end());
  std::vector<double> out(logits.size(), 0.0);
  if (temperature == 0) {
    out[static_cast<size_t>(largest - logits.begin())] = 1;
    return out;
  }
  double sum = 0;
  for (size_t v = 0; v < out.size(); ++v) sum += out[v] = std::exp((static_cast<double>(logits[v]) - *largest) / temperature);
  for (double& p : out) p /= sum;
  return out;
}

/// A token of the positive part of q - p; of q where that has no mass, as when both are equal up to rounding.
int32_t draw_residual(const std::vector<double>& q, const std::vector<double>& p, double uniform) {
  std::vector<double> weight(q.size());
  double sum = 0;
  for (size_t v = 0; v < q.size(); ++v) sum += weight[v] = std::max(0.0, q[v] - p[v]);
  if (sum <= 0) weight = q, sum = 1;
  double left = uniform * sum;
  size_t last = 0;
  for (size_t v = 0; v < weight.size(); ++v) {
    if (weight[v] <= 0) continue;
    last = v;
    if ((left -= weight[v]) < 0) break;
  }
  return static_cast<int32_t>(last);
}

}  // namespace

/// The law of the first token comes from the denoiser, or from the last token of the prompt, encoded on its own. With an
/// anchor the first canvas encodes that token; without a prompt the first token is drawn here and becomes the anchor.
std::unique_ptr<Sequence> EngineRun::prefill_for_causal_mode(size_t r, Prompt prompt) {
  EngineRow& row = rows_[r];
  const bool anchored = plan_.sampler.facts.anchored;
  auto sequence = denoiser_.prefill(prompt);
  if (!anchored || prompt.ids.empty()) {
    row.next_logits = denoiser_.next_logits(*sequence);
    if (!row.next_logits.empty() && !anchored) return sequence;
  }
  if (prompt.ids.empty()) {
    if (row.next_logits.empty()) throw usage_error("sampler '{}' needs the causal law of the first token: give a prompt of at least one token", plan_.sampler.name);
    const bool coupled = plan_.sampler.facts.coupled_draws;
    const int32_t first = draw_token(row.next_logits, static_cast<float>(*plan_.sampler.facts.causal_verify), key(r, 0, 0).uniform(coupled ? Purpose::kCandidate : Purpose::kVerify, 0));
    row.result.canvas_ids = {first};
    row.anchor = first;
    if (!is_end(first)) return sequence;
    row.finished = true;
    row.result.stop_reason = "end_token";
    return sequence;
  }
  const int32_t last = prompt.ids.back();
  prompt.ids.pop_back();
  if (!prompt.token_types.empty()) prompt.token_types.pop_back();
  sequence = denoiser_.prefill(prompt);
  if (anchored) {
    row.anchor = last;
    return sequence;
  }
  row.next_logits = denoiser_.append(*sequence, std::span(&last, 1), true);
  count_forward(row, &ForwardCounts::verify, 1);
  return sequence;
}

/// One token of the causal law, for a sampler that drafts nothing. Filters see it as they see a candidate's law.
std::vector<int32_t> EngineRun::write_next(size_t r, int32_t canvas_idx, const std::vector<int32_t>& canvas) {
  EngineRow& row = rows_[r];
  const Stopwatch watch;
  RowStatistics drawn;
  drawn.resize(1, {Statistic::kCandidate});
  try {
    compute_row_statistics(row.next_logits, facts_.vocabulary, 0, 1,
                           {.temperature = static_cast<float>(*plan_.sampler.facts.causal_verify), .wanted = {Statistic::kCandidate}, .canvas = {}, .draw_key = text_key(r), .filters = plan_.filters}, drawn);
  } catch (const NonFiniteLogits&) {
    throw UserError(ExitCode::kSomeFailed, fmt::format("the causal logits are NaN or infinite at position {}", canvas_idx));
  }
  row.result.seconds.append += watch.seconds();
  return {row.allowed[0] ? drawn.candidate[0] : canvas[0]};
}

/// What the causal mode makes of a draft: the longest prefix that it would have written with its own draws, and its token
/// where they part. Every token is therefore a draw of the causal law, whatever the draft. Pinned positions are taken as
/// they are. Masks that a draft left standing end it. With an anchor, which is text already, a draft that stands to its end
/// brings the token behind it as well.
std::vector<int32_t> EngineRun::verify(size_t r, int32_t canvas_idx, const std::vector<int32_t>& draft) {
  EngineRow& row = rows_[r];
  const Stopwatch watch;
  const auto V = static_cast<size_t>(facts_.vocabulary);
  const auto known = static_cast<size_t>((facts_.absorbing ? std::find(draft.begin(), draft.end(), facts_.mask_id) : draft.end()) - draft.begin());
  auto ahead = row.sequence->fork();
  std::vector<float> laws;  // [known, V]: row p is the law of position p + 1
  if (known > 0) {
    laws = denoiser_.append(*ahead, std::span(draft).first(known), true);
    count_forward(row, &ForwardCounts::verify, known);
  }
  const bool coupled = plan_.sampler.facts.coupled_draws;
  const DrawKey draws = coupled ? text_key(r) : key(r, canvas_idx, 0);
  const Purpose purpose = coupled ? Purpose::kCandidate : Purpose::kVerify;
  const size_t first = row.anchor ? 1 : 0, length = draft.size() + first;
  std::vector<int32_t> out;
  bool agrees = true;
  for (size_t p = first; agrees && p < length && row.result.canvas_ids.size() + out.size() < total_length_; ++p) {
    const std::span<const float> law = p == 0 ? std::span<const float>(row.next_logits) : std::span<const float>(laws).subspan((p - 1) * V, V);
    const bool pinned = p < draft.size() && !row.allowed[p];
    try {
      out.push_back(pinned ? draft[p] : draw_token(law, static_cast<float>(*plan_.sampler.facts.causal_verify), draws.uniform(purpose, static_cast<uint32_t>(p))));
    } catch (const NonFiniteLogits&) {
      throw UserError(ExitCode::kSomeFailed, fmt::format("the causal logits are NaN or infinite at canvas {}, position {}", canvas_idx, p));
    }
    agrees = p < draft.size() && out.back() == draft[p];
  }
  if (row.anchor) {
    const size_t kept = out.empty() ? 1 : out.size();  // the anchor and what follows it, but for the new anchor
    if (kept < known) {
      auto cut = denoiser_.cut(*row.sequence, *ahead, std::span(draft).first(kept));
      if (!cut) {
        cut = row.sequence->fork();
        denoiser_.append(*cut, std::span(draft).first(kept), false);
        count_forward(row, &ForwardCounts::append, kept);
      }
      ahead = std::move(cut);
    }
    row.sequence = std::move(ahead);
    if (!out.empty()) row.anchor = out.back();
    row.committed = true;
  } else {
    row.committed = agrees && out.size() == draft.size();
    if (row.committed) {
      row.sequence = std::move(ahead);
      row.next_logits.assign(laws.end() - static_cast<ptrdiff_t>(V), laws.end());
    }
  }
  row.result.seconds.append += watch.seconds();
  return out;
}

/// Speculative sampling inside a canvas: the candidates of a span against the causal law of each, given the tokens before.
CausalCheck EngineRun::check_span(size_t r, int32_t canvas_idx, const StepView& view, std::span<const float> logits, std::pair<size_t, size_t> span) {
  EngineRow& row = rows_[r];
  const auto V = static_cast<size_t>(facts_.vocabulary);
  const auto& facts = *plan_.sampler.facts.causal_checks;
  const auto& candidate = view.statistics->candidate;
  std::vector<int32_t> tokens(view.canvas.begin(), view.canvas.begin() + static_cast<ptrdiff_t>(span.first));
  tokens.insert(tokens.end(), candidate.begin() + static_cast<ptrdiff_t>(span.first), candidate.begin() + static_cast<ptrdiff_t>(span.second) - 1);
  std::vector<float> laws;  // [span.second - 1, V]: row p is the law of position p + 1
  if (!tokens.empty()) {
    laws = denoiser_.append(*row.sequence->fork(), tokens, true);
    count_forward(row, &ForwardCounts::verify, tokens.size());
  }
  CausalCheck out{.begin = span.first, .num_accepted = 0, .replacement = std::nullopt};
  for (size_t p = span.first; p < span.second; ++p) {
    const auto causal = law_of(p == 0 ? std::span<const float>(row.next_logits) : std::span<const float>(laws).subspan((p - 1) * V, V), facts.temperature);
    const auto draft = law_of(logits.subspan(p * V, V), view.temperature);
    const auto y = static_cast<size_t>(candidate[p]);
    if (!(causal[y] >= 0)) throw UserError(ExitCode::kSomeFailed, fmt::format("the causal logits are NaN or infinite at canvas {}, step {}, position {}", canvas_idx, view.step_idx, p));
    if (view.draws->uniform(Purpose::kAccept, static_cast<uint32_t>(p)) >= std::pow(causal[y] / draft[y], facts.exponent)) {
      out.replacement = draw_residual(causal, draft, view.draws->uniform(Purpose::kVerify, static_cast<uint32_t>(p)));
      return out;
    }
    ++out.num_accepted;
  }
  return out;
}

}  // namespace canvaslab
