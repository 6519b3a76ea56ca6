// my_sampler - a sampler in a library of its own.
//   sh build.sh                                                          makes my_sampler.so
//   canvaslab check my_sampler.so                                            runs the contract on it
//   canvaslab generate --plugin my_sampler.so --model 'hmm(states=16)' --sampler 'my_sampler(share=0.5)'
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

#include "plugin_abi.h"

namespace {

// Configuration only: one instance serves many canvases at once. What a canvas remembers goes into state->scratch.
struct Sampler {
  bool keep_rest;
};

void* create(const CanvaslabValue* const* values, uint32_t /*num_values*/, CanvaslabError* /*error*/) {
  return new Sampler{values[0]->integer != 0};  // the table's parameters in order, schedules left out
}
void destroy(void* instance) { delete static_cast<Sampler*>(instance); }

// Takes the most confident candidates, a share of the canvas that may be a schedule; renoises (or keeps) the rest.
// A position can CANVASLAB_KEEP its token, _TAKE the candidate, _TAKE_BEST the argmax, take fresh _NOISE or a _TOKEN of yours (plugin_abi.h).
int32_t step(const void* instance, const CanvaslabStep* step, CanvaslabState* /*state*/, CanvaslabDecision* decision, CanvaslabError* error) {
  const auto& sampler = *static_cast<const Sampler*>(instance);
  const double share = step->knobs[0];
  std::vector<int32_t> open;
  for (int32_t p = 0; p < step->length; ++p)
    if (step->allowed[p]) open.push_back(p);
  std::stable_sort(open.begin(), open.end(), [&](int32_t a, int32_t b) { return step->candidate_logprob[a] > step->candidate_logprob[b]; });
  const auto taken = static_cast<size_t>(std::ceil(share * static_cast<double>(open.size())));
  if (taken > open.size()) {  // what cannot be decided is said, and fails the sample
    std::snprintf(error->text, error->capacity, "a share of %g takes more than there is", share);
    return 1;
  }
  for (size_t i = 0; i < open.size(); ++i) {
    const bool takes = i < taken || step->is_last;
    decision->action[open[i]] = takes ? CANVASLAB_TAKE : sampler.keep_rest ? CANVASLAB_KEEP : CANVASLAB_NOISE;
  }
  return 0;
}

const CanvaslabParameter share = {sizeof(CanvaslabParameter), CANVASLAB_SCHEDULE, "share", "0.5", "fraction of the canvas", "positions taken at a step", 0, 1, nullptr};
const CanvaslabParameter keep_rest = {sizeof(CanvaslabParameter), CANVASLAB_BOOLEAN, "keep_rest", "false", nullptr, "what is not taken keeps its token instead of being renoised", 0, 1, nullptr};
const CanvaslabParameter* const parameters[] = {&share, &keep_rest};

const CanvaslabSampler sampler = {
    .size = sizeof(CanvaslabSampler),
    .statistics = CANVASLAB_CANDIDATE,  // only what is declared here is computed; other pointers are null
    .name = "my_sampler",
    .summary = "the most confident share of the canvas at every step",
    .source = "ours",
    .parameters = parameters,
    .num_parameters = 2,
    .facts = CANVASLAB_REVOCABLE,
    .min_accepted = 0,
    .reserved = 0,
    .default_stop = "never",
    .default_emission = "argmax",
    .create = create,
    .destroy = destroy,
    .scratch_length = nullptr,
    .step = step,
};
const CanvaslabSampler* const samplers[] = {&sampler};

const CanvaslabPlugin plugin = {
    .size = sizeof(CanvaslabPlugin),
    .abi_version = CANVASLAB_ABI_VERSION,
    .num_samplers = 1,
    .num_stop_rules = 0,
    .num_schedules = 0,
    .reserved = 0,
    .samplers = samplers,
    .stop_rules = nullptr,
    .schedules = nullptr,
};

}  // namespace

extern "C" const CanvaslabPlugin* canvaslab_plugin(void) { return &plugin; }
