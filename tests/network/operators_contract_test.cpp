// What holds for every operator: where it is registered, that shapes without numbers are those with them, and that mistakes are named.
#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <set>

#include <fmt/format.h>

namespace canvaslab {
namespace {

using Stack = std::vector<c10::IValue>;

at::Tensor f32(at::IntArrayRef sizes) { return at::rand(sizes); }
at::Tensor bf16(at::IntArrayRef sizes) { return at::rand(sizes).to(at::kBFloat16); }
at::Tensor i32(at::IntArrayRef sizes) { return at::zeros(sizes, at::kInt); }
at::Tensor e4m3(at::IntArrayRef sizes) { return at::rand(sizes).to(at::kFloat8_e4m3fn); }
at::Tensor bytes(at::IntArrayRef sizes) { return at::randint(256, sizes, at::kByte); }
const c10::IValue kNone;
c10::IValue as(at::ScalarType type) { return static_cast<int64_t>(type); }
c10::IValue gains(std::vector<at::Tensor> given) {
  c10::List<std::optional<at::Tensor>> out;
  for (const auto& gain : given) out.push_back(gain.defined() ? std::optional(gain) : std::nullopt);
  return out;
}
c10::IValue factors(std::vector<double> given) { return c10::List<double>(given); }

/// Arguments in the order of the schema.
struct Case {
  const char* op;
  Stack arguments;
};

/// Every operator, with rows and without, in its dtypes.
std::vector<Case> sound_cases() {
  std::vector<Case> out;
  for (const int64_t S : {0, 1, 7}) {
    out.push_back({"product", {bf16({S, 40}), bf16({11, 40}), kNone, kNone, false, kNone}});
    out.push_back({"product", {bf16({S, 48}), e4m3({12, 48}), f32({12}), kNone, true, as(at::kBFloat16)}});
    out.push_back({"product", {bf16({S, 64}), bytes({11, 32}), f32({}), e4m3({11, 4}), false, kNone}});
    out.push_back({"product", {bf16({S, 64}), bytes({11, 32}), kNone, bf16({11, 2}), false, kNone}});
    const auto begin = at::tensor({int64_t{0}, S, S, 2 * S}).to(at::kInt);
    out.push_back({"grouped_product", {bf16({S, 64}), bf16({3, 10, 64}), begin, at::arange(2 * S).to(at::kInt), 2, kNone, kNone, true, as(at::kBFloat16)}});
    out.push_back({"grouped_product", {bf16({2 * S, 64}), bytes({3, 10, 32}), begin, kNone, 1, f32({3}), e4m3({3, 10, 4}), false, kNone}});
    out.push_back({"add_norm", {bf16({S, 33}), f32({S, 33}), f32({33}), gains({f32({33}), {}}), factors({1, 0.5}), kNone, kNone, kNone, kNone, kNone, 1.0, 1e-6, kNone}});
    out.push_back({"add_norm", {f32({S, 33}), bf16({S, 33}), f32({33}), gains({}), factors({}), bf16({3 * S, 33}), i32({S, 3}), f32({S, 3}), f32({33}), f32({33}), 0.5, 1e-6, as(at::kFloat)}});
    out.push_back({"norms", {f32({S, 33}), gains({{}, f32({33}), {}}), factors({1, 2, 3}), 1e-6, kNone}});
    out.push_back({"embed_rows", {i32({S}), bf16({9, 33}), gains({f32({33})}), factors({1}), 8.0, f32({S, 33}), true, 1e-6, kNone}});
    out.push_back({"embed_rows", {i32({S}), f32({9, 33}), gains({}), factors({}), 1.0, kNone, false, 1e-6, kNone}});
    out.push_back({"gelu_times", {f32({S, 34}), kNone}});
    out.push_back({"soft_cap_", {f32({S, 33}), 30.0}});
    out.push_back({"head_rows", {f32({S, 8 * 6}), f32({6}), f32({6}), f32({S, 3}), f32({S, 3}), 4, 2, 1e-6, kNone}});
    out.push_back({"head_rows", {bf16({S, 6 * 6}), f32({6}), f32({6}), f32({S, 3}), f32({S, 3}), 4, 2, 1e-6, as(at::kFloat)}});
    out.push_back({"attention", {bf16({2, S, 4, 16}), bf16({2, 2, 9, 16}), bf16({2, 2, 9, 16}), bf16({2, S, 2, 16}), bf16({2, S, 2, 16}), kNone, kNone, kNone, kNone}});
    out.push_back({"attention", {bf16({S, 3, 4, 16}), bf16({S, 2, 0, 16}), bf16({S, 2, 0, 16}), bf16({S, 3, 2, 16}), bf16({S, 3, 2, 16}), i32({S}), i32({S, 3}), i32({S, 3}), as(at::kFloat)}});
    for (const int64_t k : {1, 5}) out.push_back({"route", {f32({S, 5}), f32({5}), k}});
    out.push_back({"group_by_expert", {i32({S, 2}), 5}});
    out.push_back({"soft_embedding", {f32({S, 20}), bf16({20, 16}), 0.7, 2.0, 0.01, kNone}});
    out.push_back({"row_statistics", {f32({2, S, 20}), i32({2, S}), at::zeros({2, 6}, at::kLong), f32({2})}});
    out.push_back({"entropy_bound_step", {i32({2, S}), i32({2, S}), i32({2}), f32({2, S}), i32({2, S}), i32({2, S}), at::zeros({2, 6}, at::kLong), f32({2}), 20, 0.1, 1, at::ones({2, S}, at::kBool), i32({1}), -1}});
  }
  return out;
}

std::set<std::string> operators() {
  std::set<std::string> out;
  for (const auto& name : c10::Dispatcher::singleton().getAllOpNames())
    if (name.name.starts_with("canvaslab::")) out.insert(name.name.substr(11));
  return out;
}

c10::OperatorHandle handle(const std::string& op) { return c10::Dispatcher::singleton().findSchemaOrThrow(("canvaslab::" + op).c_str(), ""); }

/// Results as text: shapes, dtypes and how they lie.
std::vector<std::string> facts(const Stack& results) {
  std::vector<std::string> out;
  const auto tell = [&](const at::Tensor& t) { out.push_back(fmt::format("{} {} {}", c10::toString(t.scalar_type()), c10::str(t.sizes()), c10::str(t.strides()))); };
  for (const auto& result : results) {
    if (result.isTensor()) tell(result.toTensor());
    else for (const at::Tensor& t : result.toTensorVector()) tell(t);
  }
  return out;
}

at::Tensor without_numbers(const at::Tensor& t) { return at::empty_strided(t.sizes(), t.strides(), t.options().device(at::kMeta)); }

Stack without_numbers(const Stack& arguments) {
  Stack out = arguments;
  for (auto& argument : out) {
    if (argument.isTensor()) {
      argument = without_numbers(argument.toTensor());
    } else if (argument.isList()) {
      const auto list = argument.toList();
      if (list.elementType()->kind() == c10::TypeKind::FloatType) continue;
      c10::List<std::optional<at::Tensor>> moved;
      for (const c10::IValue& element : list.vec()) moved.push_back(element.isTensor() ? std::optional(without_numbers(element.toTensor())) : std::nullopt);
      argument = moved;
    }
  }
  return out;
}

TEST(OperatorRegistration, HasEveryKernelForEveryDevice) {
  const auto all = operators();
  EXPECT_THAT(all, testing::UnorderedElementsAre("add_norm", "attention", "embed_rows", "entropy_bound_step", "gelu_times", "group_by_expert", "grouped_product", "head_rows", "norms", "product", "route", "row_statistics",
                                                 "soft_cap_", "soft_embedding"));
  for (const auto& op : all) {
    EXPECT_TRUE(handle(op).hasKernelForDispatchKey(c10::DispatchKey::CPU)) << op;
    EXPECT_TRUE(handle(op).hasKernelForDispatchKey(c10::DispatchKey::Meta)) << op;
#ifdef CANVASLAB_HAS_CUDA
    EXPECT_TRUE(handle(op).hasKernelForDispatchKey(c10::DispatchKey::CUDA)) << op;
#else
    EXPECT_FALSE(handle(op).hasKernelForDispatchKey(c10::DispatchKey::CUDA)) << op << ": there are no kernels in this build";
#endif
  }
}

TEST(OperatorRegistration, SaysWhatIsChangedInPlace) {
  for (const auto& op : operators())
    for (const auto& argument : handle(op).schema().arguments()) {
      const bool changed = argument.alias_info() && argument.alias_info()->isWrite();
      const std::set<std::string> known = {"soft_cap_.x", "entropy_bound_step.canvas", "entropy_bound_step.last_argmax", "entropy_bound_step.equal_steps"};
      EXPECT_EQ(changed, known.contains(op + "." + argument.name())) << op << " " << argument.name();
    }
}

TEST(OperatorShapes, AreThoseOfTheNumbers) {
  std::set<std::string> seen;
  for (const auto& [op, arguments] : sound_cases()) {
    SCOPED_TRACE(fmt::format("{} {}", op, fmt::join(facts({arguments[0]}), "")));
    Stack numbers = arguments, shapes = without_numbers(arguments);
    handle(op).callBoxed(numbers);
    handle(op).callBoxed(shapes);
    EXPECT_EQ(facts(numbers), facts(shapes));
    seen.insert(op);
  }
  EXPECT_EQ(seen, operators()) << "every operator has a case";
  EXPECT_NE(facts({at::zeros({2, 3})}), facts({at::zeros({3, 2}).t()})) << "the comparison sees how a tensor lies";
}

/// A sound case with one argument replaced is refused with `words`, with and without numbers unless `only_numbers`.
struct Mistake {
  const char* op;
  Stack arguments;
  size_t which;
  c10::IValue instead;
  const char* words;
  bool only_numbers = false;
};

std::string refusal(const char* op, Stack stack) {
  try {
    handle(op).callBoxed(stack);
  } catch (const c10::Error& error) {
    return error.what_without_backtrace();
  }
  return "";
}

TEST(OperatorMistakes, AreNamed) {
  const auto not_contiguous = f32({20, 2, 4}).permute({1, 2, 0}), between = at::zeros({41}, at::kBFloat16).narrow(0, 1, 40).view({1, 40});
  const Stack product = {bf16({3, 40}), bf16({11, 40}), kNone, kNone, false, kNone};
  const Stack packed = {bf16({3, 64}), bytes({11, 32}), kNone, bf16({11, 2}), false, kNone};
  const Stack grouped = {bf16({3, 64}), bf16({2, 10, 64}), at::tensor({0, 2, 3}).to(at::kInt), kNone, 1, kNone, kNone, true, kNone};
  const Stack sourced = {bf16({3, 64}), bf16({2, 10, 64}), at::tensor({0, 2, 4}).to(at::kInt), i32({4}), 2, kNone, kNone, true, kNone};
  const Stack add = {f32({3, 33}), f32({3, 33}), f32({33}), gains({f32({33})}), factors({1}), f32({6, 33}), i32({3, 2}), f32({3, 2}), f32({33}), f32({33}), 0.5, 1e-6, kNone};
  const Stack embed = {i32({3}), bf16({9, 33}), gains({}), factors({}), 8.0, kNone, true, 1e-6, kNone};
  const Stack heads = {f32({3, 48}), f32({6}), f32({6}), f32({3, 3}), f32({3, 3}), 4, 2, 1e-6, kNone};
  const Stack attention = {bf16({2, 3, 4, 16}), bf16({2, 2, 9, 16}), bf16({2, 2, 9, 16}), bf16({2, 3, 2, 16}), bf16({2, 3, 2, 16}), i32({2}), i32({2, 3}), i32({2, 3}), kNone};
  const Stack soft = {f32({3, 20}), bf16({20, 16}), 0.7, 2.0, 0.01, kNone};
  const Stack statistics = {f32({2, 4, 20}), i32({2, 4}), at::zeros({2, 6}, at::kLong), f32({2})};
  const Stack step = {i32({2, 4}), i32({2, 4}), i32({2}), f32({2, 4}), i32({2, 4}), i32({2, 4}), at::zeros({2, 6}, at::kLong), f32({2}), 20, 0.1, 1, kNone, i32({1}), -1};
  const std::vector<Mistake> mistakes = {
      {"product", product, 0, f32({3, 40}), "product: x is Float, expected BFloat16"},
      {"product", product, 0, bf16({3, 48}), "product: weight has the shape [11, 40], expected [?, 48]"},
      {"product", product, 0, bf16({3, 44}), "x has 44 columns, which these weights want in multiples of 8"},
      {"product", product, 0, bf16({40}), "x has 1 dimensions, expected the shape [?, ?]"},
      {"product", product, 0, bf16({40, 3}).t(), "elements of a row of x do not stand together", true},
      {"product", product, 0, between, "x begins between two multiples of 16 bytes; pass x.clone()", true},
      {"product", product, 0, bf16({3, 44}).narrow(1, 0, 40), "rows of x are 44 elements apart, expected a multiple of 8", true},
      {"product", product, 1, f32({11, 40}), "weight is Float, expected BFloat16, Float8_e4m3fn or Byte"},
      {"product", product, 1, bf16({40, 11}).t(), "weight is not contiguous; pass weight.contiguous()", true},
      {"product", product, 1, bytes({11, 20}), "group_scales have to be Float8_e4m3fn (e2m1) or BFloat16 (int4)"},
      {"product", product, 3, bf16({11, 2}), "group_scales belong to weights of 4 bits"},
      {"product", product, 2, f32({12}), "scale has the shape [12], expected [11]"},
      {"product", product, 4, true, "gated weights have 11 rows, expected as many ups as gates"},
      {"product", product, 5, as(at::kHalf), "dtype is Half, expected Float or BFloat16"},
      {"product", packed, 3, bf16({11, 3}), "group_scales has the shape [11, 3], expected [11, 2]"},
      {"grouped_product", grouped, 2, at::tensor({0, 3}).to(at::kInt), "begin has the shape [2], expected [3]"},
      {"grouped_product", grouped, 2, at::tensor({0, 2, 4}).to(at::kInt), "begin goes from 0 to 4, expected from 0 to the 3 rows", true},
      {"grouped_product", grouped, 2, at::tensor({0, 4, 3}).to(at::kInt), "begin falls from 4 to 3 at group 1", true},
      {"grouped_product", grouped, 4, 2, "slots is 2, expected at least 1, and 1 without source"},
      {"grouped_product", sourced, 3, at::tensor({0, 1, 6, 2}).to(at::kInt), "element 2 of source is 6, expected at least 0 and below 6", true},
      {"add_norm", add, 1, f32({4, 33}), "branch has the shape [4, 33], expected [3, 33]"},
      {"add_norm", add, 3, gains({}), "0 gains and 1 factors of norms"},
      {"add_norm", add, 3, gains({f32({32})}), "a gain of the norms has the shape [32], expected [33]"},
      {"add_norm", add, 6, kNone, "parts, place, weight, branch_gain and parts_gain go together"},
      {"add_norm", add, 6, at::full({3, 2}, 6, at::kInt), "element 0 of place is 6", true},
      {"norms", {f32({2, 30000}), gains({}), factors({}), 1e-6, kNone}, 1, gains({}), "rows of 30000 numbers, expected 1 to 24576"},
      {"embed_rows", embed, 0, at::full({3}, 9, at::kInt), "element 0 of ids is 9, expected at least 0 and below 9", true},
      {"embed_rows", embed, 5, f32({3, 32}), "signal has the shape [3, 32], expected [3, 33]"},
      {"gelu_times", {f32({2, 33}), kNone}, 1, kNone, "both has 33 columns, expected as many ups as gates"},
      {"soft_cap_", {f32({2, 33}), 1.0}, 1, 0.0, "cap is 0, expected above 0"},
      {"head_rows", heads, 5, 5, "rows has 48 columns, expected (num_heads + 2 num_kv_heads)"},
      {"head_rows", heads, 1, f32({5}), "heads of 5 numbers, expected an even number"},
      {"head_rows", heads, 4, f32({3, 8}).narrow(1, 0, 3), "rows of cos and of sin are not as far apart", true},
      {"attention", attention, 0, bf16({2, 3, 5, 16}), "5 heads are no multiple of 2"},
      {"attention", attention, 2, bf16({2, 9, 2, 16}).transpose(1, 2), "cached_k and cached_v do not lie alike in memory", true},
      {"attention", attention, 5, at::full({2}, 10, at::kInt), "element 0 of cached_lengths is 10", true},
      {"attention", attention, 6, kNone, "first_key and end_key go together"},
      {"attention", attention, 7, at::full({2, 3}, 13, at::kInt), "element 0 of end_key is 13", true},
      {"route", {f32({3, 5}), f32({5}), 2}, 2, 6, "6 experts of 5"},
      {"route", {f32({3, 5}), f32({5}), 2}, 2, 0, "k is 0, expected at least 1"},
      {"group_by_expert", {i32({3, 2}), 5}, 1, 513, "num_experts is 513, expected 1 to 512"},
      {"group_by_expert", {i32({3, 2}), 5}, 0, at::full({3, 2}, 5, at::kInt), "element 0 of expert is 5", true},
      {"soft_embedding", soft, 2, 0.0, "temperature is 0, expected above 0"},
      {"soft_embedding", soft, 1, bf16({20, 12}), "table is 12 wide, expected a multiple of 8"},
      {"row_statistics", statistics, 0, not_contiguous, "logits is not contiguous; pass logits.contiguous()", true},
      {"row_statistics", statistics, 1, at::full({2, 4}, 20, at::kInt), "element 0 of canvas is 20, expected at least 0 and below 20", true},
      {"row_statistics", statistics, 2, at::zeros({2, 5}, at::kLong), "draws has the shape [2, 5], expected [2, 6]"},
      {"row_statistics", statistics, 3, at::full({2}, -1.0f), "temperature 0 is -1, expected at least 0", true},
      {"entropy_bound_step", step, 3, f32({2, 5}), "entropy_nats has the shape [2, 5], expected [2, 4]"},
      {"entropy_bound_step", step, 11, i32({2, 4}), "allowed is Int, expected Bool"},
      {"entropy_bound_step", step, 12, i32({20}), "20 of 20 tokens are banned, expected fewer"},
      {"entropy_bound_step", step, 13, 20, "mask_id 20"},
  };
  for (const auto& [op, sound, which, instead, words, only_numbers] : mistakes) {
    Stack wrong = sound;
    wrong[which] = instead;
    EXPECT_THAT(refusal(op, wrong), testing::AllOf(testing::HasSubstr(fmt::format("canvaslab::{}: ", op)), testing::HasSubstr(words)));
    const std::string without = refusal(op, without_numbers(wrong));
    EXPECT_TRUE(only_numbers ? without.empty() : without.find(words) != std::string::npos) << op << " without numbers: " << without << "\nexpected: " << words;
  }
  for (const Case& sound : {Case{"product", product}, Case{"product", packed}, Case{"grouped_product", grouped}, Case{"grouped_product", sourced}, Case{"add_norm", add}, Case{"embed_rows", embed}, Case{"head_rows", heads},
                            Case{"attention", attention}, Case{"soft_embedding", soft}, Case{"row_statistics", statistics}, Case{"entropy_bound_step", step}})
    EXPECT_EQ(refusal(sound.op, sound.arguments), "") << sound.op << ": the calls above are refused for what was changed in them";
}

TEST(OperatorMistakes, AreNamedWhereTensorsLieApart) {
  Stack stack = {bf16({3, 40}), without_numbers(bf16({11, 40})), kNone, kNone, false, kNone};
  EXPECT_THAT(refusal("product", stack), testing::HasSubstr("weight lies on meta, the first argument on cpu"));
}

}  // namespace
}  // namespace canvaslab
