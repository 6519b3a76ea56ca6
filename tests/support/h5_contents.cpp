#include "tests/support/h5_contents.h"

#include <fmt/format.h>

#include <stdexcept>

#include "core/h5.h"

namespace canvaslab {
namespace {

DatasetContent read_dataset(hid_t file, const std::string& path) {
  const H5Handle set(H5Dopen2(file, path.c_str(), H5P_DEFAULT), H5Dclose);
  const H5Handle type(H5Dget_type(set.id()), H5Tclose), space(H5Dget_space(set.id()), H5Sclose);
  DatasetContent out;
  std::vector<hsize_t> dims(static_cast<size_t>(H5Sget_simple_extent_ndims(space.id())));
  H5Sget_simple_extent_dims(space.id(), dims.data(), nullptr);
  out.shape = fmt::format("[{}]", fmt::join(dims, ","));
  out.type = fmt::format("class {} width {}", static_cast<int>(H5Tget_class(type.id())), H5Tget_size(type.id()));
  out.bytes.resize(static_cast<size_t>(H5Sget_simple_extent_npoints(space.id())) * H5Tget_size(type.id()));
  if (!out.bytes.empty() && H5Dread(set.id(), type.id(), H5S_ALL, H5S_ALL, H5P_DEFAULT, out.bytes.data()) < 0) throw std::runtime_error(path + " does not read");
  out.is_volatile = H5Aexists(set.id(), "volatile") > 0;
  return out;
}

}  // namespace

std::map<std::string, DatasetContent> h5_contents(const std::string& path) {
  const H5Handle file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose);
  if (!file.valid()) throw std::runtime_error(path + " does not open");
  std::map<std::string, DatasetContent> out;
  std::vector<std::string> names;
  H5Ovisit(file.id(), H5_INDEX_NAME, H5_ITER_INC,
           [](hid_t, const char* name, const H5O_info_t* info, void* list) -> herr_t {
             if (info->type == H5O_TYPE_DATASET) static_cast<std::vector<std::string>*>(list)->push_back(name);
             return 0;
           }, &names);
  for (const auto& name : names) out[name] = read_dataset(file.id(), name);
  return out;
}

std::string h5_difference(const std::string& a, const std::string& b) {
  const auto left = h5_contents(a), right = h5_contents(b);
  std::string out;
  for (const auto& [name, content] : left) {
    const auto found = right.find(name);
    if (found == right.end()) out += name + ": only in the first; ";
    else if (content.is_volatile != found->second.is_volatile) out += name + ": volatile in one only; ";
    else if (!content.is_volatile && !(content == found->second))
      out += fmt::format("{}: {} {} against {} {}; ", name, content.shape, content.type, found->second.shape, found->second.type);
  }
  for (const auto& [name, content] : right)
    if (!left.contains(name)) out += name + ": only in the second; ";
  return out;
}

}  // namespace canvaslab
