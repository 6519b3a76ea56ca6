#include "eval/report.h"

#include <cmath>
#include <fstream>
#include <regex>

#include "core/error.h"
#include "eval/statistics.h"

namespace canvaslab {
namespace {

constexpr const char* kStyle =
    "body{font:15px/1.5 system-ui,sans-serif;max-width:1180px;margin:2rem auto;padding:0 1rem;color:#222}"
    "h1{margin-bottom:.2rem}h2{margin-top:2.5rem}figure{margin:1.5rem 0}svg{max-width:100%;height:auto}"
    ".scroll{overflow-x:auto;max-height:80vh}table{border-collapse:collapse;font-size:13px}"
    "td,th{padding:.25rem .5rem;text-align:right;border-bottom:1px solid #ddd;white-space:nowrap}td:first-child,th:first-child{text-align:left}"
    "th{white-space:normal;vertical-align:bottom;cursor:pointer;background:#f4f4f4;position:sticky;top:0}th:after{content:' \\2195';color:#999}tr.control{background:#f6f6f0}"
    "pre{background:#f4f4f4;padding:.8rem;overflow-x:auto;font-size:12px}";

/// Sorts the table by the clicked column, numbers as numbers, again the other way round; rows without a number come last.
constexpr const char* kScript =
    "document.querySelectorAll('th').forEach((h,i)=>h.onclick=()=>{const body=document.querySelector('tbody');"
    "const way=h.dataset.way=h.dataset.way=='1'?'-1':'1';const key=r=>r.cells[i].textContent;"
    "[...body.rows].sort((p,q)=>{const a=key(p),b=key(q),x=parseFloat(a),y=parseFloat(b);"
    "if(i==0)return way*a.localeCompare(b);if(isNaN(x)||isNaN(y))return isNaN(x)-isNaN(y);return way*(x-y)}).forEach(r=>body.append(r))})";

std::string escaped(const std::string& text) {
  std::string out;
  for (char c : text) {
    if (c == '<') out += "&lt;";
    else if (c == '>') out += "&gt;";
    else if (c == '&') out += "&amp;";
    else if (c == '"') out += "&quot;";
    else out += c;
  }
  return out;
}

/// The drawing alone: inside a page it needs neither prolog nor name spaces.
std::string inline_svg(const std::string& path) {
  std::ifstream in(path);
  const std::string text((std::istreambuf_iterator<char>(in)), {});
  const auto at = text.find("<svg");
  if (!in || at == std::string::npos) throw input_error("{}: is missing or no SVG file", path);
  static const std::regex name_space(R"re(\s+xmlns(:\w+)?="[^"]*")re");
  return std::regex_replace(text.substr(at), name_space, "");
}

std::string cell(double value, int digits) { return std::isfinite(value) ? fmt::format("<td>{:.{}f}", value, digits) : "<td>&ndash;"; }

void write_table(std::ofstream& out, const PlotRun& run) {
  out << "<div class=scroll><table><thead><tr><th>configuration<th>canvas length<th>step limit<th>steps used<th>canvases at the limit<th>samples<th>failed"
         "<th>tokens per denoiser forward<th>&plusmn;95%<th>tokens per forward, append included<th>"
      << escaped(run.quality_label) << "<th>&plusmn;95%<th>" << escaped(run.score_label) << "<th>&plusmn;95%";
  if (run.divergence) out << "<th>output entropy (nats)";
  out << "</tr></thead><tbody>\n";
  for (const auto& p : run.points) {
    out << (p.control ? "<tr class=control>" : "<tr>") << "<td title=\"" << escaped(p.settings) << "\">" << escaped(p.control ? "exact samples (control)" : p.series)
        << fmt::format("<td>{}<td>{}", p.canvas_length, p.control ? "&ndash;" : std::to_string(p.num_steps)) << cell(p.steps_used, 2) << cell(p.limit_frac, 3)
        << fmt::format("<td>{}<td>{}", p.count, p.failed) << cell(p.speed, 3) << cell(kZ95 * p.speed_error, 3) << cell(p.speed_report, 3) << cell(p.quality, 5)
        << cell(kZ95 * p.quality_error, 5) << cell(p.score, 4) << cell(kZ95 * p.score_error, 4);
    if (run.divergence) out << cell(p.output_entropy, 4);
    out << "</tr>\n";
  }
  out << "</tbody></table></div>\n";
}

void write_reading_aid(std::ofstream& out, const PlotRun& run) {
  if (!run.divergence) {
    out << "<p>Agreement: share of positions at which a sample's tokens equal those of the reference configuration on the same item and repeat. The reference agrees with itself "
           "by definition.</p>\n";
    return;
  }
  out << fmt::format("<p>Quality is the Jensen-Shannon divergence between the law of neighbouring tokens and the exact law. Likelihood alone is no quality: samplers that collapse onto "
                     "likely text beat the source in it, so it stands beside the entropy of what was written. The source: {:.4f} nats per token in the long run; {:.4f} nats for a token "
                     "given the one before (what &ldquo;output entropy&rdquo; of exact text tends to). The control rows are exact samples of the same number and length; their divergence "
                     "is what a finite sample leaves, not an error of any sampler.</p>\n", run.entropy_rate, run.pair_entropy);
}

}  // namespace

void write_report(const std::string& path, const PlotRun& run, const std::vector<Figure>& figures) {
  std::ofstream out(path);
  out << "<!doctype html>\n<html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'><title>" << escaped(run.name) << " - CanvasLab</title><style>" << kStyle
      << "</style>\n<h1>" << escaped(run.name) << "</h1>\n<p>" << escaped(plot_caption(run)) << "</p>\n";
  for (const auto& figure : figures) out << "<figure>" << inline_svg(figure.stem + ".svg") << "</figure>\n";
  out << "<h2>All configurations</h2>\n<p>Click a heading to sort; point at a configuration for all its settings.</p>\n";
  write_reading_aid(out, run);
  write_table(out, run);
  out << "<h2>Plan</h2>\n<pre>" << escaped(run.plan) << "</pre>\n<h2>Command</h2>\n<pre>" << escaped(run.command_line) << "</pre>\n<p>Results: " << escaped(run.path) << "; "
      << escaped(run.program) << "</p>\n<script>" << kScript << "</script></html>\n";
  if (!out.flush()) throw input_error("{}: cannot be written; check that the folder is writable and has free space", path);
}

}  // namespace canvaslab
