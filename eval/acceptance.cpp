#include "eval/acceptance.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <thread>

#include "core/denoiser.h"
#include "core/error.h"

namespace canvaslab {
namespace {

/// sum x / sum y; its error by linearisation.
RatioError ratio(const std::vector<double>& x, const std::vector<double>& y) {
  double sum_x = 0, sum_y = 0, squares = 0;
  for (size_t i = 0; i < x.size(); ++i) sum_x += x[i], sum_y += y[i];
  if (sum_y == 0) return {.value = NAN, .standard_error = NAN};
  const double value = sum_x / sum_y, n = static_cast<double>(x.size());
  for (size_t i = 0; i < x.size(); ++i) squares += std::pow(x[i] - value * y[i], 2);
  return {.value = value, .standard_error = n > 1 ? std::sqrt(squares * n / (n - 1)) / sum_y : NAN};
}

Acceptance measure(const Denoiser& denoiser, const GenerationPlan& plan, const AcceptanceRequest& request) {
  const size_t n = request.prompts.size();
  std::vector<double> tokens(n), rounds(n), forwards(n);
  std::atomic<size_t> next{0};
  std::atomic<int64_t> failed{0};
  const auto work = [&] {
    for (size_t i; (i = next.fetch_add(1)) < n;) {
      RowInput row;
      row.seed = request.seed, row.item = i, row.prompt.ids = request.prompts[i];
      try {
        const RowResult result = generate(denoiser, plan, std::span(&row, 1)).front();
        tokens[i] = static_cast<double>(result.token_ids.size());
        rounds[i] = static_cast<double>(result.steps_per_canvas.size());
        const auto& f = result.forwards;
        forwards[i] = static_cast<double>(f.denoise + f.verify + f.unconditional + f.append);
      } catch (const std::exception&) {
        ++failed;
      }
    }
  };
  std::vector<std::thread> pool;
  for (size_t t = 1; t < std::min(n, static_cast<size_t>(std::max(1, request.threads))); ++t) pool.emplace_back(work);
  work();
  for (auto& thread : pool) thread.join();
  return {.accepted = ratio(tokens, rounds), .per_forward = ratio(tokens, forwards), .failed = failed};
}

bool takes_one_step(const GenerationPlan& plan) { return plan.sampler.sampler->num_decisions(2) == 1; }

}  // namespace

std::vector<std::string> acceptance_samplers(double temperature) {
  std::vector<std::string> out;
  for (const char* draft : {"fixed_step", "leftmost", "entropy_bound(0.5)"})
    for (const char* draws : {"coupled", "independent"})
      if (temperature > 0 || std::string(draws) == "coupled") out.push_back(fmt::format("causal_verify({}, temperature={}, draws={})", draft, format_real(temperature), draws));
  for (const char* draws : {"coupled", "independent"})
    if (temperature > 0 || std::string(draws) == "coupled") out.push_back(fmt::format("linear_spec(temperature={}, draws={})", format_real(temperature), draws));
  return out;
}

std::vector<std::vector<Acceptance>> measure_acceptance(const Denoiser& denoiser, const AcceptanceRequest& request, const std::vector<std::string>& samplers) {
  std::vector<std::vector<Acceptance>> out;
  for (const auto& sampler : samplers) {
    out.emplace_back();
    for (const int32_t steps : request.steps) {
      PlanRequest asked;
      asked.sampler = sampler, asked.temperature = format_real(request.temperature), asked.emission = "canvas";
      asked.canvas_length = request.canvas_length, asked.max_new_tokens = request.max_new_tokens, asked.num_steps = steps;
      const GenerationPlan plan = resolve_plan(asked, denoiser);
      out.back().push_back(measure(denoiser, plan, request));
      if (takes_one_step(plan)) break;
    }
  }
  return out;
}

std::string acceptance_table(const std::vector<std::string>& samplers, const AcceptanceRequest& request, const std::vector<std::vector<Acceptance>>& measured) {
  std::string out = "| sampler |";
  for (size_t k = 0; k < request.steps.size(); ++k) out += fmt::format(" {}{} |", request.steps[k], k > 0 ? "" : request.steps[k] == 1 ? " step" : " steps");
  out += "\n|---|";
  for (size_t k = 0; k < request.steps.size(); ++k) out += "--:|";
  out += "\n";
  double fastest = 0, error = 0;
  int64_t failed = 0;
  for (const auto& row : measured)
    for (const auto& at : row) fastest = std::max(fastest, at.per_forward.value), error = std::max({error, at.accepted.standard_error, at.per_forward.standard_error}), failed += at.failed;
  for (size_t s = 0; s < samplers.size(); ++s) {
    out += fmt::format("| `{}` |", samplers[s]);
    for (size_t k = 0; k < request.steps.size(); ++k) {
      if (k >= measured[s].size()) {
        out += " |";
        continue;
      }
      const Acceptance& at = measured[s][k];
      const std::string text = fmt::format("{:.2f} ({:.2f})", at.accepted.value, at.per_forward.value);
      out += at.per_forward.value == fastest ? fmt::format(" **{}** |", text) : fmt::format(" {} |", text);
    }
    out += "\n";
  }
  out += fmt::format("\n{} texts of {} tokens, canvases of {}, temperature {}, seed {}; standard errors are at most {:.2f}{}.\n", request.prompts.size(), request.max_new_tokens, request.canvas_length,
                     format_real(request.temperature), request.seed, error, failed > 0 ? fmt::format("; {} texts failed", failed) : "");
  return out;
}

}  // namespace canvaslab
