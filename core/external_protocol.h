#pragma once
// How CanvasLab talks to a program that decides or denoises in its place: external(command=...).
//
// The program is started once per thread that needs it and answers one question after another: a frame on its standard
// input, a frame on its standard output (both are one local socket). Whatever it writes to standard error is kept and
// shown when it fails. The end of its input tells it to leave. experiments/external/canvaslab_client.py is this
// protocol for Python, without dependencies.
//
// A frame is its length in bytes (u32), then as many bytes. Numbers are little-endian; f64 arrays come first, then
// 4-byte ones, then bytes, so that every array is aligned within the frame. L is the canvas length, V the vocabulary.
//
// Handshake, lines of text. Question:  "canvaslab 1", "kind sampler|stop_rule|denoiser", "parameters TEXT" (as given).
//   Answer: "canvaslab 1", then lines "key values ...", all optional unless said otherwise; an unknown key is an error:
//   statistics   max top2 entropy candidate current untempered divergence alternative (samplers, stop rules)
//   draws        route position_key own: uniforms wanted at every step (samplers, stop rules)
//   facts        needs_level revocable locks edits_only fixed_steps ordered product_law uniform_only (samplers, as the
//                flags of samplers/plugin_abi.h); breaks_level (stop rules);
//                uses_level self_conditioning (denoisers; the latter: wants its previous prediction back)
//   min_accepted N, default_stop EXPRESSION, default_emission argmax|canvas (samplers)
//   history N    how many earlier argmax canvases it wants to see, the latest N; -1: all (stop rules)
//   vocabulary V (denoisers, must be there), mask_id ID (absorbing; absent: uniform corruption), banned_ids ID ...,
//   max_length N, temperature SCHEDULE, emission argmax|canvas, num_steps N, canvas_length N, max_new_tokens N,
//   end_ids ID ..., pad_id ID (denoisers: what they suggest)
//
// Step of a sampler (message 1) and check of a stop rule (message 2), question:
//   u32 message, i32 step_idx, i32 num_steps, i32 is_last, i32 V, i32 L, u32 statistics (bits as in
//   samplers/plugin_abi.h), u32 num_scratch (message 2: num_history); f64 temperature, level_now, level_next, knob;
//   f64 uniforms [number of draws, L] in the order they were asked for; f64 scratch [num_scratch] (message 1);
//   i32 canvas [L]; the declared statistics, [L] each: i32 argmax, f32 argmax_logprob, i32 second, f32 second_logprob,
//   f32 entropy_nats, i32 candidate, f32 candidate_logprob, f32 current_logprob, f32 argmax_logprob_t1,
//   f32 entropy_t1_nats, f32 kl_nats, i32 alternative; i32 history [num_history, L] oldest first (message 2);
//   u8 allowed [L], u8 revealed [L], u8 action [L] (message 2).
// Answer of a sampler: u32 0, u32 num_scratch, u32 has_token, u32 0; f64 scratch [num_scratch]; i32 token [L] if has_token;
//   u8 action [L] (0 keep, 1 candidate, 2 argmax, 3 noise, 4 token), u8 revealed [L].
// Answer of a stop rule: u32 0, u32 stops (0 or 1); then the reason as text when it stops.
//
// Denoising (message 3), question: u32 3, i32 canvas_idx, i32 step_idx, i32 L, i32 num_context, u32 flags (1 the noise
//   level is known, 2 revealed is there, 4 the previous prediction is there), u32 0, u32 0; f64 temperature, f64 level;
//   i32 context [num_context] (prompt and finished canvases), i32 canvas [L], f32 previous [L, V] tempered logits of the
//   step before, or what self-conditioning makes of them (-inf: left out), u8 revealed [L].
// Answer: u32 0, u32 0, f32 logits [L, V] before the temperature; -inf is a token of probability zero.
//
// Any question may be answered with u32 1 and a text: the sample fails with it, and the program is asked again for others.
// Everything a question depends on stands in it, so any process may answer any question, and a fresh one after a failure.
#include <cstdint>
#include <cstring>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace canvaslab {

enum class ExternalMessage : uint32_t { kStep = 1, kCheck = 2, kDenoise = 3 };

/// Builds a question.
class FrameWriter {
 public:
  template <typename T>
  void put(T value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  template <typename T>
  void put_all(std::span<T> values) {
    bytes_.append(reinterpret_cast<const char*>(values.data()), values.size_bytes());
  }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

/// Reads an answer. Errors: std::runtime_error when it is shorter or longer than what is read from it.
class FrameReader {
 public:
  explicit FrameReader(std::string_view bytes) : bytes_(bytes) {}
  template <typename T>
  T take() {
    T value;
    copy(&value, sizeof value);
    return value;
  }
  template <typename T>
  std::vector<T> take_all(size_t count) {
    need(count * sizeof(T));
    std::vector<T> values(count);
    copy(values.data(), count * sizeof(T));
    return values;
  }
  std::string_view rest() { return std::exchange(bytes_, {}); }
  /// Nothing may be left.
  void end() const;

 private:
  void need(size_t size) const;
  void copy(void* to, size_t size) {
    need(size);
    std::memcpy(to, bytes_.data(), size);
    bytes_.remove_prefix(size);
  }
  std::string_view bytes_;
};

/// The answer to a handshake: lines of a key and words. What nobody asked for by `end` is an error.
class HandshakeAnswer {
 public:
  /// Errors: std::runtime_error when it is no such answer.
  explicit HandshakeAnswer(std::string_view text);
  std::optional<std::string> text(const std::string& key);
  std::optional<int64_t> integer(const std::string& key, int64_t least, int64_t most);
  std::vector<int32_t> ids(const std::string& key);
  /// Words of a key, each one of `known`; indices into it.
  std::vector<size_t> words(const std::string& key, const std::vector<std::string>& known);
  void end() const;

 private:
  std::map<std::string, std::string> lines_;
};

}  // namespace canvaslab
