#include "eval/prompt_template.h"

#include <algorithm>
#include <filesystem>

#include "core/digest.h"
#include "core/error.h"
#include "core/text/tokenizer.h"

namespace canvaslab {
namespace {

constexpr int kHouseVersion = 1;  // raised when the wording of a house prompt changes

}  // namespace

const std::vector<KnownTemplate>& known_templates() {
  // Sizes and hashes: evaluation.md 1.1 to 1.5.
  static const std::vector<KnownTemplate> all = {
      {"mmlu_pro", "initial_prompt", "TIGER-AI-Lab/MMLU-Pro, cot_prompt_lib/initial_prompt.txt", 182, "d7337806b4d84eef"},
      {"gpqa", "simple_evals", "openai/simple-evals, common.py, QUERY_TEMPLATE_MULTICHOICE", 254, "d4d85337bbd54659"},
      {"gpqa", "lm_eval_cot_zeroshot", "EleutherAI/lm-evaluation-harness, gpqa cot_zeroshot v2.2, doc_to_text", 156, "db9b000a20ffedc0"},
      {"aime", "matharena", "eth-sri/matharena, configs/competitions/aime/aime_2026.yaml, instruction with single braces", 92, "acc6412309e7d931"},
      {"math_vision", "gpt4v", "mathllm/MATH-V, models/GPT4V.py, prompt prefix", 147, "e4fe4ebfa1753f35"},
      {"math_vision", "qwen_vl_cot", "mathllm/MATH-V, models/Qwen-VL.py, prompt prefix with reasoning", 160, "62066a3a686ad11f"},
      {"live_code_bench", "generic_system", "LiveCodeBench/LiveCodeBench, SYSTEM_MESSAGE_GENERIC", 185, "d39e6e9b11d2ac7e"},
  };
  return all;
}

PromptTemplate::PromptTemplate(std::string_view dataset, const std::string& given) {
  if (given == "house") return;
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(given, ignored)) throw input_error("template '{}': no such file; give 'house' or a file", given);
  text_ = read_text_file(given);
  const std::string hash = hex(sha256(text_));
  std::string expected;
  for (const auto& known : known_templates()) {
    if (known.dataset != dataset) continue;
    if (text_.size() == known.num_bytes && hash.starts_with(known.sha256_start)) known_ = known.name;
    expected += fmt::format("\n  {}: {} bytes, sha256 {}..., from {}", known.name, known.num_bytes, known.sha256_start, known.origin);
  }
  if (!known_.empty() || text_.find("{question}") != std::string::npos) return;
  throw input_error("{}: {} bytes, sha256 {}..., is no published template of '{}' and holds no {{question}}\na template of your own names {{question}} and may name {{options}} and {{category}}{}{}",
                    given, text_.size(), hash.substr(0, 16), dataset, expected.empty() ? "" : "; published ones are", expected);
}

std::string PromptTemplate::identity() const { return is_house() ? fmt::format("house {}", kHouseVersion) : "sha256=" + hex(sha256(text_)); }

ParamSpec template_param() { return text_param("template", "house", "the wording: house, or a file (a published text, known by its hash, or your own with {question})"); }

std::string filled(std::string_view text, const std::vector<std::pair<std::string, std::string>>& values) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const auto value = std::find_if(values.begin(), values.end(), [&](const auto& entry) { return text.substr(at).starts_with("{" + entry.first + "}"); });
    if (text[at] != '{' || value == values.end()) {
      out += text[at++];
      continue;
    }
    out += value->second;
    at += value->first.size() + 2;
  }
  return out;
}

std::string lettered(const std::vector<std::string>& options, std::string_view before, std::string_view after) {
  std::string out;
  for (size_t i = 0; i < options.size(); ++i) out += fmt::format("{}{}{}{} {}", i ? "\n" : "", before, static_cast<char>('A' + i), after, options[i]);
  return out;
}

}  // namespace canvaslab
