#pragma once
// Data sets: examples, prompts, scores.
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/denoiser.h"
#include "core/sources/source.h"
#include "eval/grading/answer.h"

namespace canvaslab {

/// One turn of a conversation.
struct ChatMessage {
  std::string role, content;          ///< role: system, user, assistant
};

struct Example {
  std::string id;                     ///< unique in the data set
  std::string prompt_text;            ///< when the prompt is text
  std::vector<ChatMessage> messages;  ///< when it is a conversation; without a chat template the contents, joined by blank lines
  std::vector<int32_t> prompt_ids;    ///< when it is ids
  bool has_ids = false;
  std::string group;                  ///< items that ask the same thing share one, and count as one item; empty: the id
  std::string category;
  std::string reference;              ///< the right answer: a letter, a number, a text
  std::vector<std::string> options;   ///< of a multiple-choice item, in the order shown
  int32_t num_shots = 0;              ///< worked examples in the prompt
  uint32_t number = 0;                ///< place in the whole data set, which names its draws whatever subset is run
  std::string set = {};               ///< where several data sets are joined: which (eval/datasets/joined.h), also the first part of id, group and category; empty: there is one
};

/// A further number per sample.
struct MetricFacts {
  std::string name, unit;
  bool higher_is_better = true;
  std::vector<std::string> names = {};  ///< not empty: values are places in this list (stored results keep them: add at the end)
};

/// What a score means.
struct ScoreFacts {
  std::string name = "score", unit;
  bool higher_is_better = true;
  std::vector<MetricFacts> metrics;   ///< in the order of Score::metrics
  std::vector<std::string> texts = {};  ///< names of Score::texts
  bool is_quality = false;            ///< the mean score is the run's quality (an accuracy); false: it says nothing about how good a completion is (a length)
};

struct Score {
  double value = 0;
  std::vector<double> metrics;        ///< NaN: says nothing about this sample
  std::vector<std::string> texts = {};  ///< a pure function of example and tokens: not kept in the journal, but made again
};

class Dataset {
 public:
  virtual ~Dataset() = default;
  /// Gives the tokenizer's side of the model, before load(). Only data sets with needs_text ask for it.
  virtual void use_text(grading::TextDecoder /*decoder*/) {}
  /// All examples, in a fixed order. Errors: input errors naming file and line, and how to obtain the file.
  virtual std::vector<Example> load() const = 0;
  virtual ScoreFacts score_facts() const = 0;
  virtual Score score(const Example& example, std::span<const int32_t> tokens, const Denoiser& denoiser) const = 0;
  /// Score::texts alone, where they come cheaper than the score.
  virtual std::vector<std::string> texts(const Example& example, std::span<const int32_t> tokens, const Denoiser& denoiser) const { return score(example, tokens, denoiser).texts; }
  /// Hash of what was loaded, part of the content key.
  virtual std::string content_hash() const = 0;
  /// Why nothing can be scored, fit to print; empty when it can. A sweep refuses such a data set.
  virtual std::string cannot_score() const { return ""; }
  /// True when the sweep should add control rows of exact samples (the denoiser must have a source).
  virtual bool wants_control() const { return false; }
};

/// A published file of a data set.
struct KnownFile {
  std::string name;                              ///< as published, with its folder
  int64_t num_rows = 0, num_bytes = 0;           ///< bytes: 0 where not known
  std::map<std::string, int64_t> categories = {};  ///< rows by category; empty where not known
};

/// What `canvaslab data` says and checks.
struct FileFacts {
  std::vector<std::string> columns = {};         ///< that every row has
  std::string category_column = "";              ///< whose values are counted; empty: none
  std::string obtain = "", terms = "";           ///< where from; under which terms
  std::string reading_options = "";              ///< ", key=value" for reading all rows
  std::vector<KnownFile> known = {};
};

struct DatasetFacts {
  bool needs_source = false;
  bool needs_text = false;            ///< prompts and answers are text: the model must have a tokenizer
  bool runs_programs = false;         ///< scores take a while, which a sweep spends generating the next samples
  FileFacts files = {};               ///< of data sets that are published files
};
using DatasetRegistry = Registry<Dataset, DatasetFacts>;
DatasetRegistry& datasets();

}  // namespace canvaslab
