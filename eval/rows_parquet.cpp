// Parquet through a library that is loaded when it is needed (eval/parquet/module.h).
#include <dlfcn.h>

#include <filesystem>

#include "core/error.h"
#include "eval/parquet/module.h"
#include "eval/rows.h"

#ifndef CANVASLAB_PARQUET_MODULE
#define CANVASLAB_PARQUET_MODULE ""  // built without Arrow
#endif

namespace canvaslab {
namespace {

/// The library beside the program, else where it was built. Errors: usage, saying how to come by it.
CanvaslabReadParquet parquet_reader(const std::string& path) {
  std::error_code ignored;
  const auto beside = std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path() / "libcanvaslab_parquet.so";
  const std::string library = std::filesystem::exists(beside, ignored) ? beside.string() : CANVASLAB_PARQUET_MODULE;
  const char* remedy =
      "run ./experiments/quickstart.sh --build-only, which fetches Arrow, or convert the file on a machine that has Arrow (canvaslab data convert FILE --out FILE.jsonl), or with Python:\n"
      "  pandas.read_parquet(\"FILE.parquet\").to_json(\"FILE.jsonl\", orient=\"records\", lines=True)";
  if (library.empty()) throw usage_error("{}: is a Parquet file, and this program was built without Arrow\n{}", path, remedy);
  void* const handle = ::dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  void* const function = handle ? ::dlsym(handle, "canvaslab_read_parquet") : nullptr;
  if (!function) {
    const char* const problem = ::dlerror();
    throw usage_error("{}: is a Parquet file, but the library that reads them cannot be loaded ({})\n{}", path, problem ? problem : library, remedy);
  }
  return reinterpret_cast<CanvaslabReadParquet>(function);
}

}  // namespace

void read_parquet_rows(const std::string& path, const RowVisitor& visit) {
  struct Context {
    const std::string& path;
    const RowVisitor& visit;
    size_t number = 0;
  } context{path, visit};
  const auto on_row = [](void* at, const char* json, size_t size) {
    auto& to = *static_cast<Context*>(at);
    const DataRow row{.where = fmt::format("{}: row {}: ", to.path, to.number++), .fields = parse_json(std::string_view(json, size))};
    to.visit(row);
  };
  char error[2048] = "";
  if (parquet_reader(path)(path.c_str(), &context, on_row, error, sizeof error) != 0)
    throw input_error("{}: cannot be read as Parquet ({})\nthe file is cut short, damaged or no Parquet; fetch it again and compare its size and hash", path, error);
}

}  // namespace canvaslab
