// LoRA adapters: PEFT's layout, what is merged, what is trained.
#include "core/network/lora.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <numeric>

#include "core/error.h"
#include "core/json.h"
#include "core/model.h"
#include "core/network/cpu_network.h"
#include "core/network/lora_training.h"
#include "core/network/trainer.h"
#include "core/safetensors_writer.h"
#include "tests/network/parity.h"
#include "tests/network/training_batch.h"
#include "tests/support/temporary.h"

namespace canvaslab {
namespace {

const std::string kBase = std::string(CANVASLAB_SOURCE_DIR) + "/tests/network/goldens/base";  // two layers, hidden 32, four experts of 16

const std::string kGolden = std::string(CANVASLAB_SOURCE_DIR) + "/tests/network/golden_lora";  // an adapter for it, saved by PEFT (peft_oracle.py)

/// Numbers of a given shape that repeat nowhere.
at::Tensor numbers(std::vector<int64_t> shape, uint64_t item) {
  const DrawKey draw{.seed = 11, .item = item};
  at::Tensor out = at::empty(shape, at::kFloat);
  for (int64_t i = 0; i < out.numel(); ++i) out.mutable_data_ptr<float>()[i] = static_cast<float>(draw.uniform(Purpose::kPrompt, static_cast<uint32_t>(i), 0) - 0.5);
  return out;
}

/// An adapter folder written from names and tensors, as another program would.
class AdapterFiles {
 public:
  std::map<std::string, at::Tensor> tensors;
  Json config = {{"peft_type", "LORA"}, {"r", 3}, {"lora_alpha", 6}, {"bias", "none"}, {"target_modules", {"q_proj"}}, {"target_parameters", nullptr}};
  std::string write() const {
    std::vector<TensorToWrite> out;
    for (const auto& [name, tensor] : tensors) out.push_back({"base_model.model." + name, "F32", tensor.sizes().vec(), {static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes()}});
    write_safetensors(*folder_ / "adapter_model.safetensors", out);
    write_file(*folder_ / "adapter_config.json", json_text(config));
    return folder_->path();
  }

 private:
  std::shared_ptr<TemporaryFolder> folder_ = std::make_shared<TemporaryFolder>();
};

const std::string kLayer = "layers.0.", kDecoder = "model.decoder.", kEncoder = "model.encoder.language_model.";

/// Rank 3 on the query projection [32, 32] of layer 0.
AdapterFiles query_adapter(bool encoder, bool decoder) {
  AdapterFiles files;
  for (const auto& [prefix, wanted] : {std::pair{kEncoder, encoder}, {kDecoder, decoder}}) {
    if (!wanted) continue;
    files.tensors[prefix + kLayer + "self_attn.q_proj.lora_A.weight"] = numbers({3, 32}, 1);
    files.tensors[prefix + kLayer + "self_attn.q_proj.lora_B.weight"] = numbers({32, 3}, 2);
  }
  return files;
}

Network network(const std::string& adapter) { return Network::load(kBase, at::kFloat, at::kCPU, adapter); }

/// Largest difference in units of the larger one's largest number.
double distance(const at::Tensor& a, const at::Tensor& b) {
  const auto x = a.to(at::kDouble), y = b.to(at::kDouble);
  return (x - y).abs().max().item<double>() / std::max(x.abs().max().item<double>(), y.abs().max().item<double>());
}

// A sum of r + 1 <= 17 products and a base number in f32: 18 roundings of 2^-24, of parts not above the largest number.
constexpr double kRounding = 18 * 6e-8;

TEST(LoraAdapter, LinearWeightsAreBasePlusScaledProduct) {
  const AdapterFiles files = query_adapter(true, true);
  const Network with = network(files.write()), without = network("");
  const std::string name = kDecoder + kLayer + "self_attn.q_proj.weight";
  const auto a = files.tensors.at(kDecoder + kLayer + "self_attn.q_proj.lora_A.weight").to(at::kDouble), b = files.tensors.at(kDecoder + kLayer + "self_attn.q_proj.lora_B.weight").to(at::kDouble);
  const auto base = without.parameters().at(name).to(at::kDouble);
  EXPECT_LE(distance(with.parameters().at(name), base + 2 * b.matmul(a)), kRounding);
  EXPECT_GT(distance(with.parameters().at(name), base + b.matmul(a)), 1e-2) << "the scale does not show";
  for (const auto& [other, weight] : with.parameters())
    if (other != name) { EXPECT_TRUE(at::equal(weight, without.parameters().at(other))) << other; }
  EXPECT_NE(with.content_hash(), without.content_hash());
}

TEST(LoraAdapter, ExpertFactorsAreStackedByExpertAndByRank) {
  AdapterFiles files;
  files.config["target_parameters"] = {"experts.down_proj", "experts.gate_up_proj"};
  files.config["rank_pattern"] = {{"experts.down_proj", 2}};
  files.config["alpha_pattern"] = {{"layers\\.\\d+\\.experts\\.down_proj", 5}};
  for (const auto& prefix : {kEncoder, kDecoder}) {
    files.tensors[prefix + kLayer + "experts.base_layer.lora_A.weight"] = numbers({4 * 3, 32}, 1);  // gate_up_proj [4, 32, 32] lies inside
    files.tensors[prefix + kLayer + "experts.base_layer.lora_B.weight"] = numbers({32, 3 * 4}, 2);
    files.tensors[prefix + kLayer + "experts.lora_A.weight"] = numbers({4 * 2, 16}, 3);             // down_proj [4, 32, 16]
    files.tensors[prefix + kLayer + "experts.lora_B.weight"] = numbers({32, 2 * 4}, 4);
  }
  const Network with = network(files.write()), without = network("");
  const auto check = [&](const std::string& name, const std::string& module, int64_t rank, double scale) {
    const auto a = files.tensors.at(kDecoder + kLayer + module + ".lora_A.weight").to(at::kDouble), b = files.tensors.at(kDecoder + kLayer + module + ".lora_B.weight").to(at::kDouble);
    for (int64_t e = 0; e < 4; ++e) {
      auto expected = without.parameters().at(kDecoder + kLayer + name)[e].to(at::kDouble).clone();
      for (int64_t r = 0; r < rank; ++r) expected += scale * at::outer(b.select(1, r * 4 + e), a[e * rank + r]);
      EXPECT_LE(distance(with.parameters().at(kDecoder + kLayer + name)[e], expected), kRounding) << name << " of expert " << e;
    }
  };
  check("experts.gate_up_proj", "experts.base_layer", 3, 6.0 / 3);
  check("experts.down_proj", "experts", 2, 5.0 / 2);
}

TEST(LoraAdapter, EncoderAndDecoderMayDiffer) {
  const c10::NoGradGuard no_grad;
  const auto ids = at::arange(3, 12, at::kLong), canvas = at::arange(20, 36, at::kLong);
  const auto run = [&](const Network& net, const Network& encoder) {
    const CpuNetwork encodes(encoder), decodes(net);
    KvCache cache = encodes.empty_cache(0);
    std::vector<int32_t> prompt(9), tokens(16);
    std::iota(prompt.begin(), prompt.end(), 3);
    std::iota(tokens.begin(), tokens.end(), 20);
    encodes.encode(prompt, {}, cache, nullptr);
    std::vector<float> hidden(16 * static_cast<size_t>(net.config().hidden_size)), out(16 * 96);
    RopeTables tables;
    decodes.decode(tokens, cache, nullptr, tables, hidden.data());
    decodes.head(hidden.data(), 16, out.data());
    return at::tensor(out);
  };
  const AdapterFiles both_files = query_adapter(true, true), decoder_files = query_adapter(false, true), encoder_files = query_adapter(true, false);
  const Network base = network(""), both = network(both_files.write()), decoder = network(decoder_files.write()), encoder = network(encoder_files.write());
  EXPECT_TRUE(at::equal(run(decoder, decoder), run(both, base)));
  EXPECT_TRUE(at::equal(run(encoder, encoder), run(base, both)));
  EXPECT_FALSE(at::equal(run(decoder, decoder), run(both, both)));
  EXPECT_FALSE(at::equal(run(encoder, encoder), run(both, both)));
  // The path that training takes, too.
  KvCache cache = base.empty_cache(0, 1), same = both.empty_cache(0, 1);
  const auto hidden = encoder.encode(ids.unsqueeze(0), {}, cache, true), expected = both.encode(ids.unsqueeze(0), {}, same, true);
  EXPECT_TRUE(at::equal(hidden, expected));
  EXPECT_TRUE(at::equal(encoder.decode(canvas, base.empty_cache(0), {}), base.decode(canvas, base.empty_cache(0), {})));
}

void expect_refused(const AdapterFiles& files, std::initializer_list<const char*> words) {
  try {
    network(files.write());
    ADD_FAILURE() << "not refused: " << *words.begin();
  } catch (const UserError& error) {
    for (const char* word : words) EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
  }
}

TEST(LoraAdapter, MistakesNameTensorAndFile) {
  const std::string a_name = kDecoder + kLayer + "self_attn.q_proj.lora_A.weight", b_name = kDecoder + kLayer + "self_attn.q_proj.lora_B.weight";
  const auto changed = [&](auto change, std::initializer_list<const char*> words) {
    AdapterFiles files = query_adapter(true, true);
    change(files);
    expect_refused(files, words);
  };
  changed([&](auto& f) { f.config["r"] = 4; }, {"adapter_model.safetensors", "q_proj.lora_A.weight", "[3, 32]", "at rank 4", "[4, 32]"});
  changed([&](auto& f) { f.tensors[b_name] = numbers({16, 3}, 2); }, {"q_proj.lora_B.weight", "[16, 3]", "[32, 32]", "must be [32, 3]"});
  changed([&](auto& f) { f.tensors.erase(b_name); }, {"q_proj.lora_A.weight", "no lora_B"});
  changed([&](auto& f) { f.tensors["model.decoder.layers.7.self_attn.q_proj.lora_A.weight"] = numbers({3, 32}, 1), f.tensors["model.decoder.layers.7.self_attn.q_proj.lora_B.weight"] = numbers({32, 3}, 1); },
          {"layers.7.self_attn.q_proj", "does not have"});
  changed([&](auto& f) { f.tensors["lm_head.weight"] = numbers({3, 3}, 1); }, {"lm_head.weight", "no factor"});
  changed([&](auto& f) { f.tensors[kDecoder + kLayer + "experts.lora_A.weight"] = numbers({12, 32}, 1), f.tensors[kDecoder + kLayer + "experts.lora_B.weight"] = numbers({32, 12}, 1); },
          {"experts", "target_parameters", "names 0"});
  changed([&](auto& f) { f.config["use_dora"] = true; }, {"adapter_config.json", "use_dora"});
  changed([&](auto& f) { f.config["peft_type"] = "LOHA"; }, {"peft_type", "LOHA"});
  changed([&](auto& f) { f.config["init_lora_weights"] = "pissa"; }, {"init_lora_weights", "pissa"});
  changed([&](auto& f) { f.config["r"] = 2.5; }, {"'r'", "positive whole number"});
  changed([&](auto& f) { f.config.erase("lora_alpha"); }, {"'lora_alpha' is missing"});
  changed([&](auto& f) { f.config["rank_pattern"] = {{"(", 3}}; }, {"rank_pattern", "no regular expression"});
  changed([&](auto& f) { f.tensors.clear(); }, {"adapts nothing"});
  EXPECT_THROW(network(kBase), UserError) << "a folder without an adapter";
}

TEST(LoraAdapter, ModelsNameThem) {
  AdapterFiles files = query_adapter(true, true);
  files.config["base_model_name_or_path"] = kBase;
  const std::string folder = files.write();
  const auto base = open_model(kBase, {}), by_folder = open_model(folder, {}), by_name = open_model(fmt::format("checkpoint(\"{}\", adapter=\"{}\")", kBase, folder), {});
  EXPECT_NE(by_folder->content_hash(), base->content_hash());
  EXPECT_EQ(by_folder->content_hash(), by_name->content_hash());
  EXPECT_EQ(text_folder(folder), kBase);
  EXPECT_EQ(text_folder(fmt::format("checkpoint(\"{}\", adapter=\"{}\")", kBase, folder)), kBase);
  EXPECT_EQ(text_folder("hmm(states=4)"), "");
  files.tensors.begin()->second.view(-1)[0].add_(1);
  files.write();
  EXPECT_NE(open_model(folder, {})->content_hash(), by_name->content_hash()) << "the hash does not see the adapter's numbers";
  files.config["base_model_name_or_path"] = "/no/such/base";
  EXPECT_THROW(open_model(files.write(), {}), UserError);
}

void expect_generation(const std::string& model, const std::string& reference) {
  const parity::Recording recording(reference);
  const auto result = parity::compare_generation(*open_model(model, {}), recording, {});
  for (const auto& mistake : result.mistakes) ADD_FAILURE() << mistake;
  EXPECT_FALSE(result.cut_short());
  std::printf("worst logit difference %.2e of the largest at %s\n", result.worst_logit, result.worst_logit_at.c_str());
}

/// Attention, dense layers, router and experts; factors of the encoder's layers other than the decoder's; patterns.
TEST(LoraAdapter, GeneratesTheTokensThatPeftGenerates) {
  expect_generation(kGolden, kGolden + "/reference.h5");
  const parity::Recording recording(kGolden + "/reference.h5");
  EXPECT_FALSE(parity::compare_generation(*open_model(kBase, {}), recording, {}).mistakes.empty()) << "the comparison passes without the adapter";
}

TrainerOptions lora_options() {
  TrainerOptions options;
  options.lora = {.rank = 3, .alpha = 6, .attention = true, .experts = true};
  options.warmup_steps = 1;
  return options;
}

TEST(LoraTraining, GradientsAreThoseOfTheWrittenOutProduct) {
  Network net = network("");
  net.make_trainable();
  const std::vector<std::string> adapted_names{kDecoder + kLayer + "self_attn.q_proj.weight", kDecoder + kLayer + "experts.down_proj"};
  LoraTargets targets(net, {.rank = 3, .alpha = 6, .attention = true, .experts = true}, 5);
  for (auto& [name, parameter] : targets.parameters()) {
    if (name.ends_with("lora_B")) parameter.copy_(numbers(parameter.sizes().vec(), name.size()));  // zero otherwise: A would get no gradient
    parameter.mutable_grad() = at::zeros_like(parameter);
  }
  targets.begin_step();
  for (const auto& name : adapted_names) net.parameters().at(name).mutable_grad().copy_(numbers(net.parameters().at(name).sizes().vec(), 77));
  targets.finish_step();
  for (const auto& name : adapted_names) {
    const auto a = targets.parameters().at(name + ".lora_A").to(at::kDouble).clone().requires_grad_(true), b = targets.parameters().at(name + ".lora_B").to(at::kDouble).clone().requires_grad_(true);
    const auto weight = targets.base(name).to(at::kDouble) + 2 * at::matmul(b, a);
    EXPECT_LE(distance(net.parameters().at(name).detach(), weight.detach()), kRounding) << name;
    (weight * numbers(weight.sizes().vec(), 77).to(at::kDouble)).sum().backward();
    // Sums of at most 32 products in f32.
    EXPECT_LE(distance(targets.parameters().at(name + ".lora_A").grad(), a.grad()), 34 * 6e-8) << name;
    EXPECT_LE(distance(targets.parameters().at(name + ".lora_B").grad(), b.grad()), 34 * 6e-8) << name;
    EXPECT_GT(distance(targets.parameters().at(name + ".lora_A").grad(), a.grad() / 2), 0.1) << "the scale does not show";
  }
  EXPECT_FALSE(net.parameters().at(kDecoder + "embed_tokens.weight").requires_grad());
  EXPECT_THROW(targets.parameters().at(kDecoder + "embed_tokens.weight.lora_A"), std::out_of_range);
}

std::string model_of(const Trainer& trainer) {
  const TemporaryFolder folder;
  trainer.save_model(folder.path(), "F32");
  return read_file(folder / "model.safetensors");
}

TEST(LoraTraining, TheModelIsTheBaseWithTheAdapterAndNothingElseMoves) {
  const TemporaryFolder folder;
  Trainer trainer(kBase, lora_options());
  const TrainingBatch batch = some_batch(2);
  const StepLosses first = trainer.step(std::span(&batch, 1));
  for (int i = 0; i < 3; ++i) trainer.step(std::span(&batch, 1));
  trainer.save_model(folder / "model", "F32");
  trainer.save_adapter(folder / "adapter");
  const Network merged = Network::load(folder / "model", at::kFloat, at::kCPU), with = network(folder / "adapter"), base = network("");
  int moved = 0;
  for (const auto& [name, weight] : merged.parameters()) {
    EXPECT_TRUE(at::equal(weight, with.parameters().at(name))) << name;
    const bool target = name.find("self_attn.") != std::string::npos ? name.find("_norm") == std::string::npos : name.find("experts.") != std::string::npos;
    EXPECT_EQ(at::equal(weight, base.parameters().at(name)), !target) << name;
    moved += target;
  }
  EXPECT_EQ(moved, 4 + 3 + 2 * 2) << "q, k, v, o; no v in the full layer; two tensors of experts";
  EXPECT_EQ(trainer.num_parameters(), 3 * ((32 + 32) + 2 * (32 + 16) + (32 + 32) + (32 + 64) + (32 + 16) + (64 + 32) + 2 * 4 * ((32 + 32) + (32 + 16))));
  EXPECT_EQ(open_model(folder / "adapter", {})->content_hash(), with.content_hash());
  // Full training starts from the same losses: B is zero.
  Trainer full(kBase, {});
  EXPECT_EQ(full.step(std::span(&batch, 1)).diffusion, first.diffusion);
}

TEST(LoraTraining, AResumedRunEndsInTheSameBits) {
  const TemporaryFolder folder;
  const std::vector<TrainingBatch> batches{some_batch(2), some_batch(3, 1)};
  Trainer first(kBase, lora_options());
  for (int i = 0; i < 2; ++i) first.step(batches);
  first.save_state(folder / "state", "settings", Trainer::Moments::kRounded);
  Trainer second(kBase, lora_options());
  second.load_state(folder / "state", "settings");
  const std::string before = model_of(second);
  for (int i = 0; i < 2; ++i) {
    const StepLosses a = first.step(batches), b = second.step(batches);
    EXPECT_EQ(a.diffusion, b.diffusion);
    EXPECT_EQ(a.gradient_norm, b.gradient_norm);
  }
  EXPECT_TRUE(model_of(first) == model_of(second));
  EXPECT_FALSE(model_of(first) == before);

  // The state belongs to the weights it started from.
  first.save_model(folder / "other", "F32");
  for (const char* file : {"config.json", "generation_config.json"}) EXPECT_TRUE(std::filesystem::exists(folder / (std::string("other/") + file))) << file;
  Trainer other(folder / "other", lora_options());
  try {
    other.load_state(folder / "state", "settings");
    ADD_FAILURE() << "a state of other weights was taken";
  } catch (const UserError& error) {
    EXPECT_NE(std::string(error.what()).find("started from other weights"), std::string::npos) << error.what();
  }
}

TEST(LoraTraining, LearnsOneBatchByHeart) {
  TrainerOptions options = lora_options();
  options.lora.rank = 8, options.lora.alpha = 16;
  options.warmup_steps = 5, options.num_steps = 80, options.learning_rate = 1e-2, options.weight_decay = 0;
  Trainer trainer(kBase, options);
  const TrainingBatch batch = some_batch(2, 1);
  const StepLosses first = trainer.step(std::span(&batch, 1));
  StepLosses last;
  for (int i = 1; i < 80; ++i) last = trainer.step(std::span(&batch, 1));
  EXPECT_LT(last.causal, first.causal / 2);
  EXPECT_LT(last.diffusion, first.diffusion);
}

/// PEFT reads what a training writes, and the network with it generates the same.
TEST(LoraTraining, PeftReadsTheAdapter) {
  const char* python = std::getenv("CANVASLAB_ORACLE_PYTHON");
  if (!python || shell(fmt::format("'{}' -c 'import peft'", python)).exit_code != 0) GTEST_SKIP() << "left out: PEFT is not installed for the tests; ./tests/run.sh --oracle includes it";
  const TemporaryFolder folder;
  TrainerOptions options = lora_options();
  options.learning_rate = 3e-2;  // far from the base
  Trainer trainer(kBase, options);
  const TrainingBatch batch = some_batch(2);
  for (int i = 0; i < 6; ++i) trainer.step(std::span(&batch, 1));
  trainer.save_adapter(folder / "adapter");
  trainer.save_model(folder / "model", "F32");
  const std::string oracle = fmt::format("'{}' -W ignore '{}/tests/network/peft_oracle.py'", python, CANVASLAB_SOURCE_DIR);
  const auto read = shell(fmt::format("{} read '{}' '{}' '{}'", oracle, kBase, folder / "adapter", folder / "reference.h5"));
  ASSERT_EQ(read.exit_code, 0) << read.output;
  expect_generation(folder / "adapter", folder / "reference.h5");
  expect_generation(folder / "model", folder / "reference.h5");
  const parity::Recording recording(folder / "reference.h5");
  EXPECT_FALSE(parity::compare_generation(*open_model(kBase, {}), recording, {}).mistakes.empty()) << "the training moved nothing";

  const auto made = shell(fmt::format("{} make '{}' '{}' 7", oracle, kBase, folder / "made"));
  ASSERT_EQ(made.exit_code, 0) << made.output;
  expect_generation(folder / "made", folder / "made/reference.h5");
}

TEST(LoraTraining, NeedsTrainedWeights) {
  const TemporaryFolder folder;
  std::filesystem::copy_file(kBase + "/config.json", folder / "config.json");
  EXPECT_THROW(Trainer(folder.path(), lora_options()), UserError);
  TrainerOptions options;
  options.fine_tunes = true;
  EXPECT_THROW(Trainer(folder.path(), options), UserError);
}

}  // namespace
}  // namespace canvaslab
