#pragma once
// The C interface's plug-ins as plug-ins of the registries. Only plugin_library.cpp includes this.
#include <string>

#include "samplers/plugin_abi.h"
#include "samplers/stop_rule.h"

namespace canvaslab {

/// Entries made from checked structs. `where` names plug-in and library in errors ("sampler 'x' of /a/b.so").
/// What a function of the library answers wrongly fails the sample: UserError with ExitCode::kSomeFailed.
SamplerRegistry::Entry sampler_entry(const CanvaslabSampler& plugin, std::vector<ParamSpec> parameters, const std::string& where);
StopRegistry::Entry stop_entry(const CanvaslabStopRule& plugin, std::vector<ParamSpec> parameters, const std::string& where);
ScheduleRegistry::Entry schedule_entry(const CanvaslabSchedule& plugin, std::vector<ParamSpec> parameters, const std::string& where);

}  // namespace canvaslab
