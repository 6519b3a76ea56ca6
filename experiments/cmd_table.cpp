// canvaslab table: samplers at equal forwards, settings chosen on a tuning run and judged on a test run.
#include "core/durable_file.h"
#include "core/error.h"
#include "core/model.h"
#include "eval/sampler_table.h"
#include "experiments/commands.h"

namespace canvaslab {
namespace {

struct Arguments {
  std::string plan, tuning, test, choose, out, figure, title = "Samplers at equal forwards";
  std::vector<std::string> budgets;
};

std::vector<int32_t> budgets_of(const Arguments& a, const std::vector<TableRow>& rows) {
  std::vector<int32_t> out;
  for (const auto& text : a.budgets) {
    out.push_back(static_cast<int32_t>(parse_integer(text, "--budget")));
    if (out.back() < 1 || (out.size() > 1 && out.back() <= out[out.size() - 2])) throw usage_error("--budget {}: expected numbers of forwards above 0, rising", text);
  }
  return out.empty() ? table_budgets(rows) : out;
}

void write_text(const std::string& path, const std::string& text) {
  write_text_durably(path, text);
  fmt::print("{}\n", path);
}

void run(const Arguments& a) {
  const SweepPlan plan = read_sweep(a.plan, {});
  const auto denoiser = open_model(plan.denoiser, {.dtype = plan.dtype, .device = plan.device});
  if (a.test.empty() == a.choose.empty()) throw usage_error("give either --choose FILE (write the settings to test) or the test run; see canvaslab table --help");
  if (!a.choose.empty()) {
    const auto rows = table_rows(plan, *denoiser);
    return write_text(a.choose, chosen_sweep(plan, choose_settings(rows, read_measured(a.tuning, plan.denoiser, longest_canvas(a.tuning)), budgets_of(a, rows))));
  }
  SamplerTable table = make_sampler_table(plan, *denoiser, a.tuning, a.test, budgets_of(a, table_rows(plan, *denoiser)));
  table.title = a.title;
  if (a.out.empty()) return fmt::print("{}", table_markdown(table));
  write_text(a.out + ".md", table_markdown(table));
  write_text(a.out + ".csv", table_csv(table));
  if (a.figure.empty()) return;
  draw_sampler_table(table, a.figure);
  fmt::print("{0}.png\n{0}.svg\n", a.figure);
}

}  // namespace

void add_table(CommandLine& line) {
  const Command command = line.command("table", "samplers at equal forwards: settings chosen on a tuning run, judged on a test run");
  auto* a = new Arguments;
  command.option("config", a->plan, "sweep file of the tuning run; grids with one 'label' are one row of the table").required();
  command.option("tuning", a->tuning, "finished run of that file, on an exact source").required();
  command.option("test", a->test, "finished run of the chosen settings, with other seeds");
  command.option("--choose", a->choose, "write the chosen settings as a sweep file, to be run for the test");
  command.option("--budget", a->budgets, "forwards for a canvas length of tokens, one column each; may be repeated (default: the step limits of the file)");
  command.option("--out", a->out, "write OUT.md and OUT.csv (default: Markdown on stdout)");
  command.option("--figure", a->figure, "with --out: also draw FIGURE.png and FIGURE.svg");
  command.option("--title", a->title, "of the table").shows_default();
  command.footer("Examples:\n  canvaslab sweep my.toml --out runs/tuning\n  canvaslab table my.toml runs/tuning --choose runs/test.toml\n"
                  "  canvaslab sweep runs/test.toml --set run.seed=2 --out runs/test\n  canvaslab table my.toml runs/tuning runs/test --out results/tables/my\n"
                  "For every row and budget, the setting of least divergence that took at most so many forwards (of any kind) on the tuning run.");
  command.action([=] { return run(*a); });
}

}  // namespace canvaslab
