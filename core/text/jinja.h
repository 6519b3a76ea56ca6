#pragma once
// Chat templates: the part of Jinja that they use, rendered as Python's jinja2 3.1 does in the sandbox that transformers
// sets up (trim_blocks, lstrip_blocks, loop controls, raise_exception, strftime_now, tojson without HTML escapes).
#include <memory>
#include <string>

#include "core/text/jinja_syntax.h"

namespace canvaslab {

class JinjaTemplate {
 public:
  /// Errors: input error naming `name`, the line and what was expected.
  JinjaTemplate(std::string source, std::string name) : name_(std::move(name)), body_(jinja::parse(jinja::tokenize(std::move(source), name_), name_)) {}

  /// `variables` is a mapping with string keys. Errors: input error naming the template and the line: raise_exception, an
  /// undefined value used, a type that does not fit, or limits of depth, steps and bytes passed.
  std::string render(const jinja::Value& variables) const;

 private:
  std::string name_;
  std::shared_ptr<const jinja::Node> body_;
};

}  // namespace canvaslab
