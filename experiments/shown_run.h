#pragma once
// A sweep run as a user sees it: progress, failures, and signals that stop it between samples.
#include "eval/sweep.h"

namespace canvaslab {

enum class Showing { kText, kJson, kNothing };

/// Runs the sweep. kText: on stderr a view redrawn on a terminal, a plain line every ten seconds elsewhere; kJson: an object
/// a line on stdout, at most one a second; kNothing: failures and the end of successive halving only. SIGINT and SIGTERM let
/// the samples at hand finish; a second one leaves at once. Errors: those of run_sweep.
SweepOutcome run_shown(const PreparedSweep& sweep, SweepOptions options, Showing showing);

/// How a stopped run is told, and its exit code.
ExitCode report_interrupt(const SweepOutcome& outcome);

}  // namespace canvaslab
