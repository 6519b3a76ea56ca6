#include "eval/work_queue.h"

namespace canvaslab {

WorkQueue::WorkQueue(size_t num_threads, size_t most_waiting) : most_waiting_(most_waiting) {
  for (size_t t = 0; t < num_threads; ++t) threads_.emplace_back([this] { work(); });
}

WorkQueue::~WorkQueue() { finish(); }

void WorkQueue::add(std::function<void()> piece) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return waiting_.size() < most_waiting_; });
  waiting_.push_back(std::move(piece));
  changed_.notify_all();
}

void WorkQueue::drop_waiting() {
  const std::lock_guard lock(mutex_);
  waiting_.clear();
  changed_.notify_all();
}

void WorkQueue::finish() {
  {
    const std::lock_guard lock(mutex_);
    finishing_ = true;
  }
  changed_.notify_all();
  for (auto& thread : threads_) thread.join();
  threads_.clear();
}

void WorkQueue::work() {
  while (true) {
    std::function<void()> piece;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return finishing_ || !waiting_.empty(); });
      if (waiting_.empty()) return;
      piece = std::move(waiting_.front());
      waiting_.pop_front();
    }
    changed_.notify_all();
    piece();
  }
}

}  // namespace canvaslab
