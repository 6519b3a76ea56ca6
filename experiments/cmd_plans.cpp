// canvaslab plans: the best fixed commit-once plans of an exact source, by number of rounds.
#include <cmath>
#include <filesystem>
#include <limits>
#include <optional>

#include "core/denoiser.h"
#include "core/durable_file.h"
#include "core/error.h"
#include "core/sources/sparse_markov.h"
#include "eval/chain_plans.h"
#include "eval/exact_law.h"
#include "eval/figure.h"
#include "experiments/commands.h"

namespace canvaslab {
namespace {

struct Arguments {
  std::string denoiser, out, figure;
  int64_t length = 0, samples = 1000;
  uint64_t seed = 1;
  std::vector<std::string> rounds;
};

/// One way to choose plans: its KL for each number of rounds, nats a canvas; NaN where it was not looked at.
struct Curve {
  std::string name;
  std::vector<MeanError> kl;                             // [rounds - 1]; standard error 0: exact
  std::vector<std::vector<std::vector<uint32_t>>> plans; // empty for random orders
};

struct Report {
  std::string method;
  std::vector<Curve> curves;
  bool has_best = false;  ///< the first curve is the best of all plans, else only of those shown
};

Curve exact_curve(const std::string& name, const std::vector<CommitPlan>& plans) {
  Curve out{.name = name, .kl = {}, .plans = {}};
  for (const auto& plan : plans) out.kl.push_back({.mean = plan.kl_nats, .standard_error = 0, .count = 1}), out.plans.push_back(plan.rounds);
  return out;
}
Curve random_curve(const std::vector<SizePlan>& plans) {
  Curve out{.name = "random order", .kl = {}, .plans = {}};
  for (const auto& plan : plans) out.kl.push_back({.mean = plan.kl_nats, .standard_error = 0, .count = 1});
  return out;
}

/// Closed forms and searches: a chain, or few enough canvases to tabulate.
std::optional<Report> exact_report(const Source& source, size_t length) {
  Report out;
  SubsetEntropy entropy;
  std::vector<double> mean;
  if (dynamic_cast<const SparseMarkov*>(&source) && source.vocabulary() <= 512) {
    const auto chain = chain_entropies(source.pair_law(), source.vocabulary(), length);
    out.method = "exact: a Markov chain's entropies in closed form, the best plan by an interval recursion";
    out.curves.push_back(exact_curve("best plan", best_chain_plans(chain, length, length)));
    entropy = chain_entropy(chain), mean = chain_mean_entropy(chain, length);
  } else if (std::pow(source.vocabulary(), static_cast<double>(length)) <= static_cast<double>(kMaxExactCanvases)) {
    const auto entropies = subset_entropies(source_law(source, length), length, source.vocabulary());
    out.method = "exact: all canvases tabulated, the best plan by a search through all subsets";
    out.curves.push_back(exact_curve("best plan", best_plans(entropies, length)));
    entropy = tabulated_entropy(entropies), mean = mean_entropy_by_size(entropies);
  } else {
    return std::nullopt;
  }
  out.has_best = true;
  out.curves.push_back(exact_curve("contiguous from the left", best_plans_along(contiguous_order(length), entropy)));
  out.curves.push_back(exact_curve("dilated", best_plans_along(dilated_order(length), entropy)));
  out.curves.push_back(random_curve(best_random_sizes(mean)));
  return out;
}

/// Exact terms over exact samples: cuts are chosen on one set of samples and judged on another.
Report sampled_report(const Source& source, size_t length, const std::vector<size_t>& rounds, uint64_t samples, uint64_t seed) {
  Report out;
  out.method = fmt::format("exact terms averaged over {} exact samples of the source; cuts chosen on {} others", samples, samples / 4);
  const MeanError unknown{.mean = std::numeric_limits<double>::quiet_NaN(), .standard_error = 0, .count = 0};
  const auto entropy = sampled_entropy(source, length, std::max<uint64_t>(1, samples / 4), seed);
  for (const auto& [name, order] : {std::pair{"contiguous from the left", contiguous_order(length)}, std::pair{"dilated", dilated_order(length)}}) {
    Curve curve{.name = name, .kl = std::vector<MeanError>(length, unknown), .plans = {}};
    for (const auto& plan : best_plans_along(order, entropy)) curve.plans.push_back(plan.rounds);
    for (const size_t n : rounds)
      curve.kl[n - 1] = sampled_divergence(source, length, [&](uint64_t) { return curve.plans[n - 1]; }, samples, seed + 1);
    out.curves.push_back(std::move(curve));
  }
  Curve random{.name = "random order", .kl = std::vector<MeanError>(length, unknown), .plans = {}};
  const auto sizes = best_random_sizes(sampled_mean_entropy(source, length, samples, seed));
  for (const size_t n : rounds)
    random.kl[n - 1] = sampled_divergence(source, length, [&](uint64_t i) { return random_rounds(sizes[n - 1].sizes, seed, i); }, samples, seed + 1);
  out.curves.push_back(std::move(random));
  return out;
}

std::string plan_text(const std::vector<std::vector<uint32_t>>& rounds) {
  std::vector<std::string> parts;
  for (const auto& round : rounds) parts.push_back(fmt::format("{}", fmt::join(round, " ")));
  return fmt::format("{}", fmt::join(parts, " / "));
}

std::string markdown(const Arguments& a, const Report& report, const std::vector<size_t>& rounds, size_t length) {
  std::string out = fmt::format(
      "# Fixed plans that commit once\n\nSource: `{}`, {} positions. KL(source || output) in nats per token of a plan that draws each round from the\n"
      "product of its exact conditional marginals and never revises: the sum of conditional total correlations, in forward KL a bound for such plans.\n"
      "Samplers that revise, adapt at random, see a noise canvas or verify are outside its scope. Method: {}{}.\n"
      "How to make it: `canvaslab plans`.\n\n| rounds |",
      a.denoiser, length, report.method, report.has_best ? "" : "; after ±: half a 95% interval");
  std::string rule = "\n|--:|";
  for (const auto& curve : report.curves) out += fmt::format(" {} |", curve.name), rule += "--:|";
  out += rule + "\n";
  const auto per_token = [&](double nats) { return nats / static_cast<double>(length); };
  for (const size_t n : rounds) {
    out += fmt::format("| {} |", n);
    for (const auto& curve : report.curves) {
      const MeanError& kl = curve.kl[n - 1];
      out += per_token(kl.standard_error) > 5e-6 ? fmt::format(" {:.4f} ± {:.4f} |", per_token(kl.mean), per_token(kZ95 * kl.standard_error)) : fmt::format(" {:.4f} |", std::max(0.0, per_token(kl.mean)));
    }
    out += "\n";
  }
  out += fmt::format("\nThe {} plans, as `fixed_plan(plan=\"...\")` takes them:\n\n", report.has_best ? "best" : "least costly of these");
  for (const size_t n : rounds) {
    const Curve* best = nullptr;
    for (const auto& curve : report.curves)
      if (!curve.plans.empty() && (!best || curve.kl[n - 1].mean < best->kl[n - 1].mean)) best = &curve;
    out += fmt::format("- {}: `{}`\n", n, plan_text(best->plans[n - 1]));
  }
  return out;
}

void draw(const Arguments& a, const Report& report, const std::vector<size_t>& rounds, size_t length) {
  Figure figure;
  figure.stem = a.figure;
  figure.title = "Fixed plans that commit once";
  figure.x.label = "rounds (denoiser forwards)";
  figure.y.label = "KL(source || output), nats per token";
  figure.x.scale = Scale::kLog10;
  figure.caption = fmt::format("{}, {} positions. {}. A bound for plans that commit once, in forward KL; samplers that revise, see noise, adapt at random or "
                               "verify are outside its scope.", a.denoiser, length, report.method);
  Panel panel;
  for (size_t c = 0; c < report.curves.size(); ++c) {
    figure.series.push_back(report.curves[c].name);
    std::vector<Mark> marks;
    for (const size_t n : rounds) {
      const MeanError& kl = report.curves[c].kl[n - 1];
      marks.push_back(Mark::within(static_cast<double>(n), kl.mean / static_cast<double>(length), kZ95 * kl.standard_error / static_cast<double>(length)));
    }
    panel.lines.emplace_back(c, std::move(marks));
  }
  figure.panels.push_back(std::move(panel));
  draw_figures({figure});
  fmt::print("{0}.png\n{0}.svg\n", a.figure);
}

void run(const Arguments& a) {
  const auto denoiser = denoisers().make(a.denoiser);
  if (!denoiser->source()) throw usage_error("'{}' has no exact source, such as hmm(...) or markov(...) have", a.denoiser);
  const size_t length = a.length > 0 ? static_cast<size_t>(a.length) : static_cast<size_t>(denoiser->facts().defaults.canvas_length.value_or(32));
  std::vector<size_t> rounds;
  for (const auto& text : a.rounds) {
    const int64_t n = parse_integer(text, "--rounds");
    if (n < 1 || n > static_cast<int64_t>(length)) throw usage_error("--rounds {}: expected 1 to the number of positions, {}", n, length);
    rounds.push_back(static_cast<size_t>(n));
  }
  for (size_t n = 1; a.rounds.empty() && n <= length; n *= 2) rounds.push_back(n);
  const auto exact = exact_report(*denoiser->source(), length);
  const Report report = exact ? *exact : sampled_report(*denoiser->source(), length, rounds, static_cast<uint64_t>(a.samples), a.seed);
  const std::string text = markdown(a, report, rounds, length);
  if (a.out.empty()) {
    fmt::print("{}", text);
  } else {
    write_text_durably(a.out, text);
    fmt::print("{}\n", a.out);
  }
  if (!a.figure.empty()) draw(a, report, rounds, length);
}

}  // namespace

void add_plans(CommandLine& line) {
  const Command command = line.command("plans", "the best fixed commit-once plans of an exact source: forward KL by number of rounds");
  auto* a = new Arguments;
  command.option("denoiser", a->denoiser, "a source: hmm(...), markov(...), tabulated(...), ...").required();
  command.option("--length", a->length, "positions of the canvas (default: the source's)").range(1, 512);
  command.option("--rounds", a->rounds, "numbers of rounds to show; may be repeated (default: powers of two)");
  command.option("--samples", a->samples, "where there is no closed form: exact samples to average over").range(8, 1000000).shows_default();
  command.option("--seed", a->seed, "of those samples").shows_default();
  command.option("--out", a->out, "write the table to this file (default: stdout)");
  command.option("--figure", a->figure, "also draw FIGURE.png and FIGURE.svg");
  command.footer("Examples:\n  canvaslab plans 'markov(alphabet=32)' --length 32\n  canvaslab plans 'tabulated(alphabet=3, block=5)' --length 5 --rounds 2\n"
                  "  canvaslab plans 'hmm(states=16, alphabet=32)' --out plans.md --figure plans\n"
                  "Exact for Markov chains of up to 512 tokens and wherever all canvases can be tabulated; else contiguous, dilated and random orders by sampling.");
  command.action([=] { return run(*a); });
}

}  // namespace canvaslab
