// Cells, pages and the runtime of notebooks.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "notebooks-cpp/cells.h"
#include "notebooks-cpp/html.h"
#include "notebooks-cpp/notebook.h"
#include "tests/support/temporary.h"

namespace canvaslab::notebook {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

const std::string kNotebook =
    "// %% [markdown]\n// # On <b>bold</b> & < signs\n//\n// Text with `code<int>`.\n\n"
    "// %%\n\n  if (a < b && c)\n    print(\"<&>\");\n\n"
    "// %%\nint x = 1;  // one\n";

std::string error_of(const std::string& text) {
  try {
    parse_cells(text, "a.cpp");
  } catch (const UserError& error) {
    return error.what();
  }
  return "";
}

TEST(Cells, AreSplitAtTheirMarkers) {
  const auto cells = parse_cells(kNotebook, "a.cpp");
  ASSERT_EQ(cells.size(), 3u);
  EXPECT_TRUE(cells[0].is_text);
  EXPECT_EQ(cells[0].body, "# On <b>bold</b> & < signs\n\nText with `code<int>`.\n");
  EXPECT_FALSE(cells[1].is_text);
  EXPECT_EQ(cells[1].line, 6u);
  EXPECT_EQ(cells[1].body, "if (a < b && c)\n  print(\"<&>\");\n") << "blank lines at the ends and shared indentation are left out";
  EXPECT_EQ(cells[2].line, 11u);
}

TEST(Cells, AnotherMarkerInsideCodeIsCode) {
  const auto cells = parse_cells("// %%\nauto s = \"// %%\";\n  // %% indented\n", "a.cpp");
  ASSERT_EQ(cells.size(), 1u);
  EXPECT_EQ(cells[0].body, "auto s = \"// %%\";\n  // %% indented\n");
}

TEST(Cells, MistakesNameTheirLine) {
  EXPECT_THAT(error_of("// %% [raw]\n"), HasSubstr("a.cpp:1: unknown cell marker '// %% [raw]'"));
  EXPECT_THAT(error_of("// %%\n// %% [markdown]\n// text\nint x;\n"), HasSubstr("a.cpp:4: 'int x;' is no comment"));
  EXPECT_THAT(error_of("\nint x;\n// %%\n"), HasSubstr("a.cpp:2: a notebook begins with a cell marker"));
  EXPECT_EQ(error_of(""), "");
}

TEST(Page, EscapesCodeAndOutputButNotTheTextsHtml) {
  const auto page = render_page(parse_cells(kNotebook, "a.cpp"), {{.kind = Output::Kind::kText, .line = 6, .text = "1 < 2 & <i>", .alternative = ""}}, "a.cpp");
  EXPECT_THAT(page, HasSubstr("<h1>On <b>bold</b> &amp; &lt; signs</h1>"));
  EXPECT_THAT(page, HasSubstr("<code>code&lt;int&gt;</code>"));
  EXPECT_THAT(page, HasSubstr("(a &lt; b &amp;&amp; c)"));
  EXPECT_THAT(page, HasSubstr("<span class=s>&#34;&lt;&amp;&gt;&#34;</span>"));
  EXPECT_THAT(page, HasSubstr("<pre class=out>1 &lt; 2 &amp; &lt;i&gt;\n</pre>"));
  EXPECT_THAT(page, HasSubstr("<span class=k>int</span> x = <span class=n>1</span>;  <span class=c>// one</span>"));
  EXPECT_THAT(page, HasSubstr("<title>On &lt;b&gt;bold&lt;/b&gt; &amp; &lt; signs - CanvasLab</title>"));
}

TEST(Page, OutputsStandBeneathTheirCellInOrder) {
  const auto cells = parse_cells(kNotebook, "a.cpp");
  const auto page = render_page(cells, {{.kind = Output::Kind::kText, .line = 11, .text = "second cell", .alternative = ""}, {.kind = Output::Kind::kClaim, .line = 6, .text = "first cell", .alternative = ""}}, "a.cpp");
  const auto first = page.find("first cell"), code = page.find("id=line11"), second = page.find("second cell");
  EXPECT_LT(page.find("id=line6"), first);
  EXPECT_LT(first, code);
  EXPECT_LT(code, second);
  EXPECT_LT(second, std::string::npos);
  EXPECT_THROW(render_page(cells, {{.kind = Output::Kind::kText, .line = 7, .text = "lost", .alternative = ""}}, "a.cpp"), UserError) << "no cell begins there";
}

TEST(Page, Base64AsInRfc4648) {  // the test vectors of its section 10
  EXPECT_EQ(base64(""), "");
  EXPECT_EQ(base64("f"), "Zg==");
  EXPECT_EQ(base64("fo"), "Zm8=");
  EXPECT_EQ(base64("foobar"), "Zm9vYmFy");
}

/// A notebook in a file, whose cells are run by a function that enters them as the build's markers would.
class Runtime : public ::testing::Test {
 protected:
  void SetUp() override {
    source() = folder_ / "small.cpp";
    write_file(source(), kNotebook);
  }
  std::string page() const { return read_file(folder_ / "small.html"); }
  int run_with_page(void (*body)()) { return run({"--html", folder_ / "small.html"}, body); }
  static std::string& source() {
    static std::string path;
    return path;
  }
  static void enter(size_t line) { enter_cell(source().c_str(), line); }
  TemporaryFolder folder_;
};

TEST_F(Runtime, APageHoldsWhatWasPrintedClaimedAndDrawn) {
  const int code = run_with_page([] {
    enter(6);
    print("{} is printed", 1);
    claim(true, "{} holds", 2);
    enter(11);
    Figure figure;
    figure.title = "A & B";
    figure.series = {"one"};
    Panel panel;
    panel.lines = {{0, {Mark::at(1, 2), Mark::at(2, 3)}}};
    figure.panels = {panel};
    show(figure);
  });
  EXPECT_EQ(code, 0);
  EXPECT_THAT(page(), HasSubstr("1 is printed"));
  EXPECT_THAT(page(), HasSubstr("<div class=claim>2 holds</div>"));
  EXPECT_THAT(page(), HasSubstr("<figure><img alt=\"A &amp; B. \" src=\"data:image/svg+xml;base64,PD94bWwg"));
  EXPECT_THAT(page(), Not(HasSubstr("class=failure")));
}

TEST_F(Runtime, AThrowingCellIsReportedWithItsPlaceAndWhatFollowsAsNotRun) {
  ::testing::internal::CaptureStderr();
  const int code = run_with_page([] {
    enter(6);
    print("before");
    throw std::runtime_error("the <source> ran dry");
  });
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), HasSubstr("error: " + source() + ":6: the cell that begins here failed\n  the <source> ran dry"));
  EXPECT_EQ(code, 4);
  EXPECT_THAT(page(), HasSubstr("before\n</pre>\n<div class=failure>the &lt;source&gt; ran dry</div>"));
  EXPECT_GT(page().find("not run: an earlier cell failed"), page().find("id=line11"));
}

TEST_F(Runtime, AFalseClaimFailsTheNotebook) {
  ::testing::internal::CaptureStderr();
  const int code = run_with_page([] {
    enter(11);
    claim(1 > 2, "{} is more than {}", 1, 2);
    print("unreachable");
  });
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), HasSubstr(":11: the cell that begins here failed\n  no longer true: 1 is more than 2"));
  EXPECT_EQ(code, 4);
  EXPECT_THAT(page(), HasSubstr("<div class=failure>no longer true: 1 is more than 2</div>"));
  EXPECT_THAT(page(), Not(HasSubstr("unreachable")));
}

TEST_F(Runtime, RefusesWrongArgumentsAndPlacesItCannotWrite) {
  ::testing::internal::CaptureStderr();
  EXPECT_EQ(run({"--htlm", "x"}, [] {}), 2);
  EXPECT_EQ(run({"--html"}, [] {}), 2);
  EXPECT_EQ(run({"--html", folder_ / "small.cpp/page.html"}, [] { enter(6); }), 3) << "below a file";
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), HasSubstr("unknown arguments '--htlm x'; expected nothing, or --html FILE"));
}

}  // namespace
}  // namespace canvaslab::notebook
