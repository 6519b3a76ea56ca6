#pragma once
// Several observers of one generation.
#include <algorithm>
#include <vector>

#include "samplers/engine.h"

namespace canvaslab {

/// Passes everything on, in the order in which they were added. The observers must outlive the list.
class ObserverList final : public Observer {
 public:
  void add(Observer* observer) { observers_.push_back(observer); }
  /// What generate() takes: nothing when nobody observes, so that rows may run side by side.
  Observer* get() { return observers_.empty() ? nullptr : this; }
  bool wants_logits() const override {
    return std::any_of(observers_.begin(), observers_.end(), [](const Observer* one) { return one->wants_logits(); });
  }
  bool watches() const override {
    return std::any_of(observers_.begin(), observers_.end(), [](const Observer* one) { return one->watches(); });
  }
  void on_step(const StepRecord& record) override {
    for (Observer* one : observers_) one->on_step(record);
  }
  void on_canvas(size_t row, int32_t canvas_idx, std::span<const int32_t> emitted) override {
    for (Observer* one : observers_) one->on_canvas(row, canvas_idx, emitted);
  }

 private:
  std::vector<Observer*> observers_;
};

}  // namespace canvaslab
