#pragma once
// One panel of a figure in gnuplot's language.
#include <ostream>
#include <string>

#include "eval/figure.h"
#include "eval/figure_layout.h"

namespace canvaslab {

/// Colour and point shape of a series.
struct FigureLook {
  const char* colour;
  int shape;
};
const FigureLook& figure_look(size_t series);

/// Quoted for gnuplot, which takes nothing in it for its own; control characters become blanks.
std::string gnuplot_text(const std::string& text);

/// Data blocks and the plot command of panel `index`; axes and margins are set already.
void write_panel(std::ostream& out, const Figure& figure, size_t index, const FigureRange& y);

}  // namespace canvaslab
