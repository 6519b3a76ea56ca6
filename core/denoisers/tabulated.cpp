// tabulated - any joint law of a few tokens, from a seed or written down in a file.
#include <cmath>
#include <fstream>

#include "core/digest.h"
#include "core/json.h"
#include "core/sources/automaton.h"
#include "core/sources/source_denoiser.h"

namespace canvaslab {
namespace {

constexpr size_t kMostSequences = 65536;

/// Weights of all V^block sequences, the last token running fastest.
struct Table {
  int32_t vocabulary = 0;
  size_t block = 0;
  std::vector<double> weight;
};

size_t num_sequences(int64_t vocabulary, int64_t block, const std::string& where) {
  size_t count = 1;
  for (int64_t p = 0; p < block; ++p)
    if ((count *= static_cast<size_t>(vocabulary)) > kMostSequences)
      throw usage_error("{}: {} tokens in blocks of {} are more than {} sequences; use a smaller alphabet or block", where, vocabulary, block, kMostSequences);
  return count;
}

Table from_seed(const Options& options) {
  Table out{.vocabulary = static_cast<int32_t>(options.integer("alphabet")), .block = static_cast<size_t>(options.integer("block")), .weight = {}};
  out.weight.resize(num_sequences(out.vocabulary, options.integer("block"), "denoiser 'tabulated'"));
  const DrawKey key{.seed = static_cast<uint64_t>(options.integer("seed"))};
  double best = -INFINITY;
  for (size_t i = 0; i < out.weight.size(); ++i)
    best = std::max(best, out.weight[i] = -options.real("sharpness") * std::log(-std::log(key.uniform(Purpose::kSource, static_cast<uint32_t>(i), 1))));
  for (double& w : out.weight) w = std::exp(w - best);
  return out;
}

Table from_file(const std::string& path, std::string& text) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw input_error("{}: cannot be opened; expected a JSON object with vocabulary, block and weights", path);
  text.assign(std::istreambuf_iterator<char>(in), {});
  const auto json = parse_json(text);
  if (!json.is_object()) throw input_error("{}: is no JSON object; expected vocabulary, block and weights", path);
  for (const auto& [key, value] : json.items())
    if (key != "vocabulary" && key != "block" && key != "weights" && key != "comment")
      throw input_error("{}: there is no field '{}'{}", path, key, did_you_mean(key, {"vocabulary", "block", "weights"}));
  const auto whole = [&](const char* key, int64_t least) {
    if (!json.contains(key) || !json[key].is_number_integer() || json[key].get<int64_t>() < least || json[key].get<int64_t>() > 65536)
      throw input_error("{}: field '{}' must be a whole number in [{}, 65536]", path, key, least);
    return json[key].get<int64_t>();
  };
  Table out{.vocabulary = static_cast<int32_t>(whole("vocabulary", 2)), .block = static_cast<size_t>(whole("block", 1)), .weight = {}};
  const size_t count = num_sequences(out.vocabulary, static_cast<int64_t>(out.block), path);
  const auto weights = json.value("weights", Json());
  if (!weights.is_array() || weights.size() != count)
    throw input_error("{}: field 'weights' must list {} numbers, one a sequence, the last token running fastest", path, count);
  for (size_t i = 0; i < count; ++i) {
    if (!weights[i].is_number() || !(weights[i].get<double>() >= 0)) throw input_error("{}: weights[{}] must be a number of at least 0", path, i);
    out.weight.push_back(weights[i].get<double>());
  }
  return out;
}

std::unique_ptr<Denoiser> make(const Options& options) {
  std::string file, text = options.canonical();
  const std::string& path = options.text("path");
  auto table = std::make_shared<Table>(path.empty() ? from_seed(options) : from_file(path, file));
  if (!path.empty()) text += " sha256=" + hex(sha256(file));
  const auto V = static_cast<uint64_t>(table->vocabulary);
  auto source = std::make_unique<Automaton>(BlockLaw{
      .vocabulary = table->vocabulary,
      .length = table->block,
      .start = 0,  // index of the prefix
      .successors = [V](uint64_t prefix, size_t, std::vector<std::pair<int32_t, uint64_t>>& out) {
        for (uint64_t v = 0; v < V; ++v) out.emplace_back(static_cast<int32_t>(v), prefix * V + v);
      },
      .weight = [table](uint64_t index) { return table->weight[index]; },
      .slip = options.real("slip")});
  return std::make_unique<SourceDenoiser>(std::move(source), options, text);
}

[[maybe_unused]] const bool registered = denoisers().add({
    .name = "tabulated",
    .summary = "blocks of any tabulated joint law, from a seed or a file, with its Bayes-optimal denoiser",
    .source = "ours; samplers.md 9 (the end-to-end oracle)",
    .aliases = {},
    .parameters = source_parameters(
        {int_param("alphabet", 4, 2, 256, "tokens", "vocabulary of the source (from a seed)"),
         int_param("block", 3, 1, 16, "tokens", "length of a block (from a seed)"),
         real_param("sharpness", 1, 0, 100, "", "scale of the random log-weights (from a seed): larger is less random"),
         int_param("seed", 1, 0, 9007199254740991.0, "", "which table"), slip_param(0),
         text_param("path", "", "JSON file with vocabulary, block and weights, instead of a seed; length is then the canvas's")},
        3),
    .facts = {},
    .make = make});

}  // namespace
}  // namespace canvaslab
