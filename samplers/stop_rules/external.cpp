// external - a program of one's own says when a canvas is finished (core/external_protocol.h).
#include "core/external_program.h"
#include "samplers/external_view.h"
#include "samplers/stop_rule.h"

namespace canvaslab {
namespace {

constexpr size_t kMostReason = 200;

class External final : public StopRule {
 public:
  explicit External(const Options& options) : command_(options), program_(open_external(command_, "stop_rule")) {
    try {
      HandshakeAnswer answer(program_->handshake());
      wants_ = ExternalWants(answer);
      breaks_level_ = !answer.words("facts", {"breaks_level"}).empty();
      history_ = answer.integer("history", -1, INT32_MAX).value_or(0);
      answer.end();
    } catch (const std::exception& error) {
      throw usage_error("external stop rule \"{}\": {}", command_.command, error.what());
    }
  }
  StopFacts refine(StopFacts) const override { return {.statistics = wants_.statistics, .breaks_level = breaks_level_}; }

  std::optional<std::string> check(const StepView& view, const CanvasState& state, const StepDecision& decision, const StopHistory& history) const override {
    const size_t all = history.argmax.size(), shown = history_ < 0 ? all : std::min(all, static_cast<size_t>(history_));
    FrameWriter question;
    put_step(question, ExternalMessage::kCheck, view, wants_, shown, 0);
    put_tokens_and_statistics(question, view, wants_.statistics);
    for (size_t i = all - shown; i < all; ++i) question.put_all(std::span(history.argmax[i]));
    put_masks(question, view, state);
    question.put_all(std::span(decision.action));
    std::optional<std::string> out;
    program_->ask(question.bytes(), sizeof(uint32_t) + kMostReason, [&](std::string_view bytes) {
      FrameReader answer(bytes);
      const auto stops = answer.take<uint32_t>();
      const std::string reason(answer.rest());
      if (stops > 1 || (stops == 0 && !reason.empty())) throw std::runtime_error(fmt::format("its answer is {} with {} bytes; expected 0 (go on) or 1 (stop) and a reason", stops, reason.size()));
      if (stops) out = reason.empty() ? "external" : reason;
    });
    return out;
  }

 private:
  const ExternalCommand command_;
  const std::shared_ptr<ExternalProgram> program_;
  ExternalWants wants_;
  bool breaks_level_ = false;
  int64_t history_ = 0;
};

[[maybe_unused]] const bool registered = stop_rules().add({
    .name = "external",
    .summary = "a program of your own says when to stop, asked over a pipe at every step",
    .source = "ours (core/external_protocol.h; experiments/external/canvaslab_client.py for Python)",
    .aliases = {},
    .parameters = external_params(),
    .facts = {},
    .make = [](const Options& options) { return std::make_unique<External>(options); }});

}  // namespace
}  // namespace canvaslab
