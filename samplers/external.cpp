// external - a program of one's own decides (core/external_protocol.h): a researcher's Python file inside the engine.
#include "core/external_program.h"
#include "samplers/external_view.h"
#include "samplers/foreign_code.h"

namespace canvaslab {
namespace {

constexpr uint32_t kMostScratch = 1 << 20;

/// Facts that the program states of itself. Errors: std::runtime_error.
SamplerFacts facts_of(HandshakeAnswer& answer, StatisticSet statistics) {
  SamplerFacts facts;
  facts.statistics = statistics;
  bool ordered = false;
  const std::vector<std::pair<std::string, bool*>> flags = {
      {"needs_level", &facts.needs_level}, {"revocable", &facts.revocable}, {"locks", &facts.locks}, {"edits_only", &facts.edits_only},
      {"fixed_steps", &facts.fixed_steps}, {"ordered", &ordered}, {"product_law", &facts.product_law}, {"uniform_only", &facts.uniform_corruption_only}};
  std::vector<std::string> names;
  for (const auto& [name, flag] : flags) names.push_back(name);
  for (const size_t i : answer.words("facts", names)) *flags[i].second = true;
  facts.permutation_equivariant = !ordered;
  facts.min_accepted = static_cast<int32_t>(answer.integer("min_accepted", 0, INT32_MAX).value_or(0));
  facts.default_stop = answer.text("default_stop").value_or("never");
  facts.default_emission = answer.text("default_emission").value_or("");
  if (!facts.default_emission.empty() && facts.default_emission != "argmax" && facts.default_emission != "canvas")
    throw std::runtime_error(fmt::format("its default_emission '{}' is neither argmax nor canvas", facts.default_emission));
  return facts;
}

/// Everything a decision depends on goes out with every step, so that any process can take it: the canvas state too.
class External final : public Sampler {
 public:
  explicit External(const Options& options) : command_(options), program_(open_external(command_, "sampler")) {
    try {
      HandshakeAnswer answer(program_->handshake());
      wants_ = ExternalWants(answer);
      facts_ = facts_of(answer, wants_.statistics);
      answer.end();
    } catch (const std::exception& error) {
      throw usage_error("external sampler \"{}\": {}", command_.command, error.what());
    }
  }
  SamplerFacts refine(SamplerFacts) const override { return facts_; }

  void step(const StepView& view, CanvasState& state, StepDecision& decision) const override {
    const size_t L = view.length();
    FrameWriter question;
    put_step(question, ExternalMessage::kStep, view, wants_, state.scratch.size(), view.knobs[0]);
    question.put_all(std::span(state.scratch));
    put_tokens_and_statistics(question, view, wants_.statistics);
    put_masks(question, view, state);
    const size_t most = 12 + kMostScratch * sizeof(double) + L * (sizeof(int32_t) + 2);
    program_->ask(question.bytes(), most, [&](std::string_view bytes) { read(bytes, view, state, decision); });
  }

 private:
  void read(std::string_view bytes, const StepView& view, CanvasState& state, StepDecision& decision) const {
    const size_t L = view.length();
    FrameReader answer(bytes);
    const auto num_scratch = answer.take<uint32_t>(), has_token = answer.take<uint32_t>();
    answer.take<uint32_t>();
    if (num_scratch > kMostScratch || has_token > 1) throw std::runtime_error(fmt::format("its answer announces {} numbers of scratch (at most {}) and has_token {}", num_scratch, kMostScratch, has_token));
    state.scratch = answer.take_all<double>(num_scratch);
    std::vector<int32_t> token;
    if (has_token) token = answer.take_all<int32_t>(L);
    const auto action = answer.take_all<uint8_t>(L);
    state.revealed = answer.take_all<uint8_t>(L);
    answer.end();
    decision.action.resize(L);
    for (size_t p = 0; p < L; ++p) {
      if (action[p] > static_cast<uint8_t>(Action::kToken)) throw std::runtime_error(fmt::format("{} at position {} is no action; expected 0 to 4", action[p], p));
      if (state.revealed[p] > 1) throw std::runtime_error(fmt::format("revealed is {} at position {}; expected 0 or 1", state.revealed[p], p));
      decision.action[p] = static_cast<Action>(action[p]);
      const bool writes = decision.action[p] == Action::kToken;
      if (writes && !has_token) throw std::runtime_error(fmt::format("position {} is to hold a token, but no tokens are given", p));
      if (writes && (token[p] < 0 || token[p] >= view.vocabulary)) throw std::runtime_error(fmt::format("token {} at position {} is outside the vocabulary [0, {})", token[p], p, view.vocabulary));
    }
    decision.token = std::move(token);
  }

  const ExternalCommand command_;
  const std::shared_ptr<ExternalProgram> program_;
  ExternalWants wants_;
  SamplerFacts facts_;
};

std::vector<ParamSpec> parameters() {
  auto out = external_params();
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  out.insert(out.begin() + 2, schedule_param("knob", 0, -kInfinity, kInfinity, "", "a number or schedule, handed over at every step"));
  return out;
}

/// Of any external plug-in inside an expression: which files its command runs.
std::string code_of(const PluginExpr& expr) {
  const bool is_command = !expr.arguments.empty();  // else a text that spells the name
  return is_command ? external_code(ExternalCommand(resolve_options("plug-in", "external", parameters(), expr))) : "";
}

[[maybe_unused]] const bool registered = [] {
  add_foreign_code("external", code_of);
  return samplers().add({
      .name = "external",
      .summary = "a program of your own decides, asked over a pipe at every step",
      .source = "ours (core/external_protocol.h; experiments/external/canvaslab_client.py for Python)",
      .aliases = {},
      .parameters = parameters(),
      .facts = {},
      .make = [](const Options& options) { return std::make_unique<External>(options); }});
}();

}  // namespace
}  // namespace canvaslab
