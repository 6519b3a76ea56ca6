#include "notebooks-cpp/notebook.h"

#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "core/error.h"
#include "notebooks-cpp/html.h"

namespace canvaslab::notebook {
namespace {

/// The one notebook that this program is.
struct Running {
  std::string path;             ///< of its source; empty when built without markers
  size_t line = 0;              ///< of the current cell's marker
  bool draw = false;
  std::vector<Output> outputs;
  void add(Output::Kind kind, std::string text, std::string alternative = "") {
    outputs.push_back({.kind = kind, .line = line, .text = std::move(text), .alternative = std::move(alternative)});
  }
};
Running& running() {
  static Running instance;
  return instance;
}

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw input_error("{}: cannot be read", path);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// A folder for the time of one picture.
class PictureFolder {
 public:
  PictureFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "canvaslab-notebook-XXXXXX").string();
    if (!::mkdtemp(name.data())) throw input_error("{}: cannot be made; is the folder for temporary files writable?", name);
    path_ = name;
  }
  ~PictureFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  PictureFolder(const PictureFolder&) = delete;
  PictureFolder& operator=(const PictureFolder&) = delete;
  std::string stem() const { return path_ + "/picture"; }

 private:
  std::string path_;
};

void write_page(const std::string& path) {
  const Running& notebook = running();
  if (notebook.path.empty()) throw usage_error("this program was built from the notebook as it is, so it cannot tell which cell wrote what\nbuild it by ./notebooks-cpp/render.sh");
  const auto folder = std::filesystem::path(path).parent_path();
  if (!folder.empty()) std::filesystem::create_directories(folder);
  std::ofstream out(path, std::ios::binary);
  out << render_page(parse_cells(read_file(notebook.path), notebook.path), notebook.outputs, std::filesystem::path(notebook.path).filename().string());
  if (!out.flush()) throw input_error("{}: cannot be written\ncheck that the folder is writable and has free space", path);
}

/// Runs the cells; false when one of them failed, which is then the last output.
bool run_cells(void (*body)()) {
  try {
    body();
    return true;
  } catch (const std::exception& error) {
    const bool claim = dynamic_cast<const FailedClaim*>(&error) != nullptr;
    running().add(Output::Kind::kFailure, (claim ? "no longer true: " : "") + std::string(error.what()));
    std::fflush(stdout);
    fmt::print(stderr, "error: {}:{}: the cell that begins here failed\n  {}\n", running().path.empty() ? "notebook" : running().path, running().line, running().outputs.back().text);
    return false;
  }
}

}  // namespace

bool enter_cell(const char* path, size_t line) {
  running().path = path;
  running().line = line;
  return true;
}

void print_text(const std::string& text) {
  fmt::print("{}\n", text);
  running().add(Output::Kind::kText, text);
}

void claim_text(bool holds, const std::string& text) {
  if (!holds) throw FailedClaim(text);
  fmt::print("[holds] {}\n", text);
  running().add(Output::Kind::kClaim, text);
}

void show(Figure figure) {
  if (!running().draw) return fmt::print("[picture: {}; drawn with --html FILE]\n", figure.title);
  const PictureFolder folder;
  figure.stem = folder.stem();
  draw_figures({figure});
  fmt::print("[picture: {}]\n", figure.title);
  running().add(Output::Kind::kPicture, read_file(figure.stem + ".svg"), figure.title + ". " + figure.caption);
}

int run(const std::vector<std::string>& arguments, void (*body)()) {
  try {
    if (!arguments.empty() && (arguments.size() != 2 || arguments[0] != "--html" || arguments[1].empty()))
      throw usage_error("unknown arguments '{}'; expected nothing, or --html FILE", fmt::join(arguments, " "));
    running().draw = !arguments.empty();
    running().outputs.clear();
    const bool ok = run_cells(body);
    if (running().draw) write_page(arguments[1]);
    return static_cast<int>(ok ? ExitCode::kDone : ExitCode::kSomeFailed);
  } catch (const UserError& error) {
    fmt::print(stderr, "error: {}\n", error.what());
    return static_cast<int>(error.code());
  } catch (const std::filesystem::filesystem_error& error) {
    fmt::print(stderr, "error: {}\n", error.what());
    return static_cast<int>(ExitCode::kBadInput);
  }
}

}  // namespace canvaslab::notebook
