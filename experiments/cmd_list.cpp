// canvaslab list: every plug-in with its parameter table.
#include <fmt/format.h>

#include "core/denoiser.h"
#include "core/error.h"
#include "core/json.h"
#include "eval/dataset.h"
#include "eval/recipe.h"
#include "experiments/commands.h"
#include "experiments/plugins.h"
#include "samplers/length_policy.h"
#include "samplers/self_conditioning.h"
#include "samplers/stop_rule.h"

namespace canvaslab {
namespace {

OrderedJson bound(double value) {
  if (std::isinf(value)) return nullptr;
  return value;
}

OrderedJson default_value(const ParamSpec& spec) {
  if (spec.required || (spec.default_text.empty() && spec.type != ParamType::kText)) return nullptr;
  switch (spec.type) {
    case ParamType::kInteger: return parse_integer(spec.default_text, spec.name);
    case ParamType::kBoolean: return spec.default_text == "true";
    case ParamType::kReal:
    case ParamType::kSchedule: return parse_real(spec.default_text, spec.name);
    default: return spec.default_text;
  }
}

template <typename Registry>
OrderedJson describe(const Registry& registry) {
  auto out = OrderedJson::array();
  for (const auto& entry : registry.entries()) {
    auto parameters = OrderedJson::array();
    for (const auto& spec : entry.parameters)
      parameters.push_back({{"name", spec.name}, {"type", param_type_name(spec.type)}, {"default", default_value(spec)},
                            {"min", bound(spec.min)}, {"max", bound(spec.max)}, {"unit", spec.unit}, {"doc", spec.doc}});
    out.push_back({{"name", entry.name}, {"summary", entry.summary}, {"source", entry.source}, {"aliases", entry.aliases}, {"parameters", parameters}});
  }
  return out;
}

void print_text(const std::string& title, const OrderedJson& list) {
  fmt::print("{}\n", title);
  for (const auto& entry : list) {
    fmt::print("  {:<22} {}\n", entry["name"].get<std::string>(), entry["summary"].get<std::string>());
    for (const auto& p : entry["parameters"]) {
      std::string range;
      if (!p["min"].is_null() || !p["max"].is_null())
        range = fmt::format(" [{}, {}]", p["min"].is_null() ? "-inf" : format_real(p["min"].get<double>()), p["max"].is_null() ? "inf" : format_real(p["max"].get<double>()));
      fmt::print("      {} = {}  ({}{}{}{}) {}\n", p["name"].get<std::string>(), p["default"].is_null() ? "required" : json_text(p["default"]), p["type"].get<std::string>(), range,
                 p["unit"].get<std::string>().empty() ? "" : ", ", p["unit"].get<std::string>(), p["doc"].get<std::string>());
    }
  }
}

}  // namespace

void add_list(CommandLine& line) {
  const Command command = line.command("list", "what there is: samplers, schedules, stop rules, denoisers, data sets, with their parameters");
  auto* kind = new std::string;  // lives as long as the program, as CLI11 keeps a pointer to it
  auto* json = new bool(false);
  command.option("kind", *kind, "samplers, schedules, stop_rules, length_policies, self_conditioning, denoisers, datasets or recipes (default: all)");
  command.flag("--json", *json, "one JSON object");
  auto* plugins = new std::vector<std::string>;
  add_plugin_option(command, *plugins);
  command.action([=] {
    load_plugins(*plugins);
    OrderedJson all = {{"samplers", describe(samplers())}, {"schedules", describe(schedules())}, {"stop_rules", describe(stop_rules())}, {"length_policies", describe(length_policies())}, {"self_conditioning", describe(self_conditionings())},
                                  {"denoisers", describe(denoisers())}, {"datasets", describe(datasets())}, {"recipes", describe(recipes())}};
    if (!kind->empty()) {
      const std::string wanted = canonical_name(*kind);
      std::vector<std::string> names;
      for (const auto& [name, value] : all.items()) names.push_back(name);
      if (!all.contains(wanted)) throw usage_error("there is no list of '{}'{}\nknown: {}", *kind, did_you_mean(*kind, names), fmt::join(names, ", "));
      all = {{wanted, all[wanted]}};
    }
    if (*json) {
      fmt::print("{}\n", json_text(all, 2));
      return;
    }
    for (const auto& [name, list] : all.items()) print_text(name, list);
  });
}

}  // namespace canvaslab
