#include "core/h5.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <numeric>

#include "core/error.h"

namespace canvaslab {
namespace {

/// Before the library's first use: no messages of its own, and no closing at exit. We close what we open; after a failed
/// write (disk full) HDF5's own attempt to flush at exit would crash a program that has already said what is wrong.
void quiet() {
  [[maybe_unused]] static const herr_t once = H5dont_atexit();
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
}

H5Handle string_type(size_t width) {
  H5Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
  H5Tset_size(type.id(), std::max<size_t>(1, width));
  H5Tset_cset(type.id(), H5T_CSET_UTF8);
  H5Tset_strpad(type.id(), H5T_STR_NULLPAD);
  return type;
}

/// Strings side by side, each padded with zeros to the longest one's width.
std::string flatten(const std::vector<std::string>& values, size_t& width) {
  width = 1;
  for (const auto& value : values) width = std::max(width, value.size());
  std::string flat(width * values.size(), '\0');
  for (size_t i = 0; i < values.size(); ++i) std::memcpy(flat.data() + i * width, values[i].data(), values[i].size());
  return flat;
}

H5Handle compressed(size_t rows, size_t row_bytes, const std::vector<hsize_t>& row_shape) {
  H5Handle list(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  // 64 KiB chunks along the first axis: small enough to read a few rows, large enough to compress.
  std::vector<hsize_t> chunk = {std::clamp<hsize_t>(65536 / std::max<size_t>(1, row_bytes), 1, std::max<size_t>(1, rows))};
  for (hsize_t d : row_shape) chunk.push_back(std::max<hsize_t>(1, d));
  H5Pset_chunk(list.id(), static_cast<int>(chunk.size()), chunk.data());
  H5Pset_shuffle(list.id());
  H5Pset_deflate(list.id(), 4);
  H5Pset_fletcher32(list.id());
  H5Pset_obj_track_times(list.id(), false);  // equal content gives equal files
  return list;
}

}  // namespace

H5Writer::H5Writer(std::string path) : path_(std::move(path)), temporary_(path_ + ".tmp") {
  quiet();
  std::error_code ignored;
  std::filesystem::remove(temporary_, ignored);
  // Strong: closing the file closes every identifier still open on it, so that "closed" means closed.
  const H5Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  H5Pset_fclose_degree(access.id(), H5F_CLOSE_STRONG);
  file_ = H5Handle(H5Fcreate(temporary_.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access.id()), H5Fclose);
  if (!file_.valid()) {
    const int why = errno;
    std::filesystem::remove(temporary_, ignored);  // a full disk leaves an empty one
    errno = why;
    fail("cannot be created");
  }
}

H5Writer::~H5Writer() {
  if (!file_.valid()) return;
  file_ = H5Handle();
  std::error_code ignored;
  std::filesystem::remove(temporary_, ignored);
}

void H5Writer::fail(const std::string& what) const {
  throw input_error("{}: {} ({})\ncheck that the folder exists, is writable and has free space", path_, what, std::strerror(errno));
}

void H5Writer::group(const std::string& name) {
  const H5Handle made(H5Gcreate2(file_.id(), name.c_str(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT), H5Gclose);
  if (!made.valid()) fail("group " + name + " cannot be written");
}

void H5Writer::write_raw(const std::string& name, const void* data, hid_t type, size_t width, const std::vector<hsize_t>& shape) {
  const H5Handle space(H5Screate_simple(static_cast<int>(shape.size()), shape.data(), nullptr), H5Sclose);
  const size_t count = std::accumulate(shape.begin(), shape.end(), size_t{1}, std::multiplies<>());
  H5Handle list(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  H5Pset_obj_track_times(list.id(), false);
  if (count * width > 4096 && !shape.empty()) {
    const std::vector<hsize_t> row_shape(shape.begin() + 1, shape.end());
    list = compressed(shape[0], count / std::max<hsize_t>(1, shape[0]) * width, row_shape);
  }
  const H5Handle set(H5Dcreate2(file_.id(), name.c_str(), type, space.id(), H5P_DEFAULT, list.id(), H5P_DEFAULT), H5Dclose);
  if (!set.valid() || (count > 0 && H5Dwrite(set.id(), type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) < 0)) fail("dataset " + name + " cannot be written");
}

void H5Writer::write_strings(const std::string& name, const std::vector<std::string>& values) {
  size_t width = 1;
  const std::string flat = flatten(values, width);
  const H5Handle type = string_type(width);
  write_raw(name, flat.data(), type.id(), width, {values.size()});
}

void H5Writer::append_raw(const std::string& name, const void* data, size_t count, hid_t type, const std::vector<hsize_t>& row_shape) {
  const size_t row = std::accumulate(row_shape.begin(), row_shape.end(), size_t{1}, std::multiplies<>());
  const hsize_t rows = row ? count / row : 0;
  H5Handle set;
  if (H5Lexists(file_.id(), name.c_str(), H5P_DEFAULT) > 0) {
    set = H5Handle(H5Dopen2(file_.id(), name.c_str(), H5P_DEFAULT), H5Dclose);
  } else {
    std::vector<hsize_t> now = {0}, most = {H5S_UNLIMITED};
    now.insert(now.end(), row_shape.begin(), row_shape.end());
    most.insert(most.end(), row_shape.begin(), row_shape.end());
    const H5Handle space(H5Screate_simple(static_cast<int>(now.size()), now.data(), most.data()), H5Sclose);
    const H5Handle list = compressed(65536, row * H5Tget_size(type), row_shape);
    set = H5Handle(H5Dcreate2(file_.id(), name.c_str(), type, space.id(), H5P_DEFAULT, list.id(), H5P_DEFAULT), H5Dclose);
  }
  if (!set.valid()) fail("dataset " + name + " cannot be written");
  const H5Handle before(H5Dget_space(set.id()), H5Sclose);
  std::vector<hsize_t> size(row_shape.size() + 1), start(row_shape.size() + 1, 0), extent = {rows};
  H5Sget_simple_extent_dims(before.id(), size.data(), nullptr);
  start[0] = size[0];
  size[0] += rows;
  extent.insert(extent.end(), row_shape.begin(), row_shape.end());
  if (H5Dset_extent(set.id(), size.data()) < 0) fail("dataset " + name + " cannot grow");
  const H5Handle file_space(H5Dget_space(set.id()), H5Sclose);
  const H5Handle memory(H5Screate_simple(static_cast<int>(extent.size()), extent.data(), nullptr), H5Sclose);
  H5Sselect_hyperslab(file_space.id(), H5S_SELECT_SET, start.data(), nullptr, extent.data(), nullptr);
  if (rows && H5Dwrite(set.id(), type, memory.id(), file_space.id(), H5P_DEFAULT, data) < 0) fail("dataset " + name + " cannot be written");
}

void H5Writer::put_attribute(const std::string& object, const std::string& name, hid_t type, const void* data, hsize_t count) {
  const H5Handle holder(H5Oopen(file_.id(), object.c_str(), H5P_DEFAULT), H5Oclose);
  const H5Handle space(count == 0 ? H5Screate(H5S_SCALAR) : H5Screate_simple(1, &count, nullptr), H5Sclose);
  const H5Handle made(H5Acreate2(holder.id(), name.c_str(), type, space.id(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
  if (!made.valid() || H5Awrite(made.id(), type, data) < 0) fail(fmt::format("attribute {} of {} cannot be written", name, object));
}

void H5Writer::attribute(const std::string& object, const std::string& name, const std::string& value) {
  // Attributes above 64 KiB do not fit the object header: long texts belong in datasets.
  const std::string text = value.empty() ? std::string(1, '\0') : value;
  const H5Handle type = string_type(text.size());
  put_attribute(object, name, type.id(), text.data(), 0);
}
void H5Writer::attribute(const std::string& object, const std::string& name, int64_t value) {
  put_attribute(object, name, H5T_NATIVE_INT64, &value, 0);
}
void H5Writer::attribute(const std::string& object, const std::string& name, double value) {
  put_attribute(object, name, H5T_NATIVE_DOUBLE, &value, 0);
}
void H5Writer::attribute(const std::string& object, const std::string& name, const std::vector<std::string>& values) {
  size_t width = 1;
  const std::string flat = flatten(values, width);
  const H5Handle type = string_type(width);
  put_attribute(object, name, type.id(), flat.data(), values.size());
}

void H5Writer::finish(const std::function<void(const std::string& temporary)>& verify) {
  if (H5Fflush(file_.id(), H5F_SCOPE_GLOBAL) < 0) fail("cannot be flushed");
  file_ = H5Handle();
  try {
    verify_and_place(verify);
  } catch (...) {
    std::error_code ignored;
    std::filesystem::remove(temporary_, ignored);
    throw;
  }
}

void H5Writer::verify_and_place(const std::function<void(const std::string& temporary)>& verify) {
  {
    const H5Handle check(H5Fopen(temporary_.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose);
    if (!check.valid()) fail("does not open after writing");
  }
  if (verify) verify(temporary_);
  const int fd = ::open(temporary_.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0 || ::fsync(fd) != 0) {
    if (fd >= 0) ::close(fd);
    fail("cannot be synced");
  }
  ::close(fd);
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail("cannot be renamed into place");
  const std::string folder = std::filesystem::absolute(path_).parent_path().string();
  const int dir = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (dir >= 0) {
    ::fsync(dir);
    ::close(dir);
  }
}

H5Reader::H5Reader(std::string path) : path_(std::move(path)) {
  quiet();
  if (!std::filesystem::exists(path_)) throw input_error("{}: no such file", path_);
  file_ = H5Handle(H5Fopen(path_.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose);
  if (!file_.valid()) fail("is not a readable HDF5 file (truncated, or another format)");
}

void H5Reader::fail(const std::string& what) const { throw input_error("{}: {}", path_, what); }

bool H5Reader::has(const std::string& name) const {
  size_t at = 0;
  while (at != std::string::npos) {  // every parent must exist before the link can be asked for
    at = name.find('/', at + 1);
    if (H5Lexists(file_.id(), name.substr(0, at).c_str(), H5P_DEFAULT) <= 0) return false;
  }
  return true;
}

std::vector<hsize_t> H5Reader::shape(const std::string& name) const {
  if (!has(name)) fail("there is no dataset '" + name + "'");
  const H5Handle set(H5Dopen2(file_.id(), name.c_str(), H5P_DEFAULT), H5Dclose);
  if (!set.valid()) fail("'" + name + "' is no dataset");
  const H5Handle space(H5Dget_space(set.id()), H5Sclose);
  std::vector<hsize_t> out(static_cast<size_t>(std::max(0, H5Sget_simple_extent_ndims(space.id()))));
  H5Sget_simple_extent_dims(space.id(), out.data(), nullptr);
  return out;
}

size_t H5Reader::element_count(const std::string& name) const {
  // A damaged file may claim any size. Deflate shrinks at most 1032 times, so what is stored bounds what can be read; up to
  // some size a column may also be there without being stored, filled with zeros.
  constexpr size_t kMostShrinking = 1100, kAlwaysReadable = size_t{1} << 26;
  const auto dims = shape(name);
  const H5Handle set(H5Dopen2(file_.id(), name.c_str(), H5P_DEFAULT), H5Dclose), type(H5Dget_type(set.id()), H5Tclose);
  std::error_code ignored;
  const size_t stored = std::min<size_t>(H5Dget_storage_size(set.id()), std::filesystem::file_size(path_, ignored));
  size_t count = 1, bytes = 0;
  bool fits = true;
  for (const hsize_t d : dims) fits = fits && !__builtin_mul_overflow(count, d, &count);
  fits = fits && !__builtin_mul_overflow(count, std::max<size_t>(8, H5Tget_size(type.id())), &bytes);
  if (!fits || (bytes > kAlwaysReadable && bytes / 8 / kMostShrinking > stored))
    fail(fmt::format("dataset '{}' says it has the shape [{}], but only {} bytes of it are stored (damaged)", name, fmt::join(dims, ", "), stored));
  return count;
}

void H5Reader::read_raw(const std::string& name, void* out, hid_t type) const {
  const H5Handle set(H5Dopen2(file_.id(), name.c_str(), H5P_DEFAULT), H5Dclose);
  if (H5Dread(set.id(), type, H5S_ALL, H5S_ALL, H5P_DEFAULT, out) < 0) fail("dataset '" + name + "' cannot be read as numbers (damaged, or another type)");
}

void H5Reader::read_rows_raw(const std::string& name, hsize_t first, hsize_t number, const std::vector<hsize_t>& dims, void* out, hid_t type) const {
  if (number == 0) return;
  if (dims.empty() || first >= dims[0] || number > dims[0] - first) fail(fmt::format("dataset '{}' has no entry {}", name, dims.empty() ? first : std::max(first, dims[0])));
  const H5Handle set(H5Dopen2(file_.id(), name.c_str(), H5P_DEFAULT), H5Dclose);
  const H5Handle in_file(H5Dget_space(set.id()), H5Sclose);
  std::vector<hsize_t> start(dims.size(), 0), count = dims;
  start[0] = first;
  count[0] = number;
  H5Sselect_hyperslab(in_file.id(), H5S_SELECT_SET, start.data(), nullptr, count.data(), nullptr);
  const H5Handle in_memory(H5Screate_simple(static_cast<int>(count.size()), count.data(), nullptr), H5Sclose);
  if (H5Dread(set.id(), type, in_memory.id(), in_file.id(), H5P_DEFAULT, out) < 0)
    fail(fmt::format("entry {} of dataset '{}' cannot be read as numbers (damaged, or another type)", first, name));
}

std::vector<std::string> H5Reader::read_strings(const std::string& name) const {
  const size_t count = element_count(name);
  const H5Handle set(H5Dopen2(file_.id(), name.c_str(), H5P_DEFAULT), H5Dclose);
  const H5Handle type(H5Dget_type(set.id()), H5Tclose);
  if (H5Tget_class(type.id()) != H5T_STRING || H5Tis_variable_str(type.id()) > 0) fail("dataset '" + name + "' does not hold fixed-length strings");
  const size_t width = H5Tget_size(type.id());
  std::string flat(width * count, '\0');
  if (count && H5Dread(set.id(), type.id(), H5S_ALL, H5S_ALL, H5P_DEFAULT, flat.data()) < 0) fail("dataset '" + name + "' cannot be read");
  std::vector<std::string> out;
  for (size_t i = 0; i < count; ++i) out.push_back(std::string(flat.c_str() + i * width, strnlen(flat.c_str() + i * width, width)));
  return out;
}

/// An attribute that holds exactly one value: reading more into room for one would write past it.
H5Handle H5Reader::single_attribute(const std::string& object, const std::string& name) const {
  H5Handle attribute(H5Aopen_by_name(file_.id(), object.c_str(), name.c_str(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
  const H5Handle space(attribute.valid() ? H5Aget_space(attribute.id()) : -1, H5Sclose);
  if (space.valid() && H5Sget_simple_extent_npoints(space.id()) == 1) return attribute;
  return H5Handle();
}

std::string H5Reader::text_attribute(const std::string& object, const std::string& name) const {
  const H5Handle attribute = single_attribute(object, name);
  if (!attribute.valid()) fail(fmt::format("there is no attribute '{}' with one value on '{}'", name, object));
  const H5Handle type(H5Aget_type(attribute.id()), H5Tclose);
  if (H5Tget_class(type.id()) != H5T_STRING || H5Tis_variable_str(type.id()) > 0) fail(fmt::format("attribute '{}' is no fixed-length string", name));
  std::string value(H5Tget_size(type.id()), '\0');
  H5Aread(attribute.id(), type.id(), value.data());
  value.resize(strnlen(value.c_str(), value.size()));
  return value;
}

int64_t H5Reader::integer_attribute(const std::string& object, const std::string& name) const {
  const H5Handle attribute = single_attribute(object, name);
  int64_t value = 0;
  if (!attribute.valid() || H5Aread(attribute.id(), H5T_NATIVE_INT64, &value) < 0) fail(fmt::format("there is no whole number '{}' on '{}'", name, object));
  return value;
}

double H5Reader::real_attribute(const std::string& object, const std::string& name) const {
  const H5Handle attribute = single_attribute(object, name);
  double value = 0;
  if (!attribute.valid() || H5Aread(attribute.id(), H5T_NATIVE_DOUBLE, &value) < 0) fail(fmt::format("there is no number '{}' on '{}'", name, object));
  return value;
}

bool H5Reader::is_group(const std::string& name) const {
  const H5Handle object(H5Oopen(file_.id(), name.c_str(), H5P_DEFAULT), H5Oclose);
  return object.valid() && H5Iget_type(object.id()) == H5I_GROUP;
}

bool H5Reader::is_number(const std::string& name) const {
  const H5Handle set(H5Dopen2(file_.id(), name.c_str(), H5P_DEFAULT), H5Dclose);
  const H5Handle type(H5Dget_type(set.id()), H5Tclose);
  return H5Tget_class(type.id()) == H5T_INTEGER || H5Tget_class(type.id()) == H5T_FLOAT;
}

H5T_class_t H5Reader::attribute_class(const std::string& object, const std::string& name) const {
  const H5Handle attribute(H5Aopen_by_name(file_.id(), object.c_str(), name.c_str(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
  const H5Handle type(H5Aget_type(attribute.id()), H5Tclose), space(H5Aget_space(attribute.id()), H5Sclose);
  if (H5Sget_simple_extent_npoints(space.id()) != 1) return H5T_NO_CLASS;
  const H5T_class_t kind = H5Tget_class(type.id());
  if (kind == H5T_STRING) return H5Tis_variable_str(type.id()) > 0 ? H5T_NO_CLASS : kind;
  return kind == H5T_INTEGER || kind == H5T_FLOAT ? kind : H5T_NO_CLASS;
}

std::vector<std::string> H5Reader::attribute_names(const std::string& object) const {
  std::vector<std::string> out;
  const H5Handle holder(H5Oopen(file_.id(), object.c_str(), H5P_DEFAULT), H5Oclose);
  H5Aiterate2(holder.id(), H5_INDEX_NAME, H5_ITER_INC, nullptr,
              [](hid_t, const char* name, const H5A_info_t*, void* list) -> herr_t {
                static_cast<std::vector<std::string>*>(list)->push_back(name);
                return 0;
              }, &out);
  return out;
}

std::vector<std::string> H5Reader::list_attribute(const std::string& object, const std::string& name) const {
  const H5Handle attribute(H5Aopen_by_name(file_.id(), object.c_str(), name.c_str(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
  if (!attribute.valid()) fail(fmt::format("there is no attribute '{}' on '{}'", name, object));
  const H5Handle type(H5Aget_type(attribute.id()), H5Tclose), space(H5Aget_space(attribute.id()), H5Sclose);
  if (H5Tget_class(type.id()) != H5T_STRING || H5Tis_variable_str(type.id()) > 0) fail(fmt::format("attribute '{}' holds no fixed-length strings", name));
  const size_t width = H5Tget_size(type.id()), count = static_cast<size_t>(std::max<hssize_t>(0, H5Sget_simple_extent_npoints(space.id())));
  std::string flat(width * count, '\0');
  H5Aread(attribute.id(), type.id(), flat.data());
  std::vector<std::string> out;
  for (size_t i = 0; i < count; ++i) out.emplace_back(flat.c_str() + i * width, strnlen(flat.c_str() + i * width, width));
  return out;
}

bool H5Reader::has_attribute(const std::string& object, const std::string& name) const {
  return H5Aexists_by_name(file_.id(), object.c_str(), name.c_str(), H5P_DEFAULT) > 0;
}

std::vector<std::string> H5Reader::names(const std::string& group) const {
  std::vector<std::string> out;
  H5Literate_by_name(file_.id(), group.c_str(), H5_INDEX_NAME, H5_ITER_INC, nullptr,
                     [](hid_t, const char* name, const H5L_info_t*, void* list) -> herr_t {
                       static_cast<std::vector<std::string>*>(list)->push_back(name);
                       return 0;
                     }, &out, H5P_DEFAULT);
  return out;
}

std::vector<std::string> H5Reader::datasets() const {
  std::vector<std::string> out;
  H5Ovisit2(file_.id(), H5_INDEX_NAME, H5_ITER_INC,
            [](hid_t, const char* name, const H5O_info_t* info, void* list) -> herr_t {
              if (info->type == H5O_TYPE_DATASET) static_cast<std::vector<std::string>*>(list)->push_back(name);
              return 0;
            }, &out, H5O_INFO_BASIC);
  return out;
}

}  // namespace canvaslab
