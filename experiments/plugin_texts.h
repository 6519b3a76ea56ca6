#pragma once
// What 'canvaslab plugin new' writes, as it stands in the tree; the build puts it into the program.

namespace canvaslab {

extern const char* const kPluginAbiText;      ///< samplers/plugin_abi.h
extern const char* const kSkeletonText;       ///< experiments/plugin/skeleton.cpp; its plug-in is called my_sampler
extern const char* const kClientText;         ///< experiments/external/canvaslab_client.py
extern const char* const kPythonSkeletonText; ///< experiments/plugin/skeleton.py

}  // namespace canvaslab
