#pragma once
// A whole forward as a sequence of kernels: embedding with self-conditioning, layers, head with soft-cap. What follows it in a denoise step, statistics and acceptance, is in device_step.h.
// A prompt or a finished canvas is encoded by the same: not normed, one sequence, layers with the encoder's scalars, `from`, `to` and `append`, no logits.
// Nothing waits and nothing is allocated: a step can be captured in a graph. Letters as in decoder_layer.h; V vocabulary, L rows of a canvas, C inner width of self-conditioning.
#include <algorithm>
#include <cstdint>

#include "core/kernels/cuda/decoder_layer.h"
#include "core/kernels/cuda/soft_embedding.h"

namespace canvaslab::cuda {

/// A layer and what of the call differs from layer to layer.
struct ForwardLayer {
  LayerShape shape = {};
  LayerWeights w = {};
  const float* input_norm = nullptr;               ///< [D]
  const float *cos = nullptr, *sin = nullptr;      ///< [S, Dh / 2], rows table_stride apart
  int64_t table_stride = 0;
  const AttentionSequence* sequences = nullptr;    ///< on the device, one a canvas; `fresh` by fresh_keys
  int32_t most_keys = 0;                           ///< bound over the canvases
  const int32_t *from = nullptr, *to = nullptr;    ///< of LayerCall
  KeyRowsOut append = {};                          ///< of LayerCall
};

/// One canvas, on the host.
struct ForwardCanvas {
  int32_t first_row = 0, num_rows = 0;
  const float* feedback = nullptr;                 ///< [L, V] logits of the step before, on the device; null: none, as at the first step. May be where the call writes this canvas's logits
  float inverse_temperature = 1;                   ///< of the feedback
  const float* inverse_temperature_at = nullptr;   ///< [1] on the device, instead of the number
};

struct ForwardCall {
  const ForwardLayer* layers = nullptr;            ///< on the host, as `canvases`
  int32_t num_layers = 0;
  const ForwardCanvas* canvases = nullptr;         ///< in the order of their rows, which they cover
  int32_t num_canvases = 0, num_rows = 0;          ///< num_rows: S
  int32_t hidden = 0, vocabulary = 0, conditioning_width = 0;  ///< D, V, C
  float eps = 1e-6f, embedding_scale = 1, soft_cap = 30;
  const int32_t* ids = nullptr;                    ///< [S] on the device
  const uint16_t *embedding = nullptr, *head = nullptr;             ///< bf16 [V, D], the same where they are tied
  const float *final_norm = nullptr, *conditioning_norm = nullptr;  ///< [D]
  Weights conditioning_gate_up = {}, conditioning_down = {};        ///< [2C, D], [D, C]
  float least = 0;                                 ///< of SoftEmbeddingCall
  float* skipped = nullptr;                        ///< [S] out, or null: mass that self-conditioning left out
  int32_t normed = 1;                              ///< 0: encoding, whose embeddings are not normed
  RowsOut hidden_out = {};                         ///< [S, D] states after the final norm, or null
  float* logits = nullptr;                         ///< [S, V] out, after the soft-cap; null: no head
};

/// Where a forward's intermediate results stand.
struct ForwardWorkspace {
  int64_t bytes = 0;
  float *x, *soft, *signal;            // [S, D] each
  uint16_t *hidden, *inner;            // [S, D], [S, C]
  void *conditioning, *layer;
  int64_t attention_floats = 0;

  ForwardWorkspace(void* memory, const ForwardCall& c) {
    const auto take = [&](int64_t size) {
      char* at = static_cast<char*>(memory) + bytes;
      bytes += (size + 255) / 256 * 256;
      return static_cast<void*>(at);
    };
    const int64_t S = c.num_rows;
    for (float** to : {&x, &soft, &signal}) *to = static_cast<float*>(take(S * c.hidden * 4));
    hidden = static_cast<uint16_t*>(take(S * c.hidden * 2));
    inner = static_cast<uint16_t*>(take(S * c.conditioning_width * 2));
    int64_t of_conditioning = 0, of_layers = 0;
    for (int32_t i = 0; i < c.num_canvases; ++i)
      if (c.canvases[i].feedback) of_conditioning = std::max(of_conditioning, soft_embedding_workspace(c.canvases[i].num_rows, c.vocabulary, c.hidden));
    conditioning = take(of_conditioning);
    for (int32_t i = 0; i < c.num_layers; ++i) {
      const AttentionCall sizes{.most_keys = c.layers[i].most_keys, .num_heads = c.layers[i].shape.num_heads, .head_width = c.layers[i].shape.head_width};
      attention_floats = std::max(attention_floats, attention_workspace(sizes, S));
    }
    for (int32_t i = 0; i < c.num_layers; ++i) of_layers = std::max(of_layers, LayerWorkspace(nullptr, c.layers[i].shape, S, attention_floats).bytes);
    layer = take(of_layers);
  }
  /// A layer's share. All begin with `normed` in the same place, where one layer leaves what the next one reads.
  LayerWorkspace of(const LayerShape& shape, int64_t rows) const { return LayerWorkspace(layer, shape, rows, attention_floats); }
};

/// Rows of soft embeddings through the conditioning's MLP -> work.signal [S, D]; canvases without feedback have zeros.
inline int condition(const ForwardCall& c, const ForwardWorkspace& work, void* stream) {
  for (int32_t i = 0; i < c.num_canvases; ++i) {
    const ForwardCanvas& canvas = c.canvases[i];
    const SoftEmbeddingCall call{.rows = canvas.num_rows, .vocabulary = c.vocabulary, .width = c.hidden, .logits = canvas.feedback, .inverse_temperature = canvas.inverse_temperature, .inverse_temperature_at = canvas.inverse_temperature_at, .table = c.embedding,
                                 .scale = c.embedding_scale, .least = c.least, .out = {work.soft + int64_t{canvas.first_row} * c.hidden, c.hidden, Storage::kF32},
                                 .skipped = c.skipped ? c.skipped + canvas.first_row : nullptr, .num_kept = nullptr, .workspace = work.conditioning};
    if (const int e = soft_embedding(call, stream)) return e;
  }
  const RowGlueCall norm{.num_rows = c.num_rows, .width = c.hidden, .eps = c.eps, .residual = {work.soft, c.hidden, Storage::kF32}, .outs = {{{work.hidden, c.hidden, Storage::kBf16}, c.conditioning_norm, 1}, {}, {}}};
  if (const int e = row_glue(norm, stream)) return e;
  const ProductCall up{.rows = c.num_rows, .n = c.conditioning_width, .k = c.hidden, .x = work.hidden, .ldx = c.hidden, .w = c.conditioning_gate_up, .gated = 1,
                       .out = {work.inner, c.conditioning_width, Storage::kBf16}};
  if (const int e = matrix_product(up, stream)) return e;
  const ProductCall down{.rows = c.num_rows, .n = c.hidden, .k = c.conditioning_width, .x = work.inner, .ldx = c.conditioning_width, .w = c.conditioning_down, .out = {work.signal, c.hidden, Storage::kF32}};
  return matrix_product(down, stream);
}

/// Returns the first error of a launch. `work` was made of the same call.
inline int denoiser_forward(const ForwardCall& c, const ForwardWorkspace& work, void* stream) {
  const bool conditioned = std::any_of(c.canvases, c.canvases + c.num_canvases, [](const ForwardCanvas& canvas) { return canvas.feedback != nullptr; });
  if (conditioned)
    if (const int e = condition(c, work, stream)) return e;
  int32_t most_rows = 0;
  for (int32_t i = 0; i < c.num_canvases; ++i) most_rows = std::max(most_rows, c.canvases[i].num_rows);
  // What is read next: a layer's input, or behind the last one the head's.
  const auto next = [&](int32_t layer) {
    const bool last = layer == c.num_layers;
    uint16_t* to = last ? work.hidden : work.of(c.layers[layer].shape, c.num_rows).normed;
    return NormedOut{{to, c.hidden, Storage::kBf16}, last ? c.final_norm : c.layers[layer].input_norm, 1};
  };
  const EmbedCall embed{.num_rows = c.num_rows, .width = c.hidden, .eps = c.eps, .ids = c.ids, .table = {c.embedding, c.hidden, Storage::kBf16}, .scale = c.embedding_scale,
                        .signal = {conditioned ? work.signal : nullptr, c.hidden, Storage::kF32}, .normed = c.normed, .residual = {work.x, c.hidden, Storage::kF32}, .outs = {next(0), {}, {}}};
  if (const int e = embed_rows(embed, stream)) return e;
  for (int32_t i = 0; i < c.num_layers; ++i) {
    const ForwardLayer& layer = c.layers[i];
    const LayerCall call{.shape = layer.shape, .w = layer.w, .rows = c.num_rows, .x = work.x, .cos = layer.cos, .sin = layer.sin, .table_stride = layer.table_stride, .sequences = layer.sequences,
                         .num_sequences = c.num_canvases, .most_rows = most_rows, .most_keys = layer.most_keys, .from = layer.from, .to = layer.to, .append = layer.append, .next = next(i + 1)};
    if (const int e = decoder_layer(call, work.of(layer.shape, c.num_rows), stream)) return e;
  }
  if (c.hidden_out.data) {
    const RowGlueCall norm{.num_rows = c.num_rows, .width = c.hidden, .eps = c.eps, .residual = {work.x, c.hidden, Storage::kF32}, .outs = {{c.hidden_out, c.final_norm, 1}, {}, {}}};
    if (const int e = row_glue(norm, stream)) return e;
  }
  if (!c.logits) return 0;
  const RowsOut logits{c.logits, c.vocabulary, Storage::kF32};
  if (const int e = matrix_product({.rows = c.num_rows, .n = c.vocabulary, .k = c.hidden, .x = work.hidden, .ldx = c.hidden, .w = {.codes = c.head}, .out = logits}, stream)) return e;
  return soft_cap_rows({.num_rows = c.num_rows, .width = c.vocabulary, .cap = c.soft_cap, .x = logits.in(), .out = logits}, stream);
}

}  // namespace canvaslab::cuda
