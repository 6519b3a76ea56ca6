#include "samplers/filter.h"

#include <algorithm>

namespace canvaslab {

FilterSampler::FilterSampler(const Options& options, size_t num_knobs) : name_(options.plugin), inner_(configure_sampler(options.inner("inner"))), num_knobs_(num_knobs) {
  if (inner_.facts.needs_level)
    throw usage_error("sampler '{}': '{}' follows a noise level, which positions that are held back would not; put it around a sampler that does not",
                      options.plugin, inner_.name);
  if (inner_.facts.extra_canvas || inner_.facts.causal_verify)
    throw usage_error("sampler '{}': '{}' asks for extra forwards, whose decisions a filter does not see; put the filter inside it",
                      options.plugin, inner_.name);
  CanvasState probe;
  try {
    inner_.sampler->begin(probe, 1, 1);
  } catch (const UserError&) {  // one that is for other canvases, as a plan with its positions; begin() asks again
  }
  check_remembers_nothing(probe);
}

void FilterSampler::check_remembers_nothing(const CanvasState& state) const {
  if (!state.scratch.empty())
    throw usage_error("sampler '{}': '{}' remembers what it decided, which a filter would change behind its back; put it around a sampler that does not",
                      name_, inner_.canonical);
}

SamplerFacts FilterSampler::refine(SamplerFacts declared) const {
  SamplerFacts facts = inner_.facts;
  facts.statistics = facts.statistics | declared.statistics;
  facts.permutation_equivariant = facts.permutation_equivariant && declared.permutation_equivariant;
  facts.min_accepted = std::min(facts.min_accepted, declared.min_accepted);
  facts.product_law = false;
  facts.reference_order = ReferenceOrder::kNone;
  return facts;
}

void FilterSampler::begin(CanvasState& state, size_t length, int32_t num_steps) const {
  inner_.sampler->begin(state, length, num_steps);
  check_remembers_nothing(state);
}

void FilterSampler::step(const StepView& view, CanvasState& state, StepDecision& decision) const {
  const std::vector<uint8_t> before = state.revealed;
  StepView inside = view;
  inside.knobs = view.knobs.subspan(num_knobs_);
  inner_.sampler->step(inside, state, decision);
  const Taken taken{view, before, state, decision, inner_.facts.edits_only};
  if (view.is_last) filter_last(taken);
  else filter(taken);
}

int32_t FilterSampler::Taken::token(size_t position) const {
  if (!view.is_allowed(position)) return -1;
  switch (decision.action[position]) {
    case Action::kCandidate: return view.statistics->candidate[position];
    case Action::kArgmax: return view.statistics->argmax[position];
    case Action::kToken: return decision.token[position];
    default: return -1;
  }
}

float FilterSampler::Taken::log_prob(size_t position) const {
  return decision.action[position] == Action::kArgmax ? view.statistics->argmax_logprob[position] : view.statistics->candidate_logprob[position];
}

void FilterSampler::Taken::hold_back(size_t position) const {
  const bool keeps = edits_only || revealed_before[position];
  decision.action[position] = keeps ? Action::kKeep : Action::kNoise;
  state.revealed[position] = revealed_before[position];
}

ParamSpec inner_sampler_param() { return inner_sampler_param("entropy_bound", "the sampler whose decisions are filtered"); }

}  // namespace canvaslab
