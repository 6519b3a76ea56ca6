#pragma once
// Values that are costly to make, kept for a while.
#include <chrono>
#include <future>
#include <list>
#include <memory>
#include <mutex>
#include <string>

namespace canvaslab {

/// The values used last, by name. Each is made once, however many threads ask for it at the same time. Safe to use from several threads.
template <typename Value>
class Recent {
 public:
  /// At most `most` are kept; who holds one keeps it alive.
  explicit Recent(size_t most) : most_(most) {}

  /// The value of that name, made by `make` when it is not here. What `make` throws reaches all who wait for it; the next who asks tries again.
  template <typename Make>
  std::shared_ptr<const Value> get(const std::string& name, Make make) {
    std::promise<std::shared_ptr<const Value>> made;
    typename std::list<Entry>::iterator own;
    {
      std::unique_lock lock(mutex_);
      for (auto at = entries_.begin(); at != entries_.end(); ++at) {
        if (at->name != name) continue;
        entries_.splice(entries_.begin(), entries_, at);
        const auto value = at->value;
        lock.unlock();
        return value.get();
      }
      own = entries_.insert(entries_.begin(), {name, made.get_future().share()});
      drop_oldest();
    }
    try {
      auto value = std::make_shared<const Value>(make());
      made.set_value(value);
      return value;
    } catch (...) {
      {
        const std::lock_guard lock(mutex_);
        entries_.erase(own);
      }
      made.set_exception(std::current_exception());
      throw;
    }
  }

 private:
  struct Entry {
    std::string name;
    std::shared_future<std::shared_ptr<const Value>> value;
  };
  /// What is still being made stays, or a second one who asks would make it again: more than `most_` may be here meanwhile.
  void drop_oldest() {
    for (auto at = entries_.end(); entries_.size() > most_ && at != entries_.begin();) {
      --at;
      if (at->value.wait_for(std::chrono::seconds(0)) == std::future_status::ready) at = entries_.erase(at);
    }
  }

  const size_t most_;
  std::mutex mutex_;
  std::list<Entry> entries_;  // the one used last is first
};

}  // namespace canvaslab
