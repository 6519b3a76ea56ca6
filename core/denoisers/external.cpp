// external - a program of one's own denoises (core/external_protocol.h): a PyTorch model inside the engine.
#include <algorithm>

#include "core/denoiser.h"
#include "core/digest.h"
#include "core/external_program.h"
#include "core/external_protocol.h"

namespace canvaslab {
namespace {

constexpr int32_t kMostVocabulary = 1 << 24;

struct ExternalSequence final : Sequence {
  std::vector<int32_t> context;                          ///< prompt and finished canvases
  std::shared_ptr<const std::vector<float>> previous;    ///< [L, V] tempered logits of the last step, or null
  std::unique_ptr<Sequence> fork() const override { return std::make_unique<ExternalSequence>(*this); }
};

DenoiserFacts facts_of(HandshakeAnswer& answer) {
  DenoiserFacts facts;
  const auto vocabulary = answer.integer("vocabulary", 2, kMostVocabulary);
  if (!vocabulary) throw std::runtime_error("its handshake does not say its vocabulary");
  facts.vocabulary = static_cast<int32_t>(*vocabulary);
  const auto number = [&](const char* key, int64_t least, int64_t most) -> std::optional<int32_t> {
    const auto given = answer.integer(key, least, most);
    return given ? std::optional(static_cast<int32_t>(*given)) : std::nullopt;
  };
  if (const auto mask = number("mask_id", 0, facts.vocabulary - 1)) facts.absorbing = true, facts.mask_id = *mask;
  facts.banned_ids = answer.ids("banned_ids");
  for (const size_t flag : answer.words("facts", {"uses_level", "self_conditioning"})) (flag == 0 ? facts.uses_level : facts.self_conditioning) = true;
  facts.max_length = answer.integer("max_length", 0, INT64_MAX).value_or(0);
  facts.defaults.temperature = answer.text("temperature");
  facts.defaults.emission = answer.text("emission");
  facts.defaults.num_steps = number("num_steps", 1, 1'000'000);
  facts.defaults.canvas_length = number("canvas_length", 1, 1 << 20);
  facts.defaults.max_new_tokens = number("max_new_tokens", 1, 1 << 20);
  facts.defaults.end_ids = answer.ids("end_ids");
  facts.defaults.pad_id = number("pad_id", -1, facts.vocabulary - 1).value_or(-1);
  answer.end();
  return facts;
}

class External final : public LogitsDenoiser {
 public:
  explicit External(const Options& options) : command_(options), program_(open_external(command_, "denoiser")) {
    try {
      HandshakeAnswer answer(program_->handshake());
      facts_ = facts_of(answer);
    } catch (const std::exception& error) {
      throw usage_error("external denoiser \"{}\": {}", command_.command, error.what());
    }
  }
  const DenoiserFacts& facts() const override { return facts_; }
  std::string content_hash() const override {
    return fmt::format("external(code={}, parameters=\"{}\", says={})", external_code(command_), command_.parameters, hex(sha256(program_->handshake())));
  }
  std::unique_ptr<Sequence> prefill(const Prompt& prompt) const override {
    check_token_ids(prompt.ids, facts_.vocabulary, "prompt");
    if (!prompt.media.empty()) throw usage_error("external denoiser \"{}\" takes no media in prompts", command_.command);
    auto sequence = std::make_unique<ExternalSequence>();
    sequence->context = prompt.ids;
    return sequence;
  }
  std::vector<float> append(Sequence& sequence, std::span<const int32_t> canvas, bool) const override {
    auto& s = dynamic_cast<ExternalSequence&>(sequence);
    s.context.insert(s.context.end(), canvas.begin(), canvas.end());
    s.previous.reset();
    return {};
  }

 protected:
  std::vector<float> row_logits(Sequence& sequence, const StepRequest& request) const override {
    auto& s = dynamic_cast<ExternalSequence&>(sequence);
    const size_t size = request.canvas.size() * static_cast<size_t>(facts_.vocabulary);
    std::vector<float> logits;
    program_->ask(question(s, request), sizeof(uint32_t) + size * sizeof(float), [&](std::string_view bytes) {
      FrameReader answer(bytes);
      answer.take<uint32_t>();
      logits = answer.take_all<float>(size);
      answer.end();
    });
    if (facts_.self_conditioning && !request.hold_prediction) {
      auto tempered = std::make_shared<std::vector<float>>(logits);
      if (request.temperature > 0) std::transform(tempered->begin(), tempered->end(), tempered->begin(), [&](float x) { return x / request.temperature; });
      s.previous = std::move(tempered);
    }
    return logits;
  }

 private:
  std::string question(const ExternalSequence& s, const StepRequest& request) const {
    std::span<const float> previous;
    if (facts_.self_conditioning && request.self_conditioning == SelfConditioning::kGiven) previous = request.given_logits;
    if (facts_.self_conditioning && request.self_conditioning == SelfConditioning::kPrevious && request.step_idx > 0 && s.previous) previous = *s.previous;
    const uint32_t flags = (request.noise_level ? 1u : 0u) | (request.revealed.empty() ? 0u : 2u) | (previous.empty() ? 0u : 4u);
    FrameWriter frame;
    frame.put(ExternalMessage::kDenoise);
    for (const int32_t value : {request.canvas_idx, request.step_idx, static_cast<int32_t>(request.canvas.size()), static_cast<int32_t>(s.context.size())}) frame.put(value);
    for (const uint32_t value : {flags, 0u, 0u}) frame.put(value);
    frame.put(static_cast<double>(request.temperature));
    frame.put(request.noise_level.value_or(0.0));
    frame.put_all(std::span(s.context));
    frame.put_all(request.canvas);
    frame.put_all(previous);
    frame.put_all(request.revealed);
    return frame.bytes();
  }

  const ExternalCommand command_;
  const std::shared_ptr<ExternalProgram> program_;
  DenoiserFacts facts_;
};

[[maybe_unused]] const bool registered = denoisers().add({
    .name = "external",
    .summary = "a program of your own gives the logits, asked over a pipe at every step",
    .source = "ours (core/external_protocol.h; experiments/external/canvaslab_client.py for Python)",
    .aliases = {},
    .parameters = external_params(),
    .facts = {},
    .make = [](const Options& options) { return std::make_unique<External>(options); }});

}  // namespace
}  // namespace canvaslab
