#pragma once
// Verdicts by content, so that no program is judged twice by the same tests.
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "eval/sandbox/verdict.h"

namespace canvaslab {

/// Kept in memory, and on disk in ${XDG_CACHE_HOME:-~/.cache}/canvaslab/verdicts where that can be written. Verdicts by a limit
/// stay in memory alone: on a machine that is less busy they may be others. Safe to use from several threads and programs.
class VerdictCache {
 public:
  /// `folder` empty: memory only.
  explicit VerdictCache(std::string folder = default_folder());
  static std::string default_folder();
  std::optional<ProgramVerdict> find(const std::string& key);
  void keep(const std::string& key, const ProgramVerdict& verdict);

 private:
  std::string path(const std::string& key) const;
  std::string folder_;
  std::mutex mutex_;
  std::map<std::string, ProgramVerdict> known_;
};

/// Name of a verdict: SHA-256 (hex) over what judged it, the interpreter's version, the tests and the program.
std::string verdict_key(std::string_view judge, const Isolation& isolation, std::string_view tests, std::string_view program);

}  // namespace canvaslab
