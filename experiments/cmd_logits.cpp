// canvaslab logits: one independent denoiser forward on each of the given canvases.
#include <algorithm>
#include <fmt/format.h>

#include "core/error.h"
#include "core/h5.h"
#include "core/model.h"
#include "experiments/commands.h"

namespace canvaslab {
namespace {

struct Arguments {
  std::string model, in, out, dtype = "f32", device = "cpu";
};

/// What the input file holds, checked against the model. Letters: K canvases, L positions, V vocabulary.
struct Input {
  H5Reader file;
  std::vector<int32_t> prompt_ids;             // [P]
  std::vector<int32_t> canvas;                 // [K, L]
  std::vector<uint8_t> has_self_conditioning;  // [K], all 0 when there is none
  hsize_t count = 0, length = 0;

  Input(const std::string& path, int32_t vocabulary) : file(path) {
    if (file.shape("prompt_ids").size() != 1) throw input_error("{}: dataset 'prompt_ids' must be a list [P]", path);
    const auto shape = file.shape("canvas");
    if (shape.size() != 2 || shape[0] == 0 || shape[1] == 0) throw input_error("{}: dataset 'canvas' has shape [{}]; expected [K, L]", path, fmt::join(shape, ", "));
    count = shape[0];
    length = shape[1];
    prompt_ids = file.read<int32_t>("prompt_ids");
    canvas = file.read<int32_t>("canvas");
    check_token_ids(prompt_ids, vocabulary, path + ": prompt_ids");
    check_token_ids(canvas, vocabulary, path + ": canvas (position counted over all canvases)");
    has_self_conditioning.assign(count, 0);
    if (!file.has("self_conditioning")) {
      if (file.has("has_self_conditioning")) throw input_error("{}: 'has_self_conditioning' stands there without 'self_conditioning' f32 [K, L, V]", path);
      return;
    }
    const std::vector<hsize_t> expected = {count, length, static_cast<hsize_t>(vocabulary)};
    if (const auto given = file.shape("self_conditioning"); given != expected)
      throw input_error("{}: dataset 'self_conditioning' has shape [{}]; expected [{}]", path, fmt::join(given, ", "), fmt::join(expected, ", "));
    has_self_conditioning = file.read<uint8_t>("has_self_conditioning");
    if (has_self_conditioning.size() != count) throw input_error("{}: dataset 'has_self_conditioning' has {} entries; expected one a canvas, {}", path, has_self_conditioning.size(), count);
  }
};

void run(const Arguments& a) {
  const auto denoiser = open_model(a.model, {.dtype = a.dtype, .device = a.device});
  const auto vocabulary = static_cast<hsize_t>(denoiser->facts().vocabulary);
  const Input input(a.in, denoiser->facts().vocabulary);
  H5Writer out(a.out);
  const auto context = denoiser->prefill({.ids = input.prompt_ids, .token_types = {}, .media = {}, .left_padding = 0});
  for (hsize_t k = 0; k < input.count; ++k) {
    const auto sequence = context->fork();  // no forward sees another's prediction
    std::vector<float> feedback;
    DenoiseRow row{.sequence = sequence.get(), .request = {}};
    row.request.canvas = std::span(input.canvas).subspan(k * input.length, input.length);
    row.request.want_logits = true;
    row.request.self_conditioning = SelfConditioning::kNone;
    if (input.has_self_conditioning[k]) {
      feedback = input.file.read_row<float>("self_conditioning", k);
      row.request.self_conditioning = SelfConditioning::kGiven;
      row.request.given_logits = feedback;
    }
    try {
      const auto results = denoiser->denoise(std::span(&row, 1));
      out.append_rows<float>("logits", results.front().logits, {input.length, vocabulary});
    } catch (const NonFiniteLogits& error) {
      throw input_error("{}: canvas {}: the logits at position {} are NaN or infinite", a.in, k, error.position());
    }
  }
  out.attribute("/", "kind", std::string("logits"));
  out.attribute("/", "schema_version", int64_t{1});
  out.attribute("/", "program", std::string("canvaslab " CANVASLAB_VERSION));
  out.attribute("/", "model", a.model);
  out.attribute("/", "model_hash", denoiser->content_hash());
  out.attribute("/", "dtype", denoiser->facts().runs_on.empty() ? a.dtype : a.dtype + " on " + denoiser->facts().runs_on);
  out.attribute("logits", "unit", std::string("logits after the soft-cap, before any temperature"));
  out.finish();
  fmt::print(stderr, "{} canvases of {} positions over {} tokens -> {}\n", input.count, input.length, vocabulary, a.out);
}

}  // namespace

void add_logits(CommandLine& line) {
  const Command c = line.command("logits", "one denoiser forward on given canvases");
  auto* a = new Arguments;
  c.option("--model", a->model, "checkpoint folder, or a denoiser such as 'hmm(states=16)'").required();
  c.option("--in", a->in, "HDF5: prompt_ids i32 [P], canvas i32 [K,L], optional self_conditioning f32 [K,L,V] (tempered logits) with has_self_conditioning u8 [K]").required();
  c.option("--out", a->out, "HDF5 to write: logits f32 [K,L,V]").required();
  c.option("--dtype", a->dtype, "f32 or bf16").shows_default();
  c.option("--device", a->device, "cpu or cuda").shows_default();
  c.footer("Example, from Python:\n"
            "  with h5py.File('f.h5', 'w') as f:\n"
            "      f['prompt_ids'] = np.array([2, 17, 9], 'i4'); f['canvas'] = np.zeros((1, 16), 'i4')\n"
            "  canvaslab logits --model DIR --in f.h5 --out g.h5");
  c.action([=] { run(*a); });
}

}  // namespace canvaslab
