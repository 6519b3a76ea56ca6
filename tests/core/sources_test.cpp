// Every exact source against enumeration of all its sequences: laws written down here a second time, in both forms of
// corruption, with the level known and unknown, after a context, and in causal order.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <functional>

#include "core/denoiser.h"
#include "core/sources/automaton.h"
#include "core/sources/hidden_markov.h"
#include "core/sources/source.h"
#include "core/sources/sparse_markov.h"
#include "tests/support/temporary.h"

namespace canvaslab {
namespace {

using Tokens = std::vector<int32_t>;
/// Probability of a sequence from its beginning. Laws made of blocks are called with whole blocks only.
using Law = std::function<double(const Tokens&)>;

Tokens sequence_of(size_t index, size_t length, size_t V) {
  Tokens out(length);
  for (size_t p = length; p-- > 0; index /= V) out[p] = static_cast<int32_t>(index % V);
  return out;
}
size_t power(size_t base, size_t exponent) {
  size_t out = 1;
  while (exponent-- > 0) out *= base;
  return out;
}

struct Case {
  std::string text;
  size_t V, block;  // block 1: any length can be asked of the law
  Law law;
  Tokens context;
  size_t length;  // of the canvas
};

/// A law of one block, repeated.
Law blocks(size_t block, Law one) {
  return [=](const Tokens& all) {
    double p = 1;
    for (size_t first = 0; first < all.size(); first += block)
      p *= one(Tokens(all.begin() + static_cast<ptrdiff_t>(first), all.begin() + static_cast<ptrdiff_t>(first + block)));
    return p;
  };
}
Law with_slip(double slip, double num_blocks, size_t V, std::function<bool(const Tokens&)> holds) {
  return [=](const Tokens& t) { return (holds(t) ? (1 - slip) / num_blocks : 0.0) + slip / static_cast<double>(power(V, t.size())); };
}

bool is_latin(const Tokens& t) {
  const auto n = static_cast<size_t>(std::lround(std::sqrt(t.size())));
  for (size_t a = 0; a < t.size(); ++a)
    for (size_t b = 0; b < a; ++b)
      if (t[a] == t[b] && (a / n == b / n || a % n == b % n)) return false;
  return true;
}

double hidden_markov_law(const Tokens& t) {  // sum over all paths of states
  static const HiddenMarkov s(2, 3, 1.5, 3);
  double total = 0;
  for (size_t code = 0; code < power(2, t.size()); ++code) {
    const Tokens path = sequence_of(code, t.size(), 2);
    double p = 1;
    for (size_t i = 0; i < t.size(); ++i) {
      const auto state = static_cast<size_t>(path[i]);
      p *= i == 0 ? s.stationary()[state] : s.transition()[static_cast<size_t>(path[i - 1]) * 2 + state];
      p *= s.emission()[state * 3 + static_cast<size_t>(t[i])];
    }
    total += p;
  }
  return total;
}

double markov_law(const Tokens& t) {
  static const SparseMarkov s(3, 2, 1.0, 0.05, 4);
  double p = s.stationary()[static_cast<size_t>(t[0])];
  for (size_t i = 1; i < t.size(); ++i) p *= s.transition(t[i - 1], t[i]);
  return p;
}

/// g by two samples of the source under test would be circular: it is read off next_law at the start, and checked to be
/// a law; everything else of copy is written down here.
Law copy_law(size_t V, size_t span, double slip, const std::string& text) {
  const auto denoiser = denoisers().make(text);
  const auto g = denoiser->source()->next_law(denoiser->source()->start());
  return [=](const Tokens& t) {
    double p = 1;
    for (size_t i = 0; i < span; ++i) {
      p *= g[static_cast<size_t>(t[i])];
      p *= (t[i] == t[i + span] ? 1 - slip : 0.0) + slip / static_cast<double>(V);
    }
    return p;
  };
}

std::vector<Case> cases() {
  const std::string copied = "copy(alphabet=3, span=2, sharpness=1, slip=0.1, seed=2)";
  std::vector<Case> out = {
      {"hmm(states=2, alphabet=3, sharpness=1.5, seed=3)", 3, 1, hidden_markov_law, {1, 2}, 4},
      {"markov(alphabet=3, successors=2, sharpness=1, leak=0.05, seed=4)", 3, 1, markov_law, {2}, 4},
      {"markov(alphabet=3, successors=2, sharpness=1, leak=0.05, seed=4)", 3, 1, markov_law, {}, 4},
      {copied, 3, 4, blocks(4, copy_law(3, 2, 0.1, copied)), {0, 1, 1}, 4},
      {copied, 3, 4, blocks(4, copy_law(3, 2, 0.1, copied)), {}, 4},
      {"parity(alphabet=3, block=4, slip=0.1)", 3, 4,
       blocks(4, with_slip(0.1, 27, 3, [](const Tokens& t) { return (t[0] + t[1] + t[2]) % 3 == t[3]; })), {2, 2}, 5},
      {"shuffle(alphabet=3, slip=0.1)", 3, 3,
       blocks(3, with_slip(0.1, 6, 3, [](const Tokens& t) { return t[0] != t[1] && t[1] != t[2] && t[0] != t[2]; })), {0, 2}, 5},
      {"latin_square(order=2, slip=0.2)", 2, 4, blocks(4, with_slip(0.2, 2, 2, is_latin)), {1, 0}, 5},
      {"latin_square(order=3, slip=0.05)", 3, 9, blocks(9, with_slip(0.05, 12, 3, is_latin)), {0, 1, 2}, 6},
  };
  static const std::vector<double> weights = {1, 2, 0, 3, 4, 1, 1, 2, 6};
  out.push_back({"tabulated(path=TABLE)", 3, 2, blocks(2, [](const Tokens& t) { return weights[static_cast<size_t>(t[0] * 3 + t[1])] / 20; }), {1}, 3});
  return out;
}

class EverySource : public ::testing::TestWithParam<size_t> {
 protected:
  void SetUp() override {
    std::ofstream(folder_ / "table.json") << R"({"vocabulary": 3, "block": 2, "weights": [1, 2, 0, 3, 4, 1, 1, 2, 6]})";
    c_ = cases()[GetParam()];
    if (const auto at = c_.text.find("TABLE"); at != std::string::npos) c_.text.replace(at, 5, '"' + (folder_ / "table.json") + '"');
    const size_t end = c_.context.size() + c_.length, whole = (end + c_.block - 1) / c_.block * c_.block;
    prior_.assign(power(c_.V, c_.length), 0.0);
    for (size_t i = 0; i < power(c_.V, whole - c_.context.size()); ++i) {
      const Tokens rest = sequence_of(i, whole - c_.context.size(), c_.V);
      Tokens all = c_.context;
      all.insert(all.end(), rest.begin(), rest.end());
      prior_[i / power(c_.V, whole - end)] += c_.law(all);
    }
    double sum = 0;
    for (double p : prior_) sum += p;
    for (double& p : prior_) p /= sum;
  }
  std::unique_ptr<Denoiser> make(const std::string& more) const { return denoisers().make(c_.text.substr(0, c_.text.size() - 1) + more + ")"); }
  /// Marginals [L, V] of the canvas under prior times likelihood(clean token, position).
  std::vector<double> enumerated(const std::function<double(const Tokens&)>& likelihood) const {
    std::vector<double> out(c_.length * c_.V, 0.0);
    double evidence = 0;
    for (size_t i = 0; i < prior_.size(); ++i) {
      const Tokens clean = sequence_of(i, c_.length, c_.V);
      const double joint = prior_[i] * likelihood(clean);
      evidence += joint;
      for (size_t p = 0; p < c_.length; ++p) out[p * c_.V + static_cast<size_t>(clean[p])] += joint;
    }
    for (double& p : out) p /= evidence;
    return out;
  }
  std::vector<float> ask(const Denoiser& denoiser, const Tokens& canvas, std::optional<double> level) const {
    Prompt prompt;
    prompt.ids = c_.context;
    const auto sequence = denoiser.prefill(prompt);
    DenoiseRow row{.sequence = sequence.get(), .request = {}};
    row.request.canvas = canvas;
    row.request.noise_level = level;
    row.request.want_logits = true;
    return denoiser.denoise(std::span(&row, 1)).front().logits;
  }
  /// f32 logits: the relative error of p is |ln p| 2^-24, below 2e-6 for p > 1e-12. "" when they agree, else the worst.
  static std::string disagreement(std::span<const float> logits, std::span<const double> expected, size_t V, size_t stride) {
    double worst = 0;
    std::string out;
    for (size_t i = 0; i < expected.size(); ++i) {
      const double got = std::exp(static_cast<double>(logits[i / V * stride + i % V]));
      const double excess = std::abs(got - expected[i]) - (2e-6 * expected[i] + 1e-9);
      if (excess > worst || std::isnan(got)) {
        worst = excess;
        out = fmt::format("position {}, token {}: {} instead of {}", i / V, i % V, got, expected[i]);
      }
    }
    return out;
  }

  TemporaryFolder folder_;
  Case c_;
  std::vector<double> prior_;  // [V^L] given the context
};

TEST_P(EverySource, UniformCorruptionAtAKnownAndAnUnknownLevel) {
  const auto denoiser = make(""), agnostic = make(", use_level=off");
  const auto V = static_cast<double>(c_.V);
  const auto likelihood = [&](const Tokens& clean, const Tokens& canvas, double a) {
    double p = 1;
    for (size_t k = 0; k < clean.size(); ++k) p *= a * (clean[k] == canvas[k]) + (1 - a) / V;
    return p;
  };
  for (size_t trial = 0; trial < 12; ++trial) {
    const Tokens canvas = sequence_of(DrawKey{.seed = 5}.below(static_cast<uint32_t>(prior_.size()), Purpose::kResample, static_cast<uint32_t>(trial)), c_.length, c_.V);
    for (double a : {0.0, 0.4, 0.95})
      EXPECT_EQ(disagreement(ask(*denoiser, canvas, a), enumerated([&](const Tokens& t) { return likelihood(t, canvas, a); }), c_.V, c_.V), "")
          << c_.text << " level " << a << " canvas " << fmt::format("{}", fmt::join(canvas, " "));
    // Simpson's rule on 400 steps: error (1/180) 400^-4 times a fourth derivative of a polynomial of degree 6, below 1e-9.
    const auto integrated = enumerated([&](const Tokens& t) {
      double sum = 0;
      for (int k = 0; k <= 400; ++k) sum += likelihood(t, canvas, k / 400.0) * (k == 0 || k == 400 ? 1 : k % 2 ? 4 : 2);
      return sum;
    });
    EXPECT_EQ(disagreement(ask(*denoiser, canvas, std::nullopt), integrated, c_.V, c_.V), "") << c_.text;
    EXPECT_EQ(disagreement(ask(*agnostic, canvas, 0.4), integrated, c_.V, c_.V), "") << "use_level=off ignores what it is told";
    EXPECT_NE(disagreement(ask(*denoiser, canvas, 0.0), enumerated([&](const Tokens& t) { return likelihood(t, canvas, 0.4); }), c_.V, c_.V), "")
        << "a wrong level must show";
  }
}

TEST_P(EverySource, AbsorbingCorruption) {
  const auto denoiser = make(", corruption=absorbing");
  EXPECT_TRUE(denoiser->facts().absorbing);
  EXPECT_EQ(denoiser->facts().mask_id, static_cast<int32_t>(c_.V));
  EXPECT_EQ(denoiser->facts().vocabulary, static_cast<int32_t>(c_.V) + 1);
  for (size_t trial = 0; trial < 30; ++trial) {
    const DrawKey key{.seed = 6, .item = trial};
    Tokens canvas = sequence_of(key.below(static_cast<uint32_t>(prior_.size()), Purpose::kResample, 0), c_.length, c_.V);
    for (size_t p = 0; p < c_.length; ++p)
      if (key.uniform(Purpose::kResample, static_cast<uint32_t>(p), 1) < 0.5) canvas[p] = denoiser->facts().mask_id;
    const auto fits = [&](const Tokens& clean) {
      for (size_t p = 0; p < c_.length; ++p)
        if (canvas[p] != denoiser->facts().mask_id && canvas[p] != clean[p]) return 0.0;
      return 1.0;
    };
    const auto expected = enumerated(fits);
    if (std::isnan(expected[0])) {  // impossible under the table
      EXPECT_THROW(ask(*denoiser, canvas, 0.3), UserError);
      continue;
    }
    for (std::optional<double> level : std::initializer_list<std::optional<double>>{0.3, std::nullopt}) {
      const auto logits = ask(*denoiser, canvas, level);
      EXPECT_EQ(disagreement(logits, expected, c_.V, c_.V + 1), "") << c_.text << " canvas " << fmt::format("{}", fmt::join(canvas, " "));
      for (size_t p = 0; p < c_.length; ++p) EXPECT_EQ(logits[p * (c_.V + 1) + c_.V], -INFINITY) << "the mask is never clean";
    }
  }
}

TEST_P(EverySource, CausalLogitsAndLikelihood) {
  const auto denoiser = make("");
  EXPECT_TRUE(denoiser->facts().has_causal_mode);
  Prompt prompt;
  prompt.ids = c_.context;
  const auto marginal = [&](const Tokens& prefix) {
    double sum = 0;
    for (size_t i = 0; i < prior_.size(); ++i) {
      const Tokens t = sequence_of(i, c_.length, c_.V);
      if (std::equal(prefix.begin(), prefix.end(), t.begin())) sum += prior_[i];
    }
    return sum;
  };
  const auto next = [&](Tokens prefix) {
    std::vector<double> out(c_.V);
    const double before = marginal(prefix);
    prefix.push_back(0);
    for (size_t v = 0; v < c_.V; ++v) prefix.back() = static_cast<int32_t>(v), out[v] = marginal(prefix) / before;
    return out;
  };
  for (size_t i = 0; i < prior_.size(); ++i) {
    const Tokens t = sequence_of(i, c_.length, c_.V);
    const double got = denoiser->source()->log_prob(t, c_.context);
    if (prior_[i] == 0) {
      EXPECT_EQ(got, -INFINITY);
      continue;
    }
    EXPECT_NEAR(got, std::log(prior_[i]), 1e-11 * static_cast<double>(prior_.size())) << c_.text;  // sums of that many terms
    if (i % 7) continue;
    const auto sequence = denoiser->prefill(prompt);
    EXPECT_EQ(disagreement(denoiser->next_logits(*sequence), next({}), c_.V, c_.V), "");
    const auto logits = denoiser->append(*sequence, t, true);
    ASSERT_EQ(logits.size(), t.size() * c_.V);
    for (size_t p = 0; p + 1 < t.size(); ++p)
      EXPECT_EQ(disagreement(std::span(logits).subspan(p * c_.V, c_.V), next(Tokens(t.begin(), t.begin() + static_cast<ptrdiff_t>(p) + 1)), c_.V, c_.V), "") << c_.text;
    const auto after = denoiser->next_logits(*sequence);
    EXPECT_EQ(std::vector<float>(logits.end() - static_cast<ptrdiff_t>(c_.V), logits.end()), after) << "the last row is the law after all of it";
  }
}

TEST_P(EverySource, SamplesPairLawAndEntropy) {
  const auto denoiser = make("");
  const Source& source = *denoiser->source();
  // Whole blocks from the beginning: the law of one block and the first token of the next.
  const size_t B = c_.block == 1 ? 4 : c_.block;
  std::vector<double> law(power(c_.V, B));
  for (size_t i = 0; i < law.size(); ++i) law[i] = c_.law(sequence_of(i, B, c_.V));
  std::vector<double> pairs(c_.V * c_.V, 0.0), first(c_.V, 0.0), last(c_.V, 0.0);
  double entropy = 0;
  for (size_t i = 0; i < law.size(); ++i) {
    const Tokens t = sequence_of(i, B, c_.V);
    if (law[i] > 0) entropy -= law[i] * std::log(law[i]);
    first[static_cast<size_t>(t[0])] += law[i], last[static_cast<size_t>(t.back())] += law[i];
    for (size_t p = 1; p < B; ++p) pairs[static_cast<size_t>(t[p - 1]) * c_.V + static_cast<size_t>(t[p])] += law[i];
  }
  const auto got = source.pair_law();
  for (size_t i = 0; i < pairs.size(); ++i) {
    const double expected = c_.block == 1 ? pairs[i] / static_cast<double>(B - 1) : (pairs[i] + last[i / c_.V] * first[i % c_.V]) / static_cast<double>(B);
    EXPECT_NEAR(got[i], expected, 1e-12) << c_.text << " pair " << i;
  }
  if (c_.block > 1) {
    EXPECT_NEAR(source.entropy_rate_nats(), entropy / static_cast<double>(B), 1e-11) << c_.text;
  }
  if (c_.text.starts_with("markov")) {
    double conditional = 0;
    for (size_t i = 0; i < pairs.size(); ++i) conditional -= pairs[i] / 3 * std::log(pairs[i] / (pairs[i / c_.V * c_.V] + pairs[i / c_.V * c_.V + 1] + pairs[i / c_.V * c_.V + 2]));
    EXPECT_NEAR(source.entropy_rate_nats(), conditional, 1e-12);
  }
  constexpr int kSamples = 20000;
  std::vector<double> count(law.size(), 0.0);
  for (int i = 0; i < kSamples; ++i) {
    const Tokens t = source.sample(B, {.seed = 12, .item = static_cast<uint64_t>(i)});
    size_t index = 0;
    for (int32_t token : t) index = index * c_.V + static_cast<size_t>(token);
    ++count[index];
  }
  double chi_square = 0, rare = 0, rare_count = 0, cells = -1;
  for (size_t i = 0; i < law.size(); ++i) {
    if (kSamples * law[i] < 5) {
      rare += law[i], rare_count += count[i];
      continue;
    }
    ++cells, chi_square += std::pow(count[i] - kSamples * law[i], 2) / (kSamples * law[i]);
  }
  if (kSamples * rare >= 5) ++cells, chi_square += std::pow(rare_count - kSamples * rare, 2) / (kSamples * rare);
  else EXPECT_LT(rare_count, 25);
  // Wilson-Hilferty's chi-square quantile at p = 1e-4: ten comparisons, 0.001 together.
  EXPECT_LT(chi_square, cells * std::pow(1 - 2 / (9 * cells) + 3.72 * std::sqrt(2 / (9 * cells)), 3)) << c_.text << ", " << cells << " degrees of freedom, seed 12";
}

INSTANTIATE_TEST_SUITE_P(Sources, EverySource, ::testing::Range(size_t{0}, size_t{10}),
                         [](const auto& param) { return cases()[param.param].text.substr(0, cases()[param.param].text.find('(')) + std::to_string(param.param); });

TEST(SparseMarkov, IsStationaryAndItsRowsAreLaws) {
  const SparseMarkov s(40, 3, 1, 0.1, 9);
  std::vector<double> next(40, 0.0);
  for (int32_t r = 0; r < 40; ++r) {
    double sum = 0;
    for (int32_t v = 0; v < 40; ++v) sum += s.transition(r, v), next[static_cast<size_t>(v)] += s.stationary()[static_cast<size_t>(r)] * s.transition(r, v);
    EXPECT_NEAR(sum, 1, 1e-12);
  }
  for (size_t v = 0; v < 40; ++v) EXPECT_NEAR(next[v], s.stationary()[v], 1e-13);
}

TEST(Automaton, CountsLatinSquaresAndPermutations) {  // 1, 2, 12, 576, 161280 squares of order 1 to 5
  for (const auto& [text, expected] : {std::pair<std::string, double>{"latin_square(order=4)", 576}, {"latin_square(order=5)", 161280}, {"shuffle(alphabet=10)", 3628800}}) {
    const auto denoiser = denoisers().make(text);
    EXPECT_EQ(dynamic_cast<const Automaton&>(*denoiser->source()).num_blocks(), expected) << text;
  }
}

TEST(SourceDenoiser, RefusesMasksInAContextAndImpossibleCanvases) {
  const auto absorbing = denoisers().make("parity(alphabet=2, block=4, slip=0, corruption=absorbing)");
  const auto sequence = absorbing->prefill({});
  try {
    absorbing->append(*sequence, Tokens{0, 2, 1, 0}, false);
    FAIL();
  } catch (const UserError& error) {
    EXPECT_THAT(error.what(), ::testing::HasSubstr("position 1 holds the mask token 2"));
    EXPECT_EQ(error.code(), ExitCode::kSomeFailed);
  }
  DenoiseRow row{.sequence = sequence.get(), .request = {}};
  const Tokens odd = {1, 0, 0, 0};
  row.request.canvas = odd;
  EXPECT_THROW(absorbing->denoise(std::span(&row, 1)), UserError);
  Prompt prompt;
  prompt.ids = {2};
  EXPECT_THROW(absorbing->prefill(prompt), UserError) << "a prompt holds tokens of the alphabet";
  EXPECT_EQ(absorbing->source()->log_prob(Tokens{2}, {}), -INFINITY);
  const auto causal = denoisers().make("parity(alphabet=2, block=4, slip=0)");
  const auto logits = causal->append(*causal->prefill({}), odd, true);
  EXPECT_TRUE(std::isfinite(logits[5])) << "after three tokens, of which the sum is 1";
  EXPECT_TRUE(std::isnan(logits[6])) << "there is no law behind the impossible";
}

TEST(SourceDenoiser, TheNewParameterLeavesStoredTextsAsTheyWere) {
  EXPECT_EQ(denoisers().canonical("hmm"), "hmm(states=16, alphabet=32, length=32, sharpness=2, seed=1, quadrature=16, use_level=true)");
  EXPECT_THAT(denoisers().canonical("hmm(corruption=absorbing)"), ::testing::EndsWith("corruption=absorbing)"));
  EXPECT_EQ(denoisers().make("hmm")->content_hash(), denoisers().make("hmm(corruption=uniform)")->content_hash());
}

TEST(Tabulated, SaysWhatIsWrongWithItsFile) {
  TemporaryFolder folder;
  const auto error = [&](const std::string& text) -> std::string {
    std::ofstream(folder / "t.json") << text;
    try {
      denoisers().make("tabulated(path=\"" + (folder / "t.json") + "\")");
    } catch (const UserError& e) {
      return e.what();
    }
    return "(nothing was thrown)";
  };
  EXPECT_THAT(error("{"), ::testing::HasSubstr("is no JSON object"));
  EXPECT_THAT(error(R"({"vocabulary": 2, "block": 2, "weigths": []})"), ::testing::HasSubstr("did you mean 'weights'?"));
  EXPECT_THAT(error(R"({"vocabulary": 2, "block": 2, "weights": [1, 2]})"), ::testing::HasSubstr("must list 4 numbers"));
  EXPECT_THAT(error(R"({"vocabulary": 2, "block": 1, "weights": [1, -2]})"), ::testing::HasSubstr("weights[1]"));
  EXPECT_THAT(error(R"({"vocabulary": 2, "block": 1, "weights": [0, 0]})"), ::testing::HasSubstr("allows no sequence"));
  EXPECT_THAT(error(R"({"vocabulary": 256, "block": 9, "weights": []})"), ::testing::HasSubstr("more than 65536 sequences"));
  EXPECT_THAT(error(R"({"vocabulary": 2, "block": 0, "weights": []})"), ::testing::HasSubstr("'block' must be a whole number"));
}

}  // namespace
}  // namespace canvaslab
