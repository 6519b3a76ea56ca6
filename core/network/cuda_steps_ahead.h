#pragma once
// Whole canvases denoised on a GPU without coming back to the host between steps, and their steps kept until they are asked for.
#include <memory>
#include <span>
#include <vector>

#include "core/denoiser.h"
#include "core/network/cuda_network.h"

namespace canvaslab {

/// Steps of a canvas that were made before they were asked for.
struct StepsAhead {
  int32_t canvas_idx = 0;
  SelfConditioning self_conditioning = SelfConditioning::kPrevious;
  StatisticSet wanted;
  DrawKey draws;                               // of step 0
  std::vector<float> temperatures;             // of all steps that were foreseen
  std::vector<std::vector<int32_t>> canvases;  // [steps made][L]
  std::vector<RowStatistics> statistics;       // [steps made]

  /// Whether the steps of this request's canvas, of which it asks the first, can be made in one go.
  static bool possible(const StepRequest& request);
  /// Whether this is the request of a step that was made, of exactly that canvas.
  bool answers(const StepRequest& request) const;
};

/// All steps of these canvases, each as far as its outlook says; `canvases`: the same in their order. All of them are given their predictions back, or none. Empty where a logit was no number: nothing is kept
/// then. `memory` is kept for the next call.
std::vector<std::shared_ptr<const StepsAhead>> steps_ahead(CudaNetwork& network, const DenoiserFacts& facts, std::span<const DenoiseRow> rows, std::span<const DeviceCanvas> canvases, std::unique_ptr<DeviceMemory>& memory);

}  // namespace canvaslab
