// Reading HDF5 files that are sound as HDF5 and hostile in what they hold. Found by the fuzz target or while it was written.
#include "core/h5.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "core/error.h"
#include "tests/support/temporary.h"

namespace canvaslab {
namespace {

/// A file that `fill` has put things into.
class Hostile {
 public:
  explicit Hostile(const std::function<void(hid_t)>& fill) {
    const H5Handle file(H5Fcreate(path().c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), H5Fclose);
    fill(file.id());
  }
  std::string path() const { return folder_ / "x.h5"; }

 private:
  TemporaryFolder folder_;
};

void expect_refused(const std::string& part, const std::function<void()>& read) {
  try {
    read();
    FAIL() << "not refused; expected: " << part;
  } catch (const UserError& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadInput);
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

/// A dataset of this shape of which nothing is stored.
void put_empty(hid_t file, const char* name, const std::vector<hsize_t>& shape) {
  const H5Handle space(H5Screate_simple(static_cast<int>(shape.size()), shape.data(), nullptr), H5Sclose), list(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  const std::vector<hsize_t> chunk(shape.size(), 4);
  H5Pset_chunk(list.id(), static_cast<int>(chunk.size()), chunk.data());
  const H5Handle made(H5Dcreate2(file, name, H5T_NATIVE_INT32, space.id(), H5P_DEFAULT, list.id(), H5P_DEFAULT), H5Dclose);
  ASSERT_TRUE(made.valid());
}

TEST(H5Reader, AShapeThatTheFileCannotHoldIsRefusedBeforeMemoryIsTaken) {
  const Hostile file([](hid_t id) {
    put_empty(id, "huge", {hsize_t{1} << 40});
    put_empty(id, "overflow", {hsize_t{1} << 40, hsize_t{1} << 20, hsize_t{1} << 10});
    put_empty(id, "unwritten", {1000});
  });
  const H5Reader reader(file.path());
  expect_refused("'huge' says it has the shape [1099511627776]", [&] { reader.read<int32_t>("huge"); });
  expect_refused("are stored (damaged)", [&] { reader.read<int32_t>("overflow"); });
  expect_refused("are stored (damaged)", [&] { reader.read_row<int32_t>("overflow", 0); });
  EXPECT_EQ(reader.read<int32_t>("unwritten"), std::vector<int32_t>(1000, 0));  // small enough: HDF5 fills it
}

TEST(H5Reader, CompressedColumnsStayReadable) {
  const TemporaryFolder folder;
  const std::vector<int64_t> zeros(9'000'000, 0);  // 72 MB that take next to nothing in the file: the most that deflate shrinks
  H5Writer writer(folder / "z.h5");
  writer.write("zeros", zeros);
  writer.finish();
  EXPECT_LT(std::filesystem::file_size(folder / "z.h5"), 1'000'000u);
  EXPECT_TRUE(H5Reader(folder / "z.h5").read<int64_t>("zeros") == zeros);
}

TEST(H5Reader, AnAttributeOfManyValuesIsNotReadIntoRoomForOne) {
  const Hostile file([](hid_t id) {
    const hsize_t many = 1000;
    const std::vector<int64_t> values(many, 7);
    const H5Handle space(H5Screate_simple(1, &many, nullptr), H5Sclose);
    const H5Handle numbers(H5Acreate2(id, "numbers", H5T_NATIVE_INT64, space.id(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
    H5Awrite(numbers.id(), H5T_NATIVE_INT64, values.data());
    const H5Handle text(H5Acreate2(id, "texts", H5T_C_S1, space.id(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
    H5Awrite(text.id(), H5T_C_S1, values.data());
    const H5Handle nothing(H5Screate(H5S_NULL), H5Sclose);
    const H5Handle none(H5Acreate2(id, "none", H5T_NATIVE_INT64, nothing.id(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
  });
  const H5Reader reader(file.path());
  expect_refused("'numbers'", [&] { reader.integer_attribute("/", "numbers"); });
  expect_refused("'numbers'", [&] { reader.real_attribute("/", "numbers"); });
  expect_refused("'texts'", [&] { reader.text_attribute("/", "texts"); });
  expect_refused("'none'", [&] { reader.integer_attribute("/", "none"); });
}

TEST(H5Reader, LinksThatGoRoundAreListedOnce) {
  const Hostile file([](hid_t id) {
    H5Gclose(H5Gcreate2(id, "a", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    put_empty(id, "a/x", {8});
    H5Lcreate_hard(id, "/", id, "a/up", H5P_DEFAULT, H5P_DEFAULT);
    H5Lcreate_hard(id, "a", id, "a/self", H5P_DEFAULT, H5P_DEFAULT);
    H5Lcreate_soft("/", id, "a/soft", H5P_DEFAULT, H5P_DEFAULT);
    H5Lcreate_external("nowhere.h5", "/", id, "a/away", H5P_DEFAULT, H5P_DEFAULT);
  });
  EXPECT_EQ(H5Reader(file.path()).datasets(), std::vector<std::string>{"a/x"});
}

}  // namespace
}  // namespace canvaslab
