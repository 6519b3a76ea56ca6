// What the benchmarks ask and how they count, on questions of our own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "core/error.h"
#include "core/json.h"
#include "eval/dataset.h"
#include "eval/sweep.h"
#include "tests/support/ascii_text.h"
#include "tests/support/temporary.h"

namespace canvaslab {
namespace {

using ::testing::HasSubstr;

const grading::TextDecoder kCharacters = testing::ascii_decoder(/*channels=*/false);

std::string mmlu_row(int id, const std::string& question, const std::string& category, const std::string& worked = "") {
  return json_text(Json{{"question_id", id}, {"question", question}, {"options", {"0.5 L/s", " 1.5 L/s", "2.4 L/s", "N/A"}}, {"answer", "B"}, {"answer_index", 1}, {"cot_content", worked},
                        {"category", category}, {"src", "ours"}}) + "\n";
}

class MmluProFile : public ::testing::Test {
 protected:
  void SetUp() override {
    write_file(folder_ / "test.jsonl", mmlu_row(7, "A pump moves 6 litres in 4 seconds. What is its mean flow rate?", "engineering"));
    std::string shots;
    for (int i = 0; i < 5; ++i)
      shots += mmlu_row(100 + i, fmt::format("Example {}?", i), "engineering", fmt::format("A: Let's think step by step. It is {}. The answer is (B).", i));
    write_file(folder_ / "validation.jsonl", shots);
  }
  std::unique_ptr<Dataset> make(const std::string& options = "") const {
    auto out = datasets().make("mmlu_pro(file='" + (folder_ / "test.jsonl") + "', validation='" + (folder_ / "validation.jsonl") + "'" + options + ")");
    out->use_text(kCharacters);
    return out;
  }
  TemporaryFolder folder_;
};

TEST_F(MmluProFile, TheHousePromptIsThisText) {
  const auto example = make()->load().at(0);
  ASSERT_EQ(example.messages.size(), 1u);
  EXPECT_EQ(example.messages[0].content,
            "This is a multiple-choice question on engineering. Work it out, then finish with a line `The answer is (X)` where X is the letter of your choice.\n\n"
            "A pump moves 6 litres in 4 seconds. What is its mean flow rate?\nA. 0.5 L/s\nB. 1.5 L/s\nC. 2.4 L/s");
  EXPECT_EQ(example.reference, "B");
  EXPECT_EQ(example.id, "7");
}

TEST_F(MmluProFile, ShotsStandInOneTurnOrInTheirOwnAndAreDroppedToFit) {
  const auto together = make(", shots=5")->load().at(0);
  ASSERT_EQ(together.messages.size(), 1u);
  EXPECT_EQ(together.num_shots, 5);
  EXPECT_LT(together.messages[0].content.find("Example 0?"), together.messages[0].content.find("Example 4?"));
  const auto turns = make(", shots=2, placement=turns")->load().at(0);
  ASSERT_EQ(turns.messages.size(), 5u);
  EXPECT_EQ(turns.messages[1].role, "assistant");
  EXPECT_THAT(turns.messages[1].content, HasSubstr("It is 0."));
  EXPECT_EQ(turns.messages[4].content, make()->load().at(0).messages[0].content);
  const auto whole = together.messages[0].content.size();
  EXPECT_EQ(make(fmt::format(", shots=5, max_prompt_tokens={}", whole + 1))->load().at(0).num_shots, 5);
  EXPECT_EQ(make(fmt::format(", shots=5, max_prompt_tokens={}", whole))->load().at(0).num_shots, 4) << "fewer tokens than the limit, as in the published code";
  EXPECT_EQ(make(", shots=5, max_prompt_tokens=1")->load().at(0).num_shots, 0);
}

TEST_F(MmluProFile, AnAnswerWithoutALetterCountsWhatTheFallbackSays) {
  const auto denoiser = denoisers().make("uniform(alphabet=4)");
  const auto counts = [&](const std::string& fallback) {
    const auto dataset = make(", fallback=" + fallback);
    const std::vector<int32_t> nothing = {'?', 1};
    return dataset->score(dataset->load().at(0), nothing, *denoiser).value;
  };
  EXPECT_EQ(counts("none"), 0);
  EXPECT_DOUBLE_EQ(counts("expected_value"), 1.0 / 3);
  const double drawn = counts("uniform_seeded");
  EXPECT_TRUE(drawn == 0 || drawn == 1);
  EXPECT_EQ(drawn, counts("uniform_seeded")) << "the draw depends on seed and item alone";
}

TEST_F(MmluProFile, WrongRowsNameTheirFieldAndShotsTheirFile) {
  const auto mistake = [&](const std::string& rows, const std::string& options) -> std::string {
    write_file(folder_ / "test.jsonl", rows);
    try {
      make(options)->load();
      return "";
    } catch (const UserError& error) {
      return error.what();
    }
  };
  EXPECT_THAT(mistake("{\"question_id\": 1}\n", ""), HasSubstr("test.jsonl:1: question"));
  EXPECT_THAT(mistake(mmlu_row(1, "q", "law") + mmlu_row(1, "r", "law"), ""), HasSubstr("'1' occurs twice"));
  EXPECT_THAT(mistake(mmlu_row(1, "q", "law"), ", shots=1"), HasSubstr("0; ask for fewer shots") ) << "no worked example of that category";
  std::string other = mmlu_row(1, "q", "law");
  other.replace(other.find("\"answer\":\"B\""), 12, "\"answer\":\"C\"");
  EXPECT_THAT(mistake(other, ""), HasSubstr("do not name one of 3 options"));
}

TEST_F(MmluProFile, TheContentIsKnownByBytesAndTemplateAndNotByPath) {
  write_file(folder_ / "copy.jsonl", read_file(folder_ / "test.jsonl"));
  const auto hash = [&](const std::string& file, const std::string& more = "") { return datasets().make("mmlu_pro(file='" + (folder_ / file) + "'" + more + ")")->content_hash(); };
  EXPECT_EQ(hash("test.jsonl"), hash("copy.jsonl"));
  EXPECT_NE(hash("test.jsonl"), hash("validation.jsonl"));
  write_file(folder_ / "mine.txt", "{category}: {question} {options}");
  EXPECT_NE(hash("test.jsonl"), hash("test.jsonl", ", template='" + (folder_ / "mine.txt") + "'"));
  EXPECT_NE(hash("test.jsonl"), hash("test.jsonl", ", grader=official"));
}

TEST(Thinking, ReachesThePromptThroughTheChatTemplate) {
  const TemporaryFolder folder;
  const std::string text_folder = CANVASLAB_SOURCE_DIR "/tests/fixtures/text/";
  write_file(folder / "tokenizer.json", read_file(text_folder + "gemma_like.json"));
  write_file(folder / "chat_template.jinja", read_file(text_folder + "gemma_like.jinja"));
  write_file(folder / "tokenizer_config.json", R"({"bos_token": "<bos>"})");
  write_file(folder / "q.jsonl", "{\"prompt\": \"How many?\", \"answer\": \"2\"}\n");
  const auto text = std::make_shared<const TextModel>(*TextModel::load(folder.path()));
  const auto prompt = [&](const std::string& more) {
    write_file(folder / "plan.toml", fmt::format("[denoiser]\nmodel = \"uniform(alphabet={})\"\n{}[dataset]\nname = \"jsonl(file='{}')\"\n[grid]\nsampler = \"fixed_step\"\nsteps = 1\n"
                                                 "canvas_length = 4\nmax_new_tokens = 4\n", text->tokenizer().size(), more, folder / "q.jsonl"));
    return text->tokenizer().decode(prepare_sweep(read_sweep(folder / "plan.toml", {}), text).examples.at(0).prompt_ids);
  };
  EXPECT_EQ(prompt(""), "<bos><|turn>user\nHow many?<turn|>\n<|turn>model\n");
  EXPECT_EQ(prompt("thinking = true\n"), "<bos><|turn>system\n<|think|>\n<turn|>\n<|turn>user\nHow many?<turn|>\n<|turn>model\n");
}

}  // namespace
}  // namespace canvaslab
