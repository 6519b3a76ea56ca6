#include "eval/canvas_view.h"

#include <algorithm>
#include <numeric>

#include <fmt/format.h>

namespace canvaslab {

std::vector<std::string> id_texts(std::span<const int32_t> tokens) {
  std::vector<std::string> out;
  for (const int32_t token : tokens) out.push_back(fmt::format("{} ", token));
  return out;
}

CanvasView::CanvasView(const GenerationPlan& plan, std::map<int64_t, int32_t> pins, TokenTexts texts) : plan_(plan), pins_(std::move(pins)), texts_(std::move(texts)) {}

void CanvasView::on_step(const StepRecord& record) {
  const RowStatistics& statistics = *record.statistics;
  canvas_idx_ = record.canvas_idx, step_idx_ = record.step_idx;
  if (plan_.emission == Emission::kArgmax) tokens_ = statistics.argmax;
  else tokens_.assign(record.canvas_out.begin(), record.canvas_out.end());
  confident_.assign(tokens_.size(), 0);
  for (size_t p = 0; p < tokens_.size(); ++p) {
    const auto pin = pins_.find(static_cast<int64_t>(earlier_.size() + p));
    if (pin != pins_.end()) tokens_[p] = pin->second;
    confident_[p] = pin != pins_.end() || statistics.entropy_nats[p] <= kConfidentNats;
  }
  num_confident_ = static_cast<size_t>(std::count(confident_.begin(), confident_.end(), uint8_t{1}));
  num_accepted_ = static_cast<size_t>(std::count(record.accepted.begin(), record.accepted.end(), uint8_t{1}));
  mean_entropy_ = std::accumulate(statistics.entropy_nats.begin(), statistics.entropy_nats.end(), 0.0) / static_cast<double>(std::max<size_t>(1, tokens_.size()));
}

void CanvasView::on_canvas(std::span<const int32_t> emitted) {
  earlier_.insert(earlier_.end(), emitted.begin(), emitted.end());
  tokens_.clear();
  confident_.clear();
  num_confident_ = 0;
}

std::string CanvasView::status(double seconds) const {
  // A verified draft may be cut short, and a policy may choose other lengths, so that the number of canvases is not known.
  const std::string of = plan_.sampler.facts.causal_verify || plan_.length.adaptive() ? "" : fmt::format("/{}", plan_.num_canvases());
  std::string out = fmt::format("canvas {}{}  step {}/{}  entropy {:.3f} nats  accepted {}/{}", canvas_idx_ + 1, of, step_idx_ + 1, plan_.num_decisions(), mean_entropy_,
                                num_accepted_, tokens_.size());
  if (seconds > 0) out += fmt::format("  {:.0f} tokens/s", static_cast<double>(earlier_.size() + num_confident_) / seconds);
  return out;
}

std::vector<std::string> CanvasView::lines(ViewSize size, double seconds) const {
  const size_t columns = std::max<size_t>(size.columns, 8), room = std::max<size_t>(size.rows, 4) - 2;  // below the text: status, and the cursor's line
  TerminalLines now(columns), before(columns);
  const auto texts = texts_(tokens_);
  for (size_t p = 0; p < texts.size(); ++p) now.add(texts[p], !confident_[p]);
  std::vector<std::string> out = now.take();
  if (out.size() > room) {
    const size_t hidden = out.size() - room + 1;
    out.resize(room - 1);
    out.push_back(clipped(fmt::format("... {} more lines", hidden), columns));
  } else if (!earlier_.empty()) {
    const size_t enough = std::min(earlier_.size(), room * columns);  // of the tail: the frame must not grow slower with the text
    for (const auto& text : texts_(std::span(earlier_).last(enough))) before.add(text, false);
    std::vector<std::string> above = before.take();
    const size_t kept = std::min(above.size(), room - out.size());
    out.insert(out.begin(), above.end() - static_cast<ptrdiff_t>(kept), above.end());
  }
  out.push_back(clipped(status(seconds), columns));
  return out;
}

}  // namespace canvaslab
