#pragma once
// Strict reading of TOML: unknown keys, wrong types and values out of range are errors that name line and column.
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include <toml++/toml.h>

#include "core/error.h"

namespace canvaslab {

/// Parses a file. A top-level `include = "base.toml"` (beside the file, or absolute) is read first; what the file itself
/// says wins, key by key in tables, as a whole for lists and values.
/// Errors: input when it cannot be opened; usage, with file, line and column, when it is no TOML or includes itself.
toml::table parse_toml(const std::string& path);

/// "file:line:column" of a node or key, in the included file where it stands in one; what came from no file is said to be
/// from --set.
std::string toml_place(const std::string& path, const toml::source_region& source);

/// Applies one `key=value` with a dotted key; of a list of tables a number from 0 says which ("dataset.1.subset=20"). The value is TOML; what does not parse as TOML is taken as a string.
void apply_override(toml::table& root, const std::string& text);

/// Runs a check and puts the place in the file before what it complains about.
template <typename Check>
auto located(const std::string& where, Check check) {
  try {
    return check();
  } catch (const UserError& error) {
    throw UserError(error.code(), where + ": " + error.what());
  }
}
/// "key=value; key=value" as a table. Values are TOML; what does not parse as TOML is taken as a string. `name` stands for
/// the text in places. Errors: usage for what is no key=value and keys given twice.
toml::table parse_settings(const std::string& text, const std::string& name);

/// One table with the keys it may hold.
class TomlTable {
 public:
  /// Errors: usage for a key that is not in `keys`, with the nearest valid one.
  TomlTable(std::string path, std::string name, const toml::table& table, std::vector<std::string> keys);

  bool has(const std::string& key) const { return table_.contains(key); }
  /// A string; `fallback` absent: the key must be there.
  std::string text(const std::string& key, std::optional<std::string> fallback) const;
  /// A finite number, also a whole one.
  double real(const std::string& key, std::optional<double> fallback) const;
  int64_t integer(const std::string& key, int64_t fallback, int64_t least, int64_t most = std::numeric_limits<int64_t>::max()) const;
  /// A value or a non-empty list of values.
  std::vector<std::string> texts(const std::string& key) const;  ///< numbers are taken as they are written
  std::vector<int64_t> integers(const std::string& key, int64_t least, int64_t most) const;
  std::vector<bool> booleans(const std::string& key) const;
  std::vector<std::string> switches(const std::string& key) const;  ///< strings; true and false are taken for on and off
  /// The value of a key, null when it is absent.
  const toml::node* node(const std::string& key) const { return table_.get(key); }
  /// "file:line:column" of a key (of the file when the key is absent), for errors.
  std::string at(const std::string& key) const;

 private:
  template <typename Visit>
  void each(const std::string& key, Visit visit) const;
  int64_t integer_of(const toml::node& node, const std::string& key, int64_t least, int64_t most) const;
  std::string where(const toml::node& node) const;
  std::string path_, name_;
  const toml::table& table_;
};

}  // namespace canvaslab
