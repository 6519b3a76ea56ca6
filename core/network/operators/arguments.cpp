#include "core/network/operators/arguments.h"

#include <limits>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace canvaslab::operators {

namespace {

/// As Python shows it: "[?, 64]".
std::string shown(Sizes sizes) {
  std::vector<std::string> words;
  for (const auto& size : sizes) words.push_back(!size ? "?" : size->is_symbolic() ? "s" : std::to_string(size->expect_int()));
  return fmt::format("[{}]", fmt::join(words, ", "));
}

}  // namespace

void Arguments::expect(const Tensor& t, const char* name, std::initializer_list<at::ScalarType> dtypes, Sizes sizes) const {
  TORCH_CHECK(t.device() == first_.device(), "canvaslab::", op_, ": ", name, " lies on ", t.device(), ", the first argument on ", first_.device(), "; they have to be on one device");
  bool known = false;
  std::vector<std::string> names;
  for (const at::ScalarType dtype : dtypes) {
    known = known || t.scalar_type() == dtype;
    names.emplace_back(c10::toString(dtype));
  }
  TORCH_CHECK(known, "canvaslab::", op_, ": ", name, " is ", c10::toString(t.scalar_type()), ", expected ", fmt::format("{}", fmt::join(names, " or ")));
  TORCH_CHECK(t.dim() == static_cast<int64_t>(sizes.size()), "canvaslab::", op_, ": ", name, " has ", t.dim(), " dimensions, expected the shape ", shown(sizes));
  int64_t d = 0;
  for (const auto& size : sizes) {
    if (size) TORCH_SYM_CHECK(t.sym_size(d).sym_eq(*size), "canvaslab::", op_, ": ", name, " has the shape ", t.sym_sizes(), ", expected ", shown(sizes));
    ++d;
  }
}

void Arguments::require(bool condition, const std::string& what) const { TORCH_CHECK(condition, "canvaslab::", op_, ": ", what); }

at::ScalarType Arguments::dtype(OptionalDtype given, at::ScalarType otherwise) const {
  const at::ScalarType dtype = given.value_or(otherwise);
  TORCH_CHECK(dtype == kF32 || dtype == kBf16, "canvaslab::", op_, ": dtype is ", c10::toString(dtype), ", expected Float or BFloat16");
  return dtype;
}

void Arguments::expect_aligned(const Tensor& t, const char* name) const {
  TORCH_CHECK(reinterpret_cast<uintptr_t>(t.const_data_ptr()) % 16 == 0, "canvaslab::", op_, ": ", name, " begins between two multiples of 16 bytes; pass ", name, ".clone()");
}

const void* Arguments::checked_data(const Tensor& t, const char* name) const {
  TORCH_CHECK(t.is_contiguous(), "canvaslab::", op_, ": ", name, " is not contiguous; pass ", name, ".contiguous()");
  return t.const_data_ptr();
}

RowsIn Arguments::rows(const Tensor& t, const char* name) const {
  TORCH_CHECK(t.size(1) <= 1 || t.stride(1) == 1, "canvaslab::", op_, ": the elements of a row of ", name, " do not stand together (stride ", t.stride(1), "); pass ", name, ".contiguous()");
  return {t.const_data_ptr(), row_stride(t), t.scalar_type() == kF32 ? Storage::kF32 : Storage::kBf16};
}

RowsOut Arguments::out(const Tensor& t, int64_t width) const { return {t.mutable_data_ptr(), width, t.scalar_type() == kF32 ? Storage::kF32 : Storage::kBf16}; }

int32_t Arguments::count(int64_t size, const char* name) const {
  TORCH_CHECK(size <= std::numeric_limits<int32_t>::max(), "canvaslab::", op_, ": ", size, " ", name, " are more than 2^31 - 1");
  return static_cast<int32_t>(size);
}

void Arguments::expect_within(const Tensor& t, const char* name, int64_t least, int64_t end) const {
  if (!on_cpu()) return;
  const int32_t* values = data<int32_t>(t, name);
  for (int64_t i = 0; i < t.numel(); ++i)
    TORCH_CHECK(values[i] >= least && values[i] < end, "canvaslab::", op_, ": element ", i, " of ", name, " is ", values[i], ", expected at least ", least, " and below ", end);
}

std::vector<Tensor> make_norms(const Arguments& args, const Gains& gains, Factors factors, const SymInt& rows, const SymInt& width, OptionalDtype dtype) {
  args.require(gains.size() == factors.size() && gains.size() <= kMostNorms, fmt::format("{} gains and {} factors of norms, expected as many of each, {} at most", gains.size(), factors.size(), kMostNorms));
  std::vector<Tensor> out;
  for (size_t i = 0; i < gains.size(); ++i) {
    args.expect(gains.get(i), "a gain of the norms", {kF32}, {width});
    out.push_back(args.make({rows, width}, args.dtype(dtype, kBf16)));
  }
  return out;
}

void set_norms(const Arguments& args, const Gains& gains, Factors factors, const std::vector<Tensor>& made, cuda::NormedOut (&outs)[kMostNorms]) {
  for (size_t i = 0; i < made.size(); ++i) outs[i] = {args.out(made[i], made[i].size(1)), args.data<float>(gains.get(i), "a gain of the norms"), static_cast<float>(factors[i])};
}

}  // namespace canvaslab::operators
