#include "eval/sandbox/contest.h"

#include <cmath>

#include "core/error.h"
#include "core/json.h"
#include "eval/grading/contest.h"
#include "eval/grading/scan.h"
#include "eval/sandbox/message.h"
#include "eval/sandbox/shim_job.h"

namespace canvaslab {
namespace {

constexpr int64_t kScratchBytes = int64_t{64} << 20;

ProgramVerdict failed(ProgramEnd end, std::string detail) { return {.end = end, .detail = std::move(detail), .limit = ""}; }

/// The text of a member's value as it stands in a message {"key": VALUE}: parsed here it would lose large numbers.
std::string value_text(const std::string& message, std::string_view key) {
  const std::string begin = fmt::format("{{\"{}\": ", key);
  return message.starts_with(begin) && message.ends_with('}') ? message.substr(begin.size(), message.size() - begin.size() - 1) : "";
}

/// What a program's answer to one test comes to; passed, or why not.
ProgramVerdict answer_verdict(const std::string& message, const TestCase& test, bool calls_function) {
  const std::string value = calls_function ? value_text(message, "value") : "";
  if (!value.empty()) {
    const auto wanted = grading::canonical_value(test.output), got = grading::canonical_value(value);
    if (!wanted) throw input_error("a test's expected output is no JSON value");
    return failed(got == wanted ? ProgramEnd::kPassed : ProgramEnd::kWrongAnswer, "");
  }
  const Message said(message);
  if (said.has("error")) {
    const bool late = said.is_true("timeout");
    ProgramVerdict out = failed(late ? ProgramEnd::kTimeLimit : ProgramEnd::kRuntimeError, said.text("error"));
    if (late) out.limit = "alarm";
    return out;
  }
  if (said.has("output") && !calls_function) return failed(grading::same_output(said.text("output"), test.output) ? ProgramEnd::kPassed : ProgramEnd::kWrongAnswer, "");
  return failed(ProgramEnd::kWrongAnswer, said.text("strange"));
}

/// A test of a function: the input's lines are its arguments.
std::string call_message(const std::string& function, const std::string& input) {
  std::string arguments;
  for (const std::string_view line : grading::split(input, "\n")) {
    if (!Json::accept(line)) throw input_error("a test's input is no JSON value");
    arguments.append(arguments.empty() ? "" : ", ").append(line);
  }
  return fmt::format("{{\"call\": {}, \"arguments\": [{}]}}", json_text(Json(function)), arguments);
}

ProgramVerdict with_times(ProgramVerdict verdict, const SandboxOutcome& outcome) {
  verdict.cpu_seconds = outcome.cpu_seconds, verdict.wall_seconds = outcome.wall_seconds;
  return verdict;
}

// --- compat

ProgramVerdict judge_compat(const std::shared_ptr<const Isolation>& isolation, const std::string& program, const ProgramTests& tests, const ContestLimits& limits) {
  const int timeout = static_cast<int>(std::ceil(limits.timeout_seconds));  // an alarm's seconds are whole
  const double budget = (timeout + 1.0) * static_cast<double>(tests.cases.size()) + 5;
  SandboxJob job = shim_job(sandbox_text::kContest, budget, budget, limits.memory_bytes);
  job.limits.scratch_bytes = kScratchBytes;
  SandboxedProgram process(isolation, job);
  const auto ready = process.exchange(json_text(Json{{"source", program}, {"timeout", timeout}, {"function", tests.function}}), kStartSeconds + timeout);
  if (!ready) return verdict_of_end(process.finish());
  if (!Message(*ready).has("ready")) return with_times(answer_verdict(*ready, {}, false), process.stop());
  ProgramVerdict out = failed(ProgramEnd::kPassed, "");
  for (const TestCase& test : tests.cases) {
    // A program may swallow the alarm; then the clock ends it.
    const auto answer = process.exchange(json_text(Json{{"input", test.input}}), 3.0 * timeout);
    const size_t passed = out.num_passed;
    out = answer ? answer_verdict(*answer, test, !tests.function.empty()) : verdict_of_end(process.finish());
    out.num_passed = passed + out.passed();
    if (!out.passed()) break;
  }
  return with_times(std::move(out), process.stop());
}

// --- strict

ProgramVerdict run_reader(const std::shared_ptr<const Isolation>& isolation, const std::string& program, const TestCase& test, const ContestLimits& limits) {
  SandboxJob job = shim_job(sandbox_text::kProgram, limits.timeout_seconds, 3 * limits.timeout_seconds, limits.memory_bytes);
  job.files.push_back({"/box/program.py", program});
  job.input = test.input;
  SandboxedProgram process(isolation, job);
  if (process.receive(kStartSeconds)) process.allow(3 * limits.timeout_seconds);
  const SandboxOutcome& outcome = process.finish();
  if (outcome.end != SandboxEnd::kExited || outcome.code != 0) return verdict_of_end(outcome);
  return with_times(failed(grading::same_output(outcome.out, test.output) ? ProgramEnd::kPassed : ProgramEnd::kWrongAnswer, ""), outcome);
}

ProgramVerdict run_function(const std::shared_ptr<const Isolation>& isolation, const std::string& program, const std::string& function, const TestCase& test, const ContestLimits& limits) {
  SandboxedProgram process(isolation, shim_job(sandbox_text::kPlayer, limits.timeout_seconds, 3 * limits.timeout_seconds, limits.memory_bytes));
  const auto ready = process.exchange(json_text(Json{{"source", program}, {"contest", true}}), kStartSeconds + 3 * limits.timeout_seconds);
  if (!ready) return verdict_of_end(process.finish());
  if (!Message(*ready).has("ready")) return with_times(answer_verdict(*ready, {}, false), process.stop());
  const auto answer = process.exchange(call_message(function, test.input), 3 * limits.timeout_seconds);
  if (!answer) return verdict_of_end(process.finish());
  return with_times(answer_verdict(*answer, test, true), process.stop());
}

ProgramVerdict judge_strict(const std::shared_ptr<const Isolation>& isolation, const std::string& program, const ProgramTests& tests, const ContestLimits& limits) {
  ProgramVerdict sum = failed(ProgramEnd::kPassed, "");
  for (const TestCase& test : tests.cases) {
    ProgramVerdict one = tests.function.empty() ? run_reader(isolation, program, test, limits) : run_function(isolation, program, tests.function, test, limits);
    one.cpu_seconds += sum.cpu_seconds, one.wall_seconds += sum.wall_seconds, one.num_passed = sum.num_passed + one.passed();
    sum = std::move(one);
    if (!sum.passed()) break;
  }
  return sum;
}

}  // namespace

std::string_view contest_grader_name(ContestGrader grader) { return grader == ContestGrader::kCompat ? "lcb_compat" : "strict"; }

ProgramVerdict judge_contest(const std::shared_ptr<const Isolation>& isolation, const std::string& program, const ProgramTests& tests, ContestGrader grader, const ContestLimits& limits) {
  if (tests.cases.empty()) throw input_error("an item without test cases: published code would score it as passed");
  return grader == ContestGrader::kCompat ? judge_compat(isolation, program, tests, limits) : judge_strict(isolation, program, tests, limits);
}

}  // namespace canvaslab
