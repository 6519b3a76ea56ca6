#include "samplers/foreign_code.h"

#include <fmt/format.h>
#include <map>
#include <set>

#include "core/error.h"

namespace canvaslab {
namespace {

using Describe = std::function<std::string(const PluginExpr&)>;

/// By name; a sampler and a schedule of one name may come from different libraries.
std::multimap<std::string, Describe>& describers() {
  static std::multimap<std::string, Describe> all;
  return all;
}

void collect(const PluginExpr& expr, std::set<std::string>& out) {
  const std::string name = canonical_name(expr.name);
  const auto [begin, end] = describers().equal_range(name);
  for (auto at = begin; at != end; ++at)
    if (const std::string code = at->second(expr); !code.empty()) out.insert(fmt::format("{} {}", name, code));
  for (const auto& argument : expr.arguments) collect(*argument.value, out);
}

}  // namespace

void add_foreign_code(const std::string& name, std::function<std::string(const PluginExpr&)> describe) { describers().emplace(name, std::move(describe)); }

std::string foreign_code(const std::vector<std::string>& canonical_expressions) {
  std::set<std::string> found;
  for (const auto& text : canonical_expressions)
    if (!text.empty()) collect(parse_plugin(text), found);  // an imported configuration has none
  return fmt::format("{}", fmt::join(found, ", "));
}

}  // namespace canvaslab
