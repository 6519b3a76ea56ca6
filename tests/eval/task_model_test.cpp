// The folder of the small model: its tokenizer follows from rules, and it reads the same here, in `tokenizers` and in transformers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <random>
#include <sstream>

#include "core/error.h"
#include "core/json.h"
#include "core/network/model_config.h"
#include "core/text/chat.h"
#include "eval/datasets/task_text.h"
#include "tests/support/temporary.h"

namespace canvaslab {
namespace {

const std::string kModel = std::string(CANVASLAB_SOURCE_DIR) + "/experiments/models/base";

/// The whole tokenizer.json: special tokens, the 256 bytes, markers, every printable ASCII character, and the pieces that the words of prompts and programs are merged from.
Json tokenizer_by_rules() {
  const std::vector<std::string> special = {"<pad>", "<eos>", "<bos>", "<unk>", "<mask>"},
                                 markers = {"<|think|>", "<|channel>", "<channel|>", "<|turn>", "<turn|>", "<|image>", "<image|>", "<|image|>"};
  // In order of rank: user, model, thought, def, return.
  const std::vector<std::pair<std::string, std::string>> merges = {{"u", "s"},     {"us", "e"},    {"use", "r"},    {"m", "o"}, {"d", "e"}, {"mo", "de"}, {"mode", "l"}, {"t", "h"},   {"o", "u"},  {"g", "h"},
                                                                   {"th", "ou"},   {"thou", "gh"}, {"though", "t"}, {"de", "f"}, {"r", "e"}, {"t", "u"},   {"r", "n"},    {"re", "tu"}, {"retu", "rn"}};
  Json vocabulary = Json::object(), added = Json::array(), pairs = Json::array();
  const auto add = [&](const std::string& token) { vocabulary[token] = vocabulary.size(); };
  const auto add_special = [&](const std::string& token) {
    added.push_back({{"id", vocabulary.size()}, {"content", token}, {"single_word", false}, {"lstrip", false}, {"rstrip", false}, {"normalized", false}, {"special", true}});
    add(token);
  };
  for (const auto& token : special) add_special(token);
  for (int byte = 0; byte < 256; ++byte) add(fmt::format("<0x{:02X}>", byte));
  for (const auto& token : markers) add_special(token);
  add("\n"), add("▁");
  for (char c = '!'; c <= '~'; ++c) add(std::string(1, c));
  for (const auto& [left, right] : merges) {
    add(left + right);
    pairs.push_back({left, right});
  }
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", added},
          {"normalizer", {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "▁"}}},
          {"pre_tokenizer", {{"type", "Split"}, {"pattern", {{"String", " "}}}, {"behavior", "MergedWithPrevious"}, {"invert", false}}},
          {"post_processor", nullptr},
          {"decoder", {{"type", "Sequence"}, {"decoders", {{{"type", "Replace"}, {"pattern", {{"String", "▁"}}}, {"content", " "}}, {{"type", "ByteFallback"}}, {{"type", "Fuse"}}}}}},
          {"model",
           {{"type", "BPE"}, {"dropout", nullptr}, {"unk_token", "<unk>"}, {"continuing_subword_prefix", nullptr}, {"end_of_word_suffix", nullptr}, {"fuse_unk", true}, {"byte_fallback", true},
            {"ignore_merges", false}, {"vocab", vocabulary}, {"merges", pairs}}}};
}

TEST(SmallModel, TheTokenizerFollowsFromItsRules) {
  const Json file = parse_json(read_file(kModel + "/tokenizer.json"));
  Json rules = tokenizer_by_rules();
  // To make the file anew, write rules.dump(1) into it.
  EXPECT_TRUE(file == rules) << Json::diff(file, rules).dump().substr(0, 2000);
  EXPECT_EQ(rules["model"]["vocab"].size(), 384u);
  std::swap(rules["model"]["merges"][0], rules["model"]["merges"][1]);
  EXPECT_FALSE(file == rules) << "the comparison finds a difference";
}

TEST(SmallModel, ConfigurationTokenizerAndDefaultsFitEachOther) {
  const auto config = ModelConfig::read(kModel);
  const auto text = TextModel::load(kModel);
  const Tokenizer& tokenizer = text->tokenizer();
  EXPECT_EQ(config.vocab_size, static_cast<int64_t>(tokenizer.size()));
  EXPECT_EQ(config.canvas_length, 32);
  EXPECT_EQ(config.image_token_id, *tokenizer.id("<|image|>"));
  std::string layers;
  for (const auto& layer : config.layers) layers += fmt::format("{} {}x{}; ", layer.sliding ? "sliding" : "full", layer.num_kv_heads, layer.head_dim);
  EXPECT_EQ(layers, "sliding 2x32; sliding 2x32; sliding 2x32; full 1x64; ");
  const auto defaults = read_generation_config(kModel, config);
  EXPECT_EQ(defaults.end_ids, (std::vector<int32_t>{*tokenizer.id("<eos>"), *tokenizer.id("<turn|>")}));
  EXPECT_EQ(defaults.pad_id, *tokenizer.id("<pad>"));
  EXPECT_EQ(defaults.max_new_tokens, 64);
}

TEST(SmallModel, PromptsAreShortAndReadAsTheTemplateSays) {
  const auto text = TextModel::load(kModel);
  const Tokenizer& tokenizer = text->tokenizer();
  const auto ids = text->prompt("6+7-5=", /*chat=*/true, {});
  EXPECT_EQ(tokenizer.decode(ids), "<bos><|turn>user\n6+7-5=<turn|>\n<|turn>model\n");
  EXPECT_EQ(ids.size(), 9u + 6u);
  EXPECT_EQ(tokenizer.encode("def f(x):return 6*x+7").size(), 14u);
  EXPECT_EQ(tokenizer.encode("<|channel>thought\n3<channel|>3<turn|>").size(), 7u);
}

std::vector<std::string> some_tasks() { return {"arithmetic(level=3)", "choice", "programs(level=3)", "sudoku", "sudoku(size=6)", "dependency(kind=copy)", "dependency(kind=shuffle)", "dependency(kind=latin)"}; }

std::vector<TaskItem> some_items() {
  std::vector<TaskItem> out;
  for (const auto& name : some_tasks()) {
    const auto made = datasets().make(name);
    for (uint64_t number = 0; number < 20; ++number) out.push_back(dynamic_cast<const Task&>(*made).make(TaskSplit::kTraining, number));
  }
  return out;
}

TEST(SmallModel, TrainingTextIsWhatSweepsAskAndGradingSplits) {
  const auto text = TextModel::load(kModel);
  const Tokenizer& tokenizer = text->tokenizer();
  const TaskText writer(*text);
  const grading::TextDecoder decoder{.decode = [&](std::span<const int32_t> ids) { return tokenizer.decode(ids, true); }, .stop_ids = {*tokenizer.id("<turn|>")}, .channel_open = tokenizer.id("<|channel>"), .channel_close = tokenizer.id("<channel|>")};
  for (const auto& item : some_items()) {
    const TaskTokens tokens = writer.tokens(item);
    EXPECT_EQ(tokens.prompt, text->prompt(item.question, /*chat=*/true, {}));
    const auto split = grading::split_answer(tokens.answer, decoder);
    EXPECT_EQ(split.answer, item.answer);
    EXPECT_EQ(split.thought, item.thought.empty() ? "" : "\n" + item.thought);
    EXPECT_FALSE(split.truncated || split.thought_unclosed);
  }
}

TEST(SmallModel, AModelWithoutTheMarkersOrATemplateIsRefused) {
  const TemporaryFolder folder;
  write_file(folder / "tokenizer.json", read_file(kModel + "/tokenizer.json"));
  EXPECT_THROW(TaskText(*TextModel::load(folder.path())), UserError) << "no template";
  write_file(folder / "chat_template.jinja", "{{ messages[0].content }}{{ messages[0].content }}");
  EXPECT_THROW(TaskText(*TextModel::load(folder.path())), UserError) << "the message stands there twice";
  write_file(folder / "chat_template.jinja", "{{ messages[0].content }}");
  EXPECT_NO_THROW(TaskText(*TextModel::load(folder.path())));
  std::string other = read_file(kModel + "/tokenizer.json");
  while (other.find("<|channel>") != std::string::npos) other.replace(other.find("<|channel>"), 10, "<|other>");
  write_file(folder / "tokenizer.json", other);
  EXPECT_THROW(TaskText(*TextModel::load(folder.path())), UserError) << "no <|channel>";
}

// --- against Python

/// Lines of {"text", "ids", "decoded", "skipped"}: how many differ from what our tokenizer says, and the first such line.
std::pair<size_t, std::string> different_lines(const Tokenizer& tokenizer, const std::string& lines, size_t& count) {
  std::istringstream in(lines);
  size_t out = 0;
  std::string first;
  count = 0;
  for (std::string line; std::getline(in, line); ++count) {
    const Json entry = parse_json(line);
    const auto ids = entry["ids"].get<std::vector<int32_t>>();
    const bool same = (!entry.contains("text") || tokenizer.encode(entry["text"].get<std::string>()) == ids) && tokenizer.decode(ids) == entry["decoded"].get<std::string>() &&
                      tokenizer.decode(ids, true) == entry["skipped"].get<std::string>();
    if (!same && out++ == 0) first = line;
  }
  return {out, first};
}

TEST(SmallModel, TheTokenizerAgreesWithTheLibraryOnTaskTextsAndOddUnicode) {
  const char* python = std::getenv("CANVASLAB_PYTHON");
  if (!python) GTEST_SKIP() << "needs CANVASLAB_PYTHON";
  const auto seed = std::random_device{}();
  const TemporaryFolder folder;
  const auto made = shell(fmt::format("'{}' '{}/tests/fixtures/text/make_tokenizers.py' file {} {} '{}/tokenizer.json'", python, CANVASLAB_SOURCE_DIR, folder.path(), seed, kModel));
  ASSERT_EQ(made.exit_code, 0) << made.output;
  Json texts = Json::array();
  for (const auto& item : some_items()) texts.push_back("<bos><|turn>user\n" + item.question + "<turn|>\n<|turn>model\n<|channel>thought\n" + item.thought + "<channel|>" + item.answer + "<turn|>");
  write_file(folder / "texts.json", json_text(texts));
  write_file(folder / "encode.py", R"(
import json, sys
from tokenizers import Tokenizer
t = Tokenizer.from_file(sys.argv[1])
for text in json.load(open(sys.argv[2])):
    ids = t.encode(text, add_special_tokens=False).ids
    print(json.dumps({"text": text, "ids": ids, "decoded": t.decode(ids, skip_special_tokens=False), "skipped": t.decode(ids)}))
)");
  const auto tasks = shell(fmt::format("'{}' {} '{}/tokenizer.json' {}", python, folder / "encode.py", kModel, folder / "texts.json"));
  ASSERT_EQ(tasks.exit_code, 0) << tasks.output;
  std::string odd;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path()))
    if (entry.path().extension() == ".jsonl") odd += read_file(entry.path().string());
  const auto text = TextModel::load(kModel);
  for (const auto& [lines, least] : {std::pair{tasks.output, some_items().size()}, {odd, size_t{200}}}) {
    size_t count = 0;
    const auto [wrong, first] = different_lines(text->tokenizer(), lines, count);
    EXPECT_EQ(wrong, 0u) << first << " seed " << seed;
    EXPECT_GE(count, least);
  }
  Json broken = tokenizer_by_rules();
  std::swap(broken["model"]["vocab"]["0"], broken["model"]["vocab"]["1"]);
  size_t count = 0;
  EXPECT_GT(different_lines(Tokenizer::parse(json_text(broken), "broken"), tasks.output, count).first, 50u) << "the comparison finds a wrong tokenizer";
}

TEST(SmallModel, TransformersReadsTheFolderAndMakesTheSamePrompts) {
  const char* python = std::getenv("CANVASLAB_ORACLE_PYTHON");
  if (!python) GTEST_SKIP() << "needs CANVASLAB_ORACLE_PYTHON with transformers";
  const TemporaryFolder folder;
  write_file(folder / "read.py", R"(
import json, os, sys
os.environ["HF_HUB_OFFLINE"] = "1"
from transformers import AutoConfig, AutoTokenizer
from transformers.models.diffusion_gemma.generation_diffusion_gemma import DiffusionGemmaGenerationConfig
t, c, g = AutoTokenizer.from_pretrained(sys.argv[1]), AutoConfig.from_pretrained(sys.argv[1]), DiffusionGemmaGenerationConfig.from_pretrained(sys.argv[1])
chat = [{"role": "user", "content": " 6+7-5= "}, {"role": "assistant", "content": "8"}, {"role": "user", "content": "f=07,13,19"}]
print(json.dumps({"ids": t.apply_chat_template(chat, add_generation_prompt=True)["input_ids"], "text": t.apply_chat_template(chat, tokenize=False), "vocabulary": len(t),
                  "special": [t.bos_token_id, t.eos_token_id, t.pad_token_id, t.unk_token_id], "layers": c.text_config.layer_types, "ends": g.eos_token_id}))
)");
  const auto run = shell(fmt::format("'{}' {} '{}' 2>/dev/null", python, folder / "read.py", kModel));
  ASSERT_EQ(run.exit_code, 0) << run.output;
  const Json theirs = parse_json(run.output);
  const auto text = TextModel::load(kModel);
  const auto chat = OrderedJson::array({{{"role", "user"}, {"content", " 6+7-5= "}}, {{"role", "assistant"}, {"content", "8"}}, {{"role", "user"}, {"content", "f=07,13,19"}}});
  EXPECT_EQ(theirs["ids"].get<std::vector<int32_t>>(), text->conversation(chat, nullptr, {}));
  EXPECT_EQ(theirs["text"], "<bos><|turn>user\n6+7-5=<turn|>\n<|turn>model\n8<turn|>\n<|turn>user\nf=07,13,19<turn|>\n");
  EXPECT_EQ(theirs["vocabulary"], 384);
  EXPECT_EQ(theirs["special"], (Json{2, 1, 0, 3}));
  EXPECT_EQ(theirs["ends"], (Json{1, 265}));
  EXPECT_EQ(theirs["layers"].size(), 4u);
}

}  // namespace
}  // namespace canvaslab
