#pragma once
// A notebook as one self-contained page.
#include <string>
#include <vector>

#include "notebooks-cpp/cells.h"
#include "notebooks-cpp/notebook.h"

namespace canvaslab::notebook {

/// Text cells as HTML (CommonMark; HTML in them passes through), code cells with what they left behind beneath them,
/// pictures inside the page: it needs no other file and no network. `name` is the notebook's file name.
/// Cells behind a failed one are marked as not run. Errors: input when an output belongs to no cell: the file has changed
/// since the program was built.
std::string render_page(const std::vector<Cell>& cells, const std::vector<Output>& outputs, const std::string& name);

/// Base64 with padding.
std::string base64(const std::string& bytes);

/// Code as HTML: escaped, with comments, strings, numbers and keywords in spans of a class of their own.
std::string highlighted(const std::string& code);

}  // namespace canvaslab::notebook
