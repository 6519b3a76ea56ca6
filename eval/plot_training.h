#pragma once
// Figures of a training: losses and held-out accuracy against tokens seen.
#include <string>
#include <vector>

#include "eval/training_log.h"

namespace canvaslab {

/// Draws PREFIXtraining_losses and PREFIXtraining_accuracy (when anything was evaluated) as PNG and SVG and returns the paths.
/// Errors: as draw_figures; input when the log has no lines.
std::vector<std::string> plot_training(const TrainingLog& log, const std::string& title, const std::string& prefix);

}  // namespace canvaslab
