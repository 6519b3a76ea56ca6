#pragma once
// A sweep at work, as lines for a terminal: one a configuration, the whole below.
#include <string>
#include <vector>

#include "eval/progress.h"
#include "eval/terminal_lines.h"

namespace canvaslab {

/// A configuration's settings in a few words, the parameters of plug-ins without their names: the sampler, and the other keys in
/// which configurations differ, step limit and canvas length before others.
std::vector<std::string> short_labels(const std::vector<std::string>& settings);

/// At most `size.rows` - 1 lines of at most `size.columns` columns. When there are more configurations than room, those at work come
/// first and the others are counted.
std::vector<std::string> sweep_lines(const ProgressMeter& meter, const std::vector<std::string>& labels, ViewSize size);

}  // namespace canvaslab
