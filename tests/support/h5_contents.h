#pragma once
// Every dataset of an HDF5 file as bytes, for comparing files.
#include <map>
#include <string>

namespace canvaslab {

struct DatasetContent {
  std::string shape, type, bytes;
  bool is_volatile = false;
  bool operator==(const DatasetContent&) const = default;
};

/// Path -> content of every dataset in the file.
std::map<std::string, DatasetContent> h5_contents(const std::string& path);

/// Names of datasets that differ and are not marked volatile, with what differs; empty when the files are equal.
std::string h5_difference(const std::string& a, const std::string& b);

}  // namespace canvaslab
