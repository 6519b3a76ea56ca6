#include "eval/mixtures.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>

#include "core/error.h"
#include "eval/attribution.h"

namespace canvaslab {
namespace {

using Settings = std::map<std::string, std::string>;

/// Factors by the settings they consist of, in the order of the report.
const std::vector<std::pair<std::string, std::vector<std::string>>> kKinds = {
    {"order", {"sampler"}},
    {"emission", {"emission"}},
    {"temperature", {"temperature"}},
    {"stop rule", {"stop"}},
    {"self-conditioning", {"self_conditioning"}},
    {"level knowledge", {"noise_level"}},
    {"steps", {"num_steps"}},
    {"ramp length", {"anneal_over"}},
    {"canvas length", {"canvas_length"}},
    {"filters", {"top_k", "top_p", "min_p", "stats_on"}}};

Settings settings_of(const GenerationPlan& plan) {
  Settings out;
  for (const auto& [key, value] : plan.settings()) out[key] = value;
  out["noise_level"] = plan.tells_level ? "told" : "withheld";
  return out;
}

std::string value_of(const Settings& settings, const std::string& key) {
  const auto at = settings.find(key);
  return at == settings.end() ? "" : at->second;
}

std::string values_text(const Settings& settings, const std::vector<std::string>& keys) {
  std::string out;
  for (const auto& key : keys)
    if (const std::string value = value_of(settings, key); !value.empty()) out += fmt::format("{}{}={}", out.empty() ? "" : "; ", key, value);
  return out.empty() ? "(none)" : out;
}

std::vector<Factor> differing_factors(const Settings& a, const Settings& b) {
  std::vector<Factor> out;
  for (const auto& [name, keys] : kKinds)
    if (std::any_of(keys.begin(), keys.end(), [&](const auto& key) { return value_of(a, key) != value_of(b, key); })) out.push_back({name, keys, values_text(a, keys), values_text(b, keys)});
  return out;
}

PlanRequest mixture(const Settings& a, const Settings& b, const std::vector<Factor>& factors, size_t which) {
  Settings mixed = a;
  for (size_t i = 0; i < factors.size(); ++i)
    for (const auto& key : factors[i].keys) {
      if (!(which >> i & 1)) continue;
      if (b.contains(key)) mixed[key] = b.at(key);
      else mixed.erase(key);
    }
  if (!configure_sampler(parse_plugin(mixed.at("sampler"))).facts.needs_level) mixed.erase("noise_level");  // none to tell
  return request_of_settings({mixed.begin(), mixed.end()}, "a mixture of A and B");
}

/// Why the mixture contradicts itself, or nothing.
std::optional<std::string> contradiction(const PlanRequest& request, const Denoiser& denoiser) {
  try {
    resolve_plan(request, denoiser);
    return std::nullopt;
  } catch (const UserError& error) {
    const std::string text = error.what();
    return text.substr(0, text.find('\n'));
  }
}

struct Contradictions {
  size_t count = 0;
  std::string first;
};

Contradictions count_contradictions(const Settings& a, const Settings& b, const std::vector<Factor>& factors, const Denoiser& denoiser) {
  Contradictions out;
  for (size_t which = 0; which < size_t{1} << factors.size(); ++which)
    if (const auto why = contradiction(mixture(a, b, factors, which), denoiser)) {
      if (out.count++ == 0) out.first = *why;
    }
  return out;
}

std::vector<Factor> with_joined(std::vector<Factor> factors, size_t i, size_t j) {
  Factor &into = factors[i], &from = factors[j];
  into.name += " + " + from.name;
  into.keys.insert(into.keys.end(), from.keys.begin(), from.keys.end());
  into.a += "; " + from.a, into.b += "; " + from.b;
  factors.erase(factors.begin() + static_cast<ptrdiff_t>(j));
  return factors;
}

/// Joins factors until no mixture contradicts itself. A and B themselves do not, so that it ends.
void join_contradicting(const Settings& a, const Settings& b, const Denoiser& denoiser, Mixtures& out) {
  for (Contradictions now; (now = count_contradictions(a, b, out.factors, denoiser)).count > 0;) {
    std::vector<Factor> best;
    size_t fewest = SIZE_MAX, size = out.factors.size();
    for (size_t i = 0; i < size; ++i)
      for (size_t j = i + 1; j < size; ++j) {
        auto joined = with_joined(out.factors, i, j);
        const size_t left = count_contradictions(a, b, joined, denoiser).count;
        if (left < fewest) fewest = left, best = std::move(joined);
      }
    for (const auto& factor : best)
      if (std::none_of(out.factors.begin(), out.factors.end(), [&](const auto& before) { return before.name == factor.name; }))
        out.notes.push_back(fmt::format("'{}' is one factor: {} of {} mixtures contradict themselves otherwise ({})", factor.name, now.count, size_t{1} << size, now.first));
    out.factors = std::move(best);
  }
}

GenerationPlan resolved(const PlanRequest& request, const Denoiser& denoiser, const char* name) {
  try {
    return resolve_plan(request, denoiser);
  } catch (const UserError& error) {
    throw UserError(error.code(), fmt::format("configuration {}: {}", name, error.what()));
  }
}

}  // namespace

Mixtures mix(const PlanRequest& request_a, const PlanRequest& request_b, const Denoiser& denoiser) {
  Settings a = settings_of(resolved(request_a, denoiser, "A")), b = settings_of(resolved(request_b, denoiser, "B"));
  if (value_of(a, "max_new_tokens") != value_of(b, "max_new_tokens"))
    throw usage_error("A writes {} tokens, B {}; texts of different lengths are not comparable\ngive both the same max_new_tokens", value_of(a, "max_new_tokens"), value_of(b, "max_new_tokens"));
  Mixtures out;
  out.factors = differing_factors(a, b);
  if (!denoiser.facts().uses_level && std::erase_if(out.factors, [](const Factor& factor) { return factor.name == "level knowledge"; }) > 0) {
    a.erase("noise_level"), b.erase("noise_level");
    out.notes.emplace_back("level knowledge is left out: this denoiser does not read the noise level");
  }
  if (out.factors.empty()) throw usage_error("A and B are the same configuration once resolved; there is no difference to take apart");
  if (out.factors.size() > kMostFactors) {
    std::vector<std::string> names;
    for (const auto& factor : out.factors) names.push_back(factor.name);
    throw usage_error("A and B differ in {} ways ({}); at most {} can be told apart, since 2^n mixtures are run\nmake them agree in some, or go there in two steps", names.size(), joined(names), kMostFactors);
  }
  for (const auto& [key, value] : a)
    if (value_of(b, key) == value && key != "noise_level") out.shared.emplace_back(key, value);
  join_contradicting(a, b, denoiser, out);
  for (size_t which = 0; which < size_t{1} << out.factors.size(); ++which) out.requests.push_back(mixture(a, b, out.factors, which));
  return out;
}

}  // namespace canvaslab
