#include "core/network/cuda_denoiser.h"

#include <c10/core/GradMode.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <exception>
#include <limits>
#include <mutex>

namespace canvaslab {
namespace {

constexpr size_t kMostStepsAhead = 1024;              // what is recorded of a step is some kilobytes
constexpr int64_t kMostLogitBytes = int64_t{4} << 30;  // of canvases that go through the network together

/// Steps of a canvas that were made before they were asked for.
struct StepsAhead {
  int32_t canvas_idx = 0;
  SelfConditioning self_conditioning = SelfConditioning::kPrevious;
  StatisticSet wanted;
  DrawKey draws;                             // of step 0
  std::vector<float> temperatures;           // of all steps that were foreseen
  std::vector<std::vector<int32_t>> canvases;  // [steps made][L]
  std::vector<RowStatistics> statistics;     // [steps made]
};

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

/// Arrays of statistics for so many rows, one behind the other: all in four-byte numbers, so that one copy brings them.
constexpr size_t kColumns = 10;
cuda::StatisticsArrays columns_at(void* memory, size_t rows) {
  const auto ints = [&](size_t i) { return static_cast<int32_t*>(memory) + i * rows; };
  const auto floats = [&](size_t i) { return static_cast<float*>(memory) + i * rows; };
  return {.argmax = ints(0), .argmax_logprob = floats(1), .second = ints(2), .second_logprob = floats(3), .entropy_nats = floats(4), .candidate = ints(5), .candidate_logprob = floats(6),
          .current_logprob = floats(7), .argmax_logprob_t1 = floats(8), .entropy_t1_nats = floats(9)};
}

/// Leaves out what nobody wants.
cuda::StatisticsArrays wanted_of(cuda::StatisticsArrays all, StatisticSet wanted, bool draws) {
  if (!wanted.has(Statistic::kMax)) all.argmax = nullptr, all.argmax_logprob = nullptr;
  if (!wanted.has(Statistic::kTop2)) all.second = nullptr, all.second_logprob = nullptr;
  if (!wanted.has(Statistic::kEntropy)) all.entropy_nats = nullptr;
  if (!wanted.has(Statistic::kCandidate) || !draws) all.candidate = nullptr, all.candidate_logprob = nullptr;
  if (!wanted.has(Statistic::kCurrent)) all.current_logprob = nullptr;
  if (!wanted.has(Statistic::kUntempered)) all.argmax_logprob_t1 = nullptr, all.entropy_t1_nats = nullptr;
  return all;
}

/// Columns of rows [first, first + L) into what the request wants.
void take_statistics(const cuda::StatisticsArrays& columns, size_t first, const StepRequest& request, RowStatistics& out) {
  out.resize(request.canvas.size(), request.wanted);
  const auto take = [first](auto& to, const auto* from) { std::copy_n(from + first, to.size(), to.begin()); };
  take(out.argmax, columns.argmax);
  take(out.argmax_logprob, columns.argmax_logprob);
  take(out.second, columns.second);
  take(out.second_logprob, columns.second_logprob);
  take(out.entropy_nats, columns.entropy_nats);
  if (request.draw_key) {
    take(out.candidate, columns.candidate);
    take(out.candidate_logprob, columns.candidate_logprob);
  }
  take(out.current_logprob, columns.current_logprob);
  take(out.argmax_logprob_t1, columns.argmax_logprob_t1);
  take(out.entropy_t1_nats, columns.entropy_t1_nats);
}

/// Why a logit is refused: the first of its canvas that is no number.
std::exception_ptr non_finite(int32_t position) { return std::make_exception_ptr(NonFiniteLogits(static_cast<size_t>(position))); }

bool needs_host(const StepRequest& request) { return request.filters.any() || request.wanted.has(Statistic::kDivergence) || request.wanted.has(Statistic::kAlternative); }

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
      const StepRequest& request = row.request;
      const auto& s = dynamic_cast<const CudaSequence&>(*row.sequence);
      const StepsAhead* ahead = s.ahead.get();
      const auto step = static_cast<size_t>(request.step_idx);
      if (!ahead || step != s.asked || step >= ahead->canvases.size() || request.canvas_idx != ahead->canvas_idx || request.temperature != ahead->temperatures[step] || request.self_conditioning != ahead->self_conditioning) return false;
      DrawKey draws = ahead->draws;
      draws.step_idx += static_cast<uint32_t>(step);
      if (!request.draw_key || *request.draw_key != draws || !(request.wanted == ahead->wanted) || request.want_logits || request.hold_prediction || needs_host(request)) return false;
      if (!std::equal(request.canvas.begin(), request.canvas.end(), ahead->canvases[step].begin(), ahead->canvases[step].end())) return false;
    }
    for (const DenoiseRow& row : call.rows) {
      auto& s = dynamic_cast<CudaSequence&>(*row.sequence);
      s.asked = static_cast<size_t>(row.request.step_idx) + 1;
      call.answers.emplace_back().result.statistics = s.ahead->statistics[s.asked - 1];
    }
    return true;
  }

  /// Whether the steps of this request's canvas can be made in one go.
  bool runs_ahead(const StepRequest& request) const {
    return request.outlook && request.step_idx == 0 && request.outlook->bounds.size() > 1 && request.outlook->bounds.size() <= kMostStepsAhead && request.draw_key && !request.hold_prediction && !request.want_logits &&
           !needs_host(request) && request.self_conditioning != SelfConditioning::kGiven && request.canvas.size() <= static_cast<size_t>(cuda::kMaxCanvas) && request.wanted.has(Statistic::kMax) &&
           request.wanted.has(Statistic::kEntropy) && request.wanted.has(Statistic::kCandidate);
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
        taken[!by_themselves || !runs_ahead(request) ? kOneStep : request.self_conditioning == SelfConditioning::kPrevious ? kLoopFedBack : kLoopAlone].push_back(i);
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
    size_t positions = 0, most_steps = 0;
    StatisticSet wanted;
    for (const DenoiseRow& row : rows) {
      positions += row.request.canvas.size();
      most_steps = std::max(most_steps, row.request.outlook->bounds.size());
      wanted = wanted | row.request.wanted;
    }
    const auto num_canvases = static_cast<int64_t>(rows.size()), S = static_cast<int64_t>(positions), num_banned = static_cast<int64_t>(facts_.banned_ids.size());
    const auto layout = [&](void* base) { return cuda::LoopMemory(base, num_canvases, S, static_cast<int64_t>(most_steps), num_banned); };
    auto* base = grown(loop_, network_.device(), layout(nullptr).bytes, "a canvas's steps").as<std::byte>();
    float* logits = network_.logits(S * row_bytes());
    const cuda::LoopMemory there = layout(base);

    std::vector<std::byte> sent(static_cast<size_t>(there.sent_bytes));
    const cuda::LoopMemory here = layout(sent.data());
    std::copy(facts_.banned_ids.begin(), facts_.banned_ids.end(), here.banned);
    *here.bad_row = cuda::kNoBadRow;
    std::vector<DeviceCanvas> canvases;
    int32_t first = 0;
    for (size_t c = 0; c < rows.size(); ++c) {
      const StepRequest& request = rows[c].request;
      const Outlook& outlook = *request.outlook;
      auto& s = dynamic_cast<CudaSequence&>(*rows[c].sequence);
      canvases.push_back({.ids = request.canvas, .cache = &s.cache, .tables = &s.tables});
      const auto length = static_cast<int32_t>(request.canvas.size());
      here.canvases[c] = {.draws = *request.draw_key, .first = first, .length = length, .num_steps = static_cast<int32_t>(outlook.bounds.size()), .confidence = outlook.confidence, .stability = outlook.stability};
      for (size_t step = 0; step < outlook.bounds.size(); ++step) {
        const float temperature = outlook.temperatures[step];
        here.steps[c * most_steps + step] = {.inverse_temperature = temperature > 0 ? 1 / static_cast<double>(temperature) : 1, .feedback_inverse_temperature = temperature > 0 ? 1 / temperature : 1,
                                             .bound = outlook.bounds[step], .greedy = temperature == 0};
      }
      std::copy(request.canvas.begin(), request.canvas.end(), here.canvas + first);
      std::copy(outlook.allowed.begin(), outlook.allowed.end(), here.allowed + first);
      here.equal_steps[c] = -1;
      first += length;
    }
    network_.check(network_.device()->upload(base, sent.data(), there.sent_bytes));

    const cuda::StatisticsArrays columns = wanted_of(columns_at(there.columns, positions), wanted, true);
    const void* in_order[] = {columns.argmax, columns.argmax_logprob, columns.second, columns.second_logprob, columns.entropy_nats, columns.candidate, columns.candidate_logprob, columns.current_logprob, columns.argmax_logprob_t1,
                              columns.entropy_t1_nats};
    static_assert(std::size(in_order) == kColumns && kColumns + 1 == cuda::kLoopColumns);
    uint32_t bits = 0;
    for (size_t i = 0; i < kColumns; ++i) bits |= in_order[i] ? 1u << i : 0;
    const cuda::LoopCall loop{.canvases = there.canvases, .num_canvases = static_cast<int32_t>(num_canvases), .num_rows = static_cast<int32_t>(S), .most_steps = static_cast<int32_t>(most_steps), .steps = there.steps,
                              .step = there.step, .finished = there.finished, .running = there.running, .feedback_inverse_temperature = there.feedback_inverse_temperature, .statistics_rows = there.statistics_rows,
                              .accept_canvases = there.accept_canvases,
                              .statistics = {.logits = logits, .rows = there.statistics_rows, .num_rows = static_cast<int32_t>(S), .vocabulary = facts_.vocabulary, .out = columns, .bad_row = there.bad_row},
                              .accept = {.canvases = there.accept_canvases, .num_canvases = static_cast<int32_t>(num_canvases), .vocabulary = facts_.vocabulary, .entropy_nats = columns.entropy_nats,
                                         .candidate = columns.candidate, .argmax = columns.argmax, .allowed = there.allowed, .banned_ids = there.banned, .num_banned = static_cast<int32_t>(num_banned),
                                         .mask_id = facts_.absorbing ? facts_.mask_id : -1, .canvas = there.canvas, .accepted = there.accepted, .last_argmax = there.last_argmax, .equal_steps = there.equal_steps,
                                         .stop = there.stop},
                              .columns = there.columns, .wanted = bits, .record = there.record};
    network_.decode_loop(canvases, logits, loop, rows.front().request.self_conditioning == SelfConditioning::kPrevious);

    std::vector<std::byte> back(static_cast<size_t>(there.back_end));
    network_.check(network_.device()->download(back.data() + there.back_at, base + there.back_at, there.back_end - there.back_at));
    const cuda::LoopMemory came = layout(back.data());
    if (*came.bad_row != cuda::kNoBadRow) return together(rows, answers);
    first = 0;
    for (size_t c = 0; c < rows.size(); ++c) {
      const StepRequest& request = rows[c].request;
      auto ahead = std::make_shared<StepsAhead>(StepsAhead{.canvas_idx = request.canvas_idx, .self_conditioning = request.self_conditioning, .wanted = request.wanted, .draws = *request.draw_key,
                                                           .temperatures = {request.outlook->temperatures.begin(), request.outlook->temperatures.end()}, .canvases = {}, .statistics = {}});
      for (int32_t step = 0; step < came.step[c]; ++step) {
        int32_t* record = came.record + static_cast<int64_t>(step) * cuda::kLoopColumns * S;
        ahead->canvases.emplace_back(record + first, record + first + request.canvas.size());
        take_statistics(columns_at(record + S, positions), static_cast<size_t>(first), request, ahead->statistics.emplace_back());
      }
      first += static_cast<int32_t>(request.canvas.size());
      answers[c].result.statistics = ahead->statistics.front();
      auto& s = dynamic_cast<CudaSequence&>(*rows[c].sequence);
      s.prediction.reset();
      s.ahead = std::move(ahead);
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
