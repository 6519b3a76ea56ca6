#pragma once
// What external samplers and stop rules share: which of a step they ask for, and its form in a frame.
#include <string>
#include <vector>

#include "core/external_protocol.h"
#include "samplers/sampler.h"

namespace canvaslab {

/// What a program wants to see of every step.
struct ExternalWants {
  ExternalWants() = default;
  StatisticSet statistics;
  std::vector<Purpose> draws;
  /// Takes 'statistics' and 'draws' from a handshake. Errors: std::runtime_error.
  explicit ExternalWants(HandshakeAnswer& answer);
};

/// Begins a question about a step; `count` is num_scratch or num_history. Uniforms come next, then the caller's f64.
void put_step(FrameWriter& frame, ExternalMessage message, const StepView& view, const ExternalWants& wants, size_t count, double knob);
/// The 4-byte arrays: canvas and declared statistics.
void put_tokens_and_statistics(FrameWriter& frame, const StepView& view, StatisticSet statistics);
/// u8 allowed and revealed.
void put_masks(FrameWriter& frame, const StepView& view, const CanvasState& state);

}  // namespace canvaslab
