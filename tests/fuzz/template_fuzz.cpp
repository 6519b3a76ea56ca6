// A chat template, and after a zero byte the variables as JSON.
#include "core/json.h"
#include "core/text/jinja.h"
#include "core/text/jinja_value.h"
#include "tests/fuzz/fuzz.h"

namespace {

constexpr const char* kConversation =
    R"({"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi <b>"}, {"role": "assistant", "content": [{"type": "text", "text": " x "}]}],
        "tools": [{"name": "add", "parameters": {"a": 1, "b": 2.5, "c": null}}], "bos_token": "<bos>", "add_generation_prompt": true, "enable_thinking": false, "documents": null})";

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace canvaslab;
  std::string_view rest = fuzz::text_of(data, size);
  const std::string source = fuzz::next_part(rest);
  fuzz::reads([&] {
    const JinjaTemplate form(source, "template");
    OrderedJson variables = parse_ordered_json(rest);
    if (!variables.is_object()) variables = parse_ordered_json(kConversation);
    form.render(jinja::Value::from_json(variables));
  });
  return 0;
}
