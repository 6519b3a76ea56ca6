// The contract through the engine, of the other registries, and the clauses that apply to one plug-in.
#include <algorithm>
#include <cmath>
#include <thread>

#include "samplers/contract.h"

namespace canvaslab::contract {

namespace {

constexpr const char* kSmallSource = "hmm(states=4, alphabet=7, length=8)";

std::vector<RowInput> three_rows() {
  std::vector<RowInput> rows(3);
  for (size_t r = 0; r < rows.size(); ++r) {
    rows[r].seed = 5;
    rows[r].item = r;
    rows[r].prompt.ids.assign(r, 1);
  }
  rows[1].pins = {{2, 6}, {11, 0}};
  return rows;
}

}  // namespace

std::string generates_alike_in_any_company(const std::string& sampler, const std::string& stop) {
  const auto denoiser = denoisers().make(kSmallSource);
  PlanRequest request;
  request.sampler = sampler;
  if (!stop.empty()) request.stop = stop;
  request.num_steps = 6;
  request.max_new_tokens = 16;
  const GenerationPlan plan = resolve_plan(request, *denoiser);
  const auto rows = three_rows();
  const auto together = generate(*denoiser, plan, rows);
  std::vector<std::vector<int32_t>> alone(rows.size());
  std::vector<std::exception_ptr> failures(rows.size());
  std::vector<std::thread> threads;
  for (size_t r = 0; r < rows.size(); ++r)
    threads.emplace_back([&, r] {
      try {
        alone[r] = generate(*denoiser, plan, std::span(&rows[r], 1))[0].canvas_ids;
      } catch (...) {
        failures[r] = std::current_exception();
      }
    });
  for (auto& thread : threads) thread.join();
  for (size_t r = 0; r < rows.size(); ++r) {
    if (failures[r]) std::rethrow_exception(failures[r]);
    if (alone[r] != together[r].canvas_ids) return fmt::format("row {} has other tokens alone, beside other threads, than in a batch", r);
    if (alone[r] != generate(*denoiser, plan, std::span(&rows[r], 1))[0].canvas_ids) return fmt::format("row {} has other tokens when it is generated again", r);
    if (alone[r].size() != 16) return fmt::format("row {} has {} tokens instead of 16", r, alone[r].size());
    for (const int32_t token : alone[r])
      if (token < 0 || token >= denoiser->facts().vocabulary) return fmt::format("row {} holds token {}, outside the vocabulary", r, token);
    if (auto wrong = pins_hold(alone[r], rows[r].pins); !wrong.empty()) return wrong;
  }
  return "";
}

std::string refuses_what_its_table_forbids(const std::string& name, const std::vector<ParamSpec>& table, const std::function<void(const PluginExpr&)>& make) {
  for (const auto& spec : table)
    if (spec.required) return "";
  const auto takes = [&](const std::string& text) {
    try {
      make(parse_plugin(text));
      return true;
    } catch (const UserError&) {
      return false;
    }
  };
  if (!takes(name)) return "its own defaults are refused";
  if (takes(name + "(no_such_key=1)")) return "an unknown key is taken";
  for (const auto& spec : table) {
    const auto with = [&](const auto& value) { return fmt::format("{}({}={})", name, spec.name, value); };
    const bool free_text = spec.type == ParamType::kText && spec.choices.empty();
    if (!free_text && takes(with("nan"))) return fmt::format("parameter '{}' takes nan", spec.name);
    if (takes(with("word()"))) return fmt::format("parameter '{}' takes word()", spec.name);
    if (std::isfinite(spec.min)) {
      if (takes(with(spec.min - 1))) return fmt::format("parameter '{}' takes a value under its least", spec.name);
      if (takes(with(spec.min)) == spec.above_min) return fmt::format("parameter '{}' {} its least value", spec.name, spec.above_min ? "takes" : "refuses");
    }
    if (std::isfinite(spec.max)) {
      if (!takes(with(spec.max))) return fmt::format("parameter '{}' refuses its largest value", spec.name);
      if (takes(with(spec.max + 1))) return fmt::format("parameter '{}' takes a value above its largest", spec.name);
    }
  }
  return "";
}

std::string keeps_the_schedule_contract(const Schedule& schedule) {
  const auto [low, high] = schedule.range();
  for (const int32_t steps : {1, 2, 7, 48}) {
    const double end = schedule.value({.step_idx = steps, .num_steps = steps});
    for (int32_t step = 0; step < 3 * steps; ++step) {
      const double value = schedule.value({.step_idx = step, .num_steps = steps});
      const std::string at = fmt::format("{} at step {} of a ramp of {}", value, step, steps);
      if (value != schedule.value({.step_idx = step, .num_steps = steps})) return at + ", then another value at the same step";
      if (!(value >= low - 1e-7 && value <= high + 1e-7)) return fmt::format("{}, outside its range [{}, {}]", at, low, high);  // linear_remaining computes in f32
      if (step >= steps && value != end) return fmt::format("{}, but {} at the ramp's end", at, end);
    }
  }
  return "";
}

std::string keeps_the_stop_contract(const ConfiguredStop& stop) {
  std::mt19937 engine(kSeed);
  for (int trial = 0; trial < 100; ++trial) {
    Step step(1 + engine() % 20, engine);
    const size_t L = step.canvas.size();
    const CanvasState state{.revealed = std::vector<uint8_t>(L, trial % 2), .scratch = {}};
    StepDecision decision;
    for (size_t p = 0; p < L; ++p) decision.action.push_back(static_cast<Action>(engine() % 4));
    StopHistory history;
    for (int i = 0; i < trial % 3; ++i) history.argmax.push_back(step.statistics.argmax), history.num_taken.push_back(engine() % (L + 1)), history.num_at_argmax.push_back(engine() % (L + 1));
    const auto first = stop.rule->check(step.view(1, 4), state, decision, history);
    if (stop.rule->check(step.view(1, 4), state, decision, history) != first) return fmt::format("it says one thing and then another (seed {}, trial {})", kSeed, trial);
    const StepView view = step.view(1, 4);
    if (const auto stable = stop.rule->stable_stop(); stable && first.has_value() != (mean_entropy(view) < stable->confidence && argmax_stable(view, history, stable->stability)))
      return fmt::format("it does not stop when the stable stop does that it says it is (seed {}, trial {})", kSeed, trial);
    poison(step.statistics, stop.statistics);
    if (stop.rule->check(step.view(1, 4), state, decision, history) != first) return fmt::format("it reads a statistic that it does not declare (seed {}, trial {})", kSeed, trial);
  }
  return "";
}

std::string keeps_the_denoiser_contract(const std::function<std::unique_ptr<Denoiser>()>& make) {
  const auto denoiser = make();
  const int32_t V = denoiser->facts().vocabulary;
  if (V < 2) return fmt::format("its vocabulary has {} tokens", V);
  const auto length = static_cast<size_t>(denoiser->facts().defaults.canvas_length.value_or(3));
  std::vector<int32_t> ids = {1 % V, 2 % V}, canvas(length), committed(length);
  for (size_t p = 0; p < length; ++p) canvas[p] = static_cast<int32_t>((7 * p + 6) % static_cast<size_t>(V)), committed[p] = static_cast<int32_t>((5 + p) % static_cast<size_t>(V));
  Prompt prompt;
  prompt.ids = ids;
  const auto ask = [&](Sequence& sequence) {
    DenoiseRow row{.sequence = &sequence, .request = {}};
    row.request.canvas = canvas;
    row.request.want_logits = true;
    row.request.wanted = {Statistic::kMax};
    return std::move(denoiser->denoise(std::span(&row, 1)).front());
  };
  const auto sequence = denoiser->prefill(prompt);
  const auto before = ask(*sequence);
  if (before.logits.size() != length * static_cast<size_t>(V)) return fmt::format("{} logits for {} positions of {} tokens", before.logits.size(), length, V);
  if (before.statistics.argmax.size() != length) return "the declared statistics are not filled";
  if (!before.statistics.entropy_nats.empty()) return "statistics that nobody declared are filled";
  const auto fork = sequence->fork();
  denoiser->append(*sequence, committed, false);
  if (ask(*fork).logits != before.logits) return "a fork sees what its origin appends";
  std::vector<DenoiseRow> rows(2, {.sequence = sequence.get(), .request = {}});
  rows[1].sequence = fork.get();
  for (auto& row : rows) row.request.canvas = canvas, row.request.want_logits = true;
  const auto together = denoiser->denoise(rows);
  if (together[1].logits != before.logits || together[0].logits != ask(*sequence).logits) return "rows of one call see each other, or are out of order";
  Prompt wrong;
  wrong.ids = {V};
  try {
    denoiser->prefill(wrong);
    return "a prompt token outside the vocabulary is taken";
  } catch (const UserError&) {
  }
  if (denoiser->content_hash().empty() || make()->content_hash() != denoiser->content_hash()) return "the content hash is empty, or another each time";
  return "";
}

std::string Clause::complaint() const {
  try {
    return check();
  } catch (const std::exception& error) {
    return error.what();
  }
}

std::vector<Clause> sampler_clauses(const std::string& text) {
  const PluginExpr expr = parse_plugin(text);
  const auto sampler = std::make_shared<const ConfiguredSampler>(configure_sampler(expr));
  const auto& entry = samplers().find(expr.name);
  const auto on = [&](std::string (*check)(const ConfiguredSampler&)) { return [sampler, check] { return check(*sampler); }; };
  return {
      {"decides alike twice, reading only the statistics it declares", "", on(reads_only_what_it_declares)},
      {"keeps its promises of progress, last step and revealed positions", "", on(keeps_its_progress_contract)},
      {"sees no statistics that are no numbers", "", on(refuses_statistics_that_are_no_numbers)},
      {"forgets the canvas before", "", on(forgets_the_canvas_before)},
      {"moves its decisions with the positions", sampler->facts.permutation_equivariant ? "" : "it declares an order of positions", on(moves_with_its_positions)},
      {"keeps its product law", sampler->facts.product_law ? "" : "it declares none", on(keeps_its_product_law)},
      {"decides by the joint bound it declares", sampler->sampler->joint_entropy_bound(sampler->knob_values({.step_idx = 0, .num_steps = 1})) ? "" : "it declares none", on(keeps_its_joint_bound)},
      {"refuses what its table forbids", has_defaults(entry) ? "" : "a parameter must be given",
       [&entry] { return refuses_what_its_table_forbids(entry.name, entry.parameters, [](const PluginExpr& e) { configure_sampler(e); }); }},
      {"generates the same tokens alone, in a batch and beside other threads, and keeps pins", "", [text] { return generates_alike_in_any_company(text); }}};
}

std::vector<Clause> stop_clauses(const std::string& text) {
  const PluginExpr expr = parse_plugin(text);
  const auto stop = std::make_shared<const ConfiguredStop>(configure_stop(expr));
  const auto& entry = stop_rules().find(expr.name);
  return {{"is pure and reads only the statistics it declares", "", [stop] { return keeps_the_stop_contract(*stop); }},
          {"refuses what its table forbids", has_defaults(entry) ? "" : "a parameter must be given",
           [&entry] { return refuses_what_its_table_forbids(entry.name, entry.parameters, [](const PluginExpr& e) { configure_stop(e); }); }},
          {"gives the same tokens alone, in a batch and beside other threads", "", [text] { return generates_alike_in_any_company("entropy_bound", text); }}};
}

std::vector<Clause> schedule_clauses(const std::string& text) {
  const PluginExpr expr = parse_plugin(text);
  const auto schedule = std::shared_ptr<const Schedule>(make_schedule(expr));
  const auto& entry = schedules().find(expr.name);
  return {{"is pure, stays in its range and holds its end beyond the ramp", "", [schedule] { return keeps_the_schedule_contract(*schedule); }},
          {"refuses what its table forbids", has_defaults(entry) ? "" : "a parameter must be given",
           [&entry] { return refuses_what_its_table_forbids(entry.name, entry.parameters, [](const PluginExpr& e) { make_schedule(e); }); }}};
}

std::vector<Clause> denoiser_clauses(const std::string& text) {
  const auto& entry = denoisers().find(parse_plugin(text).name);
  return {{"answers of the right size, forks and rows that see nothing of each other", "",
           [text] { return keeps_the_denoiser_contract([text] { return denoisers().make(text); }); }},
          {"refuses what its table forbids", has_defaults(entry) ? "" : "a parameter must be given",
           [&entry] { return refuses_what_its_table_forbids(entry.name, entry.parameters, [](const PluginExpr& e) { denoisers().make(e); }); }}};
}

}  // namespace canvaslab::contract
