// canvaslab tokenize on the recorded encodings of the tokenizers library.
#include <gtest/gtest.h>

#include <sstream>

#include <nlohmann/json.hpp>

#include "tests/support/program.h"

namespace canvaslab {
namespace {

const std::string kText = std::string(CANVASLAB_SOURCE_DIR) + "/tests/fixtures/text/";

testing::Outcome tokenize(const testing::TempFolder& folder, const std::string& input) {
  testing::write_text(folder.path() / "in.jsonl", input);
  return testing::run_program("/bin/sh", {"-c", std::string("'") + CANVASLAB_PROGRAM + "' tokenize --jsonl --tokenizer '" + kText + "gemma_like.json' <in.jsonl"}, folder.path());
}

TEST(Tokenize, GivesTheLibrarysIdsAndTextsLineByLine) {
  std::istringstream recorded(testing::read_text(kText + "gemma_like.jsonl"));
  std::vector<nlohmann::json> expected;
  std::string input;
  for (std::string line; std::getline(recorded, line);) {
    const auto object = nlohmann::json::parse(line);
    if (!object.contains("text") || !object.contains("ids")) continue;
    expected.push_back(object);
    input += nlohmann::json{{"text", object["text"]}}.dump() + "\n" + nlohmann::json{{"ids", object["ids"]}}.dump() + "\n";
  }
  ASSERT_GT(expected.size(), 50u);
  const testing::TempFolder folder;
  const auto outcome = tokenize(folder, input);
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  std::istringstream out(outcome.out);
  size_t i = 0;
  for (std::string line; std::getline(out, line); ++i) {
    ASSERT_LT(i / 2, expected.size());
    EXPECT_EQ(nlohmann::json::parse(line)["ids"], expected[i / 2]["ids"]) << "line " << i + 1;
  }
  EXPECT_EQ(i, 2 * expected.size());
}

TEST(Tokenize, NamesTheLineOfABadOne) {
  const testing::TempFolder folder;
  for (const char* bad : {"{\"text\": 3}", "{\"ids\": [1, -2]}", "not json", "{}"}) {
    const auto outcome = tokenize(folder, std::string("{\"text\": \"a\"}\n") + bad + "\n");
    EXPECT_EQ(outcome.exit_code, 3) << bad;
    EXPECT_NE(outcome.err.substr(0, outcome.err.find('\n')).find("2"), std::string::npos) << outcome.err;
  }
}

}  // namespace
}  // namespace canvaslab
