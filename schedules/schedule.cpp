#include "schedules/schedule.h"

#include <cctype>

namespace canvaslab {
namespace {

bool is_number(const PluginExpr& expr) {
  if (expr.has_parentheses || expr.name.empty()) return false;
  const char c = expr.name[0];
  return std::isdigit(static_cast<unsigned char>(c)) || c == '+' || c == '-' || c == '.' || expr.name == "inf";
}

PluginExpr as_plugin(const PluginExpr& expr) {
  if (!is_number(expr)) return expr;
  PluginExpr constant;
  constant.name = "constant";
  constant.has_parentheses = true;
  constant.arguments.push_back({"", std::make_shared<PluginExpr>(expr)});
  return constant;
}

}  // namespace

ScheduleRegistry& schedules() {
  static ScheduleRegistry registry("schedule");
  return registry;
}

std::unique_ptr<Schedule> make_schedule(const PluginExpr& expr) { return schedules().make(as_plugin(expr)); }

std::string canonical_schedule(const PluginExpr& expr) { return schedules().resolve(as_plugin(expr)).canonical(); }

void check_schedule_range(const Schedule& schedule, const ParamSpec& spec, const std::string& where) {
  const auto [low, high] = schedule.range();
  if (low < spec.min || high > spec.max || (spec.above_min && low == spec.min))
    throw usage_error("{}: the schedule runs over [{}, {}], allowed is {}{}, {}] {}", where, format_real(low), format_real(high),
                      spec.above_min ? "(" : "[", format_real(spec.min), format_real(spec.max), spec.unit);
}

std::vector<ParamSpec> ends_params(double from, double to) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  return {real_param("from", from, -kInfinity, kInfinity, "", "value at the first step"),
          real_param("to", to, -kInfinity, kInfinity, "", "value at the end of the ramp")};
}

}  // namespace canvaslab
