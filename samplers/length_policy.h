#pragma once
// Canvas lengths: how many tokens the next canvas has, decided before it starts from what its sequence shows so far.
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/registry.h"
#include "core/row_statistics.h"

namespace canvaslab {

/// A finished canvas, as length policies see it.
struct FinishedCanvas {
  int32_t length = 0, num_steps = 0;
  bool stopped = false;          ///< by its stop rule, before its step limit
  float mean_entropy_nats = 0;   ///< of its last step
};

/// What one sequence shows before a canvas starts.
struct LengthView {
  std::span<const int32_t> prompt, text;     ///< text: canvases emitted so far
  std::span<const FinishedCanvas> canvases;  ///< the same canvases, oldest first
  int32_t max_steps = 1;                     ///< steps that a canvas may take
  /// Of one forward on preview() positions of fresh noise (Statistic::kMax); null where no preview is asked for.
  const RowStatistics* preview = nullptr;
};

/// Holds configuration only. Pure.
class LengthPolicy {
 public:
  virtual ~LengthPolicy() = default;
  /// Bounds of every length it gives.
  virtual int32_t shortest() const = 0;
  virtual int32_t longest() const = 0;
  /// Tokens of the next canvas, in [shortest(), longest()]. The engine cuts the last canvas to what is left of the text.
  virtual int32_t next(const LengthView& view) const = 0;
  /// Positions of the forward that next() wants to look at; 0: none. It costs a canvas forward before every canvas.
  virtual int32_t preview() const { return 0; }
};

struct LengthFacts {};
using LengthRegistry = Registry<LengthPolicy, LengthFacts>;
LengthRegistry& length_policies();

/// A policy with its canonical text; what gives one length only is written as that number, as stored runs hold it.
struct ConfiguredLength {
  std::string canonical = "256";
  std::shared_ptr<const LengthPolicy> policy;  ///< null where nothing is generated: imported runs
  bool adaptive() const { return policy && policy->shortest() != policy->longest(); }
};

/// From a number of at least 1 or an expression such as growing(first=16). Errors: usage.
ConfiguredLength configure_length(const std::string& text);

/// The parameter table's rows for the bounds of an adaptive policy, and a check that they are in order.
std::vector<ParamSpec> length_bounds(int64_t shortest, int64_t longest);
struct LengthBounds {
  int32_t shortest, longest;
  /// Errors: usage, naming the policy, when longest is below shortest.
  explicit LengthBounds(const Options& options);
  /// The nearest length inside.
  int32_t clamp(double length) const;
};

}  // namespace canvaslab
