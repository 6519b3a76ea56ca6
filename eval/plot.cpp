#include "eval/plot.h"

#include <sys/wait.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "core/error.h"
#include "core/h5.h"
#include "core/params.h"
#include "eval/statistics.h"

namespace canvaslab {
namespace {

/// Okabe and Ito's eight colours, told apart with every common colour blindness (yellow and black left out: they vanish
/// on paper or are the control's), each with a point shape of its own.
constexpr const char* kColours[] = {"#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#555555"};
constexpr int kShapes[] = {7, 5, 9, 11, 13, 6, 4, 8, 10, 12};

struct Point {
  std::string series;
  int32_t canvas_length = 0, num_steps = 0;
  bool control = false;
  double speed = 0, speed_error = 0, quality = 0, quality_error = 0, score = 0, output_entropy = 0, steps_used = 0;
  int64_t count = 0;
  std::vector<double> accepted;  // mean accepted positions by step
};

struct Results {
  std::string title, quality_key, caption;
  bool divergence = false;
  std::vector<Point> points;
};

/// entropy_bound(entropy_bound=0.1) -> "entropy_bound 0.1": the values alone, where names say nothing new.
std::string short_name(const std::string& text) {
  if (text.empty()) return text;
  const PluginExpr expr = parse_plugin(text);
  std::string out = expr.name;
  for (const auto& argument : expr.arguments) out += (&argument == &expr.arguments.front() ? " " : ", ") + argument->text();
  return out;
}

std::string results_file(const std::string& run) {
  if (!std::filesystem::exists(run)) throw input_error("{}: no such file or folder; give a run folder or a run.h5", run);
  if (!std::filesystem::is_directory(run)) return run;
  const std::string path = run + "/run.h5";
  if (!std::filesystem::exists(path)) throw input_error("{}: there is no run.h5 in it; is the sweep finished? start the same sweep command again to go on", run);
  return path;
}

Results read_results(const std::string& path) {
  const H5Reader file(path);
  Results out;
  if (!file.has("aggregates/score_mean")) throw input_error("{}: is no results file of a sweep (there is no /aggregates)", path);
  out.quality_key = file.text_attribute("aggregates", "quality");
  out.divergence = out.quality_key == "pair_divergence_nats";
  out.title = file.text_attribute("/", "denoiser");
  const auto column = [&](const std::string& name) { return file.read<double>("aggregates/" + name); };
  const auto quality = column(out.quality_key);
  const auto error = column(out.divergence ? "pair_divergence_standard_error" : "agreement_standard_error");
  const auto speed = column("tokens_per_denoiser_forward_mean_of_ratios"), speed_error = column("tokens_per_denoiser_forward_standard_error");
  const auto score = column("score_mean"), used = column("steps_per_canvas_mean");
  const auto entropy = out.divergence ? column("output_entropy_nats") : std::vector<double>(quality.size());
  const auto count = file.read<int64_t>("aggregates/num_samples");
  const auto length = file.read<int32_t>("config/canvas_length"), steps = file.read<int32_t>("config/num_steps");
  const auto control = file.read<uint8_t>("config/control");
  std::map<std::string, std::vector<std::string>> text;
  for (const char* key : {"sampler", "temperature", "emission", "stop", "self_conditioning"}) text[key] = file.read_strings(std::string("config/") + key);
  // Which settings differ between samplers' rows: only those belong into a series' name.
  std::vector<std::string> varying = {"sampler"};
  for (const char* key : {"temperature", "emission", "stop", "self_conditioning"}) {
    std::map<std::string, std::set<std::string>> per_sampler;
    for (size_t c = 0; c < quality.size(); ++c)
      if (!control[c]) per_sampler[text["sampler"][c]].insert(text[key][c]);
    if (std::any_of(per_sampler.begin(), per_sampler.end(), [](const auto& entry) { return entry.second.size() > 1; })) varying.push_back(key);
  }
  for (size_t c = 0; c < quality.size(); ++c) {
    Point point;
    point.control = control[c];
    for (const auto& key : varying) {
      const std::string part = short_name(text[key][c]);
      if (!part.empty()) point.series += (point.series.empty() ? "" : key == "temperature" ? ", T " : ", ") + part;
    }
    point.canvas_length = length[c];
    point.num_steps = steps[c];
    point.speed = speed[c];
    point.speed_error = speed_error[c];
    point.quality = quality[c];
    point.quality_error = error[c];
    point.score = score[c];
    point.output_entropy = entropy[c];
    point.steps_used = used[c];
    point.count = count[c];
    out.points.push_back(std::move(point));
  }
  // Mean accepted positions by step: steps -> canvases -> samples -> configuration.
  const auto step_canvas = file.read<uint64_t>("steps/canvas_row");
  const auto step_idx = file.read<int32_t>("steps/step_idx"), accepted = file.read<int32_t>("steps/num_accepted");
  const auto canvas_sample = file.read<uint64_t>("canvases/sample_idx");
  const auto config = file.read<uint32_t>("samples/config_idx");
  std::vector<std::vector<double>> sum(quality.size()), number(quality.size());
  for (size_t i = 0; i < step_idx.size(); ++i) {
    const auto c = config[canvas_sample[step_canvas[i]]];
    const auto k = static_cast<size_t>(step_idx[i]);
    if (sum[c].size() <= k) sum[c].resize(k + 1), number[c].resize(k + 1);
    sum[c][k] += accepted[i];
    number[c][k] += 1;
  }
  for (size_t c = 0; c < quality.size(); ++c)
    for (size_t k = 0; k < sum[c].size(); ++k) out.points[c].accepted.push_back(sum[c][k] / number[c][k]);
  std::vector<double> errors;
  int64_t least = count.empty() ? 0 : *std::min_element(count.begin(), count.end());
  for (const auto& point : out.points)
    if (!point.control) errors.push_back(point.quality_error);
  std::sort(errors.begin(), errors.end());
  const double typical = errors.empty() ? 0 : errors[errors.size() / 2];
  // Unpaired two-sided 5% test at 80% power: (1.96 + 0.84) standard errors of a difference.
  out.caption = fmt::format("{}; {}; seed {}; {} samples a point; bars are 95% intervals; a difference of {:.2g} can be resolved (5%, power 80%)",
                            out.title, file.text_attribute("/", "dataset"), file.integer_attribute("/", "seed"), least, 2.8 * std::sqrt(2.0) * typical);
  return out;
}

std::string quoted(std::string text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

/// One figure: panels by canvas length, one line a series, shared key on the right.
struct Figure {
  std::string stem, title, x_label, y_label;
  bool log_x = false, log_y = false, control_line = false, x_errors = false;
};
struct Mark {
  double x, y, x_error, y_error;
};

std::string wrap(const std::string& text, size_t width) {
  std::string out;
  size_t used = 0;
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    if (used && used + word.size() + 1 > width) out += "\\n", used = 0;
    else if (used) out += ' ', ++used;
    out += word;
    used += word.size();
  }
  return out;
}

std::string script(const Figure& figure, const Results& results, const std::map<int32_t, std::map<std::string, std::vector<Mark>>>& panels,
                   const std::map<int32_t, Point>& controls, const std::vector<std::string>& series) {
  double x_low = INFINITY, x_high = -INFINITY, y_low = INFINITY, y_high = -INFINITY;
  const auto widen = [](double& low, double& high, double value) { low = std::min(low, value), high = std::max(high, value); };
  for (const auto& [length, lines] : panels)
    for (const auto& [name, marks] : lines)
      for (const auto& mark : marks) {
        widen(x_low, x_high, mark.x);
        if (!figure.log_y || mark.y > 0) widen(y_low, y_high, mark.y);
        widen(y_low, y_high, mark.y + kZ95 * mark.y_error);
        if (!figure.log_y) widen(y_low, y_high, mark.y - kZ95 * mark.y_error);
      }
  if (figure.control_line)
    for (const auto& [length, point] : controls) widen(y_low, y_high, point.quality);
  if (!std::isfinite(x_low)) x_low = 1, x_high = 2;
  if (!std::isfinite(y_low)) y_low = 0.1, y_high = 1;
  if (figure.log_y) y_low = std::max(y_low, 1e-9) / 1.4, y_high *= 1.3;
  else y_low = std::min(0.0, y_low), y_high += 0.06 * (y_high - y_low) + 1e-9;
  if (figure.log_x) x_low /= 1.25, x_high *= 1.25;
  else x_high += 0.05 * (x_high - x_low) + 1e-9, x_low = std::min(x_low, std::max(0.0, x_low - 0.05 * (x_high - x_low)));
  std::ostringstream out;
  const size_t columns = panels.size();
  size_t longest = 8;
  for (const auto& name : series) longest = std::max(longest, name.size());
  // Panel width plus room for the longest name in the key, which stands outside the last panel.
  const double key_px = 60 + 6.6 * static_cast<double>(longest), panel_px = columns == 1 ? 560 : 400;
  const double width = 70 + panel_px * static_cast<double>(columns) + key_px;
  const double height = std::max(500.0, 150 + 19.0 * static_cast<double>(series.size() + 1));
  const auto body = [&](const std::string& terminal, const std::string& path) {
    out << "reset\nset terminal " << terminal << fmt::format(" size {:.0f},{:.0f}", width, height) << " font 'DejaVu Sans,11' noenhanced\n";
    out << "set output " << quoted(path) << "\nset encoding utf8\nset samples 2\n";
    const double left = 70 / width, right = 1 - key_px / width, gap = 28 / width;
    const double each = (right - left - gap * static_cast<double>(columns - 1)) / static_cast<double>(columns);
    out << "set multiplot\n";
    out << "set label 1 " << quoted(wrap(results.caption, static_cast<size_t>(width / 6.4))) << " at screen " << 14 / width << "," << 34 / height << " left font 'DejaVu Sans,8' tc rgb '#444444'\n";
    out << "set label 2 " << quoted(figure.title) << " at screen " << 14 / width << "," << 1 - 18 / height << " left font 'DejaVu Sans Bold,12'\n";
    out << "set grid xtics ytics lw 0.5 lc rgb '#dddddd'\nset border 3 lc rgb '#444444'\nset tics nomirror\n";
    out << "set bmargin at screen " << 92 / height << "\nset tmargin at screen " << 1 - 62 / height << "\n";
    if (figure.log_x) out << "set logscale x 2\n";
    if (figure.log_y) out << "set logscale y 10\nset mytics 10\nset format y '%g'\nset ytics add (0.02, 0.05, 0.2, 0.5)\n";
    out << fmt::format("set xrange [{:g}:{:g}]\nset yrange [{:g}:{:g}]\n", x_low, x_high, y_low, y_high);
    size_t column = 0;
    for (const auto& [length, lines] : panels) {
      const double begin = left + (each + gap) * static_cast<double>(column);
      out << "set lmargin at screen " << begin << "\nset rmargin at screen " << begin + each << "\n";
      out << "set title " << quoted(fmt::format("canvas length {}", length)) << " offset 0,-0.4\nset xlabel " << quoted(figure.x_label) << "\n";
      if (column == 0) out << "set ylabel " << quoted(figure.y_label) << " offset 0.5\n";
      else out << "unset ylabel\nset format y ''\nunset label 1\nunset label 2\n";
      if (column + 1 == columns)
        out << "set key at screen " << 1 - (key_px - 18) / width << "," << 1 - 66 / height << " left top Left reverse samplen 1.6 spacing 1.15 font 'DejaVu Sans,9'\n";
      else out << "unset key\n";
      std::vector<std::string> parts, data;
      if (figure.control_line && controls.contains(length)) {
        const Point& point = controls.at(length);
        parts.push_back(fmt::format("{:g} with lines lw 1.5 dt 2 lc rgb '#000000' title 'exact samples, same size'", point.quality));
      }
      for (size_t s = 0; s < series.size(); ++s) {
        const auto found = lines.find(series[s]);
        const std::string look = fmt::format("lc rgb '{}' pt {} ps 1.0 lw 1.6 {}", kColours[s % std::size(kColours)], kShapes[s % std::size(kShapes)],
                                             s >= std::size(kColours) ? "dt 3" : "dt 1");
        if (found == lines.end()) {
          if (column + 1 == columns) parts.push_back(fmt::format("NaN with linespoints {} title {}", look, quoted(series[s])));
          continue;
        }
        std::string rows;
        for (const auto& mark : found->second) {
          const double low = figure.log_y ? std::max(mark.y - kZ95 * mark.y_error, y_low) : mark.y - kZ95 * mark.y_error;
          rows += fmt::format("{} {} {} {} {} {}\n", mark.x, mark.y, low, mark.y + kZ95 * mark.y_error, mark.x - kZ95 * mark.x_error, mark.x + kZ95 * mark.x_error);
        }
        const std::string block = fmt::format("$p{}s{}", column, s);
        out << block << " << EOD\n" << rows << "EOD\n";
        parts.push_back(fmt::format("{} using 1:2 with linespoints {} title {}", block, look, quoted(series[s])));
        const bool bars = std::any_of(found->second.begin(), found->second.end(), [](const Mark& mark) { return mark.y_error > 0; });
        if (bars) parts.push_back(fmt::format("{} using 1:2:3:4 with yerrorbars {} ps 0 notitle", block, fmt::format("lc rgb '{}' pt 7 lw 1", kColours[s % std::size(kColours)])));
        if (bars && figure.x_errors) parts.push_back(fmt::format("{} using 1:2:5:6 with xerrorbars {} ps 0 notitle", block, fmt::format("lc rgb '{}' pt 7 lw 1", kColours[s % std::size(kColours)])));
      }
      if (parts.empty()) parts.push_back("NaN notitle");
      out << "plot " << fmt::format("{}", fmt::join(parts, ", \\\n  ")) << "\n";
      ++column;
    }
    out << "unset multiplot\nset output\n";
  };
  body("pngcairo", figure.stem + ".png");
  body("svg", figure.stem + ".svg");
  return out.str();
}

void run_gnuplot(const std::string& text, const std::string& stem) {
  FILE* pipe = ::popen("gnuplot 2>&1 >/dev/null", "w");
  if (!pipe) throw usage_error("gnuplot cannot be started; install it (apt-get install gnuplot-nox)");
  std::fwrite(text.data(), 1, text.size(), pipe);
  const int status = ::pclose(pipe);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 127) throw usage_error("gnuplot is not installed; install it (apt-get install gnuplot-nox)");
  if (status != 0) throw std::runtime_error(fmt::format("gnuplot failed on {}", stem));
}

std::string escape_html(const std::string& text) {
  std::string out;
  for (char c : text) {
    if (c == '<') out += "&lt;";
    else if (c == '>') out += "&gt;";
    else if (c == '&') out += "&amp;";
    else out += c;
  }
  return out;
}

void write_html(const std::string& path, const Results& results, const std::vector<Figure>& figures) {
  std::ofstream out(path);
  out << "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'><title>" << escape_html(results.title)
      << "</title><style>body{font:15px/1.5 system-ui,sans-serif;max-width:1180px;margin:2rem auto;padding:0 1rem;color:#222}"
         "table{border-collapse:collapse;font-size:13px}td,th{padding:.25rem .7rem;text-align:right;border-bottom:1px solid #ddd}"
         "td:first-child,th:first-child{text-align:left}th{cursor:pointer;background:#f4f4f4;position:sticky;top:0}svg{max-width:100%;height:auto}</style>";
  out << "<h1>CanvasLab run</h1><p>" << escape_html(results.caption) << "</p>";
  for (const auto& figure : figures) {
    std::ifstream svg(figure.stem + ".svg");
    std::string text((std::istreambuf_iterator<char>(svg)), {});
    const auto at = text.find("<svg");
    if (at != std::string::npos) out << "<figure>" << text.substr(at) << "</figure>";
  }
  out << "<h2>All configurations</h2><table id=t><thead><tr><th>sampler<th>canvas<th>steps<th>steps used<th>samples<th>tokens/forward<th>"
      << (results.divergence ? "pair divergence (nats)" : "agreement") << "<th>&plusmn;95%<th>" << (results.divergence ? "NLL (nats/token)<th>output entropy (nats)" : "score") << "</tr></thead><tbody>";
  for (const auto& p : results.points) {
    out << fmt::format("<tr><td>{}<td>{}<td>{}<td>{:.2f}<td>{}<td>{:.3f}<td>{:.5f}<td>{:.5f}<td>{:.4f}", escape_html(p.series), p.canvas_length, p.num_steps,
                       p.steps_used, p.count, p.speed, p.quality, kZ95 * p.quality_error, p.score);
    if (results.divergence) out << fmt::format("<td>{:.4f}", p.output_entropy);
    out << "</tr>";
  }
  out << "</tbody></table><script>document.querySelectorAll('th').forEach((h,i)=>h.onclick=()=>{const b=document.querySelector('#t tbody');"
         "const d=h.dataset.d=h.dataset.d==1?-1:1;[...b.rows].sort((x,y)=>{const a=x.cells[i].textContent,c=y.cells[i].textContent;"
         "return d*(isNaN(a)||isNaN(c)?a.localeCompare(c):a-c)}).forEach(r=>b.append(r))})</script></html>\n";
  if (!out.flush()) throw input_error("{}: cannot be written", path);
}

}  // namespace

std::vector<std::string> plot_runs(const std::vector<std::string>& runs, const std::string& out_dir) {
  std::vector<std::string> written;
  for (const auto& run : runs) {
    const std::string source = results_file(run);
    const Results results = read_results(source);
    const std::string folder = !out_dir.empty() ? out_dir : (std::filesystem::absolute(source).parent_path() / "plots").string();
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    if (error) throw input_error("{}: the folder cannot be created ({})", folder, error.message());
    const std::string prefix = runs.size() > 1 ? folder + "/" + std::filesystem::absolute(source).parent_path().filename().string() + "-" : folder + "/";
    std::vector<std::string> series;
    std::map<int32_t, Point> controls;
    for (const auto& p : results.points) {
      if (p.control) controls[p.canvas_length] = p;
      else if (std::find(series.begin(), series.end(), p.series) == series.end()) series.push_back(p.series);
    }
    const std::string quality = results.divergence ? "token-pair divergence, nats (lower is better)" : "agreement with the reference configuration";
    const std::vector<Figure> figures = {
        {prefix + "quality_vs_tokens_per_forward", "Quality against tokens per forward", "tokens per denoiser forward", quality, true, results.divergence, results.divergence, true},
        {prefix + "quality_vs_steps", "Quality against the step limit", "denoising steps (limit)", quality, true, results.divergence, results.divergence, false},
        {prefix + "accepted_per_step", "Tokens accepted at each step (largest step limit of each series)", "denoising step", "accepted positions, mean over canvases", false, false, false, false}};
    for (size_t f = 0; f < figures.size(); ++f) {
      std::map<int32_t, std::map<std::string, std::vector<Mark>>> panels;
      for (const auto& p : results.points) {
        if (p.control) continue;
        auto& marks = panels[p.canvas_length][p.series];
        if (f == 0) marks.push_back({p.speed, p.quality, p.speed_error, p.quality_error});
        if (f == 1) marks.push_back({static_cast<double>(p.num_steps), p.quality, 0, p.quality_error});
        if (f == 2) {
          const bool largest = std::none_of(results.points.begin(), results.points.end(), [&](const Point& q) {
            return q.series == p.series && q.canvas_length == p.canvas_length && q.num_steps > p.num_steps;
          });
          for (size_t k = 0; largest && k < p.accepted.size(); ++k) marks.push_back({static_cast<double>(k), p.accepted[k], 0, 0});
        }
      }
      for (auto& [length, lines] : panels)
        for (auto& [name, marks] : lines) std::sort(marks.begin(), marks.end(), [](const Mark& a, const Mark& b) { return a.x < b.x; });
      run_gnuplot(script(figures[f], results, panels, controls, series), figures[f].stem);
      written.push_back(figures[f].stem + ".png");
      written.push_back(figures[f].stem + ".svg");
    }
    write_html(prefix + "report.html", results, figures);
    written.push_back(prefix + "report.html");
  }
  return written;
}

}  // namespace canvaslab
