#include "samplers/plugin_library.h"

#include <dlfcn.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <list>
#include <set>

#include "core/digest.h"
#include "samplers/foreign_code.h"
#include "samplers/plugin_adapters.h"

namespace canvaslab {
namespace {

constexpr const char* kRebuild = "build the library with this program's plugin_abi.h ('canvaslab plugin new' writes a copy)";

/// A struct of the library, when it is one that this program knows.
template <typename Struct>
const Struct& checked(const Struct* given, const char* name, const std::string& where) {
  if (!given) throw input_error("{}: a pointer to {} is null", where, name);
  if (given->size != sizeof(Struct))
    throw input_error("{}: its {} has {} bytes, this program knows {} of {}\n{}", where, name, given->size, name, sizeof(Struct), kRebuild);
  return *given;
}

std::string text_of(const char* text, const char* field, const std::string& where) {
  if (!text || !*text) throw input_error("{}: {} is missing", where, field);
  return text;
}

ParamSpec parameter_of(const CanvaslabParameter& given, bool schedules_allowed, const std::string& where) {
  const std::string name = text_of(given.name, "the name of a parameter", where), at = fmt::format("{}, parameter '{}'", where, name);
  if (name != canonical_name(name)) throw input_error("{}: write it '{}'", at, canonical_name(name));
  const std::string doc = text_of(given.doc, "the description", at);
  if (given.type > CANVASLAB_SCHEDULE) throw input_error("{}: type {} is unknown", at, given.type);
  if (given.type == CANVASLAB_SCHEDULE && !schedules_allowed) throw input_error("{}: only samplers have parameters that may be schedules", at);
  static constexpr ParamType kTypes[] = {ParamType::kReal, ParamType::kInteger, ParamType::kBoolean, ParamType::kText, ParamType::kSchedule};
  ParamSpec spec = text_param(name, given.default_text ? given.default_text : "", doc);
  spec.type = kTypes[given.type];
  spec.required = given.default_text == nullptr;
  spec.unit = given.unit ? given.unit : "";
  if (spec.type == ParamType::kText)
    for (const char* const* choice = given.choices; choice && *choice; ++choice) spec.choices.push_back(*choice);
  if (spec.type != ParamType::kText && spec.type != ParamType::kBoolean) {
    if (!(given.min <= given.max)) throw input_error("{}: [{}, {}] holds no number", at, given.min, given.max);
    spec.min = given.min, spec.max = given.max;
  }
  return spec;
}

/// The table of a plug-in; its defaults pass their own checks.
template <typename Plugin>
std::vector<ParamSpec> table_of(const Plugin& plugin, bool schedules_allowed, const std::string& kind, const std::string& where) {
  std::vector<ParamSpec> table;
  std::set<std::string> names;
  if (plugin.num_parameters > 0 && !plugin.parameters) throw input_error("{}: its {} parameters are a null pointer", where, plugin.num_parameters);
  for (uint32_t i = 0; i < plugin.num_parameters; ++i) {
    table.push_back(parameter_of(checked(plugin.parameters[i], "CanvaslabParameter", where), schedules_allowed, where));
    if (!names.insert(table.back().name).second) throw input_error("{}: parameter '{}' is there twice", where, table.back().name);
  }
  std::vector<ParamSpec> with_default;
  for (const auto& spec : table)
    if (!spec.required) with_default.push_back(spec);
  try {
    resolve_options(kind, plugin.name, with_default, {});
  } catch (const UserError& error) {
    throw input_error("{}: a default is refused: {}", where, error.what());
  }
  return table;
}

/// Checks one kind of plug-in and collects entries for its registry.
template <typename AnyRegistry, typename Plugin, typename MakeEntry>
std::vector<typename AnyRegistry::Entry> entries_of(const AnyRegistry& registry, const Plugin* const* plugins, uint32_t count, const char* struct_name,
                                                    const std::string& path, MakeEntry make_entry) {
  std::vector<typename AnyRegistry::Entry> out;
  std::set<std::string> names;
  if (count > 0 && !plugins) throw input_error("{}: its {} {}s are a null pointer", path, count, registry.kind());
  for (uint32_t i = 0; i < count; ++i) {
    const Plugin& plugin = checked(plugins[i], struct_name, path);
    const std::string name = text_of(plugin.name, "the name of a plug-in", path);
    const std::string where = fmt::format("{} '{}' of {}", registry.kind(), name, path);
    if (name != canonical_name(name)) throw input_error("{}: write the name '{}'", where, canonical_name(name));
    if (parse_plugin(name).has_parentheses || parse_plugin(name).text() != name) throw input_error("{}: the name is no word", where);
    text_of(plugin.summary, "the summary", where), text_of(plugin.source, "the source", where);
    if (registry.contains(name) || !names.insert(name).second) throw usage_error("{}: there is a {} '{}' already; give yours another name", path, registry.kind(), name);
    out.push_back(make_entry(plugin, where));
  }
  return out;
}

void check_sampler(const CanvaslabSampler& plugin, const std::string& where) {
  if (!plugin.step) throw input_error("{}: the function 'step' is missing", where);
  if (plugin.statistics & ~StatisticSet::all().bits()) throw input_error("{}: statistics {} hold bits that this program does not know\n{}", where, plugin.statistics, kRebuild);
  if (plugin.facts >= 2 * CANVASLAB_UNIFORM_ONLY) throw input_error("{}: facts {} hold bits that this program does not know\n{}", where, plugin.facts, kRebuild);
  if (plugin.min_accepted < 0) throw input_error("{}: min_accepted is {}", where, plugin.min_accepted);
  const std::string emission = plugin.default_emission ? plugin.default_emission : "argmax";
  if (emission != "argmax" && emission != "canvas") throw input_error("{}: default_emission '{}' is neither argmax nor canvas", where, emission);
}

/// What a library holds, checked, before anything is registered.
struct Contents {
  std::vector<SamplerRegistry::Entry> samplers;
  std::vector<StopRegistry::Entry> stop_rules;
  std::vector<ScheduleRegistry::Entry> schedules;
};

Contents read_contents(const CanvaslabPlugin& plugin, const std::string& path) {
  Contents out;
  out.samplers = entries_of(samplers(), plugin.samplers, plugin.num_samplers, "CanvaslabSampler", path, [](const CanvaslabSampler& sampler, const std::string& where) {
    check_sampler(sampler, where);
    return sampler_entry(sampler, table_of(sampler, true, "sampler", where), where);
  });
  out.stop_rules = entries_of(stop_rules(), plugin.stop_rules, plugin.num_stop_rules, "CanvaslabStopRule", path, [](const CanvaslabStopRule& rule, const std::string& where) {
    if (!rule.check) throw input_error("{}: the function 'check' is missing", where);
    if (rule.statistics & ~StatisticSet::all().bits()) throw input_error("{}: statistics {} hold bits that this program does not know\n{}", where, rule.statistics, kRebuild);
    return stop_entry(rule, table_of(rule, false, "stop rule", where), where);
  });
  out.schedules = entries_of(schedules(), plugin.schedules, plugin.num_schedules, "CanvaslabSchedule", path, [](const CanvaslabSchedule& schedule, const std::string& where) {
    if (!schedule.value || !schedule.range) throw input_error("{}: the functions 'value' and 'range' are needed", where);
    return schedule_entry(schedule, table_of(schedule, false, "schedule", where), where);
  });
  if (out.samplers.empty() && out.stop_rules.empty() && out.schedules.empty()) throw input_error("{}: the library holds no plug-in", path);
  return out;
}

template <typename AnyRegistry>
std::vector<std::string> add_all(AnyRegistry& registry, std::vector<typename AnyRegistry::Entry> entries, const std::string& hash) {
  std::vector<std::string> names;
  for (auto& entry : entries) {
    names.push_back(entry.name);
    add_foreign_code(entry.name, [hash](const PluginExpr&) { return "sha256:" + hash; });
    registry.add(std::move(entry));
  }
  return names;
}

std::string file_hash(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(in)), {});
  if (!in || bytes.empty()) throw input_error("{}: cannot be read as a plug-in library", path);
  return hex(sha256(bytes));
}

const CanvaslabPlugin& open_library(const std::string& path) {
  void* library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);  // never closed: what it returns stays valid
  if (!library) throw input_error("{}: cannot be loaded: {}\nexpected a shared object as the build.sh of 'canvaslab plugin new' makes it", path, ::dlerror());
  const auto entry = reinterpret_cast<const CanvaslabPlugin* (*)()>(::dlsym(library, "canvaslab_plugin"));
  if (!entry) throw input_error("{}: exports no function 'canvaslab_plugin'; in C++ it must be declared extern \"C\"", path);
  const CanvaslabPlugin* plugin = entry();
  if (!plugin) throw input_error("{}: canvaslab_plugin() returns null", path);
  if (plugin->abi_version != CANVASLAB_ABI_VERSION)
    throw input_error("{}: is built for version {} of the plug-in interface, this program has version {}\n{}", path, plugin->abi_version, CANVASLAB_ABI_VERSION, kRebuild);
  return checked(plugin, "CanvaslabPlugin", path);
}

}  // namespace

const PluginLibrary& load_plugin_library(const std::string& path) {
  static std::list<PluginLibrary> loaded;
  std::error_code missing;
  const std::string full = std::filesystem::canonical(path, missing).string();
  if (missing || std::filesystem::is_directory(full)) throw input_error("{}: {}; expected a plug-in library such as foo.so", path, missing ? "no such file" : "is a folder");
  for (const auto& library : loaded)
    if (library.path == full) return library;
  PluginLibrary out{.path = full, .sha256 = file_hash(full), .samplers = {}, .stop_rules = {}, .schedules = {}};
  Contents contents = read_contents(open_library(full), path);
  out.samplers = add_all(samplers(), std::move(contents.samplers), out.sha256);
  out.stop_rules = add_all(stop_rules(), std::move(contents.stop_rules), out.sha256);
  out.schedules = add_all(schedules(), std::move(contents.schedules), out.sha256);
  return loaded.emplace_back(std::move(out));
}

}  // namespace canvaslab
