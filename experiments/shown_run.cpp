#include "experiments/shown_run.h"

#include <chrono>
#include <cstdio>
#include <fmt/format.h>

#include "core/error.h"
#include "eval/halving.h"
#include "eval/sweep_view.h"
#include "experiments/interrupts.h"
#include "experiments/terminal.h"

namespace canvaslab {
namespace {

class ProgressPrinter {
 public:
  ProgressPrinter(bool quiet, bool json, std::vector<std::string> labels) : live_(!quiet && !json && redraws(2)), quiet_(quiet), json_(json), labels_(std::move(labels)) {}
  void show(const ProgressMeter& meter) {
    const auto now = Clock::now();
    if (quiet_ || (now < due_ && !meter.finished())) return;
    if (live_) region_.draw(sweep_lines(meter, labels_, terminal_size()));
    else fmt::print(json_ ? stdout : stderr, "{}\n", json_ ? meter.json() : meter.text());
    std::fflush(json_ ? stdout : stderr);
    due_ = now + (live_ ? std::max<Clock::duration>(std::chrono::milliseconds(250), 100 * (Clock::now() - now))  // drawing takes a hundredth of the time at most
                        : std::chrono::seconds(json_ ? 1 : 10));
  }
  /// Makes room for other text: the view comes back below it.
  void step_aside() { region_.clear(); }
  /// Leaves the last state standing.
  void finish() { region_.keep(); }

 private:
  using Clock = std::chrono::steady_clock;
  bool live_, quiet_, json_;
  std::vector<std::string> labels_;
  LiveRegion region_;
  Clock::time_point due_ = Clock::now() + (live_ ? Clock::duration::zero() : json_ ? std::chrono::seconds(1) : std::chrono::seconds(10));
};

}  // namespace

SweepOutcome run_shown(const PreparedSweep& sweep, SweepOptions options, Showing showing) {
  const bool quiet = showing == Showing::kNothing, json = showing == Showing::kJson;
  options.interrupt = &count_interrupts();
  if (!quiet && sweep.plan.halving)
    fmt::print(stderr, "{}: {} candidates, halving on {} items -> {}\n", sweep.plan.name, sweep.num_candidates, fmt::join(sweep.plan.halving->round_items, ", "), options.out_dir);
  else if (!quiet)
    fmt::print(stderr, "{}: {} configurations x {} items x {} repeats = {} samples -> {}\n", sweep.plan.name, sweep.plan.configs.size(), sweep.examples.size(),
               sweep.plan.total_repeats(), sweep.num_samples(), options.out_dir);
  ProgressPrinter progress(quiet, json, short_labels(sweep.settings_text));
  options.on_decision = [&](const HalvingRecord& record) {
    if (quiet && !(record.confirmation && record.confirmation->decided)) return;
    progress.step_aside();
    fmt::print(stderr, "{}", halving_text(record, sweep));
  };
  size_t failures = 0;
  options.on_progress = [&](const ProgressMeter& meter) { progress.show(meter); };
  options.on_failure = [&](const std::string& what) {
    if (++failures > 3) return;  // the first few tell; the count comes at the end
    progress.step_aside();
    fmt::print(stderr, "sample failed: {}\n", what);
  };
  const SweepOutcome outcome = run_sweep(sweep, options);
  progress.finish();
  return outcome;
}

ExitCode report_interrupt(const SweepOutcome& outcome) {
  fmt::print(stderr, "interrupted: {} of {} samples are done and kept; start the same command again to go on\n", outcome.already_done + outcome.ran - outcome.failed, outcome.total);
  return ExitCode::kInterrupted;
}

}  // namespace canvaslab
