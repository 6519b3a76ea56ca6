// The chat template engine against jinja2, and what a hostile template may do.
#include "core/text/chat.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include <unistd.h>

#include "core/error.h"

namespace canvaslab {
namespace {

using Json = nlohmann::ordered_json;
const std::string kFixtures = std::string(CANVASLAB_SOURCE_DIR) + "/tests/fixtures/text/";

std::string render(const std::string& source, const Json& variables = Json::object()) { return JinjaTemplate(source, "t").render(jinja::Value::from_json(variables)); }

/// The error's text, or "" when there is none.
std::string error_of(const std::string& source, const Json& variables = Json::object()) {
  try {
    render(source, variables);
  } catch (const UserError& error) {
    return error.what();
  }
  return "";
}

struct Comparison {
  size_t cases = 0, equal = 0, both_raise = 0;
  std::vector<std::string> differences;
};

/// Renders every line of a file made by render_templates.py. An error counts as equal to an error.
Comparison compare_file(const std::string& path) {
  Comparison out;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    const Json entry = Json::parse(line);
    ++out.cases;
    std::string got, error;
    try {
      JinjaTemplate form(entry["source"].get<std::string>(), entry["name"].get<std::string>());
      Json variables = entry["variables"];
      got = form.render(jinja::Value::from_json(variables));
    } catch (const UserError& e) {
      error = e.what();
    }
    if (entry["text"].is_null() && !error.empty()) ++out.both_raise, ++out.equal;
    else if (entry["text"].is_string() && error.empty() && entry["text"].get<std::string>() == got) ++out.equal;
    else
      out.differences.push_back(fmt::format("{}: variables {}\n expected {}\n      got {}", entry["name"].get<std::string>(), entry["variables"].dump().substr(0, 300),
                                            entry["text"].is_null() ? entry.value("error", "") : entry["text"].dump(), error.empty() ? Json(got).dump() : error));
  }
  return out;
}

TEST(ChatTemplate, AgreesWithJinja2OnOtherPeoplesTemplates) {
  const char* python = std::getenv("CANVASLAB_PYTHON");
  const char* folder = std::getenv("CANVASLAB_CHAT_TEMPLATES");
  if (!python || !folder) GTEST_SKIP() << "needs CANVASLAB_PYTHON and CANVASLAB_CHAT_TEMPLATES, a folder of *.jinja files";
  const std::string out = (std::filesystem::temp_directory_path() / fmt::format("canvaslab_templates_{}.jsonl", ::getpid())).string();
  ASSERT_EQ(std::system(fmt::format("'{}' '{}render_templates.py' '{}' '{}'/*.jinja", python, kFixtures, out, folder).c_str()), 0);
  const auto result = compare_file(out);
  std::filesystem::remove(out);
  fmt::print("{} cases, {} equal ({} of them raise on both sides)\n", result.cases, result.equal, result.both_raise);
  for (const auto& difference : result.differences) ADD_FAILURE() << difference;
}

/// The strings of the model's reference, from the template of the same kind in the fixtures.
TEST(ChatTemplate, RendersTheModelsConversations) {
  const std::string source = read_text_file(kFixtures + "gemma_like.jinja");
  const auto chat = [&](const char* messages, bool thinking = false) {
    return render(source, {{"messages", Json::parse(messages)}, {"bos_token", "<bos>"}, {"add_generation_prompt", true}, {"enable_thinking", thinking}});
  };
  const char* user = R"([{"role":"user","content":"What is 2+2?"}])";
  const char* both = R"([{"role":"system","content":"Be brief."},{"role":"user","content":" What is 2+2?\n"}])";
  const std::string question = "<|turn>user\nWhat is 2+2?<turn|>\n<|turn>model\n";
  EXPECT_EQ(chat(user), "<bos>" + question);
  EXPECT_EQ(chat(user, true), "<bos><|turn>system\n<|think|>\n<turn|>\n" + question);
  EXPECT_EQ(chat(both), "<bos><|turn>system\nBe brief.<turn|>\n" + question);
  EXPECT_EQ(chat(both, true), "<bos><|turn>system\n<|think|>\nBe brief.<turn|>\n" + question);
  EXPECT_EQ(chat(R"([{"role":"system","content":[{"type":"text","text":" A"},{"type":"text","text":"B "}]},{"role":"user","content":"What is 2+2?"}])"),
            "<bos><|turn>system\nA B <turn|>\n" + question);
  EXPECT_EQ(chat(R"([{"role":"user","content":"What is 2+2?"},{"role":"assistant","content":"<|channel>thought\nhm\n<channel|>4"},{"role":"user","content":"and 3+3?"}])"),
            "<bos>" + question + "4<turn|>\n<|turn>user\nand 3+3?<turn|>\n<|turn>model\n");
  EXPECT_EQ(chat(R"([{"role":"user","content":[{"type":"text","text":"Look: "},{"type":"image"},{"type":"text","text":" what?"}]}])"),
            "<bos><|turn>user\nLook:<|image|>what?<turn|>\n<|turn>model\n");
}

TEST(ChatTemplate, AHostileTemplateEnds) {
  EXPECT_NE(error_of("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"), "");
  EXPECT_NE(error_of("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"), "");
  EXPECT_NE(error_of("{% set ns = namespace(x='ab') %}{% for i in range(1000) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}"), "");
  EXPECT_NE(error_of("{{ 'a' * 99999999999 }}"), "");
  EXPECT_NE(error_of("{{ " + std::string(100000, '(') + " }}"), "");
  EXPECT_NE(error_of("{{ 1" + [] { std::string s; for (int i = 0; i < 20000; ++i) s += " + 1"; return s; }() + " }}"), "");
}

/// Namespaces may hold themselves; what they hold is let go of all the same.
TEST(ChatTemplate, CirclesAreLetGo) {
  for (const char* source : {"{% set ns = namespace() %}{% set ns.x = ns %}{% set ns.d = d %}", "{% set a = namespace(d=d) %}{% set b = namespace(a=[a]) %}{% set a.b = {'b': b} %}{{ a.b.b.a[0].nothing.there }}",
                             "{% for i in [1, 2] %}{% set loop.x = [loop, d] %}{% endfor %}", "{% set ns = namespace(d=d) %}{% set ns.x = [ns, ns] %}{{ ns }}"}) {
    const auto variables = jinja::Value::from_json(OrderedJson{{"d", {{"k", 1}}}});
    const auto held = variables.dict->find(jinja::Value::text("d"))->dict;
    const long before = held.use_count();
    try {
      JinjaTemplate(source, "template").render(variables);
    } catch (const UserError&) {  // the last is nested without end
    }
    EXPECT_EQ(held.use_count(), before) << source;
  }
}

TEST(ChatTemplate, ErrorsNameTheLine) {
  EXPECT_EQ(error_of("a\n{% if x %}\n"), "t:2: expected '{% endif %}', got the end of the template");
  EXPECT_EQ(error_of("\n\n{{ raise_exception('no ' ~ 1) }}"), "t:3: no 1");
  EXPECT_EQ(error_of("{{ missing.name }}"), "t:1: 'missing' is undefined");
}

TEST(ChatTemplate, ABrokenTemplateIsAUserError) {
  const std::string source = read_text_file(kFixtures + "gemma_like.jinja");
  const auto seed = std::random_device{}();
  std::mt19937 engine(seed);
  for (int round = 0; round < 2000; ++round) {
    std::string broken = source;
    if (round % 2) broken.resize(engine() % broken.size());
    else
      for (int i = 0; i < 3; ++i) broken[engine() % broken.size()] ^= static_cast<char>(1 << engine() % 7);
    error_of(broken, {{"messages", Json::parse(R"([{"role":"user","content":"a"}])")}});  // anything but a UserError escapes and fails
  }
}

}  // namespace
}  // namespace canvaslab
