#pragma once
// SIGINT and SIGTERM for commands that stop at the next safe place.
#include <atomic>

namespace canvaslab {

/// From now on counts both signals; a second one ends the program at once with the exit code of an interrupt, so what is on
/// disk must be whole at any time. The count lives as long as the program.
const std::atomic<int>& count_interrupts();

}  // namespace canvaslab
