// joined: several data sets in one sweep file, each with the samples it has alone.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "core/error.h"
#include "core/text/chat.h"
#include "eval/category_rates.h"
#include "eval/datasets/joined.h"
#include "eval/export.h"
#include "eval/merge.h"
#include "eval/results.h"
#include "tests/support/ascii_text.h"
#include "tests/support/h5_contents.h"
#include "tests/support/temporary.h"

namespace canvaslab {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(Joined, ItemsAreGradedByTheirOwnDataSet) {
  const auto dataset = datasets().make("joined(set(arithmetic(items=5), label=sums), sudoku(level=1, items=4))");
  dataset->use_text(testing::ascii_decoder(false));
  const auto denoiser = denoisers().make("uniform(alphabet=4)");
  std::map<std::string, int> count;
  std::set<std::string> ids;
  for (const auto& example : dataset->load()) {
    ++count[example.set];
    EXPECT_TRUE(ids.insert(example.id).second) << example.id;
    EXPECT_TRUE(example.id.starts_with(example.set + "/")) << example.id;
    EXPECT_TRUE(example.category.starts_with(example.set)) << example.category;
    std::vector<int32_t> tokens(example.reference.begin(), example.reference.end());
    tokens.push_back(1);
    EXPECT_EQ(dataset->score(example, tokens, *denoiser).value, 1) << example.id;
    tokens.front() = '#';
    EXPECT_EQ(dataset->score(example, tokens, *denoiser).value, 0) << example.id;
  }
  EXPECT_EQ(count, (std::map<std::string, int>{{"sums", 5}, {"sudoku", 4}}));
}

TEST(Joined, TheHashHoldsThoseOfItsParts) {
  const auto alone = datasets().make("arithmetic(items=5)")->content_hash(), other = datasets().make("sudoku(items=4)")->content_hash();
  const auto hash = datasets().make("joined(set(arithmetic(items=5), label=sums), sudoku(items=4))")->content_hash();
  EXPECT_EQ(hash_of_set(hash, "sums"), alone);
  EXPECT_EQ(hash_of_set(hash, "sudoku"), other);
  EXPECT_EQ(hash_of_set(hash, ""), hash);
  EXPECT_THROW(hash_of_set(hash, "arithmetic"), std::invalid_argument);
  EXPECT_THROW(hash_of_set("joined sums 99999:short", "sums"), std::invalid_argument);
}

TEST(Joined, KeysOfASingleDataSetAreWhatTheyWere) {
  const TemporaryFolder folder;
  write_file(folder / "plan.toml", "[run]\nname = \"old\"\nseed = [1, 7]\nrepeats = 2\n[denoiser]\nmodel = \"hmm(states=3, alphabet=5)\"\n[dataset]\nname = \"source(items=6)\"\nsubset = 4\n"
                                   "[grid]\nsampler = [\"entropy_bound(0.1)\", \"fixed_step\"]\nsteps = 2\ncanvas_length = 4\n");
  SweepOptions options;
  options.out_dir = folder / "run";
  const H5Reader file(run_sweep(prepare_sweep(read_sweep(folder / "plan.toml", {}), nullptr), options).results_path);
  // Over all content keys, written by the program before files could name several data sets.
  EXPECT_EQ(file.text_attribute("/", "samples_sha256"), "29fab31c9ad1daf562426f0d8226b8a5b9637b75dbcb8c52866b672683da77a7");
  EXPECT_FALSE(file.has("data_sets"));
  EXPECT_FALSE(file.has("items/data_set"));
}

// --- whole runs

/// Asks something else than the model that comes with a sweep, and says when it was asked.
class Refusing final : public Denoiser {
 public:
  explicit Refusing(const Denoiser& other) : facts_(other.facts()), hash_(other.content_hash()) {}
  const DenoiserFacts& facts() const override { return facts_; }
  std::unique_ptr<Sequence> prefill(const Prompt&) const override { throw std::runtime_error("the denoiser was asked"); }
  std::vector<StepResult> denoise(std::span<const DenoiseRow>) const override { throw std::runtime_error("the denoiser was asked"); }
  std::vector<float> append(Sequence&, std::span<const int32_t>, bool) const override { throw std::runtime_error("the denoiser was asked"); }
  std::string content_hash() const override { return hash_; }

 private:
  DenoiserFacts facts_;
  std::string hash_;
};

/// Cannot grade some items.
class Failing final : public Dataset {
 public:
  Failing(std::unique_ptr<Dataset> inner, size_t every) : inner_(std::move(inner)), every_(every) {}
  std::vector<Example> load() const override { return inner_->load(); }
  ScoreFacts score_facts() const override { return inner_->score_facts(); }
  Score score(const Example& example, std::span<const int32_t> tokens, const Denoiser& denoiser) const override {
    if (example.number % every_ == 0) throw std::runtime_error("the sandbox broke");
    return inner_->score(example, tokens, denoiser);
  }
  std::vector<std::string> texts(const Example& example, std::span<const int32_t> tokens, const Denoiser& denoiser) const override { return inner_->texts(example, tokens, denoiser); }
  std::string content_hash() const override { return inner_->content_hash(); }

 private:
  std::unique_ptr<Dataset> inner_;
  size_t every_;
};

/// A model that writes a letter from A to D at random, and two files of questions: one with categories, one without.
class JoinedRun : public ::testing::Test {
 protected:
  static constexpr size_t kLetters = 24, kOthers = 10;
  void SetUp() override {
    text_ = std::make_shared<const TextModel>(*TextModel::load(CANVASLAB_SOURCE_DIR "/tests/fixtures/text/gemma_like.json"));
    const Tokenizer& tokenizer = text_->tokenizer();
    Json tokens = Json::array(), letters;
    for (const int32_t id : tokenizer.encode("The answer is (")) tokens.push_back(id);
    const std::string place = std::to_string(tokens.size());
    tokens.push_back(nullptr);
    for (const int32_t id : tokenizer.encode(").")) tokens.push_back(id);
    tokens.push_back(*tokenizer.id("<turn|>"));
    for (const char* letter : {"A", "B", "C", "D"}) letters[std::to_string(*tokenizer.id(letter))] = 30;
    write_file(folder_ / "script.json", json_text(Json{{"vocabulary", tokenizer.size()}, {"canvas_length", tokens.size()}, {"end_ids", {*tokenizer.id("<turn|>")}},
                                                       {"canvases", {{{{"tokens", tokens}, {"peak", 30}, {"logits", {{place, letters}}}}}}}}));
    write_questions("letters.jsonl", kLetters, true), write_questions("others.jsonl", kOthers, false);
  }
  void write_questions(const std::string& name, size_t count, bool categories) const {
    std::string lines;
    for (size_t i = 0; i < count; ++i) {
      Json line = {{"id", fmt::format("q{}", i)}, {"prompt", fmt::format("Which letter is number {}?", i)}, {"answer", std::string(1, static_cast<char>('A' + i * 7 % 4))}, {"options", {"a", "b", "c", "d"}}};
      if (categories) line["category"] = i % 3 ? "vowels" : "others";
      lines += json_text(line) + "\n";
    }
    write_file(folder_ / name, lines);
  }
  std::string letters() const { return fmt::format("[[dataset]]\nname = \"jsonl(file='{}', rule=choice)\"\nlabel = \"letters\"\n", folder_ / "letters.jsonl"); }
  std::string others(const std::string& more = "") const { return fmt::format("[[dataset]]\nname = \"jsonl(file='{}', rule=choice)\"\n{}", folder_ / "others.jsonl", more); }
  SweepPlan plan(const std::string& sets, const std::vector<std::string>& set = {}, const std::string& run = "") const {
    write_file(folder_ / "plan.toml", fmt::format("[run]\nname = \"two\"\nseed = 1\n{}[denoiser]\nmodel = \"scripted(path='{}')\"\n{}[grid]\nsampler = \"fixed_step\"\nsteps = 1\nemission = \"canvas\"\n"
                                                  "temperature = [1, 2]\n", run, folder_ / "script.json", sets));
    return read_sweep(folder_ / "plan.toml", set);
  }
  PreparedSweep prepare(const std::string& sets, const std::vector<std::string>& set = {}) const { return prepare_sweep(plan(sets, set), text_); }
  SweepOptions into(const std::string& name) const {
    SweepOptions options;
    options.out_dir = folder_ / name;
    options.threads = 2;
    return options;
  }
  std::string mistake(const std::string& sets, const std::vector<std::string>& set = {}) const {
    try {
      prepare(sets, set);
      return "no error";
    } catch (const UserError& error) {
      EXPECT_EQ(error.code(), ExitCode::kUsage) << error.what();
      return error.what();
    }
  }
  TemporaryFolder folder_;
  PromptEncoder text_;
};

TEST_F(JoinedRun, EachDataSetHasTheSamplesItHasAlone) {
  const PreparedSweep both = prepare(letters() + others("subset = 6\n"));
  ASSERT_EQ(both.examples.size(), kLetters + 6);
  const auto alone = run_sweep(prepare_sweep(plan(fmt::format("[dataset]\nname = \"jsonl(file='{}', rule=choice)\"\nsubset = 6\n", folder_ / "others.jsonl")), text_), into("alone"));
  const auto joined = run_sweep(both, into("both"));
  const H5Reader a(alone.results_path), b(joined.results_path);
  std::map<std::string, std::vector<int32_t>> tokens;  // by settings and id
  const auto visit = [](const H5Reader& file, auto take) {
    const auto config = file.read<uint32_t>("samples/config_idx"), item = file.read<uint32_t>("samples/item_idx"), count = file.read<uint32_t>("samples/num_tokens");
    const auto begin = file.read<uint64_t>("samples/ids_begin");
    const auto ids = file.read<int32_t>("text/ids");
    const auto names = file.read_strings("items/item_id"), settings = file.read_strings("config/settings");
    for (size_t i = 0; i < config.size(); ++i) take(settings[config[i]] + names[item[i]], std::vector<int32_t>(ids.begin() + static_cast<ptrdiff_t>(begin[i]), ids.begin() + static_cast<ptrdiff_t>(begin[i] + count[i])));
  };
  visit(b, [&](const std::string& name, const std::vector<int32_t>& ids) { tokens[name] = ids; });
  size_t same = 0;
  const auto names = a.read_strings("items/item_id");
  visit(a, [&](const std::string& name, const std::vector<int32_t>& ids) {
    const size_t id = name.rfind("q");
    same += tokens.at(name.substr(0, id) + "jsonl/" + name.substr(id)) == ids;
  });
  EXPECT_EQ(same, 12u);
  // And by key, which is what a resumed or merged run goes by.
  std::set<Sha256> keys;
  for (const auto& task : shard_tasks(both, 1, 1)) keys.insert(task.key);
  EXPECT_EQ(keys.size(), 2 * (kLetters + 6)) << "no two samples share a key";
  const PreparedSweep one = prepare_sweep(plan(fmt::format("[dataset]\nname = \"jsonl(file='{}', rule=choice)\"\n", folder_ / "letters.jsonl")), text_);
  for (const auto& task : shard_tasks(one, 1, 1)) EXPECT_TRUE(keys.contains(task.key));
}

TEST_F(JoinedRun, RatesStandByDataSetAndCategory) {
  const std::string path = run_sweep(prepare(letters() + others()), into("run")).results_path;
  const H5Reader file(path);
  const auto item = file.read<uint32_t>("samples/item_idx"), config = file.read<uint32_t>("samples/config_idx");
  const auto score = file.read<double>("samples/score");
  const auto set = file.read_strings("items/data_set"), category = file.read_strings("items/category");
  std::map<std::string, std::pair<double, int64_t>> expected;
  for (size_t i = 0; i < item.size(); ++i) {
    if (config[i] != 0) continue;
    std::set<std::string> parts = {"all", set[item[i]], category[item[i]]};
    for (const auto& part : parts) expected[part].first += score[i], ++expected[part].second;
  }
  std::vector<std::string> names;
  for (const auto& row : category_rates(file)) {
    if (row.config_idx != 0) continue;
    names.push_back(row.category);
    EXPECT_EQ(row.num_items, expected.at(row.category).second) << row.category;
    EXPECT_DOUBLE_EQ(row.accuracy, expected[row.category].first / static_cast<double>(expected[row.category].second)) << row.category;
  }
  EXPECT_EQ(names, (std::vector<std::string>{"all", "jsonl", "letters", "letters/others", "letters/vowels"}));
  export_run(path, "markdown", folder_ / "md");
  EXPECT_THAT(read_file(folder_ / "md/results.md"), AllOf(HasSubstr("| 0 | letters | 24 |"), HasSubstr("| 0 | letters/vowels | 16 |"), HasSubstr("| 0 | jsonl | 10 |")));
  export_run(path, "csv", folder_ / "csv");
  EXPECT_THAT(read_file(folder_ / "csv/data_sets.csv"), HasSubstr("letters"));
  const auto json = export_run(path, "json", folder_ / "json");
  const Json results = parse_json(read_file(json.at(0)));
  for (const char* task : {"letters", "jsonl"}) EXPECT_DOUBLE_EQ(results["results"][task]["accuracy,none"].get<double>(), expected[task].first / static_cast<double>(expected[task].second)) << task;
  EXPECT_EQ(results["group_subtasks"]["joined"], (Json{"letters", "jsonl"}));
  EXPECT_EQ(results["n-samples"]["jsonl"]["original"], kOthers);
  EXPECT_EQ(results["groups"]["joined"]["accuracy,none"], file.read<double>("aggregates/accuracy").at(0));
  EXPECT_NE(results["task_hashes"]["letters"], results["task_hashes"]["jsonl"]);
  const std::string lines = read_file(folder_ / "json/samples_jsonl_config-0.jsonl");
  EXPECT_EQ(static_cast<size_t>(std::count(lines.begin(), lines.end(), '\n')), kOthers);
}

TEST_F(JoinedRun, StoppedShardedOrWholeTheResultsAreTheSame) {
  const PreparedSweep sweep = prepare(letters() + others("subset = 6\n"));
  const std::string whole = run_sweep(sweep, into("whole")).results_path;
  SweepOptions options = into("stopped");
  std::atomic<int> stop{0};
  options.interrupt = &stop, options.threads = 1;
  size_t done = 0;
  options.on_progress = [&](const ProgressMeter&) { stop = ++done == 13; };
  EXPECT_TRUE(run_sweep(sweep, options).interrupted);
  options.interrupt = nullptr;
  const auto finished = run_sweep(sweep, options);
  EXPECT_EQ(finished.already_done, 13u);
  EXPECT_EQ(h5_difference(whole, finished.results_path), "");
  std::vector<ShardJournal> journals;
  for (uint32_t shard = 1; shard <= 2; ++shard) {
    SweepOptions part = into("parts");
    part.shard = shard, part.num_shards = 2;
    run_sweep(sweep, part);
  }
  for (const auto& path : find_shards(folder_ / "parts")) journals.push_back(read_shard(path));
  const PreparedSweep read_back = prepare_sweep(plan_of_journal(journals[0]), text_);
  EXPECT_EQ(read_back.header, sweep.header);
  const Merged merged = merge_shards(read_back, journals);
  write_results(read_back, merged.samples, folder_ / "merged.h5", into("parts"), {});
  EXPECT_EQ(h5_difference(whole, folder_ / "merged.h5"), "");
}

TEST_F(JoinedRun, ADataSetMoreCostsOnlyItsOwnSamples) {
  run_sweep(prepare(letters()), into("before"));
  PreparedSweep both = prepare(letters() + others());
  const std::string fresh = run_sweep(both, into("fresh")).results_path;
  SweepOptions options = into("after");
  options.reuse = {folder_ / "before"};
  const auto outcome = run_sweep(both, options);
  EXPECT_EQ(outcome.reused, 2 * kLetters);
  EXPECT_EQ(outcome.ran, 2 * (kLetters + kOthers));
  EXPECT_EQ(h5_difference(fresh, outcome.results_path), "");
  // Everything taken over: nothing is asked.
  options = into("again");
  options.reuse = {folder_ / "after"};
  both.denoiser = std::make_unique<Refusing>(*both.denoiser);
  const auto again = run_sweep(both, options);
  EXPECT_EQ(again.failed, 0u);
  EXPECT_EQ(h5_difference(fresh, again.results_path), "");
  options = into("nothing");
  options.reuse = {folder_ / "nowhere"};
  EXPECT_THROW(run_sweep(both, options), UserError);
}

TEST_F(JoinedRun, WhatCouldNotBeGradedIsGradedLaterWithoutBeingGenerated) {
  PreparedSweep sweep = prepare(letters() + others());
  const std::string whole = run_sweep(sweep, into("whole")).results_path;
  auto dataset = std::exchange(sweep.dataset, nullptr);
  sweep.dataset = std::make_unique<Failing>(std::move(dataset), 5);
  const auto broken = run_sweep(sweep, into("run"));
  EXPECT_EQ(broken.failed, 2u * (5 + 2));  // items 0, 5, ... of 24 and of 10
  const H5Reader file(broken.results_path);
  const auto failed = file.read<uint8_t>("samples/failed");
  const auto tokens = file.read<uint32_t>("samples/num_tokens");
  std::vector<uint64_t> rows;
  for (size_t i = 0; i < failed.size(); ++i) {
    EXPECT_EQ(tokens[i] == 0, failed[i] == 1) << i;
    if (failed[i]) rows.push_back(i);
  }
  EXPECT_EQ(file.read<uint64_t>("failures/sample"), rows);
  const auto errors = file.read_strings("failures/error");
  ASSERT_EQ(errors.size(), rows.size());
  for (const auto& error : errors) EXPECT_NE(error.find("the sandbox broke"), std::string::npos) << error;
  EXPECT_FALSE(H5Reader(whole).has("failures")) << "only where some failed";
  PreparedSweep mended = prepare(letters() + others());
  mended.denoiser = std::make_unique<Refusing>(*mended.denoiser);
  const auto finished = run_sweep(mended, into("run"));
  EXPECT_EQ(finished.failed, 0u);
  EXPECT_EQ(finished.reused, broken.failed);
  EXPECT_EQ(h5_difference(whole, finished.results_path), "");
}

TEST_F(JoinedRun, OneEntryIsSetByItsNumber) {
  EXPECT_EQ(prepare(letters() + others(), {"dataset.1.subset=3", "dataset.0.label=abc"}).examples.size(), kLetters + 3);
  EXPECT_EQ(prepare(letters() + others(), {"dataset.0.label=abc"}).examples.front().id, "abc/q0");
  for (const char* set : {"dataset.2.subset=3", "dataset.name=x", "dataset.subset=3", "dataset.1=3"}) EXPECT_THAT(mistake(letters() + others(), {set}), HasSubstr("'dataset' is a list of 2 tables in the file; say which, from 0")) << set;
}

TEST_F(JoinedRun, FirstItemsAreThoseOfEachDataSet) {
  auto plan_of_five = plan(letters() + others());
  plan_of_five.limit = 5;
  const auto sweep = prepare_sweep(std::move(plan_of_five), text_);
  std::vector<std::string> ids;
  for (const auto& example : sweep.examples) ids.push_back(example.id);
  EXPECT_EQ(ids, (std::vector<std::string>{"letters/q0", "letters/q1", "letters/q2", "jsonl/q0", "jsonl/q1"}));
}

TEST_F(JoinedRun, MistakesNameLineAndColumn) {
  EXPECT_THAT(mistake(letters() + others("labl = \"x\"\n")), AllOf(HasSubstr("plan.toml:11:1: unknown key 'labl' in [[dataset]]"), HasSubstr("did you mean 'label'?")));
  EXPECT_THAT(mistake(letters() + "[[dataset]]\nname = \"jsnol(file=x)\"\n"), AllOf(HasSubstr("plan.toml:10:8"), HasSubstr("jsonl")));
  EXPECT_THAT(mistake(letters() + others("label = \"letters\"\n")), AllOf(HasSubstr("plan.toml:11:9"), HasSubstr("two data sets are called 'letters'")));
  EXPECT_THAT(mistake(letters() + others("label = \"joined\"\n")), HasSubstr("names all data sets together"));
  EXPECT_THAT(mistake(letters() + "[[dataset]]\nname = \"sudoku(items=9)\"\nsubset = 3\n[[dataset]]\nname = \"sudoku(items=9)\"\nlabel = \"again\"\n"),
              HasSubstr("'sudoku' and 'again' hold the same items")) << "their samples would have one name";
  EXPECT_THAT(mistake(letters() + others("label = \"a/b\"\n")), HasSubstr("plan.toml:11:9: label 'a/b'"));
  EXPECT_THAT(mistake(letters() + others("subset = 0\n")), HasSubstr("plan.toml:11:10: 'subset' is 0"));
  EXPECT_THAT(mistake(letters() + others("subset_seed = 4\n")), HasSubstr("'subset_seed' without 'subset'"));
  EXPECT_THAT(mistake(letters() + others("subset = 11\n")), HasSubstr("'jsonl': subset is 11, but it has 10 items"));
  EXPECT_THAT(mistake(letters() + "[[dataset]]\nname = \"source(items=3)\"\n"), AllOf(HasSubstr("plan.toml:10:8"), HasSubstr("'source' cannot be joined with others"), HasSubstr("divergence")));
  write_file(folder_ / "p.jsonl", "{\"prompt\": \"x\"}\n");
  EXPECT_THAT(mistake(letters() + fmt::format("[[dataset]]\nname = \"prompts(path='{}')\"\n", folder_ / "p.jsonl")), AllOf(HasSubstr("'letters' and 'prompts' cannot be joined"), HasSubstr("'accuracy'")));
  EXPECT_THAT(mistake("dataset = []\n"), HasSubstr("dataset"));
  EXPECT_THAT(mistake(letters() + "[[dataset]]\nname = \"joined(arithmetic)\"\n"), HasSubstr("cannot be part of another"));
}

}  // namespace
}  // namespace canvaslab
