// canvaslab plugin new: a folder with a sampler of its own, ready to build (or to run, in Python).
#include <filesystem>
#include <fmt/format.h>

#include "core/durable_file.h"
#include "core/error.h"
#include "experiments/commands.h"
#include "experiments/plugin_texts.h"
#include "samplers/sampler.h"

namespace canvaslab {
namespace {

namespace fs = std::filesystem;

void check_name(const std::string& name) {
  const bool word = !name.empty() && std::isalpha(static_cast<unsigned char>(name[0])) && name == canonical_name(name) &&
                    name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") == std::string::npos;
  if (!word) throw usage_error("'{}' is no name for a plug-in; expected lower-case letters, digits and '_', a letter first", name);
  if (samplers().contains(name)) throw usage_error("there is a sampler '{}' already; give yours another name", name);
}

/// The text with its plug-in called `name`.
std::string named(std::string text, const std::string& name) {
  constexpr std::string_view kMark = "my_sampler";
  for (size_t at = 0; (at = text.find(kMark, at)) != std::string::npos; at += name.size()) text.replace(at, kMark.size(), name);
  return text;
}

void write_library(const std::string& name, const fs::path& folder) {
  write_text_durably((folder / (name + ".cpp")).string(), named(kSkeletonText, name));
  write_text_durably((folder / "plugin_abi.h").string(), kPluginAbiText);
  write_text_durably((folder / "build.sh").string(), fmt::format("#!/bin/sh\n# Makes {0}.so beside this script; CXX names another compiler.\n"
                                              "cd \"$(dirname \"$0\")\" && exec \"${{CXX:-c++}}\" -std=c++20 -O1 -shared -fPIC -Wall -Wextra -o {0}.so {0}.cpp\n", name));
  std::error_code ignored;
  fs::permissions(folder / "build.sh", fs::perms::owner_exec | fs::perms::group_exec | fs::perms::others_exec, fs::perm_options::add, ignored);
  fmt::print("wrote {0}/{1}.cpp, {0}/plugin_abi.h (the interface, field by field) and {0}/build.sh\nnext:\n  sh {0}/build.sh\n  canvaslab check {0}/{1}.so\n"
             "  canvaslab generate --plugin {0}/{1}.so --model 'hmm(states=16)' --sampler {1}\n", folder.string(), name);
}

void write_script(const std::string& name, const fs::path& folder) {
  write_text_durably((folder / (name + ".py")).string(), named(kPythonSkeletonText, name));
  write_text_durably((folder / "canvaslab_client.py").string(), kClientText);
  const std::string expression = fmt::format("'external(command=\"python3 {}/{}.py\")'", folder.string(), name);
  fmt::print("wrote {0}/{1}.py and {0}/canvaslab_client.py (what a step offers stands at its top)\nnext:\n  canvaslab check --kind sampler {2}\n"
             "  canvaslab generate --model 'hmm(states=16)' --sampler {2}\n", folder.string(), name, expression);
}

void write_skeleton(const std::string& name, const fs::path& folder, bool python) {
  check_name(name);
  std::error_code failed;
  if (fs::exists(folder, failed)) throw usage_error("{}: is there already and is left as it is; give another folder with --out", folder.string());
  if (python) write_script(name, folder);
  else write_library(name, folder);
}

}  // namespace

void add_plugin(CommandLine& line) {
  const Command command = line.command("plugin", "start a sampler of your own outside this tree: canvaslab plugin new NAME");
  auto* action = new std::string;
  auto* name = new std::string;
  auto* out = new std::string;
  command.option("action", *action, "new").required();
  command.option("name", *name, "of the sampler and of its files").required();
  command.option("--out", *out, "folder to write (default: ./NAME)");
  auto* python = new bool(false);
  command.flag("--python", *python, "a Python script that runs beside the program, instead of a library");
  command.footer("Examples:\n  canvaslab plugin new foo && sh foo/build.sh && canvaslab check foo/foo.so\n"
                 "  canvaslab plugin new foo --python && canvaslab check --kind sampler 'external(command=\"python3 foo/foo.py\")'");
  command.action([=] {
    if (*action != "new") throw usage_error("there is no 'plugin {}'; expected: plugin new NAME", *action);
    write_skeleton(*name, out->empty() ? *name : *out, *python);
  });
}

}  // namespace canvaslab
