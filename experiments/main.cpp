// canvaslab: the command line.
#include <algorithm>
#include <csignal>
#include <exception>

#include "core/error.h"
#include "experiments/commands.h"

int main(int argc, char** argv) {
  using namespace canvaslab;
  std::signal(SIGPIPE, SIG_IGN);
  CLI::App app{"CanvasLab: a laboratory for samplers of block text-diffusion models", "canvaslab"};
  app.set_version_flag("--version", "canvaslab " CANVASLAB_VERSION);
  app.require_subcommand(1);
  app.footer("Examples:\n"
             "  canvaslab sweep experiments/quickstart.toml      run the default experiment (resumes by itself)\n"
             "  canvaslab plot results/runs/quickstart           draw it\n"
             "  canvaslab list samplers                          what there is, with parameters\n"
             "  canvaslab generate --model DIR --prompt 'Hello'  text from a checkpoint");
  int exit_code = 0;
  add_list(app, &exit_code);
  add_inspect(app, &exit_code);
  add_tokenize(app, &exit_code);
  add_generate(app, &exit_code);
  add_logits(app, &exit_code);
  add_sweep(app, &exit_code);
  add_plot(app, &exit_code);
  add_merge(app, &exit_code);
  add_diff(app, &exit_code);
  add_export(app, &exit_code);
  try {
    std::vector<std::string> names;
    for (const auto* command : app.get_subcommands(nullptr)) names.push_back(command->get_name());
    if (argc > 1 && argv[1][0] != '-' && std::find(names.begin(), names.end(), argv[1]) == names.end())
      throw usage_error("there is no command '{}'{}\nknown: {}", argv[1], did_you_mean(argv[1], names), fmt::join(names, ", "));
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    return app.exit(help);
  } catch (const CLI::CallForAllHelp& help) {
    return app.exit(help);
  } catch (const CLI::CallForVersion& version) {
    return app.exit(version);
  } catch (const CLI::ParseError& error) {
    fmt::print(stderr, "error: {}\nsee canvaslab {} --help\n", error.what(),
               app.get_subcommands().empty() ? "" : app.get_subcommands().front()->get_name());
    return static_cast<int>(ExitCode::kUsage);
  } catch (const UserError& error) {
    fmt::print(stderr, "error: {}\n", error.what());
    return static_cast<int>(error.code());
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "error: out of memory\ntry a smaller model, canvas or batch\n");
    return static_cast<int>(ExitCode::kBadInput);
  } catch (const std::exception& error) {
    fmt::print(stderr, "error: {}\n", error.what());
    return 1;
  }
  return exit_code;
}
