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

TEST(ChatTemplate, AgreesWithJinja2OnTheRecordedCases) {
  const auto result = compare_file(kFixtures + "rendered.jsonl");
  EXPECT_GT(result.cases, 50u);
  EXPECT_GT(result.cases, result.both_raise);
  for (const auto& difference : result.differences) ADD_FAILURE() << difference;
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

}  // namespace
}  // namespace canvaslab
