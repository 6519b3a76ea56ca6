// Users' mistakes through the real program: the exit code, a first line that says what and where, nothing on stdout.
#include <gtest/gtest.h>

#include <cstring>
#include <cstdlib>
#include <functional>
#include <random>

#include <nlohmann/json.hpp>

#include "core/checkpoint_facts.h"
#include "core/denoiser.h"
#include "core/error.h"
#include "tests/support/program.h"

namespace canvaslab {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using testing::Outcome;
using testing::TempFolder;
using testing::read_text;
using testing::write_text;

const fs::path kGolden = CANVASLAB_SOURCE_DIR "/tests/network/goldens/base";

/// One mistake: `words` must all stand in stderr, the first of them in its first line.
struct Mistake {
  std::string name;
  int exit_code;
  std::vector<std::string> arguments;
  std::vector<std::string> words;
  std::function<void(const fs::path& folder)> prepare = {};
};

/// What is wrong with an outcome, or "".
std::string complaint(const Mistake& mistake, const Outcome& got) {
  const std::string first = got.err.substr(0, got.err.find('\n'));
  if (got.exit_code != mistake.exit_code) return fmt::format("exit code {}, expected {}", got.exit_code, mistake.exit_code);
  if (!first.starts_with("error: ")) return "the first line does not start with 'error: '";
  if (!got.out.empty()) return "stdout is not empty: " + got.out;
  for (size_t i = 0; i < mistake.words.size(); ++i)
    if ((i ? got.err : first).find(mistake.words[i]) == std::string::npos) return "does not say '" + mistake.words[i] + "'";
  for (const char* noise : {"Usage:", "OPTIONS", "Traceback", "terminate called", "Exception raised from", "what():", "std::", "nlohmann", "json.exception"})
    if (got.err.find(noise) != std::string::npos) return fmt::format("says '{}'", noise);
  return "";
}

void try_all(const std::vector<Mistake>& mistakes) {
  for (const auto& mistake : mistakes) {
    SCOPED_TRACE(mistake.name);
    const TempFolder folder;
    if (mistake.prepare) mistake.prepare(folder.path());
    const Outcome got = testing::run_program(CANVASLAB_PROGRAM, mistake.arguments, folder.path());
    EXPECT_EQ(complaint(mistake, got), "") << got.err;
  }
}

// --- a small checkpoint, whole and then broken in one place
struct Safetensors {
  Json header;
  std::string data;
};

Safetensors read_safetensors(const fs::path& path) {
  const std::string file = read_text(path);
  uint64_t size = 0;
  std::memcpy(&size, file.data(), 8);
  return {Json::parse(file.substr(8, size)), file.substr(8 + size)};
}

std::string file_text(const std::string& header, const std::string& data) {
  const uint64_t size = header.size();
  return std::string(reinterpret_cast<const char*>(&size), 8) + header + data;
}

void copy_golden(const fs::path& folder) {
  fs::create_directories(folder / "m");
  for (const char* name : {"config.json", "generation_config.json", "model.safetensors"}) fs::copy_file(kGolden / name, folder / "m" / name);
}

std::function<void(const fs::path&)> with_header(std::function<void(Json& header, std::string& data)> change) {
  return [change](const fs::path& folder) {
    copy_golden(folder);
    Safetensors parts = read_safetensors(kGolden / "model.safetensors");
    change(parts.header, parts.data);
    write_text(folder / "m/model.safetensors", file_text(parts.header.dump(), parts.data));
  };
}

std::function<void(const fs::path&)> with_json(const std::string& file, std::function<void(Json&)> change) {
  return [file, change](const fs::path& folder) {
    copy_golden(folder);
    Json json = Json::parse(read_text(folder / "m" / file));
    change(json);
    write_text(folder / "m" / file, json.dump());
  };
}

std::function<void(const fs::path&)> with_file(const std::string& file, const std::string& text) {
  return [file, text](const fs::path& folder) {
    copy_golden(folder);
    write_text(folder / file, text);
  };
}

const std::string kNorm = "model.decoder.norm.weight";
const std::vector<std::string> kGenerate = {"generate", "--model", "m", "--prompt-ids", "2 3", "--json"};

TEST(BadInput, OfACheckpoint) {
  const auto tensors = [](std::string name, std::vector<std::string> words, auto change) { return Mistake{name, 3, kGenerate, words, with_header(change)}; };
  try_all({
      {"no folder", 3, {"generate", "--model", "nowhere/m"}, {"nowhere/m", "Hugging Face layout"}},
      {"a file instead of the folder", 2, {"generate", "--model", "m/config.json"}, {"m/config.json", "folder"}, copy_golden},
      {"no config.json", 3, kGenerate, {"m/config.json", "cannot be opened"}, [](const fs::path& f) { copy_golden(f), fs::remove(f / "m/config.json"); }},
      {"no weights", 3, kGenerate, {"no model*.safetensors"}, [](const fs::path& f) { copy_golden(f), fs::remove(f / "m/model.safetensors"); }},
      tensors("missing tensor", {kNorm, "missing", "[32]"}, [](Json& h, std::string&) {
        h["surplus"] = h[kNorm];
        h.erase(kNorm);
      }),
      tensors("surplus tensor", {"'model.decoder.extra'", "config.json"}, [](Json& h, std::string& d) {
        h["model.decoder.extra"] = {{"dtype", "F32"}, {"shape", {1}}, {"data_offsets", {d.size(), d.size() + 4}}};
        d += "1234";
      }),
      tensors("misshapen tensor", {kNorm, "[4, 8]", "[32]"}, [](Json& h, std::string&) { h[kNorm]["shape"] = {4, 8}; }),
      tensors("shape and bytes disagree", {kNorm, "expected"}, [](Json& h, std::string&) { h[kNorm]["shape"] = {31}; }),
      tensors("negative shape", {kNorm, "[-32]"}, [](Json& h, std::string&) { h[kNorm]["shape"] = {-32}; }),
      tensors("absurd shape", {kNorm, "overflows"}, [](Json& h, std::string&) { h[kNorm]["shape"] = {1099511627776, 1099511627776}; }),
      tensors("unknown dtype", {kNorm, "'F17'"}, [](Json& h, std::string&) { h[kNorm]["dtype"] = "F17"; }),
      tensors("dtype of no use", {kNorm, "expected F32, BF16 or F16"}, [](Json& h, std::string&) { h[kNorm]["dtype"] = "I32"; }),
      tensors("no offsets", {kNorm, "data_offsets"}, [](Json& h, std::string&) { h[kNorm].erase("data_offsets"); }),
      tensors("backward offsets", {kNorm, "backwards"}, [](Json& h, std::string&) { h[kNorm]["data_offsets"] = {128, 0}; }),
      tensors("overlapping tensors", {"overlaps"}, [](Json& h, std::string&) { h[kNorm]["data_offsets"] = {4, 132}; }),
      tensors("gap", {"belong to no tensor"}, [](Json&, std::string& d) { d += "rest"; }),
      tensors("truncated data", {"truncated"}, [](Json&, std::string& d) { d.resize(d.size() - 4); }),
      {"empty file", 3, kGenerate, {"m/model.safetensors", "truncated"}, with_file("m/model.safetensors", "")},
      {"absurd header length", 3, kGenerate, {"its header says"}, with_file("m/model.safetensors", std::string(8, '\x7f') + "{}")},
      {"header that is no JSON", 3, kGenerate, {"no JSON object"}, with_file("m/model.safetensors", file_text("{\"a\": ", ""))},
      {"header that is a list", 3, kGenerate, {"no JSON object"}, with_file("m/model.safetensors", file_text("[]", ""))},
      {"index names a missing shard", 3, kGenerate, {"model-2.safetensors", "is missing"},
       with_file("m/model.safetensors.index.json", R"({"weight_map": {"a": "model-2.safetensors"}})")},
      {"index without weight_map", 3, kGenerate, {"weight_map"}, with_file("m/model.safetensors.index.json", "{}")},
      {"index with an empty weight_map", 3, kGenerate, {"weight_map"}, with_file("m/model.safetensors.index.json", R"({"weight_map": {}})")},
      {"index that leaves the folder", 3, kGenerate, {"must be a file name"}, with_file("m/model.safetensors.index.json", R"({"weight_map": {"a": "../x"}})")},
      {"index disagrees with shard", 3, kGenerate, {"'a'", "model.safetensors"}, with_file("m/model.safetensors.index.json", R"({"weight_map": {"a": "model.safetensors"}})")},
      {"inspect says the same", 3, {"inspect", "m"}, {"truncated"}, with_file("m/model.safetensors", "")},
  });
}

TEST(BadInput, OfConfigJson) {
  const auto text = [](std::string name, std::vector<std::string> words, std::string key, Json value) {
    return Mistake{name, 3, kGenerate, words, with_json("config.json", [key, value](Json& c) { c["text_config"][key] = value; })};
  };
  const auto top = [](std::string name, std::vector<std::string> words, std::string key, Json value) {
    return Mistake{name, 3, kGenerate, words, with_json("config.json", [key, value](Json& c) { c[key] = value; })};
  };
  const auto generation = [](std::string name, std::vector<std::string> words, std::string key, Json value) {
    return Mistake{name, 3, kGenerate, words, with_json("generation_config.json", [key, value](Json& c) { c[key] = value; })};
  };
  try_all({
      {"missing field", 3, kGenerate, {"config.json", "'hidden_size' is missing"}, with_json("config.json", [](Json& c) { c["text_config"].erase("hidden_size"); })},
      text("null field", {"'num_experts' is missing"}, "num_experts", nullptr),
      text("text for a number", {"'hidden_size' is \"32\""}, "hidden_size", "32"),
      text("fraction for a whole number", {"'hidden_size' is 32.5"}, "hidden_size", 32.5),
      text("zero layers", {"'num_hidden_layers' is 0"}, "num_hidden_layers", 0),
      text("absurd number of layers", {"'num_hidden_layers' is 1000000000000"}, "num_hidden_layers", 1000000000000),
      text("more chosen experts than experts", {"top_k_experts"}, "top_k_experts", 99),
      text("layer_types too short", {"layer_types lists 1"}, "layer_types", {"full_attention"}),
      text("layer_types of another type", {"layer_types"}, "layer_types", 3),
      text("unknown layer type", {"'magic'"}, "layer_types", {"magic", "full_attention"}),
      text("activation of another type", {"hidden_activation"}, "hidden_activation", 3),
      text("unknown activation", {"'relu'"}, "hidden_activation", "relu"),
      text("rope of another type", {"rope_parameters"}, "rope_parameters", {{"full_attention", 3}}),
      text("rope_type of another type", {"rope_type"}, "rope_parameters", {{"full_attention", {{"rope_type", 3}}}}),
      text("heads that do not divide", {"does not divide"}, "num_attention_heads", 3),
      text("per_layer_config of another type", {"per_layer_config"}, "per_layer_config", {{"1", 7}}),
      text("huge vocabulary", {"embed_tokens"}, "vocab_size", 97),
      top("unknown model_type", {"model_type is 'llama'"}, "model_type", "llama"),
      top("null model_type", {"model_type"}, "model_type", nullptr),
      top("number as model_type", {"model_type"}, "model_type", 3),
      top("null text_config", {"text_config"}, "text_config", nullptr),
      top("text as token id", {"eos_token_id"}, "eos_token_id", {"a"}),
      top("token id too large", {"eos_token_id"}, "eos_token_id", {4294967297}),
      {"no JSON", 3, kGenerate, {"m/config.json", "no JSON object"}, with_file("m/config.json", "{")},
      {"a list", 3, kGenerate, {"m/config.json", "no JSON object"}, with_file("m/config.json", "[]")},
      {"generation_config no JSON", 3, kGenerate, {"generation_config.json", "no JSON"}, with_file("m/generation_config.json", "nonsense")},
      generation("text for a step limit", {"'max_denoising_steps'"}, "max_denoising_steps", "many"),
      generation("step limit too large", {"'max_denoising_steps'"}, "max_denoising_steps", 4294967297),
      generation("text for a temperature", {"'t_min'"}, "t_min", "low"),
      generation("sampler_config of another type", {"sampler_config"}, "sampler_config", 3),
  });
}

TEST(BadInput, OfPluginsAndOptions) {
  const auto generate = [](std::vector<std::string> rest) {
    std::vector<std::string> out = {"generate", "--model", "hmm(length=8, alphabet=8)", "--json"};
    out.insert(out.end(), rest.begin(), rest.end());
    return out;
  };
  const auto sampler = [&](std::string text) { return generate({"--sampler", text}); };
  const auto lines = [](std::string text) { return [text](const fs::path& f) { write_text(f / "p.jsonl", text); }; };
  try_all({
      {"unknown sampler", 2, sampler("entropy_bond"), {"'entropy_bond'", "did you mean 'entropy_bound'", "known:"}},
      {"unknown denoiser", 2, {"generate", "--model", "hmmm"}, {"'hmmm'", "hmm"}},
      {"unknown key", 2, sampler("entropy_bound(bond=1)"), {"'bond'", "parameters:"}},
      {"wrong type", 2, sampler("entropy_bound(entropy_bound=low)"), {"'low'"}},
      {"NaN", 2, sampler("entropy_bound(entropy_bound=nan)"), {"nan"}},
      {"out of range", 2, sampler("entropy_bound(entropy_bound=-1)"), {"-1", "allowed"}},
      {"too large for any number", 2, {"generate", "--model", "hmm(states=99999999999999999999)"}, {"states"}},
      {"open parenthesis", 2, sampler("entropy_bound(0.1"), {"found the end"}},
      {"surplus parenthesis", 2, sampler("entropy_bound(0.1))"), {"found ')'"}},
      {"given twice", 2, sampler("entropy_bound(entropy_bound=1, entropy_bound=2)"), {"given twice"}},
      {"too many values", 2, sampler("entropy_bound(1, 2, 3, 4, 5, 6)"), {"takes at most"}},
      {"empty expression", 2, sampler(""), {"expected a name"}},
      {"deep nesting", 2, generate({"--stop", [] { std::string s; for (int i = 0; i < 5000; ++i) s += "all_of("; return s; }()}), {"levels of parentheses"}},
      {"unknown schedule", 2, generate({"--temperature", "cosin(1, 2)"}), {"'cosin'", "cosine"}},
      {"negative temperature", 2, generate({"--temperature", "-1"}), {"temperature"}},
      {"unknown stop rule", 2, generate({"--stop", "nver"}), {"'nver'", "never"}},
      {"no ids", 2, generate({"--prompt-ids", "two"}), {"'two'", "--prompt-ids"}},
      {"id out of the vocabulary", 2, generate({"--prompt-ids", "8"}), {"prompt", "8"}},
      {"negative id", 2, generate({"--prompt-ids", "-1"}), {"-1"}},
      {"id beyond 32 bits", 2, generate({"--prompt-ids", "4294967297"}), {"4294967297"}},
      {"pin without =", 2, generate({"--pin", "3"}), {"--pin", "position=token"}},
      {"pin out of the vocabulary", 2, generate({"--pin", "3=8"}), {"pin", "8"}},
      {"pin beyond 32 bits", 2, generate({"--pin", "3=4294967297"}), {"pin"}},
      {"pin at a negative position", 2, generate({"--pin", "-3=1"}), {"pin", "-3"}},
      {"pin behind the last canvas", 2, generate({"--pin", "800=1"}), {"pin", "800"}},
      {"first canvas of wrong length", 2, generate({"--init-canvas", "1 2 3"}), {"start canvas has 3 tokens", "8"}},
      {"first canvas of a sampler that follows the level", 2, generate({"--sampler", "ddim", "--init-canvas", "1 2 3 4 5 6 7 0"}), {"ddim", "pure noise"}},
      {"no prompt for a model that reads text", 2, {"generate", "--json"}, {"no prompt", "small", "--prompt TEXT"}},
      {"first canvas with a wrong id", 2, generate({"--init-canvas", "1 2 3 4 5 6 7 99"}), {"99"}},
      {"no prompts file", 3, generate({"--jsonl", "p.jsonl"}), {"p.jsonl", "cannot be opened"}},
      {"malformed line", 3, generate({"--jsonl", "p.jsonl"}), {"p.jsonl:2"}, lines("{\"prompt_ids\": [1]}\n{\"prompt_ids\": [\n")},
      {"line without a prompt", 3, generate({"--jsonl", "p.jsonl"}), {"p.jsonl:1"}, lines("{\"promt\": 1}\n")},
      {"line with an id beyond 32 bits", 3, generate({"--jsonl", "p.jsonl"}), {"p.jsonl:1", "4294967297"}, lines("{\"prompt_ids\": [4294967297]}\n")},
      {"empty file", 3, generate({"--jsonl", "p.jsonl"}), {"p.jsonl"}, lines("\n")},
      {"trace in a missing folder", 3, generate({"--trace", "none/t.h5"}), {"none/t.h5"}},
      {"torch order for a sampler without", 2, generate({"--sampler", "leftmost", "--rng", "torch"}), {"leftmost"}},
      {"unknown rng", 2, generate({"--rng", "dice"}), {"'dice'"}},
      {"negative steps", 2, generate({"--steps", "-4"}), {"--steps"}},
      {"zero canvas", 2, generate({"--canvas-length", "0"}), {"--canvas-length"}},
      {"text for steps", 2, generate({"--steps", "many"}), {"--steps"}},
      {"steps beyond 32 bits", 2, generate({"--steps", "99999999999"}), {"--steps"}},
      {"unknown emission", 2, generate({"--emit", "best"}), {"'best'"}},
      {"negative seed", 2, generate({"--seed", "-1"}), {"--seed", "below 0"}},
      {"a path that goes by steps", 2, sampler("ddim(path=table(\"0.2 0.5\"))"), {"path=table", "function of progress"}},
      {"a path on another grid of steps", 2, sampler("psi(0.5, path=grid(cosine(0, 1)))"), {"path=grid"}},
      {"thinking without a chat", 2, generate({"--thinking", "--prompt-ids", "1"}), {"--thinking", "--prompt-ids"}},
      {"unknown dtype of a source", 2, generate({"--dtype", "f17"}), {"'f17'"}},
      {"unknown dtype", 2, {"generate", "--model", "m", "--dtype", "f8"}, {"'f8'"}, copy_golden},
      {"unknown option", 2, generate({"--stps", "4"}), {"--stps"}},
      {"unknown command", 2, {"genrate"}, {"'genrate'", "did you mean 'generate'"}},
      {"no command", 2, {}, {"subcommand"}},
      {"unknown list", 2, {"list", "sampler"}, {"'sampler'", "samplers"}},
      {"inspect nothing", 2, {"inspect"}, {"model"}},
      {"inspect a missing file", 3, {"inspect", "none.h5"}, {"none.h5", "no such file"}},
      {"inspect another format", 3, {"inspect", "p.jsonl"}, {"p.jsonl", "HDF5"}, lines("text")},
      {"inspect with a negative context", 2, {"inspect", "hmm", "--context", "-1"}, {"--context"}},
  });
}

/// What was asked for and did not arrive is no success, whichever command printed it.
TEST(BadInput, OutputThatCannotBeWritten) {
  const TempFolder folder;
  for (const char* command : {"generate --model 'hmm(length=8)'", "generate --model 'hmm(length=8)' --json", "list --json", "inspect 'hmm'", "list", "--help"}) {
    const Outcome got = testing::run_program("/bin/sh", {"-c", fmt::format("{} {} >/dev/full", CANVASLAB_PROGRAM, command)}, folder.path());
    EXPECT_EQ(got.exit_code, 3) << command;
    EXPECT_NE(got.err.find("error: "), std::string::npos) << command << ": " << got.err;
    EXPECT_TRUE(got.err.find("could not be written") != std::string::npos || got.err.find("No space left on device") != std::string::npos) << command << ": " << got.err;
  }
}

TEST(BadInput, OfSweepsAndPlots) {
  const std::string good = "[run]\nname = \"s\"\n[denoiser]\nmodel = \"hmm(length=8)\"\n[dataset]\nname = \"source(items=2)\"\n[[grid]]\nsampler = [\"fixed_step\"]\nsteps = [2]\n";
  const auto sweep = [](const std::string& text) { return [text](const fs::path& f) { write_text(f / "s.toml", text); }; };
  const auto replaced = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    return text.replace(text.find(from), from.size(), to);
  };
  const std::vector<std::string> run = {"sweep", "s.toml", "--out", "run"};
  const auto mistake = [&](std::string name, int code, std::vector<std::string> words, std::string text) { return Mistake{name, code, run, words, sweep(text)}; };
  try_all({
      {"no file", 3, run, {"s.toml"}},
      mistake("no TOML", 2, {"s.toml:2"}, "[run]\nname = \n"),
      mistake("unknown key", 2, {"s.toml:9", "'stps'", "steps"}, replaced("steps", "stps")),
      mistake("unknown table", 2, {"s.toml", "gird"}, replaced("[[grid]]", "[[gird]]")),
      mistake("text for steps", 2, {"s.toml:9", "steps"}, replaced("[2]", "[\"two\"]")),
      mistake("zero steps", 2, {"s.toml:9", "expected 1 to"}, replaced("[2]", "[0]")),
      mistake("steps beyond 32 bits", 2, {"steps", "4294967297"}, replaced("[2]", "[4294967297]")),
      mistake("unknown sampler", 2, {"'fixed_stp'", "fixed_step"}, replaced("fixed_step", "fixed_stp")),
      mistake("unknown data set", 2, {"'sorce'", "source"}, replaced("source", "sorce")),
      mistake("no denoiser", 2, {"denoiser"}, replaced("[denoiser]\nmodel = \"hmm(length=8)\"\n", "")),
      {"bad --set", 2, {"sweep", "s.toml", "--set", "nonsense"}, {"nonsense"}, sweep(good)},
      {"bad shard", 2, {"sweep", "s.toml", "--shard", "3/2"}, {"--shard 3/2"}, sweep(good)},
      {"run folder that is a file", 3, {"sweep", "s.toml", "--out", "s.toml", "--quiet"}, {"s.toml"}, sweep(good)},
      {"plot of nothing", 3, {"plot", "none"}, {"none"}},
      {"plot of another format", 3, {"plot", "s.toml"}, {"s.toml"}, sweep(good)},
      {"plot of a damaged file", 3, {"plot", "t.h5"}, {"t.h5"}, [](const fs::path& f) {
         const std::string whole = read_text(kGolden / "reference.h5");
         write_text(f / "t.h5", whole.substr(0, whole.size() / 2));
       }},
      {"plot of a trace", 3, {"plot", "t.h5"}, {"t.h5"}, [](const fs::path& f) { fs::copy_file(kGolden / "reference.h5", f / "t.h5"); }},
  });
}

TEST(BadInput, TheCheckOfMessagesFindsBadOnes) {
  const Mistake mistake{"", 2, {}, {"what"}};
  EXPECT_EQ(complaint(mistake, {2, "", "error: what\n"}), "");
  EXPECT_NE(complaint(mistake, {1, "", "error: what\n"}), "");
  EXPECT_NE(complaint(mistake, {2, "x", "error: what\n"}), "");
  EXPECT_NE(complaint(mistake, {2, "", "what\n"}), "");
  EXPECT_NE(complaint(mistake, {2, "", "error: x\nwhat\n"}), "");
  EXPECT_NE(complaint(mistake, {2, "", "error: what\nUsage: x\n"}), "");
}

// --- mutations: whatever the bytes, either it is read or a user's error is thrown
std::string mutated(std::string text, std::mt19937_64& random) {
  const auto below = [&](size_t n) { return static_cast<size_t>(random() % n); };
  if (text.empty()) return text;
  if (below(4) == 0) text.resize(below(text.size()));
  for (size_t flips = 1 + below(4); flips > 0 && !text.empty(); --flips) {
    char& c = text[below(text.size())];
    // Half of the changes keep to the characters of JSON and expressions, so that many still parse.
    if (below(2)) c = static_cast<char>(c ^ (1 << below(8)));
    else c = "0123456789-+.eE{}[](),:=\"nul"[below(28)];
  }
  return text;
}

template <typename Read>
size_t fuzz(const char* what, size_t rounds, const std::string& text, Read read) {
  constexpr uint64_t kSeed = 20240601;
  std::mt19937_64 random(kSeed);
  size_t refused = 0;
  for (size_t round = 0; round < rounds; ++round) {
    const std::string changed = mutated(text, random);
    try {
      read(changed);
    } catch (const UserError& error) {
      ++refused;
    } catch (const std::exception& error) {
      ADD_FAILURE() << what << ", seed " << kSeed << ", round " << round << ": " << error.what() << "\n" << changed.substr(0, 4000);
      return refused;
    }
  }
  return refused;
}

size_t budget(size_t rounds) { return std::getenv("CANVASLAB_LONG") ? rounds * 50 : rounds; }

TEST(BadInput, MutatedCheckpointsAreReadOrRefused) {
  const TempFolder folder;
  copy_golden(folder.path());
  const std::string model = folder.file("m");
  const std::string weights = read_text(kGolden / "model.safetensors"), config = read_text(kGolden / "config.json"), generation = read_text(kGolden / "generation_config.json");
  uint64_t size = 0;
  std::memcpy(&size, weights.data(), 8);
  const std::string data = weights.substr(8 + size);
  EXPECT_GT(fuzz("header", budget(300), weights.substr(0, 8 + size), [&](const std::string& text) {
    write_text(model + "/model.safetensors", text + data);
    read_checkpoint_headers(model);
  }), 0u);
  write_text(model + "/model.safetensors", weights);
  EXPECT_GT(fuzz("config.json", budget(600), config, [&](const std::string& text) {
    write_text(model + "/config.json", text);
    read_checkpoint_facts(model, 1000);
  }), 0u);
  write_text(model + "/config.json", config);
  const ModelConfig good = ModelConfig::read(model);
  EXPECT_GT(fuzz("generation_config.json", budget(600), generation, [&](const std::string& text) {
    write_text(model + "/generation_config.json", text);
    read_generation_config(model, good);
  }), 0u);
}

TEST(BadInput, MutatedExpressionsAreReadOrRefused) {
  EXPECT_GT(fuzz("expression", budget(5000), "hmm(states=4, alphabet=8, length=32, sharpness=2.5, seed=1)", [](const std::string& text) {
    const PluginExpr expr = parse_plugin(text);
    EXPECT_EQ(parse_plugin(expr.text()).text(), expr.text()) << text;
    denoisers().canonical(text);
  }), 0u);
}

}  // namespace
}  // namespace canvaslab
