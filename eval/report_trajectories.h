#pragma once
// Trajectories as the report's viewer wants them: bounded, with what was left out said.
#include <functional>
#include <string>
#include <vector>

#include "eval/plot_data.h"
#include "eval/recorded_steps.h"

namespace canvaslab {

/// Most that a report holds: positions of steps (about 25 bytes each) and items.
inline constexpr uint64_t kMostEmbeddedPositions = 200'000;
inline constexpr size_t kMostEmbeddedItems = 4;

struct EmbeddedTrajectories {
  std::vector<Trajectory> list;
  std::string extent;       ///< how many of how many
  bool empty() const { return list.empty(); }
};

/// Of a run's recorded samples those of as many items as fit, an item's configurations together; of a single item that is
/// too large the longest configurations first.
EmbeddedTrajectories choose_trajectories(const PlotRun& run, const H5Reader& file, const RecordedSteps& recorded);

/// Trajectories of trace files go in front of the run's.
void add_traces(EmbeddedTrajectories& embedded, const std::vector<std::string>& traces);

/// The text of one token; "" for one that has none.
using TokenText = std::function<std::string(int32_t)>;

/// JSON that may stand in a page's script element: no '<' in it. Without `text` the viewer shows ids.
std::string trajectories_json(const std::vector<Trajectory>& list, const TokenText& text);

}  // namespace canvaslab
