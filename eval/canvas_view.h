#pragma once
// A canvas while it settles, as lines for a terminal.
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "eval/terminal_lines.h"
#include "samplers/engine.h"

namespace canvaslab {

/// Positions of at most this entropy are shown plain, others dimmed. At 0.5 nats a choice between two stands at 80 to 20.
inline constexpr float kConfidentNats = 0.5f;

/// One text a token; together the text of all. A token that ends within a character has an empty text.
using TokenTexts = std::function<std::vector<std::string>(std::span<const int32_t>)>;
/// "17 ", "4 ": for models without a tokenizer.
std::vector<std::string> id_texts(std::span<const int32_t> tokens);

/// Follows one row of a generation (the first) and draws its latest state.
class CanvasView {
 public:
  /// `pins` as in RowInput: pinned positions show their token.
  CanvasView(const GenerationPlan& plan, std::map<int64_t, int32_t> pins, TokenTexts texts);
  void on_step(const StepRecord& record);
  void on_canvas(std::span<const int32_t> emitted);
  /// Text above, a status line below: at most `size.rows` - 1 lines. What would be emitted if the canvas ended now is shown; finished canvases
  /// stand above it as far as there is room, and when the canvas alone is too long its end is left out and counted.
  /// `seconds`: since the first step began, for tokens per second (tokens of finished canvases and confident ones).
  std::vector<std::string> lines(ViewSize size, double seconds) const;

 private:
  std::string status(double seconds) const;
  const GenerationPlan& plan_;
  std::map<int64_t, int32_t> pins_;
  TokenTexts texts_;
  std::vector<int32_t> earlier_, tokens_;   // of finished canvases; of the current one
  std::vector<uint8_t> confident_;          // [L]
  int32_t canvas_idx_ = 0, step_idx_ = 0;
  size_t num_accepted_ = 0, num_confident_ = 0;
  double mean_entropy_ = 0;
};

}  // namespace canvaslab
