// hmm - a hidden Markov source with its Bayes-optimal denoiser (forward-backward) from a corrupted canvas.
#include "core/sources/hidden_markov.h"
#include "core/sources/source_denoiser.h"

namespace canvaslab {
namespace {

std::vector<ParamSpec> parameters() {
  std::vector<ParamSpec> out = {int_param("states", 16, 1, 4096, "states", "number of hidden states"),
                                int_param("alphabet", 32, 2, 65536, "tokens", "vocabulary of the source"),
                                int_param("length", 32, 1, 65536, "tokens", "default canvas length"),
                                real_param("sharpness", 2, 0, 100, "", "scale of the random log-weights: larger is less random"),
                                int_param("seed", 1, 0, 9007199254740991.0, "", "which source")};
  for (auto& spec : corruption_parameters()) out.push_back(std::move(spec));
  return out;
}

[[maybe_unused]] const bool registered = denoisers().add({
    .name = "hmm",
    .summary = "hidden Markov source with its Bayes-optimal denoiser; the level is used when given, else marginalised",
    .source = "ours; forward-backward (Baum et al. 1970) under uniform corruption, samplers.md 0",
    .aliases = {"hidden_markov"},
    .parameters = parameters(),
    .facts = {},
    .make = [](const Options& options) {
      return std::make_unique<SourceDenoiser>(
          std::make_unique<HiddenMarkov>(static_cast<int32_t>(options.integer("states")), static_cast<int32_t>(options.integer("alphabet")),
                                         options.real("sharpness"), static_cast<uint64_t>(options.integer("seed"))),
          options);
    }});

}  // namespace
}  // namespace canvaslab
