#pragma once
// Completions of other programs, line by line: lm-evaluation-harness samples, or {"id": .., "completion": ..}.
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace canvaslab {

struct ImportedLine {
  size_t number = 0;                ///< in the file, from 1
  std::string id;                   ///< of the item
  std::string filter;               ///< of lm-evaluation-harness; "" when the line names none
  uint32_t repeat = 0;
  std::string completion;           ///< the first response as it was, before any filter
  std::vector<int32_t> token_ids;   ///< when the line has them
  bool has_ids = false;
  bool failed = false;              ///< the line says so, or a metric is null
  std::vector<std::pair<std::string, double>> metrics;
  std::string doc;                  ///< what identifies the question beside its id: doc_hash, or the document's text
};

struct ImportedFile {
  std::string path, sha256;
  std::vector<ImportedLine> lines;  ///< in file order
  std::vector<std::string> notes;   ///< what a reader must know
};

/// Reads a JSONL file. lm-evaluation-harness lines have `doc_id`: the response is resps[0][0], metrics are those that `metrics`
/// lists, else every number or boolean that is no field of the format. Other lines have `id` and `completion`, with optional
/// `repeat`, `token_ids`, `category`-like further fields ignored, and numbers taken as metrics.
/// `id_field` (when not empty): the field of `doc`, or of the line, that names the item instead.
/// Errors: input, with line number and field; an (id, filter, repeat) that occurs twice names both lines.
ImportedFile read_imported(const std::string& path, const std::string& id_field);

}  // namespace canvaslab
