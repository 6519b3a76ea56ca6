// Data files of independent writers (make_data_files.py: csv, json, pickle, pyarrow), and damaged ones.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "core/error.h"
#include "core/file_digest.h"
#include "eval/data_check.h"
#include "eval/packed_text.h"
#include "eval/records.h"
#include "eval/rows.h"
#include "eval/test_cases.h"
#include "tests/support/temporary.h"

namespace canvaslab {
namespace {

using ::testing::HasSubstr;

/// The files of make_data_files.py, made once.
class DataFiles : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    const char* python = std::getenv("CANVASLAB_PYTHON");
    if (!python) return;
    folder_ = std::make_unique<TemporaryFolder>();
    const auto made = shell(fmt::format("CANVASLAB_ARROW='{}' '{}' '{}/tests/eval/make_data_files.py' '{}'", CANVASLAB_ARROW_FOLDER, python, CANVASLAB_SOURCE_DIR, folder_->path()));
    ASSERT_EQ(made.exit_code, 0) << made.output;
    expected_ = parse_json(read_file(*folder_ / "expected.json"));
  }
  static void TearDownTestSuite() { folder_.reset(); }
  void SetUp() override {
    if (!folder_) GTEST_SKIP() << "left out: CANVASLAB_PYTHON is not set";
  }
  static std::string at(const std::string& name) { return *folder_ / name; }
  static bool has_parquet() { return expected_.contains("mmlu_files"); }

  static inline std::unique_ptr<TemporaryFolder> folder_;
  static inline Json expected_;
};

Json rows_of(const std::string& path) {
  Json out = Json::array();
  read_rows(path, [&](const DataRow& row) { out.push_back(row.fields); });
  return out;
}

/// The message of the user's mistake, or "" when there was none.
template <typename Run>
std::string mistake(Run run, ExitCode code = ExitCode::kBadInput) {
  try {
    run();
    return "";
  } catch (const UserError& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
}

TEST_F(DataFiles, CsvReadsBackAsPythonWroteIt) {
  for (const char* name : {"minimal_lf", "all_crlf", "minimal_bom", "nonnumeric"}) EXPECT_EQ(rows_of(at(std::string("csv_") + name + ".csv")), expected_["csv"]) << name;
}

TEST_F(DataFiles, GpqaReadsThemAndTheOrderIsPythonsOwn) {
  const auto examples = datasets().make("gpqa(file='" + at("csv_all_crlf.csv") + "', order=simple_evals)")->load();
  ASSERT_EQ(examples.size(), 7u);
  // The recorded permutations of Random(0).sample(range(4), 4) applied to [right, wrong 1, 2, 3].
  const std::vector<std::vector<size_t>> orders = {{3, 1, 0, 2}, {3, 1, 2, 0}, {2, 3, 0, 1}, {2, 0, 3, 1}, {1, 3, 0, 2}, {2, 1, 0, 3}};
  for (size_t i = 0; i < orders.size(); ++i) {
    const Json& row = expected_["csv"][i];
    const std::vector<std::string> options = {row["Correct Answer"], row["Incorrect Answer 1"], row["Incorrect Answer 2"], row["Incorrect Answer 3"]};
    for (size_t place = 0; place < 4; ++place) EXPECT_EQ(examples[i].options[place], options[orders[i][place]]) << i;
    EXPECT_EQ(examples[i].options[static_cast<size_t>(examples[i].reference[0] - 'A')], options[0]);
  }
  EXPECT_EQ(examples[5].reference, "A") << "of equal texts the first counts: order 2 1 0 3 shows 'same' first";
}

TEST_F(DataFiles, RotationsPutEveryOptionOnceInEveryPlace) {
  const auto examples = datasets().make("gpqa(file='" + at("csv_all_crlf.csv") + "', rotations=4)")->load();
  ASSERT_EQ(examples.size(), 28u);
  for (size_t i = 0; i < 5; ++i) {
    std::multiset<std::string> letters;
    for (size_t turn = 0; turn < 4; ++turn) {
      EXPECT_EQ(examples[turn * 7 + i].group, examples[i].group);
      letters.insert(examples[turn * 7 + i].reference);
    }
    EXPECT_EQ(letters, (std::multiset<std::string>{"A", "B", "C", "D"})) << examples[i].id;
  }
}

TEST_F(DataFiles, PackedTestsDecodeAndOtherPicklesAreRefused) {
  size_t i = 0;
  read_rows(at("lcb.jsonl"), [&](const DataRow& row) {
    const Json& wanted = expected_["lcb"][i++];
    const ProgramTests tests = program_tests_of(row);
    EXPECT_EQ(row.fields["question_id"], wanted["id"]);
    EXPECT_EQ(tests.function, wanted["function"]);
    ASSERT_EQ(tests.cases.size(), 2u);
    for (size_t c = 0; c < 2; ++c) {
      EXPECT_EQ(tests.cases[c].input, wanted["inputs"][c]) << wanted["id"];
      EXPECT_EQ(tests.cases[c].output, wanted["outputs"][c]) << wanted["id"];
    }
  });
  EXPECT_EQ(i, 24u);
  for (const auto& packed : expected_["refused_pickles"]) EXPECT_THAT(mistake([&] { unpacked_text(packed.get<std::string>()); }), HasSubstr("the pickle ")) << packed;
}

TEST_F(DataFiles, ParquetOfEveryKindHoldsTheSameRows) {
  if (!has_parquet()) GTEST_SKIP() << "left out: no Arrow (CANVASLAB_ARROW)";
  for (const auto& file : expected_["mmlu_files"]) EXPECT_EQ(rows_of(at(file)), expected_["mmlu"]) << file;
  const auto examples = datasets().make("mmlu_pro(file='" + at("mmlu_zstd.parquet") + "')")->load();
  ASSERT_EQ(examples.size(), 12u);
  for (size_t i = 0; i < 12; ++i) {
    EXPECT_EQ(examples[i].options.size(), 3 + i % 8) << "padding is no option";
    EXPECT_EQ(examples[i].options[0], "option 0") << "white space at the right option is a leak";
  }
  for (const auto& file : expected_["aime_files"]) {
    const auto problems = datasets().make("aime(file='" + at(file) + "')")->load();
    ASSERT_EQ(problems.size(), 5u) << file;
    EXPECT_EQ(problems[4].reference, "15");
    EXPECT_EQ(problems[4].id, "5");
  }
}

TEST_F(DataFiles, MathVisionSaysWhereAPictureIsNeeded) {
  if (!has_parquet()) GTEST_SKIP() << "left out: no Arrow (CANVASLAB_ARROW)";
  const std::string file = "math_vision(file='" + at("math_vision.parquet") + "'";
  EXPECT_THAT(mistake([&] { datasets().make(file + ")")->load(); }), ::testing::AllOf(HasSubstr("row 0"), HasSubstr("images/0.jpg"), HasSubstr("images=ignore")));
  EXPECT_EQ(datasets().make(file + ", images=skip)")->load().size(), 1u);
  const auto all = datasets().make(file + ", images=ignore)")->load();
  ASSERT_EQ(all.size(), 6u);
  EXPECT_THAT(all[0].messages.back().content, HasSubstr("\n(A) 4\n(B) 6\n"));
  EXPECT_EQ(all[4].messages.back().content.find("(A)"), std::string::npos) << "options that are only letters stand in the picture";
}

TEST_F(DataFiles, RecordsReadAsTheirSourceAndNoticeDamage) {
  const std::string source = at("csv_all_crlf.csv"), records = at("records.jsonl");
  EXPECT_EQ(convert_to_records(source, "gpqa", records), 7u);
  EXPECT_EQ(rows_of(records), rows_of(source));
  EXPECT_EQ(data_identity(records), file_sha256(source));
  EXPECT_EQ(datasets().make("gpqa(file='" + records + "')")->content_hash(), datasets().make("gpqa(file='" + source + "')")->content_hash());
  EXPECT_THAT(mistake([&] { convert_to_records(source, "gpqa", records); }, ExitCode::kUsage), HasSubstr("exists already"));
  const std::string whole = read_file(records);
  const auto read_changed = [&](const std::string& text) {
    write_file(at("changed.jsonl"), text);
    return mistake([&] { rows_of(at("changed.jsonl")); });
  };
  std::string edited = whole;
  edited.replace(edited.find("argon"), 5, "xenon");
  EXPECT_THAT(read_changed(edited), HasSubstr("hash does not match"));
  EXPECT_THAT(read_changed(whole.substr(0, whole.rfind("{"))), HasSubstr("cut short"));
  const size_t second = whole.find('\n', whole.find('\n') + 1) + 1, third = whole.find('\n', second) + 1;
  EXPECT_THAT(read_changed(whole.substr(0, second) + whole.substr(third)), HasSubstr("rows, and 6 came"));
  EXPECT_THAT(read_changed(whole + "{}\n"), HasSubstr("follows the last line"));
}

TEST_F(DataFiles, CheckTellsTheDataSetByItsColumnsAndNeverShowsATextOfIt) {
  const DataReport report = check_data_file(at("csv_minimal_lf.csv"), "");
  EXPECT_EQ(report.dataset, "gpqa");
  EXPECT_EQ(report.num_rows, 7);
  EXPECT_EQ(report.categories, (std::map<std::string, int64_t>{{"Biology", 2}, {"Chemistry", 3}, {"Physics", 2}}));
  EXPECT_TRUE(report.problems.empty());
  EXPECT_EQ(report.known_as, "");
  EXPECT_EQ(check_data_file(at("lcb.jsonl"), "").dataset, "live_code_bench");
  EXPECT_THAT(mistake([&] { check_data_file(at("expected.json"), ""); }), HasSubstr("no known data set"));
}

// --- damage: an error of ours, never anything else

/// Reads every changed version of a file; counts those refused.
template <typename Read>
void expect_only_user_errors(const std::string& path, uint32_t seed, int rounds, Read read) {
  std::mt19937 engine(seed);
  const std::string whole = read_file(path), changed_path = path + ".changed" + std::filesystem::path(path).extension().string();
  int refused = 0;
  for (int round = 0; round < rounds; ++round) {
    std::string text = whole;
    if (round % 3 == 0) text.resize(engine() % text.size());
    for (int flips = 0; round % 3 != 0 && flips <= round % 5; ++flips) text[engine() % text.size()] ^= static_cast<char>(1 << engine() % 8);
    write_file(changed_path, text);
    try {
      read(changed_path);
    } catch (const UserError&) {
      ++refused;
    }
  }
  std::printf("%s: %d of %d changed files refused (seed %u)\n", std::filesystem::path(path).filename().c_str(), refused, rounds, seed);
  EXPECT_GT(refused, 0);
}

TEST_F(DataFiles, DamagedFilesAreRefusedAndNeverCrash) {
  const uint32_t seed = std::random_device()() % 1000000u;
  const auto load = [](const char* name, const char* more = "") {
    return [name, more](const std::string& path) { datasets().make(fmt::format("{}(file='{}'{})", name, path, more))->load(); };
  };
  expect_only_user_errors(at("csv_all_crlf.csv"), seed, 120, load("gpqa"));
  expect_only_user_errors(at("lcb.jsonl"), seed, 120, [](const std::string& path) { read_rows(path, [](const DataRow& row) { program_tests_of(row); }); });
  if (!has_parquet()) return;
  for (const char* file : {"mmlu_snappy.parquet", "mmlu_pages_v2.parquet", "mmlu_row_groups.parquet", "mmlu_brotli.parquet"}) expect_only_user_errors(at(file), seed, 60, load("mmlu_pro"));
  expect_only_user_errors(at("math_vision.parquet"), seed, 60, load("math_vision", ", images=ignore"));
}

TEST(Csv, BadQuotesNulsAndShortRowsNameTheirPlace) {
  const TemporaryFolder folder;
  const auto read = [&](const std::string& text) {
    write_file(folder / "x.csv", text);
    return mistake([&] { rows_of(folder / "x.csv"); });
  };
  EXPECT_THAT(read("a,b\n1,x\"y\n"), HasSubstr("x.csv:2: field 2: a quote inside an unquoted field"));
  EXPECT_THAT(read("a,b\n1,\"x\"y\n"), HasSubstr("x.csv:2: field 2: text behind a closing quote"));
  EXPECT_THAT(read("a,b\n1,2\n\"x\n\n"), HasSubstr("x.csv:3: field 1: the quote that begins here is never closed"));
  EXPECT_THAT(read(std::string("a,b\n1,\0\n", 8)), HasSubstr("x.csv:2: a NUL byte"));
  EXPECT_THAT(read("a,b\n1,\xFF\n"), HasSubstr("x.csv:2: the bytes are no UTF-8"));
  EXPECT_THAT(read("a,b\n\"x\ny\",1\n2\n"), HasSubstr("x.csv:4: expected 2 fields as in the header, got 1"));
  EXPECT_THAT(read("a,a\n1,2\n"), HasSubstr("'a' occurs twice"));
  EXPECT_THAT(read("a,b\n1\r,2\n"), HasSubstr("carriage return"));
  EXPECT_THAT(read(""), HasSubstr("is empty"));
}

TEST(PackedText, BombsTailsAndCutsAreRefused) {
  EXPECT_THAT(mistake([] { base64_bytes("abc"); }), HasSubstr("multiple of 4"));
  EXPECT_THAT(mistake([] { base64_bytes("ab*="); }), HasSubstr("character 3"));
  EXPECT_EQ(base64_bytes("YQ=="), "a");
  EXPECT_EQ(base64_bytes("YWI="), "ab");
  EXPECT_EQ(base64_bytes("YWJj/+8="), "abc\xFF\xEF");
  const std::string four = base64_bytes("eJxLTExMBAADzgGF");  // zlib.compress(b"aaaa")
  EXPECT_EQ(inflated(four), "aaaa");
  EXPECT_THAT(mistake([&] { inflated(four, 3); }), HasSubstr("more than 3 bytes"));
  EXPECT_THAT(mistake([&] { inflated(four.substr(0, 8)); }), HasSubstr("cut short"));
  EXPECT_THAT(mistake([&] { inflated(four + "x"); }), HasSubstr("follows"));
  EXPECT_THAT(mistake([&] { inflated("xxxxxxxx"); }), HasSubstr("damaged"));
  EXPECT_EQ(pickled_string(std::string("\x80\x04\x8c\x02hi\x94.", 8)), "hi");
  EXPECT_THAT(mistake([] { pickled_string(std::string("\x80\x04\x8c\x09hi\x94.", 8)); }), HasSubstr("cut short"));
  EXPECT_THAT(mistake([] { pickled_string(std::string("\x80\x04\x8c\x02hi\x94.x", 9)); }), HasSubstr("follow the pickle"));
  EXPECT_THAT(mistake([] { pickled_string(std::string("\x80\x04.", 3)); }), HasSubstr("without a string"));
  EXPECT_THAT(mistake([] { pickled_string(std::string("\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xff.", 12)); }), HasSubstr("cut short"));
  EXPECT_THAT(mistake([] { pickled_string("cos\nsystem\n."); }), HasSubstr("opcode 0x63 at byte 0"));
}

}  // namespace
}  // namespace canvaslab
