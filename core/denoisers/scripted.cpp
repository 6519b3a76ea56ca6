// scripted - logits written down in a JSON file, step by step: for tests, goldens and teaching.
#include <algorithm>
#include <fmt/format.h>
#include <fstream>
#include <iterator>

#include "core/denoiser.h"
#include "core/digest.h"
#include "core/json.h"

namespace canvaslab {
namespace {

/// The file, an object:
///   "vocabulary": 6, "canvas_length": 4                                  required
///   "background": 0, "end_ids": [1], "pad_id": -1, "comment": "..."      optional
///   "canvases": [[step, step, ...], ...]                                 one list of steps per canvas
/// A step is an object with either or both of
///   "tokens": [3, 0, null, 5], "peak": 9 or [9, 2, 0, 4]     the token that peaks at each position, and by how much
///   "logits": {"0": {"5": 1.5, "2": -3}}                     position -> token -> logit, written over the peaks
/// Logits that nothing names are `background`. Canvases and steps beyond the script repeat its last one, or are an
/// error with past_end=error. The canvas that is fed in, prompts and levels change nothing.
class Script {
 public:
  explicit Script(const std::string& path) : path_(path) {
    std::ifstream in(path, std::ios::binary);
    if (!in) throw input_error("{}: cannot be opened; expected a JSON script of logits", path);
    const std::string bytes((std::istreambuf_iterator<char>(in)), {});
    hash_ = hex(sha256(bytes));
    std::string problem;
    const Json root = parse_json(bytes, &problem);
    if (root.is_discarded()) throw input_error("{}: is no JSON: {}", path, problem);
    const Json empty = Json::array();
    only(root, "script", {"vocabulary", "canvas_length", "background", "end_ids", "pad_id", "comment", "canvases"});
    vocabulary = whole(root, "vocabulary", 1, 1 << 24, std::nullopt);
    length = whole(root, "canvas_length", 1, 1 << 20, std::nullopt);
    pad_id = whole(root, "pad_id", -1, vocabulary - 1, -1);
    background = root.contains("background") ? number(root["background"], "background") : 0.0f;
    const Json& ends = root.contains("end_ids") ? root["end_ids"] : empty;
    if (!ends.is_array()) fail("end_ids", "expected a list of token ids");
    for (const auto& id : ends) end_ids.push_back(token(id, "end_ids"));
    if (!root.contains("canvases") || !root["canvases"].is_array() || root["canvases"].empty())
      fail("canvases", "expected a list with at least one canvas, each a list of steps");
    for (size_t c = 0; c < root["canvases"].size(); ++c) {
      const Json& steps = root["canvases"][c];
      if (!steps.is_array() || steps.empty())
        fail(fmt::format("canvases[{}]", c), "expected a list with at least one step");
      canvases.emplace_back();
      for (size_t s = 0; s < steps.size(); ++s)
        canvases.back().push_back(read_step(steps[s], fmt::format("canvases[{}][{}]", c, s)));
    }
  }

  /// (position, token, logit), later entries over earlier ones.
  struct Entry {
    int32_t position, token;
    float logit;
  };
  int32_t vocabulary = 0, length = 0, pad_id = -1;
  float background = 0;
  std::vector<int32_t> end_ids;
  std::vector<std::vector<std::vector<Entry>>> canvases;  // [canvas][step][entry]
  const std::string& path() const { return path_; }
  const std::string& hash() const { return hash_; }

 private:
  [[noreturn]] void fail(const std::string& where, const std::string& what) const {
    throw input_error("{}: {}: {}", path_, where, what);
  }
  void only(const Json& object, const std::string& where, const std::vector<std::string>& known) const {
    if (!object.is_object()) fail(where, "expected an object");
    for (const auto& [key, value] : object.items())
      if (std::find(known.begin(), known.end(), key) == known.end())
        fail(where,
             fmt::format("unknown key '{}'{}; known: {}", key, did_you_mean(key, known), fmt::join(known, ", ")));
  }
  float number(const Json& value, const std::string& where) const {
    if (!value.is_number()) fail(where, fmt::format("expected a number, got {}", json_text(value)));
    return value.get<float>();
  }
  int32_t whole(const Json& object, const std::string& key, int64_t low, int64_t high,
                std::optional<int32_t> fallback) const {
    if (!object.contains(key)) {
      if (fallback) return *fallback;
      fail(key, "is missing");
    }
    const Json& value = object[key];
    if (!value.is_number_integer() || value.get<int64_t>() < low || value.get<int64_t>() > high)
      fail(key, fmt::format("expected a whole number in [{}, {}], got {}", low, high, json_text(value)));
    return value.get<int32_t>();
  }
  int32_t token(const Json& value, const std::string& where) const {
    if (!value.is_number_integer() || value.get<int64_t>() < 0 || value.get<int64_t>() >= vocabulary)
      fail(where, fmt::format("expected a token id in [0, {}), got {}", vocabulary, json_text(value)));
    return value.get<int32_t>();
  }
  int32_t index(const std::string& key, int32_t limit, const std::string& where) const {
    const Json value = parse_json(key);
    if (!value.is_number_integer() || value.get<int64_t>() < 0 || value.get<int64_t>() >= limit)
      fail(where, fmt::format("the key '{}' is no index in [0, {})", key, limit));
    return value.get<int32_t>();
  }
  std::vector<Entry> read_step(const Json& step, const std::string& where) const {
    only(step, where, {"tokens", "peak", "logits", "comment"});
    std::vector<Entry> out;
    if (step.contains("tokens") != step.contains("peak")) fail(where, "'tokens' and 'peak' go together");
    if (step.contains("tokens")) {
      const Json &tokens = step["tokens"], &peak = step["peak"];
      if (!tokens.is_array() || tokens.size() != static_cast<size_t>(length))
        fail(where + ".tokens", fmt::format("expected {} token ids or null", length));
      if (peak.is_array() && peak.size() != tokens.size())
        fail(where + ".peak", fmt::format("expected a number, or {} of them", length));
      for (size_t p = 0; p < tokens.size(); ++p) {
        if (tokens[p].is_null()) continue;
        out.push_back({static_cast<int32_t>(p), token(tokens[p], fmt::format("{}.tokens[{}]", where, p)),
                       number(peak.is_array() ? peak[p] : peak, where + ".peak")});
      }
    }
    if (step.contains("logits")) {
      if (!step["logits"].is_object()) fail(where + ".logits", "expected an object of position -> {token: logit}");
      for (const auto& [position, row] : step["logits"].items()) {
        const std::string here = where + ".logits";
        const int32_t p = index(position, length, here);
        if (!row.is_object()) fail(here + "." + position, "expected an object of token -> logit");
        for (const auto& [id, logit] : row.items())
          out.push_back({p, index(id, vocabulary, here + "." + position), number(logit, here + "." + position)});
      }
    }
    return out;
  }

  std::string path_, hash_;
};

struct Nothing final : Sequence {
  std::unique_ptr<Sequence> fork() const override { return std::make_unique<Nothing>(); }
};

class Scripted final : public LogitsDenoiser {
 public:
  explicit Scripted(const Options& options)
      : script_(options.text("path")), strict_(options.text("past_end") == "error") {
    facts_.vocabulary = script_.vocabulary;
    facts_.defaults.canvas_length = script_.length;
    facts_.defaults.num_steps = static_cast<int32_t>(script_.canvases.front().size());
    facts_.defaults.max_new_tokens = script_.length * static_cast<int32_t>(script_.canvases.size());
    facts_.defaults.temperature = "constant(1)";
    facts_.defaults.end_ids = script_.end_ids;
    facts_.defaults.pad_id = script_.pad_id;
  }
  const DenoiserFacts& facts() const override { return facts_; }
  std::string content_hash() const override {
    return fmt::format("scripted(sha256={}, past_end={})", script_.hash(), strict_ ? "error" : "repeat");
  }
  std::unique_ptr<Sequence> prefill(const Prompt& prompt) const override {
    check_token_ids(prompt.ids, facts_.vocabulary, "prompt");
    return std::make_unique<Nothing>();
  }
  std::vector<float> append(Sequence&, std::span<const int32_t>, bool) const override { return {}; }

 protected:
  std::vector<float> row_logits(Sequence&, const StepRequest& request) const override {
    if (request.canvas.size() != static_cast<size_t>(script_.length))
      throw usage_error(
          "{}: the script is for canvases of {} tokens, this one has {}; leave out the canvas length or write another "
          "script",
          script_.path(), script_.length, request.canvas.size());
    const auto& steps = at(script_.canvases, request.canvas_idx, "canvas");
    std::vector<float> logits(request.canvas.size() * static_cast<size_t>(script_.vocabulary), script_.background);
    for (const auto& entry : at(steps, request.step_idx, "step"))
      logits[static_cast<size_t>(entry.position) * static_cast<size_t>(script_.vocabulary) +
             static_cast<size_t>(entry.token)] = entry.logit;
    return logits;
  }

 private:
  template <typename T>
  const T& at(const std::vector<T>& list, int32_t i, const char* what) const {
    const auto index = static_cast<size_t>(i);
    if (strict_ && index >= list.size())
      throw UserError(ExitCode::kSomeFailed,
                      fmt::format("{}: the script has {} {}s here, but {} {} was asked for (counted from 0)",
                                  script_.path(), list.size(), what, what, i));
    return list[std::min(index, list.size() - 1)];
  }

  Script script_;
  bool strict_;
  DenoiserFacts facts_;
};

[[maybe_unused]] const bool registered = denoisers().add(
    {.name = "scripted",
     .summary = "logits written down in a JSON file per canvas and step; whatever canvas it is fed",
     .source = "ours",
     .aliases = {},
     .parameters = {required_text_param("path", "JSON script; its format heads core/denoisers/scripted.cpp"),
                    text_param("past_end", "repeat",
                               "beyond the script: repeat its last step (canvas), or fail the sample",
                               {"repeat", "error"})},
     .facts = {},
     .make = [](const Options& options) { return std::make_unique<Scripted>(options); }});

}  // namespace
}  // namespace canvaslab
