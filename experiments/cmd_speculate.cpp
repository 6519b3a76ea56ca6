// canvaslab speculate: how far the causal mode of a model accepts drafts.
#include <fmt/format.h>

#include <algorithm>
#include <thread>

#include "core/durable_file.h"
#include "core/error.h"
#include "core/model.h"
#include "core/philox.h"
#include "eval/acceptance.h"
#include "experiments/commands.h"
#include "experiments/plugins.h"
#include "experiments/prompts.h"

namespace canvaslab {
namespace {

struct Arguments : PromptArguments {
  std::string dtype = "f32", device = "cpu", out;
  std::vector<std::string> samplers, steps, plugins;
  int32_t texts = 100, prompt_length = 8, threads = 0;
  AcceptanceRequest request;
};

/// Prompts of the user's file, or so many of random tokens; sources need none.
std::vector<std::vector<int32_t>> prompts_of(const Arguments& a, const Denoiser& denoiser, const std::optional<TextModel>& text) {
  if (!a.jsonl.empty()) return read_prompts(a, text);
  std::vector<std::vector<int32_t>> out(static_cast<size_t>(a.texts));
  const auto& facts = denoiser.facts();
  const auto vocabulary = static_cast<uint32_t>(facts.vocabulary - (facts.absorbing ? 1 : 0));
  for (size_t i = 0; i < out.size() && !denoiser.source(); ++i) {
    const DrawKey draws{.seed = a.request.seed, .item = i};
    for (int32_t p = 0; p < a.prompt_length; ++p) out[i].push_back(static_cast<int32_t>(draws.below(vocabulary, Purpose::kPrompt, static_cast<uint32_t>(p))));
  }
  return out;
}

void run(Arguments a) {
  load_plugins(a.plugins);
  const auto denoiser = open_model(a.model, {.dtype = a.dtype, .device = a.device});
  if (!denoiser->facts().has_causal_mode) throw usage_error("model '{}' has no causal mode that could check drafts", a.model);
  const auto text = load_text(a.model);
  if (!a.steps.empty()) a.request.steps.clear();
  for (const auto& word : a.steps) {
    const int64_t steps = parse_integer(word, "--steps");
    if (steps < 1 || steps > 1000000) throw usage_error("--steps {}: expected at least 1", steps);
    a.request.steps.push_back(static_cast<int32_t>(steps));
  }
  a.request.threads = a.threads > 0 ? a.threads : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  a.request.prompts = prompts_of(a, *denoiser, text);
  const auto samplers = a.samplers.empty() ? acceptance_samplers(a.request.temperature) : a.samplers;
  const auto measured = measure_acceptance(*denoiser, a.request, samplers);
  const std::string prompts = !a.jsonl.empty() ? fmt::format("prompts of {}", a.jsonl) : denoiser->source() ? "no prompts" : fmt::format("prompts of {} random tokens", a.prompt_length);
  const std::string report = fmt::format("### {}\n\n{}{}\n", a.model, acceptance_table(samplers, a.request, measured), prompts);
  if (a.out.empty()) return fmt::print("{}", report);
  write_text_durably(a.out, report);
  fmt::print("{}\n", a.out);
}

}  // namespace

void add_speculate(CommandLine& line) {
  const Command c = line.command("speculate", "how far the causal mode of a model accepts drafts: tokens a round and per forward");
  auto* a = new Arguments;
  c.option("model", a->model, "checkpoint folder, a denoiser such as hmm(...), or a model that comes with the project").required();
  c.option("--sampler", a->samplers, "a sampler that is checked causally; may be repeated (default: causal_verify and linear_spec, as in results/tables/causal_verify.md)");
  c.option("--steps", a->steps, "steps of a draft, a column each; may be repeated (default: 1 2 4 8 16)");
  c.option("--texts", a->texts, "number of texts").positive().shows_default();
  c.option("--jsonl", a->jsonl, "prompts, one object a line with prompt or prompt_ids (default: random tokens; none for a source)");
  c.option("--prompt-length", a->prompt_length, "tokens of a random prompt").positive().shows_default();
  c.option("--canvas-length", a->request.canvas_length, "tokens per canvas").positive().shows_default();
  c.option("--max-new-tokens", a->request.max_new_tokens, "tokens of a text").positive().shows_default();
  c.option("--temperature", a->request.temperature, "of drafts and of the causal mode; 0 is greedy").shows_default();
  c.option("--seed", a->request.seed, "seed").shows_default();
  c.option("--dtype", a->dtype, "f32 or bf16").shows_default();
  c.option("--device", a->device, "cpu or cuda").shows_default();
  c.option("--threads", a->threads, "texts side by side (default: all cores); figures do not depend on it").positive();
  c.option("--out", a->out, "write the table to this file (default: stdout)");
  add_plugin_option(c, a->plugins);
  c.footer("Examples:\n  canvaslab speculate 'hmm(states=6, alphabet=9, sharpness=6)'\n  canvaslab speculate small --jsonl prompts.jsonl --temperature 0 --steps 1 --steps 4");
  c.action([=] { run(*a); });
}

}  // namespace canvaslab
