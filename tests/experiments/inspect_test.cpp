// canvaslab inspect: against the released model's published sizes, and against the small checkpoints in the tree.
#include <gtest/gtest.h>

#include <cstring>
#include <functional>

#include <nlohmann/json.hpp>

#include "core/checkpoint_facts.h"
#include "core/error.h"
#include "core/h5.h"
#include "tests/support/program.h"

namespace canvaslab {
namespace {

using Json = nlohmann::json;
using testing::Outcome;
using testing::TempFolder;

Json inspect(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "inspect");
  arguments.push_back("--json");
  const Outcome outcome = testing::run_program(CANVASLAB_PROGRAM, arguments, ".");
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  return Json::parse(outcome.out, nullptr, false);
}

using Shapes = std::vector<std::pair<std::string, std::vector<int64_t>>>;

/// Tensors of the released 26B model, written from its tables (model.md 2.2 to 2.4).
Shapes released_tensors() {
  Shapes out;
  const std::string decoder = "model.decoder.", encoder = "model.encoder.";
  constexpr int64_t D = 2816;
  for (int i = 0; i < 30; ++i) {
    const bool full = (i + 1) % 6 == 0;
    const std::string l = decoder + "layers." + std::to_string(i) + ".";
    const int64_t q = full ? 8192 : 4096, kv = full ? 1024 : 2048, head = full ? 512 : 256;
    out.push_back({l + "self_attn.q_proj.weight", {q, D}});
    out.push_back({l + "self_attn.k_proj.weight", {kv, D}});
    if (!full) out.push_back({l + "self_attn.v_proj.weight", {kv, D}});
    out.push_back({l + "self_attn.o_proj.weight", {D, q}});
    for (const char* name : {"q_norm", "k_norm"}) out.push_back({l + "self_attn." + name + ".weight", {head}});
    for (const char* name : {"input", "post_attention", "pre_feedforward", "post_feedforward"}) out.push_back({l + name + "_layernorm.weight", {D}});
    for (const char* name : {"post_feedforward_layernorm_1", "pre_feedforward_layernorm_2", "post_feedforward_layernorm_2"}) out.push_back({l + name + ".weight", {D}});
    out.push_back({l + "mlp.gate_proj.weight", {2112, D}});
    out.push_back({l + "mlp.up_proj.weight", {2112, D}});
    out.push_back({l + "mlp.down_proj.weight", {D, 2112}});
    out.push_back({l + "router.proj.weight", {128, D}});
    out.push_back({l + "router.scale", {D}});
    out.push_back({l + "router.per_expert_scale", {128}});
    out.push_back({l + "experts.gate_up_proj", {128, 1408, D}});
    out.push_back({l + "experts.down_proj", {128, D, 704}});
    out.push_back({l + "layer_scalar", {1}});
    out.push_back({encoder + "language_model.layers." + std::to_string(i) + ".layer_scalar", {1}});
  }
  out.push_back({decoder + "embed_tokens.weight", {262144, D}});
  out.push_back({decoder + "norm.weight", {D}});
  out.push_back({decoder + "self_conditioning.pre_norm.weight", {D}});
  out.push_back({decoder + "self_conditioning.gate_proj.weight", {2112, D}});
  out.push_back({decoder + "self_conditioning.up_proj.weight", {2112, D}});
  out.push_back({decoder + "self_conditioning.down_proj.weight", {D, 2112}});
  out.push_back({encoder + "vision_tower.patch_embedder.input_proj.weight", {1152, 768}});
  out.push_back({encoder + "vision_tower.patch_embedder.position_embedding_table", {2, 10240, 1152}});
  out.push_back({encoder + "vision_tower.std_bias", {1152}});
  out.push_back({encoder + "vision_tower.std_scale", {1152}});
  out.push_back({encoder + "embed_vision.embedding_projection.weight", {D, 1152}});
  for (int i = 0; i < 27; ++i) {
    const std::string l = encoder + "vision_tower.encoder.layers." + std::to_string(i) + ".";
    for (const char* name : {"q_proj", "k_proj", "v_proj", "o_proj"}) out.push_back({l + "self_attn." + name + ".linear.weight", {1152, 1152}});
    for (const char* name : {"q_norm", "k_norm"}) out.push_back({l + "self_attn." + name + ".weight", {72}});
    for (const char* name : {"gate_proj", "up_proj"}) out.push_back({l + "mlp." + name + ".linear.weight", {4304, 1152}});
    out.push_back({l + "mlp.down_proj.linear.weight", {1152, 4304}});
    for (const char* name : {"input", "post_attention", "pre_feedforward", "post_feedforward"}) out.push_back({l + name + "_layernorm.weight", {1152}});
  }
  return out;
}

constexpr const char* kReleasedConfig = R"({"model_type": "diffusion_gemma", "canvas_length": 256, "eos_token_id": [1, 106], "tie_word_embeddings": true,
 "text_config": {"vocab_size": 262144, "hidden_size": 2816, "intermediate_size": 2112, "moe_intermediate_size": 704, "num_experts": 128, "top_k_experts": 8,
  "num_hidden_layers": 30, "num_attention_heads": 16, "num_key_value_heads": 8, "num_global_key_value_heads": 2, "head_dim": 256, "global_head_dim": 512, "sliding_window": 1024}})";

/// By the name: compressed-tensors' NVFP4, else bf16.
std::pair<const char*, uint64_t> dtype_of(const std::string& name) {
  if (name.ends_with(".weight_packed")) return {"U8", 1};
  if (name.ends_with(".weight_scale")) return {"F8_E4M3", 1};
  if (name.ends_with("_global_scale")) return {"F32", 4};
  return {"BF16", 2};
}

/// A sparse checkpoint: right headers, right sizes, no data on the disk.
void write_sparse_checkpoint(const std::filesystem::path& folder, const Shapes& tensors, size_t num_shards) {
  std::vector<Json> headers(num_shards, Json::object());
  std::vector<uint64_t> end(num_shards, 0);
  Json index;
  const auto shard_name = [&](size_t shard) { return fmt::format("model-{:05}-of-{:05}.safetensors", shard + 1, num_shards); };
  for (size_t i = 0; i < tensors.size(); ++i) {
    const auto& [name, shape] = tensors[i];
    const size_t shard = i * num_shards / tensors.size();
    auto [dtype, bytes] = dtype_of(name);
    for (int64_t d : shape) bytes *= static_cast<uint64_t>(d);
    headers[shard][name] = {{"dtype", dtype}, {"shape", shape}, {"data_offsets", {end[shard], end[shard] + bytes}}};
    end[shard] += bytes;
    index["weight_map"][name] = shard_name(shard);
  }
  for (size_t shard = 0; shard < num_shards; ++shard) {
    const std::string text = headers[shard].dump();
    const uint64_t size = text.size();
    const auto path = folder / shard_name(shard);
    testing::write_text(path, std::string(reinterpret_cast<const char*>(&size), 8) + text);
    std::filesystem::resize_file(path, 8 + size + end[shard]);
  }
  testing::write_text(folder / "model.safetensors.index.json", index.dump());
  testing::write_text(folder / "config.json", kReleasedConfig);
}

/// The released shapes with the layers' matrices in NVFP4, as RedHatAI's checkpoint holds its dense and expert ones.
Shapes four_bit_tensors() {
  Shapes out;
  const auto add = [&](const std::string& base, int64_t rows, int64_t columns) {
    out.push_back({base + ".weight_packed", {rows, columns / 2}});
    out.push_back({base + ".weight_scale", {rows, columns / 16}});
    out.push_back({base + ".weight_global_scale", {1}});
    out.push_back({base + ".input_global_scale", {1}});
  };
  for (const auto& [name, shape] : released_tensors()) {
    const bool decoder = name.find("vision") == std::string::npos, matrix = name.ends_with("_proj.weight") && name.find("layers.") != std::string::npos;
    if (decoder && shape.size() == 3) {
      for (int e = 0; e < shape[0]; ++e) {
        const std::string expert = name.substr(0, name.rfind('.')) + "." + std::to_string(e) + ".";
        if (name.ends_with("down_proj")) add(expert + "down_proj", shape[1], shape[2]);
        else add(expert + "gate_proj", shape[1] / 2, shape[2]), add(expert + "up_proj", shape[1] / 2, shape[2]);
      }
    } else if (decoder && matrix) {
      add(name.substr(0, name.size() - 7), shape[0], shape[1]);
    } else {
      out.push_back({name, shape});
    }
  }
  return out;
}

TEST(Inspect, TheReleasedModelInFourBitsFitsInto18GB) {
  const TempFolder folder;
  write_sparse_checkpoint(folder.path(), four_bit_tensors(), 1);
  const Json out = inspect({folder.path().string(), "--context", "1024"});
  EXPECT_EQ(out["num_parameters"], 25823781228);
  EXPECT_EQ(out["active_parameters_per_token"], 25823781228 - 572794416 - 30 * int64_t{120} * 3 * 704 * 2816);
  const int64_t layers = 30 * int64_t{128} * 3 * 704 * 2816 + 30 * int64_t{3} * 2112 * 2816 + 25 * int64_t{3} * 4096 * 2816 + 5 * int64_t{17408} * 2816;
  EXPECT_EQ(out["quantised_parameters"], Json({{"NVFP4", layers}}));
  EXPECT_FALSE(out.contains("warning"));
  // Half a byte a number, a byte for 16 of them, 4 a matrix; the rest of the text network in f32.
  const int64_t matrices = 30 * (128 * 3 + 3) + 25 * 4 + 5 * 3, rest = 25823781228 - 572794416 - layers;
  EXPECT_EQ(out["memory_bytes"]["packed"]["weights"], layers / 2 + layers / 16 + 4 * matrices + 4 * rest);
  EXPECT_LT(out["memory_bytes"]["packed"]["total"], int64_t{18000000000});
}

TEST(Inspect, WarnsWhenExpertsStayedUnquantised) {
  const TempFolder folder;
  Shapes tensors;
  for (const auto& [name, shape] : released_tensors())
    if (shape.size() == 3 && name.find("experts") != std::string::npos) tensors.push_back({name, shape});
  for (const auto& [name, shape] : four_bit_tensors())
    if (name.find(".experts.") == std::string::npos) tensors.push_back({name, shape});
  write_sparse_checkpoint(folder.path(), tensors, 1);
  const Json out = inspect({folder.path().string()});
  EXPECT_NE(out.value("warning", "").find("experts are not quantised"), std::string::npos);
}

TEST(Inspect, ReproducesThePublishedSizesOfTheReleasedModel) {
  const TempFolder folder;
  write_sparse_checkpoint(folder.path(), released_tensors(), 11);
  const Json out = inspect({folder.path().string(), "--context", "8192"});
  EXPECT_EQ(out["num_files"], 11);
  EXPECT_EQ(out["num_tensors"], 1047);
  EXPECT_EQ(out["num_parameters"], 25823781228);
  EXPECT_EQ(out["num_bytes"], 51647562456);
  // model.md 1.5: text with embedding, vision, self-conditioning; the encoder's 30 scalars are the rest.
  EXPECT_EQ(out["groups"]["vision"]["num_parameters"], 572794416);
  EXPECT_EQ(out["groups"]["self_conditioning"]["num_parameters"], 17844992);
  uint64_t text = 0, tensors = 0;
  for (const auto& [name, group] : out["groups"].items()) {
    tensors += group["num_tensors"].get<uint64_t>();
    if (name != "vision" && name != "self_conditioning") text += group["num_parameters"].get<uint64_t>();
  }
  EXPECT_EQ(text, 25233141790 + 30);
  EXPECT_EQ(tensors, 1047u);
  EXPECT_FALSE(out["groups"].contains("other"));
  EXPECT_FALSE(out["groups"].contains("duplicates"));
  // All but vision and 120 of 128 experts: 25,823,781,228 - 572,794,416 - 120/128 of 30 * 128 * 3 * 704 * 2816.
  EXPECT_EQ(out["active_parameters_per_token"], 25823781228 - 572794416 - 30 * int64_t{120} * 3 * 704 * 2816);
  // model.md 4.1: 25 x 8192 and 5 x 4096 bytes a token; at most 1023 tokens in a sliding layer.
  EXPECT_EQ(out["kv_bytes_per_token"]["bf16"]["sliding"], 25 * 8192);
  EXPECT_EQ(out["kv_bytes_per_token"]["bf16"]["full"], 20480);
  EXPECT_EQ(out["kv_bytes_per_token"]["f32"]["full"], 2 * 20480);
  const Json need = out["memory_bytes"]["bf16"];
  EXPECT_EQ(need["weights"], 2 * (25823781228 - 572794416));
  EXPECT_EQ(need["kv_cache"], int64_t{1023} * 25 * 8192 + int64_t{8192} * 20480);
  EXPECT_EQ(need["logits"], int64_t{256} * 262144 * 4);
  EXPECT_EQ(need["feedback"], int64_t{256} * 262144 * 2);
  EXPECT_EQ(need["total"], need["weights"].get<int64_t>() + need["kv_cache"].get<int64_t>() + need["logits"].get<int64_t>() + need["feedback"].get<int64_t>());
  EXPECT_EQ(inspect({folder.path().string(), "--context", "100"})["memory_bytes"]["bf16"]["kv_cache"], 100 * (25 * 8192 + 20480));
}

TEST(Inspect, CountsAMissingTensorOfTheReleasedModel) {  // the check above can fail
  const TempFolder folder;
  Shapes tensors = released_tensors();
  tensors.pop_back();
  write_sparse_checkpoint(folder.path(), tensors, 11);
  EXPECT_EQ(inspect({folder.path().string()})["num_tensors"], 1046);
}

TEST(Inspect, DescribesEverySmallCheckpoint) {
  const std::filesystem::path goldens = CANVASLAB_SOURCE_DIR "/tests/network/goldens";
  size_t seen = 0;
  for (const auto& entry : std::filesystem::directory_iterator(goldens)) {
    if (!entry.is_directory()) continue;
    SCOPED_TRACE(entry.path().string());
    ++seen;
    const Json out = inspect({entry.path().string()});
    const std::string file = testing::read_text(entry.path() / "model.safetensors");
    uint64_t size = 0;
    std::memcpy(&size, file.data(), 8);
    Json header = Json::parse(file.substr(8, size));
    header.erase("__metadata__");
    EXPECT_EQ(out["num_tensors"], header.size());
    EXPECT_EQ(out["num_bytes"], file.size() - 8 - size);
    EXPECT_FALSE(out["groups"].contains("other"));
    for (const auto& tensor : out["tensors"]) EXPECT_EQ(tensor["shape"], header[tensor["name"].get<std::string>()]["shape"]) << tensor;
    const Json config = Json::parse(testing::read_text(entry.path() / "config.json"));
    EXPECT_EQ(out["config"]["num_layers"], config["text_config"]["num_hidden_layers"]);
  }
  EXPECT_GE(seen, 10u);
}

TEST(Inspect, DescribesADenoiserATraceAndARun) {
  const Json denoiser = inspect({"hmm(alphabet=8)"});
  EXPECT_EQ(denoiser["kind"], "denoiser");
  EXPECT_EQ(denoiser["vocabulary"], 8);
  EXPECT_NE(denoiser["denoiser"].get<std::string>().find("states=16"), std::string::npos);
  const TempFolder folder;
  const Outcome made = testing::run_program(CANVASLAB_PROGRAM, {"generate", "--model", "hmm(length=8)", "--sampler", "fixed_step", "--steps", "4", "--max-new-tokens", "16",
                                                                "--trace", "t.h5", "--json"}, folder.path());
  ASSERT_EQ(made.exit_code, 0) << made.err;
  const Json trace = inspect({folder.file("t.h5")}), told = Json::parse(made.out);
  EXPECT_EQ(trace["kind"], "trace");
  EXPECT_EQ(trace["attributes"]["schema_version"], 1);
  EXPECT_EQ(trace["rows"][0]["steps_per_canvas"], told["steps_per_canvas"]);
  EXPECT_EQ(trace["rows"][0]["num_tokens"], told["token_ids"].size());
  testing::write_text(folder.path() / "s.toml", "[run]\nname = \"s\"\n[denoiser]\nmodel = \"hmm(length=8)\"\n[dataset]\nname = \"source(items=4)\"\n"
                                               "[[grid]]\nsampler = [\"fixed_step\", \"ddim\"]\nsteps = [2, 4]\ncanvas_length = [8]\ntemperature = \"constant(1)\"\n");
  const Outcome swept = testing::run_program(CANVASLAB_PROGRAM, {"sweep", "s.toml", "--out", "run", "--quiet"}, folder.path());
  ASSERT_EQ(swept.exit_code, 0) << swept.err;
  const Json run = inspect({folder.file("run/run.h5")});
  EXPECT_EQ(run["kind"], "run");
  ASSERT_EQ(run["configurations"].size(), 5u);  // four points and the control
  for (const auto& row : run["configurations"]) EXPECT_EQ(row["num_samples"], 4) << row;
  EXPECT_TRUE(run["datasets"].contains("samples/score"));
}

/// Sound HDF5 with hostile contents, as the fuzz target builds it.
TEST(Inspect, HostileTracesAndRunsAreErrorsOrHarmless) {
  const TempFolder folder;
  const auto outcome_of = [&](const std::string& name, const std::function<void(hid_t)>& fill) {
    {
      const H5Handle file(H5Fcreate(folder.file(name).c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), H5Fclose);
      fill(file.id());
    }
    return testing::run_program(CANVASLAB_PROGRAM, {"inspect", folder.file(name), "--json"}, folder.path());
  };
  const auto group = [](hid_t file, const char* name) { H5Gclose(H5Gcreate2(file, name, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT)); };
  const auto dataset = [](hid_t file, const char* name, const std::vector<hsize_t>& shape) {  // chunks of 4, nothing stored
    const H5Handle space(shape.empty() ? H5Screate(H5S_SCALAR) : H5Screate_simple(static_cast<int>(shape.size()), shape.data(), nullptr), H5Sclose);
    const H5Handle list(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
    const std::vector<hsize_t> chunk(shape.size(), 4);
    if (!shape.empty()) H5Pset_chunk(list.id(), static_cast<int>(chunk.size()), chunk.data());
    const H5Handle made(H5Dcreate2(file, name, H5T_NATIVE_INT32, space.id(), H5P_DEFAULT, list.id(), H5P_DEFAULT), H5Dclose);
    ASSERT_TRUE(made.valid());
  };
  const auto expect_refused = [](const Outcome& outcome, const std::string& what) {
    EXPECT_EQ(outcome.exit_code, 3) << outcome.err;
    EXPECT_NE(outcome.err.find(what), std::string::npos) << outcome.err;
  };
  expect_refused(outcome_of("scalar_tokens.h5", [&](hid_t file) { group(file, "steps"), dataset(file, "tokens", {}); }), "'tokens' is a single value");
  expect_refused(outcome_of("scalar_samples.h5", [&](hid_t file) { group(file, "samples"), group(file, "config"), group(file, "aggregates"), dataset(file, "aggregates/num_samples", {}); }),
                 "'aggregates/num_samples' is a single value");
  expect_refused(outcome_of("huge.h5", [&](hid_t file) { group(file, "steps"), dataset(file, "tokens", {8}), dataset(file, "steps/canvas_idx", {hsize_t{1} << 45}); }), "'steps/canvas_idx' says it has the shape");
  expect_refused(outcome_of("many.h5", [&](hid_t file) { group(file, "samples"), group(file, "config"), group(file, "aggregates"), dataset(file, "aggregates/num_samples", {29'645'527}); }),
                 "'aggregates/num_samples' has 29645527 rows");  // a fuzzer's: 16 KiB that took 2 GiB
  const Outcome round = outcome_of("round.h5", [&](hid_t file) {
    group(file, "a");
    H5Lcreate_hard(file, "/", file, "a/up", H5P_DEFAULT, H5P_DEFAULT);
    H5Lcreate_soft("/a", file, "a/soft", H5P_DEFAULT, H5P_DEFAULT);
  });
  EXPECT_EQ(round.exit_code, 0) << round.err;
}

}  // namespace
}  // namespace canvaslab
