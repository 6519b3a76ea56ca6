// canvaslab check: the contract tests on a plug-in library, or on any plug-in expression.
#include <filesystem>
#include <fmt/format.h>

#include "core/denoiser.h"
#include "core/error.h"
#include "experiments/commands.h"
#include "experiments/isolated.h"
#include "experiments/plugins.h"
#include "samplers/contract.h"
#include "samplers/plugin_library.h"

namespace canvaslab {
namespace {

struct Arguments {
  std::string target, kind;
  std::vector<std::string> plugins;
  int32_t timeout_s = 60;
};

struct Kind {
  const char* name;
  bool (*contains)(const std::string&);
  std::vector<contract::Clause> (*clauses)(const std::string&);
};
const Kind kKinds[] = {{"sampler", [](const std::string& name) { return samplers().contains(name); }, contract::sampler_clauses},
                       {"stop_rule", [](const std::string& name) { return stop_rules().contains(name); }, contract::stop_clauses},
                       {"schedule", [](const std::string& name) { return schedules().contains(name); }, contract::schedule_clauses},
                       {"denoiser", [](const std::string& name) { return denoisers().contains(name); }, contract::denoiser_clauses}};

const Kind& kind_of(const std::string& text, const std::string& wanted) {
  const std::string name = parse_plugin(text).name;
  std::vector<std::string> known, fitting;
  const Kind* found = nullptr;
  for (const auto& kind : kKinds) {
    known.push_back(kind.name);
    if (wanted.empty() ? !kind.contains(name) : canonical_name(wanted) != kind.name) continue;
    fitting.push_back(kind.name);
    found = &kind;
  }
  if (!wanted.empty() && !found) throw usage_error("--kind {}{}\nexpected one of: {}", wanted, did_you_mean(wanted, known), joined(known));
  if (!found) throw usage_error("there is no plug-in '{}', and no file of that name; expected a library (foo.so) or an expression; see canvaslab list", name);
  if (fitting.size() > 1) throw usage_error("'{}' names a {}; say which with --kind", name, fmt::join(fitting, " and a "));
  return *found;
}

/// Prints a verdict a clause; returns how many failed. What runs in a library runs apart: it may crash or hang.
int check_one(const Kind& kind, const std::string& text, bool apart, int timeout_s) {
  fmt::print("{} {}\n", kind.name, text);
  int failed = 0;
  for (const auto& clause : kind.clauses(text)) {
    if (!clause.left_out.empty()) {
      fmt::print("  --    {}: {}\n", clause.name, clause.left_out);
      continue;
    }
    const std::string complaint = apart ? isolated([&] { return clause.complaint(); }, timeout_s) : clause.complaint();
    failed += !complaint.empty();
    if (complaint.empty()) fmt::print("  pass  {}\n", clause.name);
    else fmt::print("  FAIL  {}\n        {}\n", clause.name, complaint);
  }
  return failed;
}

ExitCode run(const Arguments& a) {
  load_plugins(a.plugins);
  int failed = 0;
  std::error_code ignored;
  if (std::filesystem::exists(a.target, ignored) || a.target.ends_with(".so")) {
    const PluginLibrary& library = load_plugin_library(a.target);
    fmt::print("{}\nsha256 {}\n", library.path, library.sha256);
    for (const auto& name : library.samplers) failed += check_one(kKinds[0], name, true, a.timeout_s);
    for (const auto& name : library.stop_rules) failed += check_one(kKinds[1], name, true, a.timeout_s);
    for (const auto& name : library.schedules) failed += check_one(kKinds[2], name, true, a.timeout_s);
  } else {
    failed = check_one(kind_of(a.target, a.kind), a.target, !a.plugins.empty(), a.timeout_s);
  }
  if (failed) fmt::print("{} clause{} of the contract broken\n", failed, failed > 1 ? "s" : "");
  else fmt::print("the contract is kept\n");
  return failed ? ExitCode::kSomeFailed : ExitCode::kDone;
}

}  // namespace

void add_check(CommandLine& line) {
  const Command command = line.command("check", "run the contract on a plug-in library or on a plug-in expression");
  auto* a = new Arguments;
  command.option("target", a->target, "foo.so, or an expression such as 'quota(score=margin)'").required();
  command.option("--kind", a->kind, "sampler, stop_rule, schedule or denoiser, where a name stands for several");
  add_plugin_option(command, a->plugins);
  command.option("--timeout", a->timeout_s, "seconds for one clause, of plug-ins in libraries").positive().shows_default();
  command.footer("Examples:\n  canvaslab check foo/foo.so\n  canvaslab check 'foo(share=0.2)' --plugin foo/foo.so\n"
                 "  canvaslab check --kind sampler 'external(command=\"python3 my_sampler.py\")'\n"
                 "Exit code 4 when a clause is broken.");
  command.action([=] { return run(*a); });
}

}  // namespace canvaslab
