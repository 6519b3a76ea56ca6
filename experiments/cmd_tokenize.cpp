// canvaslab tokenize: text to ids and back, line by line.
#include <fmt/format.h>
#include <iostream>


#include "core/error.h"
#include "core/json.h"
#include "core/text/tokenizer.h"
#include "experiments/commands.h"

namespace canvaslab {
namespace {

std::vector<int32_t> read_ids(const OrderedJson& list, size_t size) {
  if (!list.is_array()) throw input_error("ids must be an array of whole numbers");
  std::vector<int32_t> out;
  for (const auto& id : list) {
    if (!id.is_number_integer()) throw input_error("ids must hold whole numbers, got {}", json_text(id));
    if (id.get<double>() < 0 || id.get<double>() >= static_cast<double>(size)) throw input_error("{} is no id of this tokenizer; ids go from 0 to {}", json_text(id), size - 1);
    out.push_back(id.get<int32_t>());
  }
  return out;
}

/// One line of --jsonl: {"text": ..} or {"ids": [..]} to {"ids": [..], "text": ".. decoded .."}.
std::string convert(const Tokenizer& tokenizer, const std::string& line) {
  const OrderedJson object = parse_ordered_json(line);
  if (object.is_discarded()) throw input_error("malformed JSON; expected an object with text or ids");
  if (!object.is_object()) throw input_error("expected an object with text or ids, got {}", object.type_name());
  const bool has_text = object.contains("text"), has_ids = object.contains("ids");
  if (has_text == has_ids) throw input_error("the object has {} 'text' and 'ids'; expected one of them", has_text ? "both" : "neither");
  std::vector<int32_t> ids;
  if (has_ids) ids = read_ids(object["ids"], tokenizer.size());
  else if (object["text"].is_string()) ids = tokenizer.encode(object["text"].get_ref<const std::string&>());
  else throw input_error("text must be a string, got {}", object["text"].type_name());
  return json_text(OrderedJson{{"ids", ids}, {"text", tokenizer.decode(ids)}});
}

void run(const std::string& path, bool jsonl) {
  const Tokenizer tokenizer = Tokenizer::load(path);
  std::string line;
  for (size_t number = 1; std::getline(std::cin, line); ++number) {
    try {
      if (!jsonl) fmt::print("{}\n", fmt::join(tokenizer.encode(line), " "));
      else if (line.find_first_not_of(" \t\r") != std::string::npos) fmt::print("{}\n", convert(tokenizer, line));
    } catch (const UserError& error) {
      std::fflush(stdout);  // what came before the bad line is not lost
      throw UserError(error.code(), fmt::format("standard input:{}: {}", number, error.what()));
    }
  }
  std::fflush(stdout);
}

}  // namespace

void add_tokenize(CommandLine& line) {
  const Command command = line.command("tokenize", "text to token ids and back, line by line from standard input");
  auto* path = new std::string;
  auto* jsonl = new bool(false);
  command.option("--tokenizer", *path, "tokenizer.json, or the checkpoint folder that holds it").required();
  command.flag("--jsonl", *jsonl, "lines are {\"text\": ..} or {\"ids\": [..]}; each gives {\"ids\": [..], \"text\": \".. decoded ..\"}");
  command.footer("Without --jsonl each line is a text and gives its ids. No special tokens are added; those in a text are recognised.\n"
                  "Examples:\n  echo 'Why is the sky blue?' | canvaslab tokenize --tokenizer DIR\n"
                  "  echo '{\"ids\": [2, 105, 2364, 107]}' | canvaslab tokenize --tokenizer DIR/tokenizer.json --jsonl");
  command.action([=] { run(*path, *jsonl); });
}

}  // namespace canvaslab
