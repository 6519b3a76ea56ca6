#pragma once
// eval/report_assets/ as text; CMake makes the definitions.
#include <string_view>

namespace canvaslab {

extern const std::string_view kReportScript;
extern const std::string_view kReportStyle;

}  // namespace canvaslab
