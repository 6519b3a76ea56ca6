#pragma once
// What all operators do with their arguments. Operators are called torch.ops.canvaslab.NAME in Python and take and give tensors; each stands in one file of this folder with its schema, its results'
// shapes and its call. There is one rule for all devices:
//   - tensors of a call lie on one device, contiguous but where a schema says "rows" (then only a row's elements stand together); factors of products and attention begin at a multiple of 16 bytes, as
//     tensors do that are no slices of others; nothing is copied to make it so;
//   - results are new tensors on that device; arguments marked (a!) are changed in place;
//   - `dtype` of results is float32 or bfloat16: by default bfloat16 for what a product or attention reads next, float32 for sums;
//   - indices in tensors (ids, experts, places, limits) are checked on the CPU; on a GPU a look at them would mean waiting, so they are trusted;
//   - the CPU carries out the same call as the GPU (on_host.h); there work goes to torch's current stream of the device, nothing waits, and a graph can capture it.
#include <initializer_list>
#include <optional>
#include <tuple>
#include <vector>

#include <ATen/core/List.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/enum_tag.h>
#include <ATen/ops/empty.h>
#include <c10/core/SymInt.h>
#include <torch/library.h>

#include "core/kernels/cuda/row_glue.h"
#include "core/kernels/stored_rows.h"

namespace canvaslab::operators {

using at::Tensor;
using c10::SymInt;
using OptionalTensor = std::optional<Tensor>;
using OptionalDtype = std::optional<at::ScalarType>;
/// A size that may be anything.
inline constexpr std::nullopt_t kAny = std::nullopt;
using Sizes = std::initializer_list<std::optional<SymInt>>;

/// An operator for all devices: its schema, its results' shapes without numbers, and the function that carries it out on the processor and, where the kernels are built, on a GPU. In namespace scope.
#define CANVASLAB_OPERATOR(name, schema, results, carried_out)                                            \
  TORCH_LIBRARY_FRAGMENT(canvaslab, m) { m.def(schema, {at::Tag::pt2_compliant_tag}); }                   \
  TORCH_LIBRARY_IMPL(canvaslab, Meta, m) { m.impl(name, results); }                                       \
  TORCH_LIBRARY_IMPL(canvaslab, CPU, m) { m.impl(name, carried_out); }                                    \
  CANVASLAB_OPERATOR_ON_GPU(name, carried_out)
#ifdef CANVASLAB_HAS_CUDA
#define CANVASLAB_OPERATOR_ON_GPU(name, carried_out) TORCH_LIBRARY_IMPL(canvaslab, CUDA, m) { m.impl(name, carried_out); }
#else
#define CANVASLAB_OPERATOR_ON_GPU(name, carried_out)
#endif

/// Checks of an operator's arguments; messages begin with its name.
class Arguments {
 public:
  /// `first` decides the device of all.
  Arguments(const char* op, const Tensor& first) : op_(op), first_(first) {}

  /// Errors: TORCH_CHECK, where the tensor has another device, dtype or shape. A checked tensor's sizes may be symbols, as torch.compile has them.
  void expect(const Tensor& t, const char* name, std::initializer_list<at::ScalarType> dtypes, Sizes sizes) const;
  void expect(const OptionalTensor& t, const char* name, std::initializer_list<at::ScalarType> dtypes, Sizes sizes) const {
    if (t) expect(*t, name, dtypes, sizes);
  }
  /// `what` is how the condition is read by who broke it.
  void require(bool condition, const std::string& what) const;
  /// float32, bfloat16 or `otherwise` where none is given.
  at::ScalarType dtype(OptionalDtype given, at::ScalarType otherwise) const;
  /// A new tensor beside the first.
  Tensor make(c10::SymIntArrayRef sizes, at::ScalarType dtype) const { return at::empty_symint(sizes, first_.options().dtype(dtype).requires_grad(false)); }

  /// The memory of a contiguous tensor.
  template <typename T>
  const T* data(const Tensor& t, const char* name) const {
    return static_cast<const T*>(checked_data(t, name));
  }
  template <typename T>
  const T* data(const OptionalTensor& t, const char* name) const {
    return t ? data<T>(*t, name) : nullptr;
  }
  template <typename T>
  T* mutable_data(const Tensor& t, const char* name) const {
    return const_cast<T*>(data<T>(t, name));
  }
  /// Rows of a matrix: the elements of each stand together.
  RowsIn rows(const Tensor& t, const char* name) const;
  RowsIn rows(const OptionalTensor& t, const char* name) const { return t ? rows(*t, name) : RowsIn{}; }
  /// A contiguous tensor as rows of `width` elements, to be written.
  RowsOut out(const Tensor& t, int64_t width) const;
  /// Elements from row to row.
  static int64_t row_stride(const Tensor& t) { return t.size(0) > 1 ? t.stride(0) : t.size(1); }
  int32_t count(int64_t size, const char* name) const;
  /// At a multiple of 16 bytes.
  void expect_aligned(const Tensor& t, const char* name) const;
  void expect_aligned(const OptionalTensor& t, const char* name) const {
    if (t) expect_aligned(*t, name);
  }
  /// On the CPU: whole numbers of an int32 tensor lie in [least, end).
  void expect_within(const Tensor& t, const char* name, int64_t least, int64_t end) const;
  void expect_within(const OptionalTensor& t, const char* name, int64_t least, int64_t end) const {
    if (t) expect_within(*t, name, least, end);
  }

  bool on_cpu() const { return first_.device().is_cpu(); }
  const char* op() const { return op_; }
  const Tensor& first() const { return first_; }

 private:
  const void* checked_data(const Tensor& t, const char* name) const;

  const char* op_;
  Tensor first_;
};

inline constexpr auto kF32 = at::kFloat, kBf16 = at::kBFloat16, kI32 = at::kInt, kI64 = at::kLong;
inline constexpr size_t kMostNorms = 3;

/// Norms that a row's operator gives beside its result: as many as there are factors, none to three; each with a gain [D] f32 or None.
using Gains = c10::List<OptionalTensor>;
using Factors = at::ArrayRef<double>;
/// Checked and unmade, [rows, width] each.
std::vector<Tensor> make_norms(const Arguments& args, const Gains& gains, Factors factors, const SymInt& rows, const SymInt& width, OptionalDtype dtype);
/// What make_norms gave, as a call writes it.
void set_norms(const Arguments& args, const Gains& gains, Factors factors, const std::vector<Tensor>& made, cuda::NormedOut (&outs)[kMostNorms]);

}  // namespace canvaslab::operators
