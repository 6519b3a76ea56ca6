#include "core/network/cuda_denoiser.h"

#include <c10/core/GradMode.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <exception>
#include <limits>
#include <mutex>

#include "core/network/cuda_steps_ahead.h"
#include "core/network/device_statistics.h"

namespace canvaslab {
namespace {

constexpr int64_t kMostLogitBytes = int64_t{4} << 30;  // of canvases that go through the network together

/// Counts its copies.
class Living {
 public:
  explicit Living(std::shared_ptr<std::atomic<size_t>> count) : count_(std::move(count)) { ++*count_; }
  Living(const Living& other) : Living(other.count_) {}
  Living& operator=(const Living&) = delete;
  ~Living() { --*count_; }

 private:
  std::shared_ptr<std::atomic<size_t>> count_;
};

/// Forks share memory; what is shared is never written.
struct CudaSequence final : Sequence {
  explicit CudaSequence(std::shared_ptr<std::atomic<size_t>> count) : living(std::move(count)) {}
  Living living;
  DeviceCache cache;
  DeviceTables tables;
  bool broken = false;                       // an append failed on the way, and the cache holds part of it
  std::shared_ptr<DeviceMemory> prediction;  // [L, V] f32 logits of the last step, or null
  float inverse_temperature = 1;             // of the prediction
  size_t length = 0;                         // L of the prediction
  std::shared_ptr<const StepsAhead> ahead;   // then there is no prediction: catch_up makes it where one is needed
  size_t asked = 0;                          // steps of `ahead` that have been asked for
  std::unique_ptr<Sequence> fork() const override { return std::make_unique<CudaSequence>(*this); }
};

/// Why a logit is refused: the first of its canvas that is no number.
std::exception_ptr non_finite(int32_t position) { return std::make_exception_ptr(NonFiniteLogits(static_cast<size_t>(position))); }

class CudaDenoiser final : public Denoiser {
 public:
  CudaDenoiser(CudaNetwork network, DenoiserFacts facts) : network_(std::move(network)), facts_(std::move(facts)) { facts_.runs_ahead = true; }
  const DenoiserFacts& facts() const override { return facts_; }
  std::string content_hash() const override { return network_.content_hash(); }

  std::unique_ptr<Sequence> prefill(const Prompt& prompt) const override {
    check_token_ids(prompt.ids, facts_.vocabulary, "prompt");
    const c10::NoGradGuard no_grad;
    auto sequence = std::make_unique<CudaSequence>(alive_);  // who waits for its turn counts
    const std::lock_guard lock(turn_);
    sequence->cache = network_.empty_cache(prompt.left_padding);
    network_.encode(prompt.ids, prompt.token_types, sequence->cache, nullptr);
    return sequence;
  }

  std::vector<StepResult> denoise(std::span<const DenoiseRow> rows) const override {
    for (const DenoiseRow& row : rows) check(row);
    Call call{.rows = rows};
    if (foreseen(call)) return results_of(call);
    {
      const std::lock_guard lock(waiting_lock_);
      waiting_.push_back(&call);
    }
    {
      const std::lock_guard lock(turn_);
      if (!call.done) answer_all();  // else whoever had the turn has answered this one as well
    }
    return results_of(call);
  }

  std::vector<float> append(Sequence& sequence, std::span<const int32_t> canvas, bool want_causal_logits) const override {
    check_token_ids(canvas, facts_.vocabulary, "canvas");
    const c10::NoGradGuard no_grad;
    const std::lock_guard lock(turn_);
    auto& s = dynamic_cast<CudaSequence&>(sequence);
    s.prediction.reset();
    s.ahead.reset();
    std::vector<float> logits(want_causal_logits ? canvas.size() * vocabulary() : 0);
    expect_whole(s);
    s.broken = true;
    network_.encode(canvas, {}, s.cache, want_causal_logits ? logits.data() : nullptr);
    s.broken = false;
    return logits;
  }

  std::unique_ptr<Sequence> cut(const Sequence& before, const Sequence& after, std::span<const int32_t> kept) const override {
    const std::lock_guard lock(turn_);
    auto out = std::make_unique<CudaSequence>(dynamic_cast<const CudaSequence&>(before));
    out->prediction.reset();
    out->ahead.reset();
    if (!network_.cut(out->cache, dynamic_cast<const CudaSequence&>(after).cache, static_cast<int64_t>(kept.size()))) return nullptr;
    return out;
  }

 private:
  /// One row's result, or what was wrong with it.
  struct Answer {
    StepResult result = {};
    std::exception_ptr error = {};
  };
  /// What a thread waits for. Those that come while the device is busy are answered together: a result does not depend on its batch.
  struct Call {
    std::span<const DenoiseRow> rows;
    std::vector<Answer> answers = {};
    std::exception_ptr error = {};  // for all of them
    bool done = false;
  };

  static void expect_whole(const CudaSequence& s) {
    if (s.broken) throw std::logic_error("a sequence goes on whose append failed");
  }
  void check(const DenoiseRow& row) const {
    const StepRequest& request = row.request;
    check_token_ids(request.canvas, facts_.vocabulary, "canvas");
    expect_whole(dynamic_cast<const CudaSequence&>(*row.sequence));
    if (request.self_conditioning == SelfConditioning::kGiven && request.given_logits.size() != request.canvas.size() * vocabulary()) throw std::logic_error("given logits are not [L, V]");
    const auto& s = dynamic_cast<const CudaSequence&>(*row.sequence);
    const size_t length = s.ahead ? s.ahead->canvases.front().size() : s.prediction ? s.length : request.canvas.size();
    if (request.self_conditioning == SelfConditioning::kPrevious && request.step_idx > 0 && length != request.canvas.size()) throw std::logic_error("a canvas changed its length between steps");
  }

  static std::vector<StepResult> results_of(Call& call) {
    if (call.error) std::rethrow_exception(call.error);
    std::vector<StepResult> results;
    for (Answer& answer : call.answers) {
      if (answer.error) std::rethrow_exception(answer.error);
      results.push_back(std::move(answer.result));
    }
    return results;
  }

  /// Answers a call whose steps have all been made already, of exactly these canvases.
  static bool foreseen(Call& call) {
    for (const DenoiseRow& row : call.rows) {
      const auto& s = dynamic_cast<const CudaSequence&>(*row.sequence);
      if (!s.ahead || static_cast<size_t>(row.request.step_idx) != s.asked || !s.ahead->answers(row.request)) return false;
    }
    for (const DenoiseRow& row : call.rows) {
      auto& s = dynamic_cast<CudaSequence&>(*row.sequence);
      s.asked = static_cast<size_t>(row.request.step_idx) + 1;
      call.answers.emplace_back().result.statistics = s.ahead->statistics[s.asked - 1];
    }
    return true;
  }

  /// Where a request is not one that was foreseen: the steps that were asked for are made again, one by one, so that the prediction of the last is there. An error leaves the sequence as it was.
  void catch_up(const DenoiseRow& row) const {
    const StepRequest& request = row.request;
    auto& s = dynamic_cast<CudaSequence&>(*row.sequence);
    if (!s.ahead) return;
    const bool uses = request.self_conditioning == SelfConditioning::kPrevious && request.step_idx > 0;
    if (!uses && request.hold_prediction) return;
    for (size_t step = 0; uses && step < s.asked; ++step) {
      StepRequest again = request;
      again.step_idx = static_cast<int32_t>(step);
      again.canvas = s.ahead->canvases[step];
      again.temperature = s.ahead->temperatures[step];
      again.wanted = {};
      again.filters = {};
      again.self_conditioning = s.ahead->self_conditioning;
      again.hold_prediction = again.want_logits = false;
      again.outlook = nullptr;
      const DenoiseRow once{row.sequence, again};
      Answer ignored;
      try {
        together(std::span(&once, 1), std::span(&ignored, 1));
      } catch (...) {
        s.prediction.reset();
        throw;
      }
    }
    s.ahead.reset();
  }

  void answer_all() const {
    const c10::NoGradGuard no_grad;
    std::vector<Call*> calls;
    {
      const std::lock_guard lock(waiting_lock_);
      calls.swap(waiting_);
    }
    try {
      std::vector<DenoiseRow> rows;
      for (const Call* call : calls) rows.insert(rows.end(), call->rows.begin(), call->rows.end());
      std::vector<Answer> answers = answer_rows(rows);
      size_t first = 0;
      for (Call* call : calls)
        for (size_t i = 0; i < call->rows.size(); ++i) call->answers.push_back(std::move(answers[first++]));
    } catch (...) {
      for (Call* call : calls) call->error = std::current_exception();
    }
    for (Call* call : calls) call->done = true;
  }

  /// Rows that are answered in the same way go through the network together. Canvases are taken to their ends only when there is nobody else who may come in between: several of them would all wait for the
  /// slowest, where step by step whoever is done makes room.
  std::vector<Answer> answer_rows(std::span<const DenoiseRow> rows) const {
    enum Way { kOneStep, kLoopFedBack, kLoopAlone, kNumWays };
    std::vector<size_t> taken[kNumWays];
    std::vector<Answer> answers(rows.size());
    const bool by_themselves = rows.size() == *alive_;
    for (size_t i = 0; i < rows.size(); ++i) {
      try {
        catch_up(rows[i]);
        const StepRequest& request = rows[i].request;
        taken[!by_themselves || !StepsAhead::possible(request) ? kOneStep : request.self_conditioning == SelfConditioning::kPrevious ? kLoopFedBack : kLoopAlone].push_back(i);
      } catch (...) {
        answers[i].error = std::current_exception();
      }
    }
    for (const Way way : {kOneStep, kLoopFedBack, kLoopAlone}) {
      std::vector<DenoiseRow> same;
      for (const size_t i : taken[way]) same.push_back(rows[i]);
      std::vector<Answer> theirs = in_groups(same, way == kOneStep ? &CudaDenoiser::together : &CudaDenoiser::to_the_end);
      for (size_t i = 0; i < theirs.size(); ++i) answers[taken[way][i]] = std::move(theirs[i]);
    }
    return answers;
  }

  using Forward = void (CudaDenoiser::*)(std::span<const DenoiseRow> rows, std::span<Answer> answers) const;
  std::vector<Answer> in_groups(std::span<const DenoiseRow> rows, Forward forward) const {
    std::vector<Answer> answers(rows.size());
    for (size_t begin = 0, end = 0; begin < rows.size(); begin = end) {
      int64_t positions = 0;
      while (end < rows.size() && (end == begin || (positions + static_cast<int64_t>(rows[end].request.canvas.size())) * row_bytes() <= kMostLogitBytes)) positions += static_cast<int64_t>(rows[end++].request.canvas.size());
      try {
        (this->*forward)(rows.subspan(begin, end - begin), std::span(answers).subspan(begin, end - begin));
      } catch (...) {
        if (end - begin == 1) answers[begin].error = std::current_exception();
        else one_by_one(rows.subspan(begin, end - begin), std::span(answers).subspan(begin, end - begin), forward);
      }
    }
    return answers;
  }

  /// What failed together, for want of memory perhaps, may do alone: then no sequence has gone on yet. Where the device failed, all fail again.
  void one_by_one(std::span<const DenoiseRow> rows, std::span<Answer> answers, Forward forward) const {
    network_.drop_logits();
    for (size_t i = 0; i < rows.size(); ++i) {
      answers[i] = {};
      try {
        (this->*forward)(rows.subspan(i, 1), answers.subspan(i, 1));
      } catch (...) {
        answers[i].error = std::current_exception();
      }
    }
  }

  size_t vocabulary() const { return static_cast<size_t>(facts_.vocabulary); }
  int64_t row_bytes() const { return int64_t{facts_.vocabulary} * 4; }
  std::shared_ptr<DeviceMemory> memory(int64_t bytes, const char* what) const { return std::make_shared<DeviceMemory>(network_.device(), bytes, what); }
  /// One forward of all rows, and what they asked for. Whatever fails before the forward leaves the sequences as they were.
  void together(std::span<const DenoiseRow> rows, std::span<Answer> answers) const {
    cuda::Device& device = *network_.device();
    std::vector<DeviceCanvas> canvases;
    std::vector<std::shared_ptr<DeviceMemory>> given, predictions;  // predictions: where this step's will be kept
    size_t positions = 0;
    for (const DenoiseRow& row : rows) {
      const StepRequest& request = row.request;
      auto& s = dynamic_cast<CudaSequence&>(*row.sequence);
      DeviceCanvas& canvas = canvases.emplace_back(DeviceCanvas{.ids = request.canvas, .cache = &s.cache, .tables = &s.tables});
      if (request.self_conditioning == SelfConditioning::kGiven) {
        given.push_back(memory(static_cast<int64_t>(request.given_logits.size_bytes()), "given logits"));
        network_.check(device.upload(given.back()->as<float>(), request.given_logits.data(), given.back()->bytes()));
        canvas.feedback = given.back()->as<float>();
      } else if (request.self_conditioning == SelfConditioning::kPrevious && request.step_idx > 0 && s.prediction) {
        canvas.feedback = s.prediction->as<float>();
        canvas.inverse_temperature = s.inverse_temperature;
      }
      const int64_t bytes = static_cast<int64_t>(request.canvas.size()) * row_bytes();
      const bool own = s.prediction && s.prediction.use_count() == 1 && s.prediction->bytes() == bytes;
      predictions.push_back(request.hold_prediction ? nullptr : own ? s.prediction : memory(bytes, "a canvas's prediction"));
      positions += request.canvas.size();
    }
    // One canvas's logits are written where its prediction is kept; those of several pass through memory of the call.
    const bool direct = rows.size() == 1 && predictions[0];
    float* logits = direct ? predictions[0]->as<float>() : network_.logits(static_cast<int64_t>(positions) * row_bytes());
    const Statistics statistics(*this, rows, positions);
    network_.decode(canvases, logits);
    statistics.make(rows, logits, answers);
    size_t first = 0;
    for (size_t i = 0; i < rows.size(); ++i) {
      const StepRequest& request = rows[i].request;
      const size_t L = request.canvas.size();
      const float* own = logits + first * vocabulary();
      first += L;
      if (request.want_logits || needs_host(request)) on_host(request, own, answers[i]);
      if (!predictions[i]) continue;
      if (!direct) network_.check(device.copy(predictions[i]->as<float>(), 0, own, 0, predictions[i]->bytes(), 1));
      auto& s = dynamic_cast<CudaSequence&>(*rows[i].sequence);
      s.prediction = std::move(predictions[i]);
      s.length = L;
      s.inverse_temperature = request.temperature > 0 ? 1 / request.temperature : 1;
    }
  }

  /// All steps of these canvases, each as far as its outlook says. Where a logit is no number, nothing is kept of it and steps are made one by one, which finds out whose it is.
  void to_the_end(std::span<const DenoiseRow> rows, std::span<Answer> answers) const {
    std::vector<DeviceCanvas> canvases;
    for (const DenoiseRow& row : rows) {
      auto& s = dynamic_cast<CudaSequence&>(*row.sequence);
      canvases.push_back({.ids = row.request.canvas, .cache = &s.cache, .tables = &s.tables});
    }
    const auto ahead = steps_ahead(network_, facts_, rows, canvases, loop_);
    if (ahead.empty()) return together(rows, answers);
    for (size_t c = 0; c < rows.size(); ++c) {
      auto& s = dynamic_cast<CudaSequence&>(*rows[c].sequence);
      answers[c].result.statistics = ahead[c]->statistics.front();
      s.prediction.reset();
      s.ahead = ahead[c];
      s.asked = 1;
    }
  }

  /// Logits [L, V], and statistics that are made of them there.
  void on_host(const StepRequest& request, const float* logits, Answer& answer) const {
    try {
      std::vector<float> host(request.canvas.size() * vocabulary());
      network_.check(network_.device()->download(host.data(), logits, static_cast<int64_t>(host.size() * sizeof(float))));
      if (needs_host(request)) compute_row_statistics(host, facts_.vocabulary, 0, request.canvas.size(), request.statistics_request(), answer.result.statistics);
      if (request.want_logits) answer.result.logits = std::move(host);
    } catch (...) {
      answer.error = std::current_exception();
    }
  }

  /// Statistics of all rows of a call: what they are made of goes to the device before the forward, so that nothing waits between the two.
  class Statistics {
   public:
    Statistics(const CudaDenoiser& denoiser, std::span<const DenoiseRow> rows, size_t positions) : d_(denoiser), positions_(positions) {
      std::vector<cuda::StatisticsRow> asked;
      for (const DenoiseRow& row : rows) {
        const StepRequest& request = row.request;
        for (size_t p = 0; p < request.canvas.size(); ++p)
          asked.push_back({.draws = request.draw_key.value_or(DrawKey{}), .position = static_cast<uint32_t>(p), .current = request.canvas[p],
                           .inverse_temperature = request.temperature > 0 ? 1 / static_cast<double>(request.temperature) : 1, .greedy = request.temperature == 0});
      }
      // Sent: all rows, and for every canvas a place for its first bad one. Coming back: these and the columns.
      const auto padded = [](size_t bytes) { return (bytes + 255) / 256 * 256; };
      marks_at_ = padded(asked.size() * sizeof asked[0]);
      columns_at_ = marks_at_ + padded(rows.size() * sizeof(int32_t));
      end_ = columns_at_ + positions * kColumns * 4;
      std::vector<std::byte> bytes(columns_at_);
      std::memcpy(bytes.data(), asked.data(), asked.size() * sizeof asked[0]);
      const std::vector<int32_t> none(rows.size(), cuda::kNoBadRow);
      std::memcpy(bytes.data() + marks_at_, none.data(), none.size() * sizeof(int32_t));
      base_ = grown(d_.rows_, d_.network_.device(), static_cast<int64_t>(end_), "statistics").as<std::byte>();
      d_.network_.check(d_.network_.device()->upload(base_, bytes.data(), static_cast<int64_t>(bytes.size())));
    }

    void make(std::span<const DenoiseRow> rows, const float* logits, std::span<Answer> answers) const {
      cuda::Device& device = *d_.network_.device();
      const cuda::StatisticsArrays all = columns_at(base_ + columns_at_, positions_);
      size_t first = 0;
      for (size_t i = 0; i < rows.size(); ++i) {
        const StepRequest& request = rows[i].request;
        const size_t L = request.canvas.size();
        if (!needs_host(request)) {
          cuda::StatisticsArrays mine = wanted_of(all, request.wanted, request.draw_key.has_value());
          const auto shift = [&](auto*&... arrays) { ((arrays = arrays ? arrays + first : nullptr), ...); };
          shift(mine.argmax, mine.argmax_logprob, mine.second, mine.second_logprob, mine.entropy_nats, mine.candidate, mine.candidate_logprob, mine.current_logprob, mine.argmax_logprob_t1, mine.entropy_t1_nats);
          d_.network_.check(device.statistics({.logits = logits + first * d_.vocabulary(), .rows = reinterpret_cast<const cuda::StatisticsRow*>(base_) + first, .num_rows = static_cast<int32_t>(L),
                                               .vocabulary = d_.facts_.vocabulary, .out = mine, .bad_row = reinterpret_cast<int32_t*>(base_ + marks_at_) + i}));
        }
        first += L;
      }
      std::vector<std::byte> back(end_ - marks_at_);
      d_.network_.check(device.download(back.data(), base_ + marks_at_, static_cast<int64_t>(back.size())));
      std::vector<int32_t> bad(rows.size());
      std::memcpy(bad.data(), back.data(), bad.size() * sizeof(int32_t));
      const cuda::StatisticsArrays host = columns_at(back.data() + (columns_at_ - marks_at_), positions_);
      first = 0;
      for (size_t i = 0; i < rows.size(); ++i) {
        const StepRequest& request = rows[i].request;
        if (bad[i] != cuda::kNoBadRow) answers[i].error = non_finite(bad[i]);
        if (needs_host(request)) answers[i].result.statistics.resize(request.canvas.size(), request.wanted);
        else take_statistics(host, first, request, answers[i].result.statistics);
        first += request.canvas.size();
      }
    }

   private:
    const CudaDenoiser& d_;
    size_t positions_, marks_at_ = 0, columns_at_ = 0, end_ = 0;
    std::byte* base_ = nullptr;
  };

  mutable CudaNetwork network_;
  DenoiserFacts facts_;
  std::shared_ptr<std::atomic<size_t>> alive_ = std::make_shared<std::atomic<size_t>>(0);  // sequences
  mutable std::mutex turn_, waiting_lock_;
  mutable std::vector<Call*> waiting_;
  mutable std::unique_ptr<DeviceMemory> rows_, loop_;  // of one call, kept for the next
};

}  // namespace

std::unique_ptr<Denoiser> cuda_denoiser(CudaNetwork network, DenoiserFacts facts) { return std::make_unique<CudaDenoiser>(std::move(network), std::move(facts)); }

}  // namespace canvaslab
