#pragma once
// Data sets: examples, prompts, scores.
#include <memory>
#include <string>
#include <vector>

#include "core/denoiser.h"
#include "core/sources/source.h"

namespace canvaslab {

struct Example {
  std::string id;                     ///< unique in the data set
  std::string prompt_text;            ///< when the prompt is text
  std::vector<int32_t> prompt_ids;    ///< when it is ids
  bool has_ids = false;
  std::string category, reference;
  uint32_t number = 0;                ///< place in the whole data set, which names its draws whatever subset is run
};

/// A further number per sample.
struct MetricFacts {
  std::string name, unit;
  bool higher_is_better = true;
};

/// What a score means.
struct ScoreFacts {
  std::string name = "score", unit;
  bool higher_is_better = true;
  bool is_quality = true;             ///< false: it says nothing about how good a completion is (a length)
  std::vector<MetricFacts> metrics;   ///< in the order of Score::metrics
};

struct Score {
  double value = 0;
  std::vector<double> metrics;
};

class Dataset {
 public:
  virtual ~Dataset() = default;
  /// All examples, in a fixed order. Errors: input errors naming file and line, and how to obtain the file.
  virtual std::vector<Example> load() const = 0;
  virtual ScoreFacts score_facts() const = 0;
  virtual Score score(const Example& example, std::span<const int32_t> tokens, const Denoiser& denoiser) const = 0;
  /// Hash of what was loaded, part of the content key.
  virtual std::string content_hash() const = 0;
  /// True when the sweep should add control rows of exact samples (the denoiser must have a source).
  virtual bool wants_control() const { return false; }
};

struct DatasetFacts {
  bool needs_source = false;
};
using DatasetRegistry = Registry<Dataset, DatasetFacts>;
DatasetRegistry& datasets();

}  // namespace canvaslab
