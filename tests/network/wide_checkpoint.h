#pragma once
// Checkpoints of sizes that no golden has: goldens/kernel_sizes with other widths, in bf16.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cmath>
#include <fstream>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/kernels/stored_rows.h"
#include "tests/support/temporary.h"

namespace canvaslab {

struct WideSizes {
  int64_t hidden = 512, vocabulary = 96, dense_width = 48, experts = 4, expert_width = 16;
};

/// Writes config.json and model.safetensors; the tensors' bytes. Numbers of this seed, or zeros, which take no room on the disk.
inline int64_t write_wide_checkpoint(const std::string& folder, const WideSizes& sizes, std::optional<uint64_t> seed) {
  const std::string small = std::string(CANVASLAB_SOURCE_DIR) + "/tests/network/goldens/kernel_sizes/";
  nlohmann::json config = nlohmann::json::parse(read_file(small + "config.json"));
  auto& text = config["text_config"];
  text["hidden_size"] = sizes.hidden, text["vocab_size"] = sizes.vocabulary, text["intermediate_size"] = sizes.dense_width, text["num_experts"] = sizes.experts, text["moe_intermediate_size"] = sizes.expert_width;
  write_file(folder + "/config.json", config.dump());
  std::ifstream in(small + "model.safetensors", std::ios::binary);
  uint64_t header_bytes = 0;
  in.read(reinterpret_cast<char*>(&header_bytes), sizeof header_bytes);
  std::string header(header_bytes, ' ');
  in.read(header.data(), static_cast<std::streamsize>(header_bytes));
  const nlohmann::json tensors = nlohmann::json::parse(header);
  nlohmann::json wide;
  int64_t end = 0;
  for (const auto& [name, facts] : tensors.items()) {
    if (name == "__metadata__") continue;
    auto shape = facts.at("shape").get<std::vector<int64_t>>();
    const bool vision = name.find("vision_tower") != std::string::npos, experts = name.find(".experts.") != std::string::npos;
    for (size_t i = 0; i < shape.size() && !vision; ++i) {
      int64_t& n = shape[i];
      const bool output = i + 1 < shape.size();
      if (name.ends_with("q_norm.weight") || name.ends_with("k_norm.weight")) continue;
      if (n == 96) n = sizes.vocabulary;
      else if (n == 48) n = sizes.dense_width;
      else if (experts) n = i == 0 ? sizes.experts : name.ends_with("gate_up_proj") ? (output ? 2 * sizes.expert_width : sizes.hidden) : output ? sizes.hidden : sizes.expert_width;
      else if (n == 4) n = sizes.experts;
      else if (n == 32 && (!output || name.ends_with("o_proj.weight") || name.ends_with("down_proj.weight") || name.ends_with("embedding_projection.weight"))) n = sizes.hidden;
    }
    int64_t bytes = 2;
    for (const int64_t n : shape) bytes *= n;
    wide[name] = {{"dtype", "BF16"}, {"shape", shape}, {"data_offsets", {end, end + bytes}}};
    end += bytes;
  }
  std::string written = wide.dump();
  written.resize((written.size() + 7) / 8 * 8, ' ');
  const uint64_t length = written.size();
  const std::string path = folder + "/model.safetensors";
  std::ofstream out(path, std::ios::binary);
  out.write(reinterpret_cast<const char*>(&length), sizeof length);
  out << written;
  if (seed) {
    std::mt19937_64 random(*seed);
    std::normal_distribution<float> normal;
    for (const auto& [name, facts] : wide.items()) {  // in the order of their offsets
      const auto shape = facts.at("shape").get<std::vector<int64_t>>();
      const auto count = (facts["data_offsets"][1].get<int64_t>() - facts["data_offsets"][0].get<int64_t>()) / 2;
      const float spread = shape.size() == 1 ? 0.1f : 1 / std::sqrt(static_cast<float>(shape.back()));
      for (int64_t i = 0; i < count; ++i) {
        const uint16_t code = nearest_bf16((shape.size() == 1 ? 1.0f : 0.0f) + spread * normal(random));
        out.write(reinterpret_cast<const char*>(&code), sizeof code);
      }
    }
  }
  out.close();
  EXPECT_EQ(::truncate(path.c_str(), static_cast<off_t>(sizeof length + length) + end), 0);
  return end;
}

}  // namespace canvaslab
