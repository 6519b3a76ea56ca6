#pragma once
// HDF5 through the C API, with handles that close themselves and errors that name file and object.
#include <hdf5.h>

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace canvaslab {

/// Owns one HDF5 identifier.
class H5Handle {
 public:
  H5Handle() = default;
  H5Handle(hid_t id, herr_t (*close)(hid_t)) : id_(id), close_(close) {}
  H5Handle(H5Handle&& other) noexcept : id_(other.id_), close_(other.close_) { other.id_ = -1; }
  H5Handle& operator=(H5Handle&& other) noexcept {
    std::swap(id_, other.id_);
    std::swap(close_, other.close_);
    return *this;
  }
  ~H5Handle() {
    if (id_ >= 0) close_(id_);
  }
  hid_t id() const { return id_; }
  bool valid() const { return id_ >= 0; }

 private:
  hid_t id_ = -1;
  herr_t (*close_)(hid_t) = nullptr;
};

template <typename T>
hid_t h5_type();
template <> inline hid_t h5_type<float>() { return H5T_NATIVE_FLOAT; }
template <> inline hid_t h5_type<double>() { return H5T_NATIVE_DOUBLE; }
template <> inline hid_t h5_type<uint8_t>() { return H5T_NATIVE_UINT8; }
template <> inline hid_t h5_type<int32_t>() { return H5T_NATIVE_INT32; }
template <> inline hid_t h5_type<uint32_t>() { return H5T_NATIVE_UINT32; }
template <> inline hid_t h5_type<int64_t>() { return H5T_NATIVE_INT64; }
template <> inline hid_t h5_type<uint64_t>() { return H5T_NATIVE_UINT64; }

/// Writes one new file. finish() closes it, re-opens it for a check, syncs it and renames it into place; without finish
/// nothing appears under `path`. Errors (disk full, no permission): input errors naming the path.
class H5Writer {
 public:
  explicit H5Writer(std::string path);
  ~H5Writer();
  H5Writer(const H5Writer&) = delete;
  H5Writer& operator=(const H5Writer&) = delete;

  void group(const std::string& name);
  /// A whole dataset at once: row-major, shape given; chunked with shuffle and deflate 4 when larger than 4 KiB.
  template <typename T>
  void write(const std::string& name, std::span<const T> values, const std::vector<hsize_t>& shape) {
    write_raw(name, values.data(), h5_type<T>(), sizeof(T), shape);
  }
  template <typename T>
  void write(const std::string& name, const std::vector<T>& values) {
    write<T>(name, std::span<const T>(values), {values.size()});
  }
  /// Fixed-length UTF-8 strings [n].
  void write_strings(const std::string& name, const std::vector<std::string>& values);
  /// A dataset that grows along its first axis; row_shape without that axis.
  template <typename T>
  void append_rows(const std::string& name, std::span<const T> values, const std::vector<hsize_t>& row_shape) {
    append_raw(name, values.data(), values.size(), h5_type<T>(), row_shape);
  }
  void attribute(const std::string& object, const std::string& name, const std::string& value);
  void attribute(const std::string& object, const std::string& name, int64_t value);
  void attribute(const std::string& object, const std::string& name, double value);
  /// A list of fixed-length strings, as enumerations carry their names.
  void attribute(const std::string& object, const std::string& name, const std::vector<std::string>& values);
  /// `verify` gets the path of the closed temporary file and throws when what it reads there is not what was meant.
  void finish(const std::function<void(const std::string& temporary)>& verify = {});

 private:
  void write_raw(const std::string& name, const void* data, hid_t type, size_t width, const std::vector<hsize_t>& shape);
  void append_raw(const std::string& name, const void* data, size_t count, hid_t type, const std::vector<hsize_t>& row_shape);
  void put_attribute(const std::string& object, const std::string& name, hid_t type, const void* data, hsize_t count);  // count 0: scalar
  void verify_and_place(const std::function<void(const std::string& temporary)>& verify);
  [[noreturn]] void fail(const std::string& what) const;
  std::string path_, temporary_;
  H5Handle file_;
};

/// Reads datasets of a file. Errors: input errors naming file and dataset.
class H5Reader {
 public:
  explicit H5Reader(std::string path);
  bool has(const std::string& name) const;
  std::vector<hsize_t> shape(const std::string& name) const;
  template <typename T>
  std::vector<T> read(const std::string& name) const {
    std::vector<T> out(element_count(name));
    read_raw(name, out.data(), h5_type<T>());
    return out;
  }
  /// Entry `index` of the first axis, without reading the others.
  template <typename T>
  std::vector<T> read_row(const std::string& name, hsize_t index) const {
    return read_rows<T>(name, index, 1);
  }
  /// Entries [first, first + number) of the first axis.
  template <typename T>
  std::vector<T> read_rows(const std::string& name, hsize_t first, hsize_t number) const {
    element_count(name);  // refuses a shape that the file cannot hold
    const auto dims = shape(name);
    size_t count = number;
    for (size_t i = 1; i < dims.size(); ++i) count *= dims[i];
    std::vector<T> out(count);
    read_rows_raw(name, first, number, dims, out.data(), h5_type<T>());
    return out;
  }
  std::vector<std::string> read_strings(const std::string& name) const;
  std::string text_attribute(const std::string& object, const std::string& name) const;
  int64_t integer_attribute(const std::string& object, const std::string& name) const;
  double real_attribute(const std::string& object, const std::string& name) const;
  bool is_group(const std::string& name) const;
  /// Whether a dataset holds numbers.
  bool is_number(const std::string& name) const;
  /// H5T_STRING (fixed length), H5T_INTEGER, H5T_FLOAT; H5T_NO_CLASS for anything else.
  H5T_class_t attribute_class(const std::string& object, const std::string& name) const;
  std::vector<std::string> attribute_names(const std::string& object) const;
  std::vector<std::string> list_attribute(const std::string& object, const std::string& name) const;
  bool has_attribute(const std::string& object, const std::string& name) const;
  /// Names of the links in a group, sorted.
  std::vector<std::string> names(const std::string& group) const;
  /// Paths of all datasets, group by group in the order of names; each once, whatever links lead to it.
  std::vector<std::string> datasets() const;
  const std::string& path() const { return path_; }

 private:
  H5Handle single_attribute(const std::string& object, const std::string& name) const;
  size_t element_count(const std::string& name) const;
  void read_raw(const std::string& name, void* out, hid_t type) const;
  void read_rows_raw(const std::string& name, hsize_t first, hsize_t number, const std::vector<hsize_t>& dims, void* out, hid_t type) const;
  [[noreturn]] void fail(const std::string& what) const;
  std::string path_;
  H5Handle file_;
};

}  // namespace canvaslab
