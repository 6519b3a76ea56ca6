// Quantised layouts told by names, dtypes and shapes; what does not fit together is refused by name.
#include "core/stored_weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"

namespace canvaslab {
namespace {

using ::testing::HasSubstr;

TensorHeader header(const std::string& name, const std::string& dtype, std::vector<int64_t> shape) {
  TensorHeader out{.name = name, .dtype = dtype, .shape = std::move(shape), .file = "model.safetensors"};
  for (int64_t d : out.shape) out.num_elements *= static_cast<uint64_t>(d);
  return out;
}

std::string message(const std::vector<TensorHeader>& headers) {
  try {
    find_stored_weights(headers);
  } catch (const UserError& error) {
    return error.what();
  }
  return "";
}

TEST(StoredWeights, APlainCheckpointHasNone) {
  const auto found = find_stored_weights({header("a.norm.weight", "BF16", {8}), header("a.q_proj.weight", "BF16", {4, 8}), header("a.experts.down_proj", "BF16", {2, 4, 8})});
  EXPECT_TRUE(found.weights.empty());
  EXPECT_TRUE(found.tensors.empty());
}

TEST(StoredWeights, Fp8ByRowsAndForTheWholeMatrix) {
  for (const auto& scale : {std::vector<int64_t>{4, 1}, {4}, {1}, {}}) {
    const auto found = find_stored_weights({header("q.weight", "F8_E4M3", {4, 8}), header("q.weight_scale", "BF16", scale)});
    const auto& weight = found.weights.at("q.weight");
    EXPECT_EQ(weight.shape, (std::vector<int64_t>{4, 8}));
    EXPECT_TRUE(weight.is_quantised());
    EXPECT_EQ(weight.parts.front().scales_per_row, !scale.empty() && scale[0] == 4 ? 1 : 0);
  }
  EXPECT_THAT(message({header("q.weight", "F8_E4M3", {4, 8})}), HasSubstr("'q.weight_scale' is missing"));
  EXPECT_THAT(message({header("q.weight", "F8_E4M3", {4, 8}), header("q.weight_scale", "BF16", {8, 1})}), HasSubstr("one for each of the 4 rows"));
  EXPECT_THAT(message({header("q.weight", "F8_E4M3", {4, 8}), header("q.weight_scale", "U8", {4, 1})}), HasSubstr("expected F32, BF16 or F16"));
}

TEST(StoredWeights, FourBits) {
  const auto packed = header("q.weight_packed", "U8", {4, 16}), scale = header("q.weight_scale", "F8_E4M3", {4, 2}), whole = header("q.weight_global_scale", "F32", {1});
  const auto found = find_stored_weights({header("q.input_global_scale", "F32", {1}), whole, packed, scale});
  EXPECT_EQ(found.weights.at("q.weight").shape, (std::vector<int64_t>{4, 32}));
  EXPECT_TRUE(found.weights.at("q.weight").parts.front().divides);
  EXPECT_TRUE(found.tensors.contains("q.input_global_scale"));
  EXPECT_EQ(found.num_parameters(packed), 128u);
  EXPECT_EQ(found.num_parameters(scale), 0u);
  EXPECT_THAT(message({packed, scale}), HasSubstr("'q.weight_global_scale' is missing"));
  EXPECT_THAT(message({whole, packed, header("q.weight_scale", "F8_E4M3", {4, 4})}), HasSubstr("one for 16 columns"));
  const auto words = header("q.weight_packed", "I32", {4, 4});
  EXPECT_EQ(find_stored_weights({words, header("q.weight_scale", "BF16", {4, 2})}).weights.at("q.weight").parts.front().packing, Packing::kInt4);
  EXPECT_THAT(message({words, header("q.weight_scale", "BF16", {4, 2}), header("q.weight_zero_point", "I32", {1, 2})}), HasSubstr("asymmetric"));
  EXPECT_THAT(message({words, header("q.weight_scale", "BF16", {4, 3})}), HasSubstr("groups of 32 columns"));
}

TEST(StoredWeights, ExpertsStandOneByOne) {
  std::vector<TensorHeader> all;
  for (const char* e : {"0", "1"})
    for (const char* projection : {"down_proj", "gate_proj", "up_proj"})
      all.push_back(header(std::string("l.experts.") + e + "." + projection + ".weight", "BF16", projection[0] == 'd' ? std::vector<int64_t>{8, 4} : std::vector<int64_t>{4, 8}));
  const auto found = find_stored_weights(all);
  EXPECT_EQ(found.weights.at("l.experts.gate_up_proj").shape, (std::vector<int64_t>{2, 8, 8}));
  EXPECT_EQ(found.weights.at("l.experts.down_proj").shape, (std::vector<int64_t>{2, 8, 4}));
  EXPECT_FALSE(found.weights.at("l.experts.down_proj").is_quantised());
  EXPECT_EQ(all[found.weights.at("l.experts.gate_up_proj").parts[3].codes].name, "l.experts.1.up_proj.weight");
  auto missing = all;
  missing.erase(missing.begin() + 1);
  EXPECT_THAT(message(missing), HasSubstr("'l.experts.0.gate_proj.weight' is missing"));
  auto odd = all;
  odd[3].shape = {8, 6};
  EXPECT_THAT(message(odd), HasSubstr("the experts before it"));
}

}  // namespace
}  // namespace canvaslab
