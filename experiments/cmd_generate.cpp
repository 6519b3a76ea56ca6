// canvaslab generate: one prompt or a JSONL of prompts.
#include <atomic>
#include <ctime>
#include <exception>
#include <fmt/format.h>
#include <fstream>
#include <set>
#include <sstream>
#include <thread>

#include "core/error.h"
#include "core/json.h"
#include "core/model.h"
#include "core/network/torch_version.h"
#include "eval/grading/answer.h"
#include "eval/grading/scan.h"
#include "eval/observer_list.h"
#include "eval/trace.h"
#include "experiments/commands.h"
#include "experiments/generate_replay.h"
#include "experiments/live_canvas.h"
#include "experiments/plugins.h"
#include "experiments/prompts.h"
#include "samplers/plan_notes.h"

namespace canvaslab {
namespace {

struct Arguments : PromptArguments {
  std::string sampler = "entropy_bound", stop, temperature, emit, self_conditioning, init_canvas, pin;
  std::string rng = "counter", dtype = "f32", device = "cpu", trace, canvas_length;
  int32_t batch = 1, steps = 0, anneal_over = 0, max_new_tokens = 0, threads = 0;
  int32_t top_k = 0;
  double top_p = 0, min_p = 0;
  std::string stats_on, noise_level;
  std::vector<std::string> plugins;
  bool has_top_p = false, has_min_p = false, has_sampler = false, has_rng = false, has_seed = false;
  uint64_t seed = 0;
  ReplayArguments replay;
  bool json = false, trace_logits = false;
  std::optional<bool> live;               ///< absent: where both outputs are terminals
};

std::map<int64_t, int32_t> parse_pins(const std::string& text) {
  std::map<int64_t, int32_t> out;
  std::istringstream in(text);
  for (std::string word; in >> word;) {
    const auto equals = word.find('=');
    if (equals == std::string::npos) throw usage_error("--pin '{}': expected position=token pairs, for example --pin '0=5 7=12'", text);
    const int64_t id = parse_integer(word.substr(equals + 1), "--pin");
    if (id < 0 || id > std::numeric_limits<int32_t>::max()) throw usage_error("--pin '{}': {} is no token id", text, id);
    out[parse_integer(word.substr(0, equals), "--pin")] = static_cast<int32_t>(id);
  }
  return out;
}

/// `request` with what was given; the rest stays.
PlanRequest plan_request(const Arguments& a, PlanRequest request = {}) {
  if (a.has_sampler) request.sampler = a.sampler;
  if (!a.stop.empty()) request.stop = a.stop;
  if (!a.temperature.empty()) request.temperature = a.temperature;
  if (!a.emit.empty()) request.emission = a.emit;
  try {
    if (!a.canvas_length.empty()) set_canvas_length(request, a.canvas_length);
  } catch (const UserError& error) {
    throw UserError(error.code(), fmt::format("--canvas-length: {}", error.what()));
  }
  if (a.steps) request.num_steps = a.steps;
  if (a.anneal_over) request.anneal_over = a.anneal_over;
  if (a.max_new_tokens) request.max_new_tokens = a.max_new_tokens;
  if (a.top_k) request.top_k = a.top_k;
  if (a.has_top_p) request.top_p = a.top_p;
  if (a.has_min_p) request.min_p = a.min_p;
  if (!a.stats_on.empty()) request.stats_on = a.stats_on;
  if (!a.noise_level.empty()) request.noise_level = a.noise_level;
  if (!a.self_conditioning.empty()) request.feedback = a.self_conditioning;
  if (a.rng != "counter" && a.rng != "torch") throw usage_error("--rng '{}': expected counter or torch", a.rng);
  if (a.has_rng) request.rng = a.rng == "torch" ? RngMode::kTorch : RngMode::kCounter;
  return request;
}

double cpu_clock() { return static_cast<double>(std::chrono::steady_clock::now().time_since_epoch().count()) * 1e-9; }

OrderedJson describe(const RowResult& row, const std::optional<TextModel>& text, double load_seconds, const OrderedJson& config) {
  const double total = load_seconds + row.seconds.prefill + row.seconds.denoise + row.seconds.append;
  OrderedJson out = {{"token_ids", row.token_ids}, {"text", text ? OrderedJson(text->tokenizer().decode(row.token_ids)) : OrderedJson()}, {"stop_reason", row.stop_reason}, {"num_canvases", row.steps_per_canvas.size()},
          {"steps_per_canvas", row.steps_per_canvas}, {"length_per_canvas", row.length_per_canvas},
          {"forwards", {{"denoise", row.forwards.denoise}, {"verify", row.forwards.verify}, {"unconditional", row.forwards.unconditional},
                        {"append", row.forwards.append}, {"prefill", row.forwards.prefill}}},
          {"tokens_per_forward", row.tokens_per_forward}, {"tokens_per_forward_report", row.tokens_per_forward_report},
          {"seconds", {{"load", load_seconds}, {"prefill", row.seconds.prefill}, {"denoise", row.seconds.denoise}, {"append", row.seconds.append}, {"total", total}}},
          {"config", config}};
  if (row.length_per_canvas.empty()) out.erase("length_per_canvas");  // one length, which the configuration names
  return out;
}

/// A prompt's result, or what was wrong with it.
struct Outcome {
  RowResult row;
  std::exception_ptr failure;
  std::string message() const {
    try {
      std::rethrow_exception(failure);
    } catch (const std::exception& error) {
      return error.what();
    }
  }
};

/// Generates the rows; outcomes in row order. Where draws are per row, sequences go side by side on up to `threads` threads and
/// fail each alone. Rows that draw jointly, or are watched, fail together.
std::vector<Outcome> generate_rows(const Denoiser& denoiser, const GenerationPlan& plan, const std::vector<RowInput>& rows, Observer* observer, size_t threads) {
  std::vector<Outcome> out(rows.size());
  if (observer || plan.rng == RngMode::kTorch) {
    try {
      auto results = generate(denoiser, plan, rows, observer);
      for (size_t r = 0; r < rows.size(); ++r) out[r].row = std::move(results[r]);
    } catch (const std::exception&) {
      for (auto& outcome : out) outcome.failure = std::current_exception();
    }
    return out;
  }
  std::atomic<size_t> next{0};
  const auto worker = [&] {
    for (size_t r; (r = next.fetch_add(1)) < rows.size();) {
      try {
        out[r].row = std::move(generate(denoiser, plan, std::span(&rows[r], 1)).front());
      } catch (const std::exception&) {
        out[r].failure = std::current_exception();
      }
    }
  };
  std::vector<std::thread> pool;
  for (size_t t = 1; t < std::min(threads, rows.size()); ++t) pool.emplace_back(worker);
  worker();
  for (auto& thread : pool) thread.join();
  return out;
}

/// A text for people: special tokens left out, a thought set apart from its answer.
std::string readable(const Tokenizer& tokenizer, std::span<const int32_t> ids, const std::vector<int32_t>& end_ids) {
  const auto split = grading::split_answer(ids, grading::text_decoder(tokenizer, end_ids));
  if (split.thought.empty()) return tokenizer.decode(ids, true);
  return fmt::format("[thought]\n{}\n[{}]\n{}", grading::strip(split.thought), split.thought_unclosed ? "no answer: the thought has no end" : "answer", split.answer);
}

OrderedJson describe_failure(const Outcome& outcome, const OrderedJson& config) { return {{"token_ids", nullptr}, {"text", nullptr}, {"error", outcome.message()}, {"config", config}}; }

void print_text(const RowResult& row, const std::optional<TextModel>& text, const std::vector<int32_t>& end_ids) {
  if (text) fmt::print("{}\n", readable(text->tokenizer(), row.token_ids, end_ids));
  else fmt::print("{}\n", fmt::join(row.token_ids, " "));
  fmt::print(stderr, "{} tokens, {} canvases, steps {}, {:.2f} tokens per forward, {}, {:.2f} s\n", row.token_ids.size(), row.steps_per_canvas.size(), fmt::join(row.steps_per_canvas, " "),
             row.tokens_per_forward, row.stop_reason, row.seconds.prefill + row.seconds.denoise + row.seconds.append);
}

/// What went wrong with some prompts, while the others go on.
class Failures {
 public:
  void add(size_t prompt, const Outcome& outcome) {
    if (!first_) first_ = outcome.failure;
    const std::string message = outcome.message();
    messages_.insert(message);
    ++count_;
    fmt::print(stderr, "prompt {}: {}\n", prompt, message);
  }
  /// Errors: the failure itself where it is the same for every prompt, as bad settings are; else how many failed.
  void finish(size_t num_prompts) const {
    if (count_ == 0) return;
    if (count_ == num_prompts && messages_.size() == 1) std::rethrow_exception(first_);
    throw UserError(ExitCode::kSomeFailed, fmt::format("{} of {} prompts failed (above); the others are done", count_, num_prompts));
  }

 private:
  std::exception_ptr first_;
  std::set<std::string> messages_;
  size_t count_ = 0;
};

/// Whether to draw the canvas. Asked for where it cannot be drawn: an error.
bool wants_live(const Arguments& a) {
  if (!a.live) return !a.json && a.batch == 1 && redraws(1) && redraws(2);
  if (!*a.live) return false;
  if (a.batch > 1) throw usage_error("--live draws one sequence at a time, but --batch is {}; leave one of them out", a.batch);
  if (!redraws(2)) throw usage_error("--live draws on the terminal behind stderr, and there is none (or TERM is dumb, or NO_COLOR is set); leave --live out");
  return true;
}

/// The text of each token by itself, so that each can be dimmed.
TokenTexts token_texts(const std::optional<TextModel>& text) {
  if (!text) return id_texts;
  return [&tokenizer = text->tokenizer()](std::span<const int32_t> tokens) {
    std::vector<std::string> out;
    auto stream = tokenizer.stream();
    for (const int32_t token : tokens) out.push_back(stream.push(token));
    if (!out.empty()) out.back() += stream.finish();
    return out;
  };
}

void run(const Arguments& a) {
  load_plugins(a.plugins);
  if (!a.replay.trace.empty())
    return run_replay({.trace = a.replay.trace, .first_divergence = a.replay.first_divergence, .json = a.json}, [&](PlanRequest& request, uint64_t& seed) {
      request = plan_request(a, std::move(request));
      if (a.has_seed) seed = a.seed;
    });
  if (a.replay.first_divergence) throw usage_error("--first-divergence needs --replay TRACE.h5, the recording to decide again");
  const bool live = wants_live(a);
  if (live) reset_terminal_on_signals();
  if (a.trace_logits && a.trace.empty()) throw usage_error("--trace-logits needs --trace FILE.h5, the file to record them in");
  const double begin = cpu_clock();
  const auto denoiser = open_model(a.model, {.dtype = a.dtype, .device = a.device});
  const auto text = load_text(a.model);
  const double load_seconds = cpu_clock() - begin;
  const GenerationPlan plan = resolve_plan(plan_request(a), *denoiser);
  const auto prompts = read_prompts(a, text);
  OrderedJson config;
  config["model"] = a.model;
  for (const auto& [key, value] : plan.settings()) config[key] = value;
  for (const char* key : {"canvas_length", "num_steps", "anneal_over", "max_new_tokens", "pad_id", "top_k"})
    if (config.contains(key) && (std::string(key) != "canvas_length" || !plan.length.adaptive())) config[key] = parse_integer(config[key].get<std::string>(), key);
  config["end_ids"] = plan.end_ids;
  config["seed"] = a.seed;
  config["dtype"] = a.dtype;
  if (text && text->has_chat()) config["chat"] = a.chat && !a.has_ids, config["thinking"] = a.thinking;
  config["device"] = a.device;
  config["batch"] = a.batch;
  for (const auto& [position, token] : parse_pins(a.pin)) config["pins"][std::to_string(position)] = token;
  if (!a.init_canvas.empty()) config["init_canvas"] = parse_ids(a.init_canvas, "--init-canvas");
  if (!a.trace.empty() && plan.num_decisions() == 0) throw usage_error("--trace records denoising steps, and sampler '{}' has none; leave it out", plan.sampler.name);
  if (!a.trace.empty() && prompts.size() > static_cast<size_t>(a.batch))
    throw usage_error("--trace records one batch, but there are {} prompts and --batch is {}; raise --batch or give fewer prompts", prompts.size(), a.batch);
  if (!a.json) {
    for (const auto& [key, value] : config.items()) fmt::print(stderr, "{:<18} {}\n", key, value.is_string() ? value.get<std::string>() : json_text(value));
    for (const auto& note : plan_notes(plan, *denoiser)) fmt::print(stderr, "note: {}\n", note);
  }
  const auto threads = static_cast<size_t>(a.threads > 0 ? a.threads : std::max(1u, std::thread::hardware_concurrency()));
  Failures failures;
  for (size_t first = 0; first < prompts.size(); first += static_cast<size_t>(a.batch)) {
    std::vector<RowInput> rows;
    for (size_t i = first; i < std::min(prompts.size(), first + static_cast<size_t>(a.batch)); ++i) {
      RowInput row;
      row.prompt.ids = prompts[i];
      row.seed = a.seed;
      row.item = i;
      row.init_canvas = parse_ids(a.init_canvas, "--init-canvas");
      row.pins = parse_pins(a.pin);
      rows.push_back(std::move(row));
    }
    std::unique_ptr<TraceWriter> trace;
    if (!a.trace.empty()) trace = std::make_unique<TraceWriter>(a.trace, rows.size(), plan, denoiser->facts(), a.trace_logits);
    std::optional<LiveCanvas> canvas;
    if (live) canvas.emplace(plan, rows[0].pins, token_texts(text));
    ObserverList observers;
    if (trace) observers.add(trace.get());
    if (canvas) observers.add(&*canvas);
    const auto outcomes = generate_rows(*denoiser, plan, rows, observers.get(), threads);
    canvas.reset();  // before the text
    if (prompts.size() == 1 && outcomes[0].failure) std::rethrow_exception(outcomes[0].failure);
    if (trace && outcomes[0].failure) std::rethrow_exception(outcomes[0].failure);  // half a trace serves nobody
    std::vector<RowResult> results;
    for (const auto& outcome : outcomes) results.push_back(outcome.row);
    if (trace) trace->finish(results, {{"config", json_text(config)}, {"seed", std::to_string(a.seed)}, {"model_hash", denoiser->content_hash()},
                                       {"hdf5_version", H5_VERS_INFO}, {"torch_version", torch_version()}});
    for (size_t i = 0; i < results.size(); ++i) {
      if (outcomes[i].failure) failures.add(first + i, outcomes[i]);
      if (a.json) fmt::print("{}\n", json_text(outcomes[i].failure ? describe_failure(outcomes[i], config) : describe(results[i], text, load_seconds, config)));
      else if (!outcomes[i].failure) print_text(results[i], text, plan.end_ids);
    }
    std::fflush(stdout);
  }
  failures.finish(prompts.size());
}

}  // namespace

void add_generate(CommandLine& line) {
  const Command c = line.command("generate", "generate from a model: one prompt, or a JSONL of prompts");
  auto* a = new Arguments;
  const CommandOption model = c.option("--model", a->model, "checkpoint folder, a denoiser such as 'hmm(states=16)', or the name of a model that comes with the project").shows_default();
  const CommandOption prompt = c.option("--prompt", a->prompt, "prompt text");
  const CommandOption file = c.option("--prompt-file", a->prompt_file, "file with the prompt text").excludes(prompt);
  const CommandOption ids = c.option("--prompt-ids", a->prompt_ids, "prompt as token ids, \"2 17 9\"").excludes(prompt).excludes(file);
  const CommandOption jsonl = c.option("--jsonl", a->jsonl, "one object a line with prompt, messages or prompt_ids").excludes(prompt).excludes(file).excludes(ids);
  const CommandOption batch = c.option("--batch", a->batch, "prompts side by side (torch mode: drawn jointly, left-padded)").positive().shows_default();
  const CommandOption chat = c.flag("--chat,!--no-chat", a->chat, "put the prompt through the checkpoint's chat template (default where there is one)");
  const CommandOption thinking = c.flag("--thinking", a->thinking, "chat template with thinking on");
  const CommandOption tools = c.option("--tools", a->tools, "JSON file with an array of function declarations, which the chat template offers the model (a JSONL line's own 'tools' win)");
  const CommandOption sampler = c.option("--sampler", a->sampler, "see canvaslab list samplers").shows_default();
  add_plugin_option(c, a->plugins);
  c.option("--stop", a->stop, "stop rule (default: the sampler's own)");
  c.option("--steps", a->steps, "step limit per canvas").positive();
  c.option("--anneal-over", a->anneal_over, "length of the temperature ramp (default: the step limit)").positive();
  const CommandOption length = c.option("--canvas-length", a->canvas_length, "tokens per canvas, or a policy such as 'growing(shortest=16, longest=256)'");
  const CommandOption most = c.option("--max-new-tokens", a->max_new_tokens, "rounded up to whole canvases").positive();
  c.option("--temperature", a->temperature, "number or schedule, for example 'linear_remaining(0.4, 0.8)'");
  c.option("--top-k", a->top_k, "draw candidates among the k most likely tokens").positive();
  const CommandOption top_p = c.option("--top-p", a->top_p, "draw candidates among the fewest tokens that hold this much probability");
  const CommandOption min_p = c.option("--min-p", a->min_p, "draw candidates among tokens at least this likely relative to the likeliest");
  c.option("--stats-on", a->stats_on, "with these filters: statistics of the filtered (default) or unfiltered distribution");
  c.option("--noise-level", a->noise_level, "told (default: where the sampler follows one) or withheld from the denoiser");
  const CommandOption feedback = c.option("--self-conditioning", a->self_conditioning, "what of the step before is fed back: on (default), off, 'stale(4)', 'top_k(50)', 'temperature(0.7)', or one inside another: 'stale(4, top_k(50))'");
  c.option("--emit", a->emit, "argmax or canvas (default: the sampler's own)");
  const CommandOption init = c.option("--init-canvas", a->init_canvas, "token ids of the first canvas, instead of noise");
  const CommandOption pin = c.option("--pin", a->pin, "positions that stay: '0=5 7=12' (positions after the prompt)");
  const CommandOption seed = c.option("--seed", a->seed, "seed").shows_default();
  const CommandOption rng = c.option("--rng", a->rng, "counter (default) or torch (transformers' draws, token by token)").shows_default();
  const CommandOption dtype = c.option("--dtype", a->dtype, "f32 or bf16").shows_default();
  const CommandOption device = c.option("--device", a->device, "cpu or cuda (kernels of our own with --dtype bf16)").shows_default();
  const CommandOption threads = c.option("--threads", a->threads, "sequences of a batch generated side by side (default: all cores); results do not depend on it").positive();
  const CommandOption trace = c.option("--trace", a->trace, "record every step in this HDF5 file");
  const CommandOption logits = c.flag("--trace-logits", a->trace_logits, "with --trace: the logits too");
  auto* shows = new bool(false);
  const CommandOption live = c.flag("--live,!--no-live", *shows, "draw the canvas while it settles: uncertain tokens dimmed, one frame a step (default: where stdout and stderr are terminals)");
  const CommandOption replay = c.option("--replay", a->replay.trace, "decide a recorded run (--trace --trace-logits) again on its canvases and logits, with other settings; what is not given stays as recorded");
  for (const CommandOption& other : {model, prompt, file, ids, jsonl, batch, chat, thinking, tools, length, most, feedback, init, pin, dtype, device, threads, trace, logits, live}) replay.excludes(other);
  c.flag("--first-divergence", a->replay.first_divergence, "with --replay: nothing after the step at which the two part");
  c.flag("--json", a->json, "one JSON object a prompt on stdout, nothing else");
  c.footer("Examples:\n  canvaslab generate --prompt '1.3..4....4.4..1'                   a Sudoku for the small model; watch it on a terminal\n"
            "  canvaslab generate --model DIR --prompt 'Why is the sky blue?'\n"
            "  canvaslab generate --model 'hmm(states=16)' --sampler ddim --steps 32 --json\n"
            "  canvaslab generate --prompt '1.3..4....4.4..1' --self-conditioning 'stale(2, top_k(50))'\n"
            "  canvaslab generate --model DIR --prompt-ids '2 17 9' --rng torch --seed 1 --trace t.h5 --trace-logits\n"
            "  canvaslab generate --replay t.h5 --sampler 'entropy_bound(0.3)' --stop never     where would it part?\n"
            "  canvaslab generate --replay t.h5 --temperature 1 --emit canvas --first-divergence --json");
  c.action([=] {
    a->has_prompt = prompt.given();
    a->has_ids = ids.given();
    a->chat_asked = chat.given();
    a->has_sampler = sampler.given();
    a->has_rng = rng.given();
    a->has_seed = seed.given();
    a->has_top_p = top_p.given();
    a->has_min_p = min_p.given();
    if (live.given()) a->live = *shows;
    if (a->json && a->live.value_or(false)) throw usage_error("--json prints JSON and nothing else; leave --live out");
    run(*a);
  });
}

}  // namespace canvaslab
