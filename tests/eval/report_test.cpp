// Texts of others inside figures and pages.
#include <gtest/gtest.h>

#include "core/json.h"
#include "eval/figure.h"
#include "eval/report.h"

namespace canvaslab {
namespace {

Trajectory trajectory() {
  Trajectory out;
  out.label = out.series = "</script><b onclick='x'>\"\\";
  out.item = "a<b & c";
  out.seed = 18446744073709551615u;  // more than a JavaScript number holds
  out.tokens = {1, 2};
  out.canvases.push_back({.start = {5, 6}, .steps = {}, .stop = "</script>"});
  out.canvases[0].steps.push_back({.temperature = 0.5f, .candidate = {1, 3}, .argmax = {1, 4}, .canvas_out = {1, 2}, .accepted = {1, 0}, .entropy_nats = {0.25f, 1.5f}});
  return out;
}

TEST(Report, TrajectoriesAreJsonThatMayStandInAScriptElement) {
  const std::string text = trajectories_json({trajectory()}, [](int32_t id) { return id == 2 ? "</script><!--" : "t" + std::to_string(id); });
  EXPECT_EQ(text.find('<'), std::string::npos) << text;
  const Json json = parse_json(text);
  ASSERT_TRUE(json.is_object()) << text;
  EXPECT_EQ(json["list"][0]["label"], trajectory().label);
  EXPECT_EQ(json["list"][0]["item"], "a<b & c");
  EXPECT_EQ(json["list"][0]["seed"], "18446744073709551615");
  EXPECT_EQ(json["tokens"]["2"], "</script><!--");
  EXPECT_EQ(json["tokens"].size(), 6u);  // 1 2 3 4 5 6: every id that the viewer can show
  EXPECT_EQ(json["most_entropy"], 1.5);
  const Json& step = json["list"][0]["canvases"][0]["steps"][0];
  EXPECT_EQ(json_text(step), R"({"acc":"10","arg":[1,4],"cand":[1,3],"ent":[0.25,1.5],"out":[1,2],"t":0.5})");
  EXPECT_TRUE(parse_json(trajectories_json({trajectory()}, {}))["tokens"].is_null());
}

TEST(Report, HtmlTextsCannotEndTheirElement) { EXPECT_EQ(html_escaped("<a href='x'>&\"</a>"), "&lt;a href=&#39;x&#39;&gt;&amp;&quot;&lt;/a&gt;"); }

Figure figure() {
  Figure out;
  out.stem = "f";
  out.title = "a \"quoted\" \\ title\nset output 'elsewhere'";
  out.series = {"s`date`"};
  Panel panel;
  panel.lines.emplace_back(0, std::vector<Mark>{{.x = 2, .y = 3, .x_low = 1, .x_high = 4, .y_low = 2.5, .y_high = 3.5}, Mark::at(8, 5)});
  panel.front = {Mark::at(2, 3), Mark::at(8, 5)};
  out.front_label = "not dominated";
  out.panels.push_back(panel);
  return out;
}

TEST(Figure, TextsStayTexts) {
  const std::string script = figure_script(figure());
  EXPECT_NE(script.find("'a \"quoted\" \\ title set output ''elsewhere'''"), std::string::npos) << script.substr(0, 500);
  EXPECT_NE(script.find("'s`date`'"), std::string::npos) << "between double quotes gnuplot would run date";
}

TEST(Figure, TheStairTurnsWithTheDirectionOfTheAxis) {
  Figure f = figure();
  EXPECT_NE(figure_script(f).find("with fsteps"), std::string::npos);
  f.front_drops_first = false;
  EXPECT_EQ(figure_script(f).find("with fsteps"), std::string::npos);
  EXPECT_NE(figure_script(f).find("with steps"), std::string::npos);
}

TEST(Figure, IntervalsAreDrawnWhereTheyAre) { EXPECT_NE(figure_script(figure()).find("\n2 3 2.5 3.5 1 4\n"), std::string::npos); }

}  // namespace
}  // namespace canvaslab
