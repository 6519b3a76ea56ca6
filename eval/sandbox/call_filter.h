#pragma once
// Which system calls a sandboxed program may make.
#include <string>

namespace canvaslab {

/// Whether the program was built with libseccomp.
bool has_call_filter();

/// A seccomp filter as BPF bytes, for bubblewrap's --seccomp. An allow-list: files, memory, signals, threads, time. What is
/// not on it answers ENOSYS; sockets, new processes (unless `may_fork`), new namespaces, tracing and mounting answer EPERM.
/// Calls of another architecture (32-bit, x32) end the process.
/// Errors: usage when built without libseccomp; std::runtime_error.
/// Source: evaluation.md 2.4; the list was found by running the interpreter and its standard library.
std::string call_filter(bool may_fork);

}  // namespace canvaslab
