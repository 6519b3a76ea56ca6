// The tokenizer against recorded and live answers of the `tokenizers` library, and against broken files.
#include "core/text/tokenizer.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "core/error.h"
#include "core/text/utf8.h"

namespace canvaslab {
namespace {

const std::string kFixtures = std::string(CANVASLAB_SOURCE_DIR) + "/tests/fixtures/text/";

/// Compares encode, decode and streaming with every line of a file made by make_tokenizers.py; returns the differences.
std::vector<std::string> differences(const Tokenizer& tokenizer, const std::string& path, size_t& lines) {
  std::vector<std::string> out;
  std::ifstream in(path);
  lines = 0;
  for (std::string line; std::getline(in, line);) {
    const auto entry = nlohmann::json::parse(line);
    ++lines;
    const auto ids = entry["ids"].get<std::vector<int32_t>>();
    const auto differs = [&](const std::string& what) { out.push_back(fmt::format("{}:{}: {}: {}", path, lines, what, line.substr(0, 300))); };
    if (entry.contains("text")) {
      const auto got = tokenizer.encode(entry["text"].get<std::string>());
      if (got != ids) differs(fmt::format("encode differs at {}", std::mismatch(got.begin(), got.end(), ids.begin(), ids.end()).first - got.begin()));
    }
    for (bool skip : {false, true}) {
      const auto expected = entry[skip ? "skipped" : "decoded"].get<std::string>();
      if (tokenizer.decode(ids, skip) != expected) differs("decode differs");
      auto stream = tokenizer.stream(skip);
      std::string joined;
      for (int32_t id : ids) {
        const std::string piece = stream.push(id);
        if (first_broken_utf8(piece) != std::string::npos) differs("a streamed piece ends inside a character");
        joined += piece;
      }
      if (joined + stream.finish() != expected) differs("streamed text differs");
    }
  }
  return out;
}

TEST(Tokenizer, AgreesWithTheRecordedEncodings) {
  const auto tokenizer = Tokenizer::load(kFixtures + "gemma_like.json");
  size_t lines = 0;
  for (const auto& difference : differences(tokenizer, kFixtures + "gemma_like.jsonl", lines)) ADD_FAILURE() << difference;
  EXPECT_GT(lines, 200u);
}

TEST(Tokenizer, TheComparisonFindsAWrongAnswer) {
  auto file = nlohmann::json::parse(std::ifstream(kFixtures + "gemma_like.json"));
  auto& merges = file["model"]["merges"];
  std::swap(merges[0], merges[merges.size() / 2]);
  size_t lines = 0;
  EXPECT_FALSE(differences(Tokenizer::parse(file.dump(), "changed"), kFixtures + "gemma_like.jsonl", lines).empty());
}

TEST(Tokenizer, AgreesWithTheLibraryOnFreshTokenizers) {
  const char* python = std::getenv("CANVASLAB_PYTHON");
  if (!python || std::system(fmt::format("'{}' -c 'import tokenizers' 2>/dev/null", python).c_str()) != 0) GTEST_SKIP() << "needs CANVASLAB_PYTHON with tokenizers";
  const auto seed = std::random_device{}();
  fmt::print("seed {}\n", seed);
  const auto folder = std::filesystem::temp_directory_path() / fmt::format("canvaslab_tokenizers_{}", ::getpid());
  std::filesystem::create_directories(folder);
  ASSERT_EQ(std::system(fmt::format("'{}' '{}make_tokenizers.py' live '{}' {}", python, kFixtures, folder.string(), seed).c_str()), 0);
  size_t total = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".json") continue;
    size_t lines = 0;
    for (const auto& difference : differences(Tokenizer::load(entry.path().string()), entry.path().string() + "l", lines)) ADD_FAILURE() << "seed " << seed << ": " << difference;
    total += lines;
  }
  EXPECT_GT(total, 5000u);
  std::filesystem::remove_all(folder);
}

TEST(Tokenizer, ABrokenFileIsAUserError) {
  const std::string file = read_text_file(kFixtures + "gemma_like.json");
  const auto seed = std::random_device{}();
  std::mt19937 engine(seed);
  size_t refused = 0;
  for (int round = 0; round < 150; ++round) {
    std::string broken = file;
    if (round % 2) broken.resize(engine() % broken.size());
    else
      for (int i = 0; i < 3; ++i) broken[engine() % broken.size()] ^= static_cast<char>(1 << engine() % 8);
    try {
      const auto tokenizer = Tokenizer::parse(broken, "broken");
      tokenizer.decode(tokenizer.encode("The canvas is <|turn> filled. 先是"));
    } catch (const UserError& error) {
      ++refused;
      EXPECT_EQ(error.code(), ExitCode::kBadInput);
    }
  }
  EXPECT_GT(refused, 70u) << "seed " << seed;
}

TEST(Tokenizer, NamesTheFieldThatIsNotSupported) {
  auto file = nlohmann::json::parse(std::ifstream(kFixtures + "gemma_like.json"));
  file["normalizer"] = {{"type", "BertNormalizer"}};
  try {
    Tokenizer::parse(file.dump(), "t.json");
    FAIL();
  } catch (const UserError& error) {
    EXPECT_NE(std::string(error.what()).find("t.json: normalizer.type: normalizer 'BertNormalizer'"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace canvaslab
