#pragma once
// The terminal behind stderr: is there one, how large is it, and a region at its end that is drawn again and again.
#include <string>
#include <vector>

#include "eval/canvas_view.h"

namespace canvaslab {

/// Whether a file descriptor (1 stdout, 2 stderr) is a terminal that lines may be redrawn on: not with TERM=dumb, nor with
/// NO_COLOR set.
bool redraws(int descriptor);

/// The size now; 80 x 24 where the terminal does not say.
ViewSize terminal_size();

/// Lines at the end of stderr, replaced as a whole. The cursor is never hidden and no mode outlives a frame, which is one
/// write: whatever ends the program leaves the terminal as it was.
class LiveRegion {
 public:
  LiveRegion() = default;
  ~LiveRegion() { clear(); }
  LiveRegion(const LiveRegion&) = delete;
  LiveRegion& operator=(const LiveRegion&) = delete;
  void draw(const std::vector<std::string>& lines);
  /// Takes the lines away, so that other text begins where they stood.
  void clear();
  /// Leaves the lines as they are; other text begins below them.
  void keep() { height_ = 0; }

 private:
  size_t height_ = 0;
};

/// Ctrl-C and other requests to end reset the terminal's attributes first, in case a frame was cut short.
void reset_terminal_on_signals();

}  // namespace canvaslab
