// A sweep file, and after zero bytes the values of --set.
#include "eval/sweep_plan.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace canvaslab;
  std::string_view rest = fuzz::text_of(data, size);
  fuzz::put_file("plan.toml", fuzz::next_part(rest));
  std::vector<std::string> overrides;
  while (!rest.empty() && overrides.size() < 4) overrides.push_back(fuzz::next_part(rest));
  fuzz::reads([&] {
    const SweepPlan plan = read_sweep("plan.toml", overrides);
    fuzz::demand(!plan.configs.empty() && !plan.seeds.empty() && plan.repeats > 0, "a plan has something to do");
  });
  return 0;
}
