#include "eval/sandbox/unit_tests.h"

#include <stdexcept>

#include "core/json.h"
#include "eval/sandbox/message.h"
#include "eval/sandbox/shim_job.h"

namespace canvaslab {
namespace {

SandboxJob job_of(const char* shim, const UnitTests& tests) { return shim_job(shim, tests.timeout_seconds + 1, 3 * tests.timeout_seconds, tests.memory_bytes); }

ProgramVerdict wrong(std::string why) { return {.end = ProgramEnd::kWrongAnswer, .detail = std::move(why), .limit = ""}; }

ProgramVerdict with_times(ProgramVerdict verdict, const SandboxOutcome& player, const SandboxOutcome& judge) {
  verdict.cpu_seconds = player.cpu_seconds + judge.cpu_seconds, verdict.wall_seconds = player.wall_seconds;
  return verdict;
}

}  // namespace

ProgramVerdict judge_unit_tests(const std::shared_ptr<const Isolation>& isolation, const std::string& program, const UnitTests& tests) {
  SandboxedProgram player(isolation, job_of(sandbox_text::kPlayer, tests)), judge(isolation, job_of(sandbox_text::kJudge, tests));
  const double patience = kStartSeconds + 3 * tests.timeout_seconds;
  const auto ready = player.exchange(json_text(Json{{"source", program}, {"contest", false}}), patience);
  if (!ready) return verdict_of_end(player.finish());
  if (!Message(*ready).has("ready")) {
    ProgramVerdict out{.end = ProgramEnd::kRuntimeError, .detail = Message(*ready).text("error"), .limit = ""};
    return with_times(out, player.stop(), judge.stop());
  }
  auto said = judge.exchange(json_text(Json{{"source", tests.prompt}, {"tests", tests.tests}, {"entry", tests.entry}}), patience);
  std::string error;  // of the last call
  bool answered = false;
  while (said) {
    const Message message(*said);
    if (message.has("passed")) {
      if (message.is_true("passed")) return with_times({.end = ProgramEnd::kPassed, .num_passed = 1, .detail = "", .limit = ""}, player.stop(), judge.stop());
      ProgramVerdict out = wrong(message.text("why"));
      if (!error.empty()) out = {.end = ProgramEnd::kRuntimeError, .detail = error, .limit = ""};
      return with_times(std::move(out), player.stop(), judge.stop());
    }
    const auto answer = player.exchange(*said, patience);
    if (!answer) return verdict_of_end(player.finish());
    answered = true;
    error = Message(*answer).text("error");
    said = judge.exchange(*answer, patience);
  }
  // The tests came to no end. Once the candidate has answered, that is its doing: an answer that drives them astray.
  const SandboxOutcome& outcome = judge.finish();
  if (!answered) throw std::runtime_error("the unit tests ended without a verdict: " + outcome.err.substr(0, 300));
  ProgramVerdict out = verdict_of_end(outcome);
  if (out.limit.empty()) out.end = ProgramEnd::kWrongAnswer;
  return with_times(std::move(out), player.stop(), judge.stop());
}

}  // namespace canvaslab
