#pragma once
// A registry of plug-ins: each .cpp file of a plug-in folder ends by adding itself.
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/params.h"

namespace canvaslab {

/// What a plug-in says of itself, and how it is made. Facts are the registry's own struct of declared properties.
template <typename Base, typename Facts>
struct PluginEntry {
  std::string name;
  std::string summary;
  std::string source;                ///< the paper, section or repository that defines it, or "ours"
  std::vector<std::string> aliases;
  std::vector<ParamSpec> parameters;
  Facts facts;
  std::function<std::unique_ptr<Base>(const Options&)> make;
};

/// Plug-ins by name. Names are looked up without regard to case and '-' / '_'; a duplicate stops the program at start.
template <typename Base, typename Facts>
class Registry {
 public:
  using Entry = PluginEntry<Base, Facts>;
  explicit Registry(std::string kind) : kind_(std::move(kind)) {}

  /// Adds a plug-in; returns true so that it can initialise a file-local constant.
  bool add(Entry entry) {
    for (const auto& existing : entries_) {
      if (existing.name == entry.name) throw std::logic_error("two " + kind_ + "s are called " + entry.name);
    }
    auto at = entries_.begin();
    while (at != entries_.end() && at->name < entry.name) ++at;
    entries_.insert(at, std::move(entry));
    return true;
  }
  /// All plug-ins by name, sorted.
  const std::vector<Entry>& entries() const { return entries_; }
  const std::string& kind() const { return kind_; }

  const Entry& find(const std::string& name) const {
    const std::string wanted = canonical_name(name);
    std::vector<std::string> names;
    for (const auto& entry : entries_) {
      if (entry.name == wanted) return entry;
      for (const auto& alias : entry.aliases)
        if (canonical_name(alias) == wanted) return entry;
      names.push_back(entry.name);
    }
    throw usage_error("there is no {} '{}'{}\nknown: {}", kind_, name, did_you_mean(name, names), joined(names));
  }
  bool contains(const std::string& name) const {
    const std::string wanted = canonical_name(name);
    for (const auto& entry : entries_) {
      if (entry.name == wanted) return true;
      for (const auto& alias : entry.aliases)
        if (canonical_name(alias) == wanted) return true;
    }
    return false;
  }
  Options resolve(const PluginExpr& expr) const {
    const Entry& entry = find(expr.name);
    return resolve_options(kind_, entry.name, entry.parameters, expr);
  }
  /// Builds a plug-in from its expression; every mistake is a usage error.
  std::unique_ptr<Base> make(const PluginExpr& expr) const { return find(expr.name).make(resolve(expr)); }
  std::unique_ptr<Base> make(const std::string& text) const { return make(parse_plugin(text)); }
  /// `text` with every parameter written out: what is printed and stored.
  std::string canonical(const std::string& text) const { return resolve(parse_plugin(text)).canonical(); }

 private:
  std::string kind_;
  std::vector<Entry> entries_;
};

}  // namespace canvaslab
