#include "core/token_ids.h"

#include <algorithm>
#include <limits>
#include <sstream>

#include "core/error.h"

namespace canvaslab {

ParamSpec token_ids_param(const std::string& name, const std::string& doc) { return text_param(name, "", doc + "; separated by blanks or commas; empty: none"); }

std::vector<int32_t> token_ids(const Options& options, const std::string& name) {
  std::string text = options.text(name), word;
  std::replace(text.begin(), text.end(), ',', ' ');
  std::vector<int32_t> ids;
  for (std::istringstream words(text); words >> word;) {
    const std::string where = fmt::format("'{}', parameter '{}'", options.plugin, name);
    const int64_t id = parse_integer(word, where);
    if (id < 0 || id > std::numeric_limits<int32_t>::max()) throw usage_error("{}: {} is no token id; expected 0 or more", where, id);
    ids.push_back(static_cast<int32_t>(id));
  }
  return ids;
}

bool contains(const std::vector<int32_t>& ids, int32_t token) { return std::find(ids.begin(), ids.end(), token) != ids.end(); }

}  // namespace canvaslab
