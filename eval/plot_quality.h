#pragma once
// The y axis of the quality plot: which number judges a configuration, with its interval.
#include <string>

#include "eval/plot_data.h"

namespace canvaslab {

/// "negative_log_likelihood" as words.
std::string plain_words(std::string name);

/// Fills quality, error, interval and left-out values of every point. `quality` as in PlotChoice. Errors: usage when the
/// run has no such quality, naming those it has.
void read_quality(PlotRun& run, const H5Reader& file, const PlotSamples& samples, const std::string& quality);

}  // namespace canvaslab
