#pragma once
// Work that a few threads do while others go on, with a bound on how much waits.
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace canvaslab {

/// Pieces are begun in the order given. A piece must not throw.
class WorkQueue {
 public:
  /// At most `most_waiting` pieces wait; whoever brings more waits himself.
  WorkQueue(size_t num_threads, size_t most_waiting);
  /// As finish().
  ~WorkQueue();
  WorkQueue(const WorkQueue&) = delete;
  WorkQueue& operator=(const WorkQueue&) = delete;

  void add(std::function<void()> piece);
  /// Forgets what has not begun.
  void drop_waiting();
  /// Waits until all is done and ends the threads; nothing may be added any more.
  void finish();

 private:
  void work();
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> waiting_;
  size_t most_waiting_;
  bool finishing_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace canvaslab
