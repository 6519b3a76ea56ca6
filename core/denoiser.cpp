#include "core/denoiser.h"

namespace canvaslab {

DenoiserRegistry& denoisers() {
  static DenoiserRegistry registry("denoiser");
  return registry;
}

ParamSpec inner_denoiser_param(std::string name, std::string doc) {
  return plugin_param(std::move(name), [](const PluginExpr& expr) { return denoisers().resolve(expr).canonical(); }, std::move(doc));
}

void check_token_ids(std::span<const int32_t> ids, int32_t vocabulary, const std::string& what) {
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= vocabulary)
      throw usage_error("{}: token id {} at position {} is outside the vocabulary [0, {})", what, ids[i], i, vocabulary);
  }
}

std::vector<StepResult> LogitsDenoiser::denoise(std::span<const DenoiseRow> rows) const {
  std::vector<StepResult> results(rows.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    const StepRequest& request = rows[i].request;
    std::vector<float> logits = row_logits(*rows[i].sequence, request);  // [L, V]
    results[i].statistics.resize(request.canvas.size(), request.wanted);
    compute_row_statistics(logits, facts().vocabulary, 0, request.canvas.size(), request.statistics_request(), results[i].statistics);
    if (request.want_logits) results[i].logits = std::move(logits);
  }
  return results;
}

}  // namespace canvaslab
