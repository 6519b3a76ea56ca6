#include "samplers/length_policy.h"

#include <algorithm>
#include <cmath>

namespace canvaslab {
namespace {

constexpr double kLongest = 1 << 20;

/// A bare number is fixed(number).
PluginExpr as_policy(const std::string& text) {
  PluginExpr expr = parse_plugin(text);
  if (expr.has_parentheses || expr.name.empty() || expr.name.find_first_not_of("0123456789+-.") != std::string::npos) return expr;
  PluginExpr fixed;
  fixed.name = "fixed";
  fixed.has_parentheses = true;
  fixed.arguments.push_back({"length", std::make_shared<PluginExpr>(expr)});
  return fixed;
}

}  // namespace

LengthRegistry& length_policies() {
  static LengthRegistry registry("canvas length policy");
  return registry;
}

ConfiguredLength configure_length(const std::string& text) {
  const Options options = length_policies().resolve(as_policy(text));
  ConfiguredLength out{.canonical = options.canonical(), .policy = length_policies().find(options.plugin).make(options)};
  if (!out.adaptive()) out.canonical = std::to_string(out.policy->longest());
  return out;
}

std::vector<ParamSpec> length_bounds(int64_t shortest, int64_t longest) {
  return {int_param("shortest", shortest, 1, kLongest, "tokens", "no canvas is shorter, but for the last one"), int_param("longest", longest, 1, kLongest, "tokens", "no canvas is longer")};
}

LengthBounds::LengthBounds(const Options& options) : shortest(static_cast<int32_t>(options.integer("shortest"))), longest(static_cast<int32_t>(options.integer("longest"))) {
  if (longest < shortest) throw usage_error("canvas length policy '{}': longest ({}) is below shortest ({}); expected longest >= shortest", options.plugin, longest, shortest);
}

int32_t LengthBounds::clamp(double length) const { return static_cast<int32_t>(std::clamp(std::round(length), static_cast<double>(shortest), static_cast<double>(longest))); }

}  // namespace canvaslab
