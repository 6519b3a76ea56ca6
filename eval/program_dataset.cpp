#include "eval/program_dataset.h"

#include "core/error.h"

namespace canvaslab {

ProgramDataset::ProgramDataset(const Options& options, std::vector<std::string> files, std::string identity)
    : GradedDataset(options, std::move(files), std::move(identity)),
      python_(options.text("python")),
      timeout_seconds_(options.real("timeout")),
      memory_bytes_(static_cast<int64_t>(options.real("memory") * 1073741824.0)) {}

std::string ProgramDataset::cannot_score() const {
  try {
    isolation();
    return "";
  } catch (const UserError& error) {
    return error.what();
  }
}

std::string ProgramDataset::content_hash() const { return fmt::format("{} python={}", GradedDataset::content_hash(), isolation()->interpreter.version); }

Grades ProgramDataset::grade(const Example& example, std::string_view answer) const {
  Grades out = extract(example, answer);
  for (Grade* grade : {&out.house, &out.official}) {
    ProgramVerdict verdict;
    if (grade->extraction.found()) verdict = judge(example, grade->extraction.text, grade == &out.official);
    grade->score = verdict.passed() ? 1.0 : 0.0;
    grade->outcome = static_cast<double>(verdict.end);
  }
  return out;
}

ProgramVerdict ProgramDataset::cached(std::string_view judge_name, std::string_view tests, std::string_view program, const std::function<ProgramVerdict()>& judge) const {
  static VerdictCache cache;
  const std::string judged_by = fmt::format("{} timeout {} memory {}", judge_name, timeout_seconds_, memory_bytes_);
  const std::string key = verdict_key(judged_by, *isolation(), tests, program);
  if (const auto known = cache.find(key)) return *known;
  const ProgramVerdict verdict = judge();
  cache.keep(key, verdict);
  return verdict;
}

std::vector<ParamSpec> with_program_params(std::vector<ParamSpec> before, double timeout_seconds) {
  before.push_back(text_param("python", "/usr/bin/python3", "interpreter that programs run in (its version is part of the results' identity; published results used 3.11)"));
  before.push_back(real_param("timeout", timeout_seconds, 0.1, 3600, "s", "computing time of one test; by the clock three times as much"));
  before.push_back(real_param("memory", 4, 0.0625, 1024, "GiB", "memory of a program"));
  return before;
}

}  // namespace canvaslab
