#include "tests/network/parity.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

namespace canvaslab::parity {
namespace {

/// Stores what the engine shows, in the recording's layout.
class Collector final : public Observer {
 public:
  bool wants_logits() const override { return true; }
  void on_step(const StepRecord& record) override {
    Step step{.row = record.row, .canvas_idx = record.canvas_idx, .step_idx = record.step_idx, .temperature = record.temperature,
              .canvas_in = {record.canvas_in.begin(), record.canvas_in.end()},
              .canvas_out = {record.canvas_out.begin(), record.canvas_out.end()},
              .candidate = record.statistics->candidate, .argmax = record.statistics->argmax,
              .accepted = {record.accepted.begin(), record.accepted.end()}, .entropy = record.statistics->entropy_nats,
              .logits = {record.logits.begin(), record.logits.end()}, .frozen = record.frozen};
    steps.push_back(std::move(step));
  }
  struct Step {
    size_t row;
    int32_t canvas_idx, step_idx;
    float temperature;
    std::vector<int32_t> canvas_in, canvas_out, candidate, argmax;
    std::vector<uint8_t> accepted;
    std::vector<float> entropy, logits;
    bool frozen;
  };
  std::vector<Step> steps;
};

template <typename T, typename U>
void expect_equal(Comparison& out, const std::string& where, const char* what, const std::vector<T>& ours, const U* theirs) {
  for (size_t i = 0; i < ours.size(); ++i) {
    if (ours[i] == theirs[i]) continue;
    out.mistakes.push_back(fmt::format("{}: {}[{}] is {}, the reference has {}", where, what, i, ours[i], theirs[i]));
    return;
  }
}

}  // namespace

std::vector<std::string> golden_names() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(kGoldens)) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

Recording::Recording(const std::string& path) {
  const H5Reader file(path);
  seed = file.integer_attribute("/", "seed");
  next_draw = file.integer_attribute("/", "next_draw");
  batch = static_cast<size_t>(file.integer_attribute("/", "batch"));
  self_deviation = file.real_attribute("/", "self_deviation");
  for (size_t i = 0; i < batch; ++i) prompts.push_back(file.read<int32_t>(fmt::format("prompts/{}", i)));
  tokens = file.read<int32_t>("tokens");
  tokens_per_forward = file.read<float>("tokens_per_forward");
  canvas_idx = file.read<int32_t>("steps/canvas_idx");
  step_idx = file.read<int32_t>("steps/step_idx");
  temperature = file.read<float>("steps/temperature");
  canvas_in = file.read<int32_t>("steps/canvas_in");
  candidate = file.read<int32_t>("steps/candidate");
  argmax = file.read<int32_t>("steps/argmax");
  canvas_out = file.read<int32_t>("steps/canvas_out");
  accepted = file.read<uint8_t>("steps/accepted");
  entropy_nats = file.read<float>("steps/entropy_nats");
  logits = file.read<float>("steps/logits");
  if (file.has("steps/gap")) gap = file.read<float>("steps/gap");
  if (file.has("bf16_error")) bf16_error = file.read<float>("bf16_error");
  num_steps = canvas_idx.size();
  const auto shape = file.shape("steps/logits");
  length = shape[shape.size() - 2];
  vocabulary = shape.back();
}

Comparison compare_generation(const Denoiser& denoiser, const Recording& recording, const Tolerances& tolerances) {
  PlanRequest request;
  request.rng = RngMode::kTorch;
  const GenerationPlan plan = resolve_plan(request, denoiser);
  std::vector<RowInput> rows(recording.batch);
  for (size_t r = 0; r < recording.batch; ++r) {
    rows[r].prompt.ids = recording.prompts[r];
    rows[r].seed = static_cast<uint64_t>(recording.seed);
  }
  Collector ours;
  const auto results = generate(denoiser, plan, rows, &ours);

  Comparison out;
  out.steps_total = recording.num_steps * recording.batch;
  const size_t L = recording.length, V = recording.vocabulary;
  for (size_t i = 0; i < std::min(ours.steps.size(), out.steps_total); ++i) {
    const auto& step = ours.steps[i];
    const size_t s = i / recording.batch, at = s * recording.batch + step.row;
    const std::string where = fmt::format("canvas {}, step {}, row {}", recording.canvas_idx[s], recording.step_idx[s], step.row);
    if (step.canvas_idx != recording.canvas_idx[s] || step.step_idx != recording.step_idx[s]) {
      out.mistakes.push_back(fmt::format("{}: ours is at canvas {}, step {}", where, step.canvas_idx, step.step_idx));
      break;
    }
    if (step.temperature != recording.temperature[s])
      out.mistakes.push_back(fmt::format("{}: temperature {:.9g}, the reference has {:.9g}", where, step.temperature, recording.temperature[s]));
    expect_equal(out, where, "canvas_in", step.canvas_in, recording.canvas_in.data() + at * L);
    const float* theirs = recording.logits.data() + at * L * V;
    double largest = 0;
    for (size_t j = 0; j < L * V; ++j) largest = std::max(largest, std::abs(static_cast<double>(theirs[j])));
    for (size_t j = 0; j < L * V; ++j) {
      const double error = std::abs(static_cast<double>(step.logits[j]) - theirs[j]) / largest;
      if (!(error <= out.worst_logit)) {
        out.worst_logit = error;
        out.worst_logit_at = fmt::format("{}, position {}, token {}", where, j / V, j % V);
      }
    }
    if (tolerances.least_gap > 0 && recording.gap[at] < tolerances.least_gap) break;
    expect_equal(out, where, "candidate", step.candidate, recording.candidate.data() + at * L);
    expect_equal(out, where, "argmax", step.argmax, recording.argmax.data() + at * L);
    expect_equal(out, where, "canvas_out", step.canvas_out, recording.canvas_out.data() + at * L);
    if (!step.frozen) expect_equal(out, where, "accepted", step.accepted, recording.accepted.data() + at * L);
    for (size_t p = 0; p < L; ++p)
      out.worst_entropy = std::max(out.worst_entropy, std::abs(static_cast<double>(step.entropy[p]) - recording.entropy_nats[at * L + p]));
    ++out.steps_compared;
    if (!out.mistakes.empty()) break;
  }
  if (!(out.worst_logit <= tolerances.logit_tolerance))
    out.mistakes.push_back(fmt::format("logits differ by {:.3g} of the largest at {}; allowed {:.3g}", out.worst_logit, out.worst_logit_at, tolerances.logit_tolerance));
  if (!(out.worst_entropy <= tolerances.entropy_nats))
    out.mistakes.push_back(fmt::format("entropies differ by {:.3g} nats; allowed {:.3g}", out.worst_entropy, tolerances.entropy_nats));
  if (out.cut_short() && out.mistakes.empty() && tolerances.least_gap > 0) return out;  // chaos from here on
  if (ours.steps.size() != out.steps_total)
    out.mistakes.push_back(fmt::format("{} steps, the reference has {}", ours.steps.size(), out.steps_total));
  const size_t n = recording.tokens.size() / recording.batch;
  for (size_t r = 0; r < recording.batch; ++r) {
    const std::string where = fmt::format("row {}", r);
    if (results[r].canvas_ids.size() != n)
      out.mistakes.push_back(fmt::format("{}: {} tokens, the reference has {}", where, results[r].canvas_ids.size(), n));
    else
      expect_equal(out, where, "tokens", results[r].canvas_ids, recording.tokens.data() + r * n);
    if (static_cast<float>(results[r].tokens_per_forward) != recording.tokens_per_forward[r])
      out.mistakes.push_back(fmt::format("{}: {} tokens per forward, the reference has {}", where, results[r].tokens_per_forward, recording.tokens_per_forward[r]));
  }
  return out;
}

std::vector<double> bf16_errors(const Denoiser& denoiser, const Recording& r) {
  const auto sequence = denoiser.prefill({.ids = r.prompts[0], .token_types = {}, .media = {}, .left_padding = 0});
  std::vector<double> out;
  std::vector<float> feedback;
  for (size_t s = 0; s < r.num_steps && r.canvas_idx[s] == 0; ++s) {
    const size_t at = s * r.batch;
    DenoiseRow row{.sequence = sequence.get(), .request = {}};
    row.request.step_idx = r.step_idx[s];
    row.request.canvas = std::span(r.canvas_in).subspan(at * r.length, r.length);
    row.request.want_logits = true;
    row.request.self_conditioning = feedback.empty() ? SelfConditioning::kNone : SelfConditioning::kGiven;
    row.request.given_logits = feedback;
    const auto logits = denoiser.denoise(std::span(&row, 1)).front().logits;
    const auto theirs = std::span(r.logits).subspan(at * r.length * r.vocabulary, r.length * r.vocabulary);
    std::vector<double> rms;
    for (size_t p = 0; p < r.length; ++p) {
      double sum = 0;
      for (size_t v = 0; v < r.vocabulary; ++v) sum += std::pow(static_cast<double>(logits[p * r.vocabulary + v]) - theirs[p * r.vocabulary + v], 2);
      rms.push_back(std::sqrt(sum / static_cast<double>(r.vocabulary)));
    }
    // torch's median of an even count is the lower one.
    std::nth_element(rms.begin(), rms.begin() + static_cast<ptrdiff_t>((r.length - 1) / 2), rms.end());
    out.push_back(rms[(r.length - 1) / 2]);
    feedback.assign(theirs.begin(), theirs.end());
    for (float& f : feedback) f /= r.temperature[s];
  }
  return out;
}

}  // namespace canvaslab::parity
