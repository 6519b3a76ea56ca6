// Tools in the prompt: declarations read and refused, and the ids that transformers makes of the same template.
#include "core/text/tools.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "core/error.h"
#include "core/json.h"
#include "tests/support/temporary.h"

namespace canvaslab {
namespace {

using ::testing::HasSubstr;

const std::string kFixtures = CANVASLAB_SOURCE_DIR "/tests/fixtures/text/";
constexpr const char* kTools = R"json([
  {"type": "function", "function": {"name": "get_weather", "description": "Get \"the\" weather <now> & then", "parameters": {"type": "object", "properties": {
    "city": {"type": "string"}, "unit": {"type": "string", "enum": ["°C", "°F"]}, "days": {"type": "integer"}}, "required": ["city"]}}},
  {"name": "stop", "parameters": {"type": "object", "properties": {"why": {"type": "string"}}}}])json";

class Tools : public ::testing::Test {
 protected:
  /// A model's folder with a tokenizer and this chat template.
  TextModel model(const std::string& form) {
    write_file(folder_ / "tokenizer.json", read_file(kFixtures + "gemma_like.json"));
    write_file(folder_ / "chat_template.jinja", read_file(kFixtures + form));
    write_file(folder_ / "tokenizer_config.json", R"({"bos_token": "<bos>", "tokenizer_class": "PreTrainedTokenizerFast"})");
    return *TextModel::load(folder_.path());
  }
  OrderedJson tools(const std::string& text) {
    write_file(folder_ / "tools.json", text);
    return read_tools(folder_ / "tools.json");
  }
  std::string mistake(const std::string& text) {
    try {
      tools(text);
      return "";
    } catch (const UserError& error) {
      return error.what();
    }
  }
  TemporaryFolder folder_;
};

TEST_F(Tools, ABareFunctionIsWrappedAndAnythingElseIsNamed) {
  const auto read = tools(kTools);
  ASSERT_EQ(read.size(), 2u);
  EXPECT_EQ(read[1]["type"], "function");
  EXPECT_EQ(read[1]["function"]["name"], "stop");
  EXPECT_THAT(mistake("{}"), HasSubstr("expected a JSON array"));
  EXPECT_THAT(mistake("[]"), HasSubstr("empty"));
  EXPECT_THAT(mistake("[{]"), HasSubstr("malformed"));
  EXPECT_THAT(mistake("[1]"), HasSubstr("tool 0"));
  EXPECT_THAT(mistake(R"([{"name": "a"}, {"name": "a"}])"), HasSubstr("tool 1: 'a' is declared twice"));
  EXPECT_THAT(mistake(R"([{"type": "search", "function": {"name": "a"}}])"), HasSubstr("search"));
  EXPECT_THAT(mistake(R"([{"type": 1, "function": {"name": "a"}}])"), HasSubstr("tool 0"));
  EXPECT_THAT(mistake(R"([{"name": "a", "parameters": "none"}])"), HasSubstr("JSON schema"));
  EXPECT_THROW(read_tools(folder_ / "nothing.json"), UserError);
}

TEST_F(Tools, ATemplateThatLeavesThemOutIsRefused) {
  const auto declared = tools(kTools);
  check_takes_tools(model("tools.jinja"), declared, "here");
  write_file(folder_ / "chat_template.jinja", "{% for m in messages %}{{ m.content }}{% endfor %}");
  EXPECT_THROW(check_takes_tools(*TextModel::load(folder_.path()), declared, "here"), UserError);
}

TEST_F(Tools, StandInThePromptInTheirOrder) {
  const TextModel text = model("tools.jinja");
  const auto turns = OrderedJson::array({{{"role", "user"}, {"content", "Rain?"}}});
  const std::string prompt = text.tokenizer().decode(text.conversation(turns, tools(kTools), {}));
  EXPECT_THAT(prompt, ::testing::AllOf(HasSubstr("<|tool>get_weather(city: STRING!, days: INTEGER, unit: STRING): Get \"the\" weather <now> & then"), HasSubstr("<|tool>stop(why: STRING): no description"), HasSubstr("Rain?")));
  EXPECT_LT(prompt.find("get_weather"), prompt.find("stop("));
}

TEST_F(Tools, TransformersMakesTheSameIds) {
  const char* python = std::getenv("CANVASLAB_ORACLE_PYTHON");
  if (!python) GTEST_SKIP() << "left out: CANVASLAB_ORACLE_PYTHON names no Python with transformers";
  const TextModel text = model("tools.jinja");
  const auto declared = tools(kTools);
  write_file(folder_ / "declared.json", json_text(declared));
  write_file(folder_ / "ask.py",
             "import json, sys\nfrom transformers import AutoTokenizer\nfolder = sys.argv[1]\ntokenizer = AutoTokenizer.from_pretrained(folder)\n"
             "for tools in (None, json.load(open(folder + '/declared.json'))):\n"
             "    out = tokenizer.apply_chat_template([{'role': 'user', 'content': ' Rain? '}], tools=tools, add_generation_prompt=True, tokenize=True)\n"
             "    print(json.dumps(out if isinstance(out, list) else out['input_ids']))\n");
  const auto asked = shell(fmt::format("'{}' -W ignore '{}' '{}' 2>'{}'", python, folder_ / "ask.py", folder_.path(), folder_ / "err.txt"));
  ASSERT_EQ(asked.exit_code, 0) << asked.output << read_file(folder_ / "err.txt");
  std::istringstream lines(asked.output);
  const auto turns = OrderedJson::array({{{"role", "user"}, {"content", " Rain? "}}});
  for (const OrderedJson& given : {OrderedJson(nullptr), declared}) {
    std::string line;
    std::getline(lines, line);
    EXPECT_EQ(parse_json(line).get<std::vector<int32_t>>(), text.conversation(turns, given, {}));
  }
}

}  // namespace
}  // namespace canvaslab
