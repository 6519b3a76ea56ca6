#include "eval/sandbox/verdict_cache.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "core/digest.h"
#include "core/json.h"

namespace canvaslab {
namespace {

/// Raised when a change of what runs inside the sandbox, or of the judges, alters verdicts.
constexpr int kSandboxVersion = 2;

std::optional<ProgramVerdict> read_verdict(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  const Json json = parse_json(text.str());
  if (!in || !json.is_object()) return std::nullopt;
  for (const auto& [key, value] : json.items())  // damaged by a hand or a disk: judged again
    if (key == "end" || key == "detail" ? !value.is_string() : !value.is_number()) return std::nullopt;
  const auto names = program_end_names();
  const auto end = std::find(names.begin(), names.end(), json.value("end", ""));
  if (end == names.end()) return std::nullopt;
  return ProgramVerdict{.end = static_cast<ProgramEnd>(end - names.begin()), .num_passed = json.value("num_passed", size_t{0}), .detail = json.value("detail", ""),
                        .cpu_seconds = json.value("cpu_seconds", 0.0), .wall_seconds = json.value("wall_seconds", 0.0), .limit = ""};
}

/// Whole or absent. What cannot be written is judged again: that is no error.
void write_verdict(const std::string& path, const ProgramVerdict& verdict) {
  std::error_code ignored;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), ignored);
  const std::string temporary = fmt::format("{}.{}.tmp", path, ::getpid());
  std::ofstream out(temporary, std::ios::binary);
  out << json_text(Json{{"end", program_end_name(verdict.end)}, {"num_passed", verdict.num_passed}, {"detail", verdict.detail}, {"cpu_seconds", verdict.cpu_seconds},
                        {"wall_seconds", verdict.wall_seconds}});
  out.close();
  if (out) std::filesystem::rename(temporary, path, ignored);
  else std::filesystem::remove(temporary, ignored);
}

}  // namespace

VerdictCache::VerdictCache(std::string folder) : folder_(std::move(folder)) {}

std::string VerdictCache::default_folder() {
  const char *cache = std::getenv("XDG_CACHE_HOME"), *home = std::getenv("HOME");
  if (cache && *cache) return std::string(cache) + "/canvaslab/verdicts";
  return home && *home ? std::string(home) + "/.cache/canvaslab/verdicts" : "";
}

std::string VerdictCache::path(const std::string& key) const { return fmt::format("{}/{}/{}.json", folder_, key.substr(0, 2), key); }

std::optional<ProgramVerdict> VerdictCache::find(const std::string& key) {
  const std::lock_guard lock(mutex_);
  if (const auto at = known_.find(key); at != known_.end()) return at->second;
  if (folder_.empty()) return std::nullopt;
  auto out = read_verdict(path(key));
  if (out) known_.emplace(key, *out);
  return out;
}

void VerdictCache::keep(const std::string& key, const ProgramVerdict& verdict) {
  const std::lock_guard lock(mutex_);
  if (known_.insert_or_assign(key, verdict).second && !folder_.empty() && verdict.limit.empty()) write_verdict(path(key), verdict);
}

std::string verdict_key(std::string_view judge, const Isolation& isolation, std::string_view tests, std::string_view program) {
  // What control groups hold back decides how much memory a single process gets and whether /tmp can be written.
  return hex(sha256(fmt::format("canvaslab verdict {}\n{}\npython {}\ngroups {:d}{:d}\n{} {}\n{}", kSandboxVersion, judge, isolation.interpreter.version, isolation.limits_memory_of_all,
                                isolation.limits_tasks_of_all, tests.size(), tests, program)));
}

}  // namespace canvaslab
