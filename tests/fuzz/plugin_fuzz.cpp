// Plug-in expressions: parsed, written out and parsed again; resolved against a table of every parameter type, and as schedules.
#include "core/params.h"
#include "schedules/schedule.h"
#include "tests/fuzz/fuzz.h"

namespace {

using namespace canvaslab;

const std::vector<ParamSpec>& table() {
  static const auto inner = [](const PluginExpr& expr) { return expr.text(); };
  static const std::vector<ParamSpec> specs = {
      real_param("real", 0.5, 0, 1, "", ""),          int_param("count", 3, -5, 1e15, "", ""),        bool_param("flag", true, ""),
      text_param("word", "a", "", {"a", "b"}),        schedule_param("bound", 0.1, 0, 10, "nats", ""), added_late(int_param("late", 0, 0, 9, "", "")),
      added_late(text_param("note", "", "")),         text_param("free", "x", "")};
  return specs;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(fuzz::text_of(data, size));
  fuzz::reads([&] {
    const PluginExpr expr = parse_plugin(text);
    const std::string written = expr.text();
    std::string again;
    fuzz::demand(fuzz::reads([&] { again = parse_plugin(written).text(); }), "written text is read");
    fuzz::demand(again == written, "written text reads back as itself");
    std::string canonical;
    if (fuzz::reads([&] { canonical = resolve_options("thing", "thing", table(), expr).canonical(); })) {
      fuzz::demand(fuzz::reads([&] { again = resolve_options("thing", "thing", table(), parse_plugin(canonical)).canonical(); }), "canonical options are read");
      fuzz::demand(again == canonical, "canonical options read back as themselves");
    }
    fuzz::reads([&] {
      const auto schedule = make_schedule(expr);
      for (int32_t step = 0; step < 5; ++step) schedule->value({.step_idx = step, .num_steps = 5});
    });
  });
  return 0;
}
