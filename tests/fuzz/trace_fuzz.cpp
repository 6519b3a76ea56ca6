// An .h5 file as `inspect` reads it. The file is written by the HDF5 library from the input, so that it is always sound
// HDF5 with hostile contents: wrong types and shapes, huge extents, links that go round. Broken HDF5 itself would only find
// the faults of the library.
#include <fuzzer/FuzzedDataProvider.h>

#include "core/h5.h"
#include "experiments/inspect_h5.h"
#include "tests/fuzz/fuzz.h"

namespace {

using namespace canvaslab;

constexpr const char* kNames[] = {"tokens", "steps", "steps/canvas_idx", "steps/step_idx", "rows", "rows/0", "rows/0/tokens", "rows/0/steps", "rows/0/steps/canvas_idx", "samples", "samples/score",
                                  "config", "config/sampler", "config/stop", "config/num_steps", "config/canvas_length", "run", "run/plan", "aggregates", "aggregates/num_samples", "aggregates/mean", "x"};

H5Handle any_type(FuzzedDataProvider& input) {
  const auto copy = [](hid_t type) { return H5Handle(H5Tcopy(type), H5Tclose); };
  switch (input.ConsumeIntegralInRange(0, 9)) {
    case 0: return copy(H5T_NATIVE_INT32);
    case 1: return copy(H5T_NATIVE_INT64);
    case 2: return copy(H5T_NATIVE_FLOAT);
    case 3: return copy(H5T_NATIVE_UINT8);
    case 4: {
      H5Handle type = copy(H5T_C_S1);
      H5Tset_size(type.id(), input.ConsumeBool() ? H5T_VARIABLE : input.ConsumeIntegralInRange<size_t>(1, 70000));
      return type;
    }
    case 5: {
      H5Handle type(H5Tcreate(H5T_COMPOUND, 8), H5Tclose);
      H5Tinsert(type.id(), "a", 0, H5T_NATIVE_INT32);
      return type;
    }
    case 6: return H5Handle(H5Tenum_create(H5T_NATIVE_INT32), H5Tclose);
    case 7: {
      const hsize_t dims[] = {input.ConsumeIntegralInRange<hsize_t>(1, 4)};
      return H5Handle(H5Tarray_create2(H5T_NATIVE_INT32, 1, dims), H5Tclose);
    }
    case 8: return copy(H5T_STD_REF_OBJ);
    default: return H5Handle(H5Tcreate(H5T_OPAQUE, 3), H5Tclose);
  }
}

H5Handle any_space(FuzzedDataProvider& input, std::vector<hsize_t>& dims) {
  const int rank = input.ConsumeIntegralInRange(-1, 4);
  if (rank < 0) return H5Handle(H5Screate(H5S_NULL), H5Sclose);
  if (rank == 0) return H5Handle(H5Screate(H5S_SCALAR), H5Sclose);
  for (int i = 0; i < rank; ++i) dims.push_back(input.ConsumeBool() ? input.ConsumeIntegralInRange<hsize_t>(0, 5) : input.ConsumeIntegral<hsize_t>() >> input.ConsumeIntegralInRange(8, 63));
  return H5Handle(H5Screate_simple(rank, dims.data(), nullptr), H5Sclose);
}

void put_dataset(hid_t file, const char* name, FuzzedDataProvider& input) {
  const H5Handle type = any_type(input);
  std::vector<hsize_t> dims;
  const H5Handle space = any_space(input, dims), list(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  if (!dims.empty() && input.ConsumeBool()) {
    const std::vector<hsize_t> chunk(dims.size(), 4);
    H5Pset_chunk(list.id(), static_cast<int>(chunk.size()), chunk.data());
  }
  H5Pset_fill_time(list.id(), H5D_FILL_TIME_NEVER);
  H5Pset_alloc_time(list.id(), H5D_ALLOC_TIME_INCR);
  const H5Handle set(H5Dcreate2(file, name, type.id(), space.id(), H5P_DEFAULT, list.id(), H5P_DEFAULT), H5Dclose);
  const hssize_t count = H5Sget_simple_extent_npoints(space.id());
  if (!set.valid() || count < 1 || count > 64 || H5Tget_class(type.id()) == H5T_REFERENCE || H5Tis_variable_str(type.id()) > 0) return;
  std::vector<uint8_t> bytes = input.ConsumeBytes<uint8_t>(static_cast<size_t>(count) * H5Tget_size(type.id()));
  bytes.resize(static_cast<size_t>(count) * H5Tget_size(type.id()));
  H5Dwrite(set.id(), type.id(), H5S_ALL, H5S_ALL, H5P_DEFAULT, bytes.data());
}

void put_attribute(hid_t file, FuzzedDataProvider& input) {
  const H5Handle type = any_type(input);
  std::vector<hsize_t> dims;
  const H5Handle space = any_space(input, dims);
  const H5Handle made(H5Acreate2(file, input.ConsumeBool() ? "config" : "seed", type.id(), space.id(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
  const hssize_t count = H5Sget_simple_extent_npoints(space.id());
  if (!made.valid() || count < 1 || count > 64 || H5Tget_class(type.id()) == H5T_REFERENCE || H5Tis_variable_str(type.id()) > 0) return;
  std::vector<uint8_t> bytes = input.ConsumeBytes<uint8_t>(static_cast<size_t>(count) * H5Tget_size(type.id()));
  bytes.resize(static_cast<size_t>(count) * H5Tget_size(type.id()));
  H5Awrite(made.id(), type.id(), bytes.data());
}

void put_object(hid_t file, FuzzedDataProvider& input) {
  const char* name = input.PickValueInArray(kNames);
  const char* other = input.PickValueInArray(kNames);
  switch (input.ConsumeIntegralInRange(0, 6)) {
    case 0: H5Gclose(H5Gcreate2(file, name, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT)); break;
    case 1: H5Lcreate_soft(input.ConsumeBool() ? "/" : other, file, name, H5P_DEFAULT, H5P_DEFAULT); break;
    case 2: H5Lcreate_hard(file, other, file, name, H5P_DEFAULT, H5P_DEFAULT); break;
    case 3: H5Lcreate_external("nowhere.h5", "/", file, name, H5P_DEFAULT, H5P_DEFAULT); break;
    case 4: put_attribute(file, input); break;
    default: put_dataset(file, name, input);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const char* path = "trace.h5";  // in the working folder
  static const herr_t quiet = H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  fuzz::demand(quiet >= 0, "HDF5 is there");
  FuzzedDataProvider input(data, size);
  {
    const H5Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
    H5Pset_fclose_degree(access.id(), H5F_CLOSE_STRONG);
    const H5Handle file(H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, access.id()), H5Fclose);
    fuzz::demand(file.valid(), "a file can be made");
    while (input.remaining_bytes() > 0) put_object(file.id(), input);
  }
  fuzz::reads([&] { inspect_h5(path); });
  return 0;
}
