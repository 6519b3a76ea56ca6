#include "experiments/interrupts.h"

#include <csignal>
#include <cstdlib>

#include "core/error.h"

namespace canvaslab {
namespace {

std::atomic<int> interrupts{0};

void on_signal(int) {
  if (interrupts.fetch_add(1) > 0) std::_Exit(static_cast<int>(ExitCode::kInterrupted));
}

}  // namespace

const std::atomic<int>& count_interrupts() {
  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);
  return interrupts;
}

}  // namespace canvaslab
