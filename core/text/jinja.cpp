#include "core/text/jinja.h"

#include "core/text/jinja_evaluator.h"

namespace canvaslab {

std::string JinjaTemplate::render(const jinja::Value& variables) const { return jinja::Evaluator(name_, variables).run(*body_); }

}  // namespace canvaslab
