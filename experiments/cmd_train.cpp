// canvaslab train: a model of the network's architecture on made questions.
#include <map>

#include "core/embedded_models.h"
#include "core/error.h"
#include "eval/progress.h"
#include "eval/sweep_view.h"
#include "eval/training_run.h"
#include "experiments/commands.h"
#include "experiments/interrupts.h"

namespace canvaslab {
namespace {

struct Arguments {
  std::string config, from, out, device;
  std::vector<std::string> set;
  int64_t stop_after = 0;
  bool quiet = false;
};

/// The losses of the last line, or the accuracies of the last evaluation.
void show(const TrainingProgress& p) {
  const TrainingLog& log = *p.log;
  if (!p.evaluated) {
    const TrainingLine& line = log.lines.back();
    std::string losses;
    for (size_t t = 0; t < log.tasks.size(); ++t) if (line.diffusion[t] > 0) losses += fmt::format("  {} {:.3f}|{:.3f}|{:.3f}", log.tasks[t], line.diffusion[t], line.noisiest[t], line.causal[t]);
    fmt::print(stderr, "{}/{}  ETA {}  {:.1f}k tokens/s  rate {:.2g}{}\n", p.step, p.num_steps, duration_text(p.eta_seconds), p.tokens_per_second / 1e3, line.learning_rate, losses);
    return;
  }
  std::map<std::string, std::pair<std::string, std::vector<std::string>>> by_task;  // accuracies as text, and their settings
  for (const auto& e : log.evaluations) {
    if (e.step != p.step) continue;
    auto& [text, settings] = by_task[e.task];
    text += fmt::format("{}{:.2f}", text.empty() ? "" : " ", e.accuracy);
    settings.push_back(e.settings);
  }
  if (by_task.empty()) return;
  fmt::print(stderr, "held-out accuracy after {} steps, by {}\n", p.step, fmt::join(short_labels(by_task.begin()->second.second), ", "));
  for (const auto& [task, found] : by_task) fmt::print(stderr, "  {:<28} {}\n", task, found.first);
}

ExitCode run(const Arguments& a) {
  auto set = a.set;
  if (!a.device.empty()) set.push_back(fmt::format("model.device=\"{}\"", a.device));
  const TrainingConfig config = read_training_config(a.config, set, model_folder(a.from));
  TrainingRunOptions options;
  options.out_dir = a.out.empty() ? "results/runs/" + config.name : a.out;
  options.stop_after = a.stop_after;
  options.interrupt = &count_interrupts();
  if (!a.quiet) {
    fmt::print(stderr, "{}: {} steps -> {}; losses are diffusion|at noise 0.9 and more|causal, in nats per token\n", config.name, config.options.num_steps, options.out_dir);
    options.on_progress = show;
  }
  const TrainingOutcome outcome = run_training(config, options);
  if (outcome.interrupted) {
    fmt::print(stderr, "stopped after {} of {} steps, all kept; start the same command again to go on\n", outcome.steps_done, config.options.num_steps);
    return ExitCode::kInterrupted;
  }
  if (outcome.steps_before == outcome.steps_done) fmt::print(stderr, "nothing to do: all {} steps are done; the model is {}/model\n", outcome.steps_done, options.out_dir);
  else fmt::print(stderr, "finished: the model is {}/model\n", options.out_dir);
  if (config.options.lora.rank > 0) fmt::print(stderr, "the adapter by itself is {}/adapter\n", options.out_dir);
  return ExitCode::kDone;
}

}  // namespace

void add_train(CommandLine& line) {
  const Command command = line.command("train", "train a model on made questions; resumes by itself");
  auto* a = new Arguments;
  command.option("config", a->config, "TOML file").required();
  command.option("--from", a->from, "fine-tune the model in this folder (the file's model.base otherwise)");
  command.option("--out", a->out, "folder for model, state and log (default: results/runs/NAME)");
  command.option("--set", a->set, "key=value in the file's place, with a dotted key; may be repeated").one_each();
  command.option("--device", a->device, "cpu or cuda (the file's model.device otherwise, else cpu)");
  command.option("--stop-after", a->stop_after, "stop, resumable, when so many steps are done").positive();
  command.flag("--quiet", a->quiet, "no progress");
  command.footer("Examples:\n  canvaslab train experiments/train/small.toml\n  canvaslab train experiments/train/small.toml --set run.seed=2 --out results/runs/small-2\n"
                 "  canvaslab train experiments/train/sudoku_lora.toml --from small\n"
                 "  canvaslab plot results/runs/small-1        # losses and accuracies\n  canvaslab generate --model results/runs/small-1/model --prompt '1.3..4....4.4..1'\n"
                 "Killed or interrupted, the same command goes on from the last checkpoint; the result does not depend on it.");
  command.action([=] { return run(*a); });
}

}  // namespace canvaslab
