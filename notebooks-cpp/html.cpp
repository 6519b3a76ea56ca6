#include "notebooks-cpp/html.h"

#include <cmark.h>
#include <openssl/evp.h>

#include <cstdlib>
#include <memory>
#include <regex>
#include <set>
#include <sstream>

#include "core/error.h"
#include "core/text/jinja_value.h"

namespace canvaslab::notebook {
namespace {

using jinja::escape_markup;

constexpr const char* kStyle =
    "body{font:16px/1.55 system-ui,'DejaVu Sans',sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "h1{line-height:1.2}h2{margin-top:2.4rem}"
    "pre{margin:0;padding:.7rem .9rem;overflow-x:auto;font:13px/1.5 'DejaVu Sans Mono',monospace}code{font-family:'DejaVu Sans Mono',monospace;font-size:.88em}pre code{font-size:1em}"
    "p code,li code,td code{background:#f1f1ee;padding:.05em .3em;border-radius:3px}"
    "section{margin:1.1rem 0}section>pre.code{white-space:pre-wrap;overflow-wrap:anywhere;background:#f6f6f3;border:1px solid #e2e2dc;border-radius:4px}"
    "pre.out{border-left:3px solid #b9c7d6;margin-left:.4rem}"
    ".claim{border-left:3px solid #009E73;margin:.5rem 0 .5rem .4rem;padding:.1rem .9rem;font-size:14.5px}.claim:before{content:'\\2713\\00a0';color:#00795a;font-weight:bold}"
    ".failure{border-left:3px solid #c0392b;background:#fdf0ee;margin:.5rem 0 .5rem .4rem;padding:.5rem .9rem;white-space:pre-wrap}.skipped{color:#888;margin-left:.4rem}"
    "figure{margin:.8rem 0 0}figure img{max-width:100%;height:auto}footer{margin-top:3rem;color:#666;font-size:13px;border-top:1px solid #ddd}"
    ".c{color:#5c7080;font-style:italic}.s{color:#9a4a00}.n{color:#0b6e99}.k{color:#7a2f8f}"
    "pre.text{background:#f6f6f3}blockquote{margin:0;padding:.1rem 1rem;border-left:3px solid #ddd;color:#444}";

std::string markdown(const std::string& text) {
  const std::unique_ptr<char, decltype(&std::free)> html(cmark_markdown_to_html(text.data(), text.size(), CMARK_OPT_UNSAFE | CMARK_OPT_VALIDATE_UTF8), &std::free);
  return html.get();
}

bool is_keyword(const std::string& word) {
  static const std::set<std::string> words = {"auto",  "bool",   "case",    "class",    "const",     "constexpr", "continue", "break",  "double",  "else",    "enum",   "false",
                                              "final", "float",  "for",     "if",       "inline",    "int",       "int32_t",  "int64_t", "namespace", "new",  "nullptr", "override",
                                              "private", "public", "return", "size_t",  "static",    "struct",    "switch",   "template", "true",  "typename", "uint64_t", "uint8_t",
                                              "using", "virtual", "void",   "while"};
  return words.contains(word);
}

std::string highlighted_line(const std::string& line) {
  static const std::regex token(R"re((//.*$|^\s*#\w+.*$)|("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])')|(\b[0-9](?:[0-9a-zA-Z.']|[eE][-+])*)|(\b[A-Za-z_]\w*))re");
  std::string out;
  auto rest = line.begin();
  for (auto at = std::sregex_iterator(line.begin(), line.end(), token); at != std::sregex_iterator(); ++at) {
    const std::smatch& match = *at;
    out += escape_markup(std::string(rest, match[0].first));
    rest = match[0].second;
    const char* kind = match[1].matched ? "c" : match[2].matched ? "s" : match[3].matched ? "n" : is_keyword(match.str()) ? "k" : nullptr;
    out += kind ? fmt::format("<span class={}>{}</span>", kind, escape_markup(match.str())) : escape_markup(match.str());
  }
  return out + escape_markup(std::string(rest, line.end()));
}

/// What a cell left behind; lines of text that follow each other make one block.
std::string outputs_html(size_t line, const std::vector<Output>& outputs) {
  std::string out, text;
  const auto flush = [&] {
    if (!text.empty()) out += "<pre class=out>" + escape_markup(text) + "</pre>\n";
    text.clear();
  };
  for (const auto& output : outputs) {
    if (output.line != line) continue;
    if (output.kind == Output::Kind::kText) {
      text += output.text + "\n";
      continue;
    }
    flush();
    if (output.kind == Output::Kind::kClaim) out += "<div class=claim>" + escape_markup(output.text) + "</div>\n";
    if (output.kind == Output::Kind::kFailure) out += "<div class=failure>" + escape_markup(output.text) + "</div>\n";
    if (output.kind == Output::Kind::kPicture)
      out += "<figure><img alt=\"" + escape_markup(output.alternative) + "\" src=\"data:image/svg+xml;base64," + base64(output.text) + "\"></figure>\n";
  }
  flush();
  return out;
}

std::string title_of(const std::vector<Cell>& cells, const std::string& name) {
  for (const auto& cell : cells)
    if (cell.is_text && cell.body.starts_with("# ")) return cell.body.substr(2, cell.body.find('\n') - 2);
  return name;
}

void check_places(const std::vector<Cell>& cells, const std::vector<Output>& outputs, const std::string& name) {
  for (const auto& output : outputs) {
    bool known = false;
    for (const auto& cell : cells) known = known || (!cell.is_text && cell.line == output.line);
    if (!known)
      throw input_error("{}: a cell began at line {} when this program was built, and none does now\nthe file has changed since: build the notebook again", name, output.line);
  }
}

}  // namespace

std::string base64(const std::string& bytes) {
  std::string out(4 * ((bytes.size() + 2) / 3), '\0');
  EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()), reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
  return out;
}

std::string highlighted(const std::string& code) {
  std::string out;
  std::istringstream in(code);
  for (std::string line; std::getline(in, line);) out += highlighted_line(line) + "\n";
  return out;
}

std::string render_page(const std::vector<Cell>& cells, const std::vector<Output>& outputs, const std::string& name) {
  check_places(cells, outputs, name);
  size_t failed = 0;  // line of the failed cell's marker
  for (const auto& output : outputs)
    if (output.kind == Output::Kind::kFailure) failed = output.line;
  std::string out = "<!doctype html>\n<html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'><title>" + escape_markup(title_of(cells, name)) + " - CanvasLab</title><style>" +
                    kStyle + "</style>\n";
  for (const auto& cell : cells) {
    if (cell.is_text) {
      out += markdown(cell.body);
      continue;
    }
    out += fmt::format("<section id=line{}><pre class=code>", cell.line) + highlighted(cell.body) + "</pre>\n" + outputs_html(cell.line, outputs);
    if (failed > 0 && cell.line > failed) out += "<p class=skipped>not run: an earlier cell failed</p>\n";
    out += "</section>\n";
  }
  return out + "<footer><p>Made by running <code>notebooks-cpp/" + escape_markup(name) + "</code>: every number, picture and checked sentence on this page was computed by the code above it.</p></footer></html>\n";
}

}  // namespace canvaslab::notebook
