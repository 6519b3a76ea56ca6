// Every notebook runs, its claims hold, its page stands alone; the sampler that one of them adds keeps the contract.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <regex>

#include "notebooks-cpp/cells.h"
#include "samplers/contract.h"
#include "tests/support/temporary.h"

namespace canvaslab {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> notebook_names() {
  std::vector<std::string> out;
  for (const auto& entry : fs::directory_iterator(std::string(CANVASLAB_SOURCE_DIR) + "/notebooks-cpp"))
    if (std::isdigit(static_cast<unsigned char>(entry.path().filename().string()[0]))) out.push_back(entry.path().stem());
  std::sort(out.begin(), out.end());
  return out;
}

std::string source_of(const std::string& name) { return read_file(std::string(CANVASLAB_SOURCE_DIR) + "/notebooks-cpp/" + name + ".cpp"); }

size_t count(const std::string& text, const std::string& part) {
  size_t out = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++out;
  return out;
}

class Notebook : public ::testing::TestWithParam<std::string> {};

/// Where the page's attributes src and href lead.
std::vector<std::string> targets_of(const std::string& page) {
  std::vector<std::string> out;
  for (const std::string attribute : {"src=\"", "href=\""})
    for (size_t at = page.find(attribute); at != std::string::npos; at = page.find(attribute, at + 1)) {
      const size_t begin = at + attribute.size();
      out.push_back(page.substr(begin, page.find('"', begin) - begin));
    }
  return out;
}

TEST_P(Notebook, RunsItsClaimsHoldAndItsPageStandsAlone) {
  const TemporaryFolder folder;
  const fs::path program = fs::path(CANVASLAB_PROGRAM).parent_path() / ("notebook_" + GetParam());
  const auto result = shell("'" + program.string() + "' --html '" + (folder / "page.html") + "'");
  ASSERT_EQ(result.exit_code, 0) << result.output;
  const std::string page = read_file(folder / "page.html");
  EXPECT_GE(count(page, "<img alt="), 1u);
  EXPECT_GE(count(page, "<div class=claim>"), 3u);
  EXPECT_EQ(count(page, "class=failure"), 0u);
  for (const auto& target : targets_of(page)) {  // pictures lie inside the page, and are drawn; nothing leads out of it
    EXPECT_TRUE(target.starts_with("data:image/svg+xml;base64,")) << target.substr(0, 80);
    EXPECT_GT(target.size(), 4000u);
  }
  // The markers that the build puts in attribute every output: what a cell claims or draws stands beneath it.
  for (const auto& cell : notebook::parse_cells(source_of(GetParam()), GetParam())) {
    if (cell.is_text) continue;
    const size_t begin = page.find(fmt::format("<section id=line{}>", cell.line));
    ASSERT_NE(begin, std::string::npos) << cell.line;
    const std::string section = page.substr(begin, page.find("</section>", begin) - begin);
    static const std::regex claims(R"((^|\n) *claim\()"), shows(R"((^|\n) *show\()");
    EXPECT_EQ(std::regex_search(cell.body, claims), section.find("class=claim") != std::string::npos) << "line " << cell.line;
    EXPECT_EQ(std::regex_search(cell.body, shows), section.find("<img") != std::string::npos) << "line " << cell.line;
  }
}

INSTANTIATE_TEST_SUITE_P(All, Notebook, ::testing::ValuesIn(notebook_names()), [](const auto& notebook) { return "n" + notebook.param; });

TEST(Notebooks, AreAtLeastEight) { EXPECT_GE(notebook_names().size(), 8u); }

/// The cell that is a whole sampler file compiles alone and is short.
TEST(OwnSampler, IsOneWholeFileBelowSixtyLines) {
  std::string file;
  for (const auto& cell : notebook::parse_cells(source_of("8_own_sampler"), "8_own_sampler.cpp"))
    if (!cell.is_text && cell.body.find("samplers().add(") != std::string::npos) file = cell.body;
  ASSERT_NE(file, "");
  EXPECT_LT(count(file, "\n"), 60u);
  const TemporaryFolder folder;
  write_file(folder / "own.cpp", file);
  const auto result = shell("c++ -std=c++20 -fsyntax-only -Wall -Wextra -Werror -I '" CANVASLAB_SOURCE_DIR "' '" + (folder / "own.cpp") + "'");
  EXPECT_EQ(result.exit_code, 0) << result.output;
}

/// This program is linked with that notebook, so its sampler is registered here.
TEST(OwnSampler, KeepsTheContract) {
  for (const char* text : {"refresh", "refresh(0)", "refresh(linear(1, 0.1))"}) {
    const auto sampler = configure_sampler(parse_plugin(text));
    EXPECT_EQ(contract::moves_with_its_positions(sampler), "") << text;
    EXPECT_EQ(contract::reads_only_what_it_declares(sampler), "") << text;
    EXPECT_EQ(contract::keeps_its_product_law(sampler), "") << text;
    EXPECT_EQ(contract::keeps_its_progress_contract(sampler), "") << text;
    EXPECT_EQ(contract::refuses_statistics_that_are_no_numbers(sampler), "") << text;
    EXPECT_EQ(contract::forgets_the_canvas_before(sampler), "") << text;
  }
}

}  // namespace
}  // namespace canvaslab
