#pragma once
// A sweep of half a second that records everything, and its program started without waiting.
#include <fcntl.h>
#include <unistd.h>

#include <string>

namespace canvaslab::testing {

inline constexpr const char* kSmallPlan = R"toml([run]
name = "small"
record = "positions"
[denoiser]
model = "hmm(states=4, alphabet=6)"
[dataset]
name = "source(items=40)"
[grid]
sampler = ["entropy_bound(0.1)", "fixed_step", "ddim"]
steps = [2, 4]
canvas_length = [6, 8]
)toml";
inline constexpr size_t kSmallSamples = 560;  // (12 configurations + 2 controls) x 40

/// Starts `canvaslab sweep PLAN --out RUN` with two threads, silently. The child is the caller's alone, who reaps it.
inline pid_t start_sweep(const std::string& plan, const std::string& run, const std::string& dataset = "source(items=40)") {
  const pid_t child = ::fork();
  if (child == 0) {
    const int null = ::open("/dev/null", O_RDWR);
    ::dup2(null, 1), ::dup2(null, 2);
    ::execl(CANVASLAB_PROGRAM, "canvaslab", "sweep", plan.c_str(), "--threads", "2", "--out", run.c_str(), "--set", ("dataset.name=" + dataset).c_str(), nullptr);
    ::_exit(127);
  }
  return child;
}

}  // namespace canvaslab::testing
