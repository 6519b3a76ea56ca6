#include "eval/plot_axis.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>

#include "core/error.h"
#include "core/params.h"

namespace canvaslab {
namespace {

constexpr double kUndefined = std::numeric_limits<double>::quiet_NaN();
using Samples = PlotSamples;

struct AxisKind {
  const char* name;
  const char* quantity;            ///< of one sample
  const char* detail;              ///< what is counted
  const char* unit;
  bool speed;                      ///< more is better, and already a ratio
  double (*get)(const Samples&, size_t, const ForwardCosts&);
};

double all_forwards(const Samples& s, size_t i) { return s.denoise[i] + s.verify[i] + s.unconditional[i] + s.append[i]; }

const AxisKind kKinds[] = {
    {"tokens_per_forward", "tokens per denoiser forward", "", "tokens", true, [](const Samples& s, size_t i, const ForwardCosts&) { return s.tokens_per_forward[i]; }},
    {"tokens_per_forward_report", "tokens per forward", ", append and verify passes included", "tokens", true,
     [](const Samples& s, size_t i, const ForwardCosts&) { return s.tokens_per_forward_report[i]; }},
    {"tokens_per_second", "tokens per second", ", prefill left out", "tokens/s", true,
     [](const Samples& s, size_t i, const ForwardCosts&) { return s.seconds[i] > 0 ? s.num_tokens[i] / s.seconds[i] : kUndefined; }},
    {"forwards", "forwards", " of every kind but prefill", "forwards", false, [](const Samples& s, size_t i, const ForwardCosts&) { return all_forwards(s, i); }},
    {"forwards_denoise", "denoiser forwards", "", "forwards", false, [](const Samples& s, size_t i, const ForwardCosts&) { return s.denoise[i]; }},
    {"forwards_verify", "verify forwards", "", "forwards", false, [](const Samples& s, size_t i, const ForwardCosts&) { return s.verify[i]; }},
    {"forwards_unconditional", "unconditional forwards", "", "forwards", false, [](const Samples& s, size_t i, const ForwardCosts&) { return s.unconditional[i]; }},
    {"forwards_append", "append forwards", "", "forwards", false, [](const Samples& s, size_t i, const ForwardCosts&) { return s.append[i]; }},
    {"forwards_prefill", "prefill forwards", "", "forwards", false, [](const Samples& s, size_t i, const ForwardCosts&) { return s.prefill[i]; }},
    {"positions_processed", "positions processed", ": canvas length for each forward, prompt length for the prefill", "positions", false,
     [](const Samples& s, size_t i, const ForwardCosts&) { return all_forwards(s, i) * s.canvas_length[i] + s.prefill[i] * s.num_prompt_tokens[i]; }},
    {"cost_weighted_forwards", "cost", "", "denoiser forwards", false,
     [](const Samples& s, size_t i, const ForwardCosts& c) {
       return c.denoise * s.denoise[i] + c.verify * s.verify[i] + c.unconditional * s.unconditional[i] + c.append * s.append[i] + c.prefill * s.prefill[i];
     }},
    {"wall_clock", "wall clock", ", prefill left out", "s", false, [](const Samples& s, size_t i, const ForwardCosts&) { return s.seconds[i]; }},
};

std::string costs_text(const ForwardCosts& c) {
  return fmt::format(": denoise {:g}, verify {:g}, unconditional {:g}, append {:g}, prefill {:g}", c.denoise, c.verify, c.unconditional, c.append, c.prefill);
}

/// Seconds far from 1 are read more easily as ms or µs.
std::string scale_seconds(std::vector<MeanError>& values) {
  double least = INFINITY;
  for (const auto& value : values)
    if (value.count > 0 && value.mean > 0) least = std::min(least, value.mean);
  const auto [factor, unit] = least < 1e-3 ? std::pair(1e6, "µs") : least < 1 ? std::pair(1e3, "ms") : std::pair(1.0, "s");
  for (auto& value : values) value.mean *= factor, value.standard_error *= factor;
  return unit;
}

}  // namespace

ForwardCosts parse_costs(const std::string& text) {
  ForwardCosts out;
  const std::vector<std::string> names = {"denoise", "verify", "unconditional", "append", "prefill"};
  double* const places[] = {&out.denoise, &out.verify, &out.unconditional, &out.append, &out.prefill};
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size()), equals = std::min(text.find('=', begin), end);
    const std::string name = text.substr(begin, equals - begin), value = equals < end ? text.substr(equals + 1, end - equals - 1) : "";
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end()) throw usage_error("--cost {}: '{}' is no kind of forward{}\nexpected kind=cost,... with kinds {}", text, name, did_you_mean(name, names), joined(names));
    const double cost = parse_real(value, fmt::format("--cost {}", name));
    if (!(cost >= 0) || !std::isfinite(cost)) throw usage_error("--cost {}: the cost of '{}' is '{}'; expected a number of at least 0, in denoiser forwards", text, name, value);
    *places[found - names.begin()] = cost;
    begin = end + 1;
  }
  return out;
}

std::vector<std::string> plot_axis_names() {
  std::vector<std::string> out;
  for (const auto& kind : kKinds) out.push_back(kind.name);
  return out;
}

PlotAxis plot_axis(const AxisChoice& choice, const PlotSamples& samples) {
  const auto* kind = std::find_if(std::begin(kKinds), std::end(kKinds), [&](const AxisKind& k) { return k.name == canonical_name(choice.name); });
  if (kind == std::end(kKinds)) throw usage_error("--x {}: there is no such axis{}\nexpected one of {}", choice.name, did_you_mean(choice.name, plot_axis_names()), joined(plot_axis_names()));
  if (kind->speed && choice.per_token) throw usage_error("--per-token does not go with --x {}, which is a speed already", kind->name);
  PlotAxis out{.name = kind->name, .quantity = "", .label = "", .more_is_better = kind->speed, .values = {}};
  const auto means = item_values(samples, [&](size_t i) {
    if (all_forwards(samples, i) == 0) return kUndefined;  // exact samples have no forwards to speak of
    const double value = kind->get(samples, i, choice.costs);
    return choice.per_token ? (samples.num_tokens[i] > 0 ? value / samples.num_tokens[i] : kUndefined) : value;
  });
  for (const auto& of_config : means) out.values.push_back(mean_error(of_config.values));
  const std::string unit = out.name == "wall_clock" ? scale_seconds(out.values) : kind->unit;
  out.quantity = kind->quantity + std::string(kind->speed ? "" : choice.per_token ? " per token" : " per sample");
  out.label = fmt::format("{}{}{} ({})", out.quantity, kind->detail, out.name == "cost_weighted_forwards" ? costs_text(choice.costs) : std::string(), unit);
  if (choice.per_token) out.name += "_per_token";
  return out;
}

}  // namespace canvaslab
