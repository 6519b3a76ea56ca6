#include "eval/report.h"

#include <cmath>
#include <fstream>
#include <regex>

#include "core/error.h"
#include "eval/category_rates.h"
#include "eval/report_assets.h"
#include "eval/run_scores.h"
#include "eval/statistics.h"

namespace canvaslab {
namespace {

/// The drawing alone: inside a page it needs neither prolog nor name spaces. Its title names it for those who do not see it.
std::string inline_svg(const Figure& figure) {
  const std::string path = figure.stem + ".svg";
  std::ifstream in(path);
  const std::string text((std::istreambuf_iterator<char>(in)), {});
  const auto at = text.find("<svg"), end = text.find('>', at);
  if (!in || at == std::string::npos || end == std::string::npos) throw input_error("{}: is missing or no SVG file", path);
  static const std::regex name_space(R"re(\s+xmlns(:\w+)?="[^"]*")re");
  return fmt::format("{} role=img aria-label=\"{}\"{}", std::regex_replace(text.substr(at, end - at), name_space, ""), html_escaped(figure.title), text.substr(end));
}

std::string cell(double value, int digits) { return std::isfinite(value) ? fmt::format("<td>{:.{}f}", value, digits) : "<td>&ndash;"; }

void write_table(std::ofstream& out, const PlotRun& run) {
  const bool other_axis = run.x.name != "tokens_per_forward";
  out << "<div class=scroll><table id=configurations><thead><tr><th>configuration<th>canvas length<th>step limit<th>steps used<th>canvases at the limit<th>samples<th>failed";
  if (other_axis) out << "<th>" << html_escaped(run.x.label) << "<th>&plusmn;95%";
  out << "<th>tokens per denoiser forward<th>&plusmn;95%<th>tokens per forward, append included<th>" << html_escaped(run.quality_label) << "<th>95% from<th>to<th>not dominated<th>"
      << html_escaped(run.score_label) << "<th>&plusmn;95%";
  if (run.divergence) out << "<th>output entropy (nats)";
  out << "</tr></thead><tbody>\n";
  for (const auto& p : run.points) {
    out << (p.control ? "<tr class=control>" : "<tr>") << "<td title=\"" << html_escaped(p.settings) << "\">" << html_escaped(p.control ? "exact samples (control)" : p.series)
        << fmt::format("<td>{}<td>{}", p.canvas_length, p.control ? "&ndash;" : std::to_string(p.num_steps)) << cell(p.steps_used, 2) << cell(p.limit_frac, 3)
        << fmt::format("<td>{}<td>{}", p.count, p.failed);
    if (other_axis) out << cell(p.x, 4) << cell(kZ95 * p.x_error, 4);
    out << cell(p.speed, 3) << cell(kZ95 * p.speed_error, 3) << cell(p.speed_report, 3) << cell(p.quality, 5) << cell(p.quality_low, 5) << cell(p.quality_high, 5)
        << (p.non_dominated ? "<td>yes" : "<td>") << cell(p.score, 4) << cell(kZ95 * p.score_error, 4);
    if (run.divergence) out << cell(p.output_entropy, 4);
    out << "</tr>\n";
  }
  out << "</tbody></table></div>\n";
}

/// Graded data sets: accuracy and what went wrong, by category.
void write_rates(std::ofstream& out, const PlotRun& run) {
  const auto rates = category_rates(open_results(run.path));
  if (rates.empty()) return;
  out << "<h2>By category</h2>\n<p>Of each configuration all items, then category by category. Cut off: the answer reached the token limit. No answer: no rule found one. Unclosed: the thought never ended. "
         "Loop: the end of the text repeats itself.</p>\n<div class=scroll><table id=categories><thead><tr><th>configuration<th>category<th>items<th>accuracy<th>95% from<th>to<th>cut off<th>no answer<th>unclosed<th>loop"
         "</tr></thead><tbody>\n";
  for (const auto& row : rates)
    out << "<tr><td title=\"" << html_escaped(run.points[row.config_idx].settings) << "\">" << html_escaped(run.points[row.config_idx].series) << fmt::format(", {} steps", run.points[row.config_idx].num_steps) << "<td>"
        << html_escaped(row.category) << fmt::format("<td>{}", row.num_items) << cell(row.accuracy, 4) << cell(row.low, 4) << cell(row.high, 4) << cell(row.truncated, 4) << cell(row.no_answer, 4)
        << cell(row.thought_unclosed, 4) << cell(row.loop, 4) << "</tr>\n";
  out << "</tbody></table></div>\n";
}

void write_reading_aid(std::ofstream& out, const PlotRun& run) {
  if (run.quality_name == "agreement") {
    out << "<p>Agreement: share of positions at which a sample's tokens equal those of the reference configuration on the same item and repeat. The reference agrees with itself "
           "by definition.</p>\n";
    return;
  }
  if (!run.divergence) return;
  out << fmt::format("<p>Quality is the Jensen-Shannon divergence between the law of neighbouring tokens and the exact law. Likelihood alone is no quality: samplers that collapse onto "
                     "likely text beat the source in it, so it stands beside the entropy of what was written. The source: {:.4f} nats per token in the long run; {:.4f} nats for a token "
                     "given the one before (what &ldquo;output entropy&rdquo; of exact text tends to). The control rows are exact samples of the same number and length; their divergence "
                     "is what a finite sample leaves, not an error of any sampler.</p>\n", run.entropy_rate, run.pair_entropy);
}

void write_viewer(std::ofstream& out, const EmbeddedTrajectories& trajectories, const TokenText& text) {
  out << "<h2 id=trajectory-viewer>Trajectories</h2>\n";
  if (trajectories.empty()) {
    out << "<p>No positions are on record. Write <code>record = \"positions\"</code> (and <code>record_items = 4</code> to keep those of 4 items only) under <code>[run]</code> in the sweep "
           "file, or give traces of <code>canvaslab generate --trace FILE.h5</code> to <code>canvaslab plot --trace FILE.h5</code>.</p>\n";
    return;
  }
  out << "<div id=viewer><p>One sample from noise to text, by two samplers side by side: same item, same repeat, same seed. " << html_escaped(trajectories.extent) << ".</p>\n"
      << R"html(<div class=controls><label>item <select name=item></select></label><label>left <select name=a></select></label><label>right <select name=b></select></label>
<label>canvas <select name=canvas></select></label></div>
<div class=controls><button type=button class=play>play</button><input type=range name=step min=0 max=0 value=0 aria-label="denoising steps taken"><span class=now></span></div>
<p class=status><span class=noise></span></p>
<div class=panes><div class=pane><h3></h3><div class=status></div><div class=canvas></div><div class=text></div></div>
<div class=pane><h3></h3><div class=status></div><div class=canvas></div><div class=text></div></div></div>
<p class=hover></p>
<p class=legend><span class="cell settled">settled</span>does not change any more <span class="cell open">open</span>changes later <span class="cell accepted">accepted</span>taken at this step
<span class="cell changed">changed</span>another token than before <span class=cell style="background:rgb(180,195,235)">entropy</span>the darker, the less sure; point at a token for numbers</p></div>
)html"
      << "<script type=application/json id=trajectories>" << trajectories_json(trajectories.list, text) << "</script>\n";
}

}  // namespace

std::string html_escaped(const std::string& text) {
  std::string out;
  for (char c : text) {
    if (c == '<') out += "&lt;";
    else if (c == '>') out += "&gt;";
    else if (c == '&') out += "&amp;";
    else if (c == '"') out += "&quot;";
    else if (c == '\'') out += "&#39;";
    else out += c;
  }
  return out;
}

void write_report(const std::string& path, const PlotRun* run, const std::vector<Figure>& figures, const EmbeddedTrajectories& trajectories, const TokenText& text) {
  std::ofstream out(path);
  const std::string name = run ? run->name : "traces";
  out << "<!doctype html>\n<html lang=en><head><meta charset=utf-8><meta name=viewport content='width=device-width'>"
         "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:\">"  // nothing from outside
      << "<title>" << html_escaped(name) << " - CanvasLab</title><style>" << kReportStyle << "</style></head>\n<body><h1>" << html_escaped(name) << "</h1>\n";
  if (run) out << "<p>" << html_escaped(plot_caption(*run)) << "</p>\n";
  if (!figures.empty()) out << "<p>Click a figure and turn the wheel to zoom (or hold Ctrl), drag to move, double-click to see all of it.</p>\n";
  for (const auto& figure : figures) out << "<figure>" << inline_svg(figure) << "</figure>\n";
  if (run) {
    out << "<h2>All configurations</h2>\n<p>Click a heading to sort; point at a configuration for all its settings.</p>\n";
    write_reading_aid(out, *run);
    write_table(out, *run);
    write_rates(out, *run);
  }
  write_viewer(out, trajectories, text);
  if (run)
    out << "<h2>Plan</h2>\n<pre>" << html_escaped(run->plan) << "</pre>\n<h2>Command</h2>\n<pre>" << html_escaped(run->command_line) << "</pre>\n<p>Results: " << html_escaped(run->path)
        << "; " << html_escaped(run->program) << "</p>\n";
  out << "<script>" << kReportScript << "</script></body></html>\n";
  if (!out.flush()) throw input_error("{}: cannot be written; check that the folder is writable and has free space", path);
}

}  // namespace canvaslab
