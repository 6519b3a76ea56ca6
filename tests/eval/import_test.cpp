// Completions of other programs: both formats, grading, what is refused, and that the run serves like our own.
#include "eval/import.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/h5.h"
#include "eval/compare.h"
#include "eval/dataset.h"
#include "eval/export.h"
#include "tests/support/temporary.h"

namespace canvaslab {
namespace {

/// Right when the first token is the item's number.
class Counted final : public Dataset {
 public:
  std::vector<Example> load() const override {
    std::vector<Example> out(4);
    for (size_t i = 0; i < out.size(); ++i) out[i].id = "q" + std::to_string(i), out[i].has_ids = true;
    return out;
  }
  ScoreFacts score_facts() const override { return {.name = "correct", .unit = "fraction", .metrics = {{.name = "length", .unit = "tokens"}}, .texts = {}, .is_quality = true}; }
  Score score(const Example& example, std::span<const int32_t> tokens, const Denoiser&) const override {
    return {.value = !tokens.empty() && "q" + std::to_string(tokens[0]) == example.id ? 1.0 : 0.0, .metrics = {static_cast<double>(tokens.size())}};
  }
  std::string content_hash() const override { return "counted"; }
};
[[maybe_unused]] const bool registered = datasets().add({.name = "counted_for_import", .summary = "", .source = "ours", .aliases = {}, .parameters = {}, .facts = {},
                                                         .make = [](const Options&) { return std::make_unique<Counted>(); }});

/// A line as lm-evaluation-harness writes it.
std::string harness_line(int doc, const std::string& filter, double exact, const std::string& response = "The answer is 4.") {
  return fmt::format(R"({{"doc_id": {}, "doc": {{"question": "2+2?", "key": "k{}"}}, "target": "4", "arguments": {{"gen_args_0": {{"arg_0": "2+2?", "arg_1": {{"until": []}}}}}}, "resps": [["{}"]], )"
                     R"("filtered_resps": ["4"], "filter": "{}", "metrics": ["exact_match"], "doc_hash": "d{}", "prompt_hash": "p", "target_hash": "t", "exact_match": {}}})",
                     doc, doc, response, filter, doc, exact) + "\n";
}

class Import : public ::testing::Test {
 protected:
  ImportOutcome import(const std::string& text, ImportOptions options = {}, const std::string& run = "run") {
    write_file(folder / "in.jsonl", text);
    return import_run(folder / "in.jsonl", options, folder / run);
  }
  std::string refusal(const std::string& text, const ImportOptions& options = {}, ExitCode code = ExitCode::kBadInput) {
    try {
      import(text, options, "refused");
    } catch (const UserError& error) {
      EXPECT_EQ(error.code(), code) << error.what();
      EXPECT_FALSE(std::filesystem::exists(folder / "refused/run.h5"));
      return error.what();
    }
    return "no error";
  }
  TemporaryFolder folder;
};

TEST_F(Import, EveryFilterOfAHarnessFileIsAConfiguration) {
  std::string text;
  for (int doc = 0; doc < 5; ++doc) text += harness_line(doc, "strict-match", doc % 2) + harness_line(doc, "flexible-extract", 1);
  const auto outcome = import(text);
  EXPECT_EQ(outcome.num_samples, 10u);
  EXPECT_EQ(outcome.num_items, 5u);
  EXPECT_EQ(outcome.score_name, "exact_match");
  const RunScores run = read_run_scores(folder / "run");
  ASSERT_EQ(run.configs.size(), 2u);
  EXPECT_EQ(run.quality_name, "exact_match");
  EXPECT_DOUBLE_EQ(run.configs[0].quality, 0.4);
  EXPECT_DOUBLE_EQ(run.configs[1].quality, 1);
  EXPECT_TRUE(run.configs[0].settings.starts_with("config=imported; file=in.jsonl; file_sha256=")) << run.configs[0].settings;
  EXPECT_TRUE(run.configs[1].settings.ends_with("; filter=flexible-extract")) << run.configs[1].settings;
  const H5Reader file(folder / "run/run.h5");
  const auto begin = file.read<uint64_t>("samples/completion_begin");
  const auto length = file.read<uint32_t>("samples/completion_len");
  const auto bytes = file.read<uint8_t>("text/completion_bytes");
  EXPECT_EQ(std::string(bytes.begin() + static_cast<ptrdiff_t>(begin[3]), bytes.begin() + static_cast<ptrdiff_t>(begin[3] + length[3])), "The answer is 4.");
  // One filter only, in a run of its own; then paired with the other: 3 items flip, two-sided binomial 2 / 2^3.
  import(text, {.filter = "strict-match"}, "strict");
  import(text, {.filter = "flexible-extract"}, "flexible");
  const auto compared = compare_runs(read_run_scores(folder / "strict"), read_run_scores(folder / "flexible"), {});
  ASSERT_EQ(compared.pairs.size(), 1u);
  EXPECT_EQ(compared.pairs[0].only_b, (std::vector<std::string>{"0", "2", "4"}));
  EXPECT_NEAR(compared.pairs[0].mcnemar.exact, 0.25, 1e-12);
}

TEST_F(Import, TheDataSetGradesWhereItHasAnswers) {
  const std::string lines = "{\"id\": \"q0\", \"completion\": \"zero\", \"token_ids\": [0, 7]}\n{\"id\": \"q1\", \"completion\": \"two\", \"token_ids\": [2]}\n"
                            "{\"id\": \"q1\", \"completion\": \"one\", \"token_ids\": [1], \"repeat\": 1}\n{\"id\": \"q3\", \"completion\": \"three\", \"token_ids\": [3]}\n";
  const auto outcome = import(lines, {.dataset = "counted_for_import"});
  EXPECT_EQ(outcome.notes, std::vector<std::string>{"1 of 4 items have no completion in the file"});
  const RunScores run = read_run_scores(folder / "run");
  EXPECT_EQ(run.score_name, "correct");
  EXPECT_EQ(run.items.size(), 4u);
  EXPECT_EQ(run.configs[0].items.at("q1").count, 2);
  EXPECT_EQ(run.configs[0].items.at("q1").mean, 0.5);
  EXPECT_NEAR(run.configs[0].quality, 2.5 / 3, 1e-15);
  EXPECT_EQ(H5Reader(folder / "run/run.h5").read<double>("metrics/length"), (std::vector<double>{2, 1, 1, 1}));
  // Told so, the file's number counts instead.
  import("{\"id\": \"q0\", \"completion\": \"\", \"rating\": 7}\n", {.dataset = "counted_for_import", .metric = "rating"}, "rated");
  EXPECT_EQ(read_run_scores(folder / "rated").configs[0].quality, 7);
}

TEST_F(Import, TheRunIsExportedAndComesBackTheSame) {
  std::string text;
  for (int doc = 0; doc < 5; ++doc) text += harness_line(doc, "none", doc % 2);
  import(text);
  const auto files = export_run(folder / "run", "json", folder / "export");
  EXPECT_EQ(files.size(), 2u);
  // And back: what is exported is imported to the same scores.
  import(read_file(files[1]), {}, "again");
  const RunScores first = read_run_scores(folder / "run"), again = read_run_scores(folder / "again");
  ASSERT_EQ(again.items.size(), 5u);
  for (const auto& [id, item] : first.configs[0].items) EXPECT_EQ(again.configs[0].items.at(id).mean, item.mean) << id;
  EXPECT_FALSE(export_run(folder / "run", "csv", folder / "export").empty());
  EXPECT_FALSE(export_run(folder / "run", "markdown", folder / "export").empty());
}

TEST_F(Import, WhatIsWrongIsNamedWithItsLineAndField) {
  const std::string good = "{\"id\": \"a\", \"completion\": \"x\", \"score\": 1}\n";
  const auto says = [&](const std::string& text, const std::string& what, const ImportOptions& options = {}, ExitCode code = ExitCode::kBadInput) {
    const std::string told = refusal(text, options, code);
    EXPECT_NE(told.find(what), std::string::npos) << told;
  };
  says(good + "{\"id\": \"b\", \"completion\": 3, \"score\": 1}\n", "in.jsonl:2: field 'completion' must be a text, got number");
  says(good + "{\"id\": \"b\", \"score\": 1}\n", "in.jsonl:2: field 'completion' is missing");
  says(good + "\n{\"id\": \"b\", \n", "in.jsonl:3: expected a JSON object, got malformed JSON");
  says(good + "[1]\n", "in.jsonl:2: expected a JSON object, got array");
  says(good + "{\"completion\": \"x\"}\n", "in.jsonl:2: has neither 'doc_id'");
  says(good + "{\"id\": \"a\", \"completion\": \"y\", \"score\": 1}\n", "in.jsonl:2: id 'a' occurs twice, first in line 1");
  says(good + "{\"id\": \"b\", \"completion\": \"y\"}\n", "in.jsonl:2: field 'score' is missing; line 1 has it as a metric");
  says(good + "{\"id\": \"b\", \"completion\": \"y\", \"score\": 1, \"f1\": 2}\n", "in.jsonl:2: field 'f1' is a metric here");
  says(good + "{\"id\": \"b\", \"completion\": \"y\", \"score\": 1, \"repeat\": -1}\n", "field 'repeat' must be a whole number from 0");
  says("{\"doc_id\": 0, \"resps\": [[]], \"exact_match\": 1}\n", "in.jsonl:1: field 'resps' holds no response");
  says("{\"doc_id\": 0, \"resps\": [[\"a\"]], \"metrics\": [\"f1\"], \"f1\": \"high\"}\n", "in.jsonl:1: field 'f1' is listed as a metric and must be a number");
  says("\n", "holds no lines");
  says("{\"id\": \"q9\", \"completion\": \"x\", \"token_ids\": [1]}\n", "1 ids are not in data set 'counted_for_import': 'q9' (line 1)", {.dataset = "counted_for_import"});
  says("{\"id\": \"q1\", \"completion\": \"x\"}\n", "in.jsonl:1: the data set grades token ids, but the line has no 'token_ids'", {.dataset = "counted_for_import"}, ExitCode::kUsage);
  says("{\"id\": \"a\", \"completion\": \"x\"}\n", "there is nothing to score by", {}, ExitCode::kUsage);
  says("{\"id\": \"a\", \"completion\": \"x\", \"f1\": 1, \"f2\": 1}\n", "has several metrics; say with --metric which is the score: f1, f2", {}, ExitCode::kUsage);
  says(good, "the file has no such metric", {.metric = "scor"}, ExitCode::kUsage);
  says(harness_line(0, "strict", 1), "did you mean 'strict'?", {.filter = "strickt"}, ExitCode::kUsage);
  import(good);
  EXPECT_THROW(import(good), UserError) << "a run is never overwritten";
}

TEST_F(Import, AFieldOfTheDocumentNamesTheItem) {
  import(harness_line(0, "none", 1) + harness_line(1, "none", 0), {.id_field = "key"});
  EXPECT_EQ(read_run_scores(folder / "run").items, (std::vector<std::string>{"k0", "k1"}));
}

}  // namespace
}  // namespace canvaslab
