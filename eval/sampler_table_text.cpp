// The table of samplers as text, as a sweep file of the chosen settings, and as a figure.
#include <algorithm>
#include <cmath>

#include "core/json.h"
#include "eval/figure.h"
#include "eval/run_scores.h"
#include "eval/sampler_table.h"
#include "eval/statistics.h"

namespace canvaslab {
namespace {

/// What a sampler does with tokens it has taken, in words: decides the mark in the figure too.
enum class Kind { kCommitsOnce, kRevises, kFollowsLevel, kVerified };
constexpr const char* kKindNames[] = {"commits once", "revises", "follows the level", "verified causally", "controls"};
constexpr size_t kControls = 4;  // rows labelled "control: ..."
Kind kind_of(const SamplerFacts& facts) {
  if (facts.causal_verify) return Kind::kVerified;
  if (facts.needs_level) return Kind::kFollowsLevel;
  return facts.locks && !facts.revocable ? Kind::kCommitsOnce : Kind::kRevises;
}
const char* kind_name(const SamplerFacts& facts) { return kKindNames[static_cast<size_t>(kind_of(facts))]; }

std::string needs(const SamplerFacts& facts) { return facts.needs_level ? "noise level" : facts.causal_verify || facts.causal_checks ? "causal mode" : "-"; }
std::string extra(const SamplerFacts& facts) { return facts.extra_canvas ? "canvas" : facts.causal_verify || facts.causal_checks ? "causal" : "-"; }

std::string value_of(const std::string& settings, const std::string& key) {
  for (const auto& [name, value] : split_settings(settings))
    if (name == key) return value;
  return "";
}

std::string cell(const Measured& m, int32_t budget) {
  const std::string used = std::abs(m.forwards() - budget) < 0.05 ? "" : fmt::format(" ({:.1f})", m.forwards());
  return fmt::format("{:.4f} ± {:.4f}{}", m.quality, kZ95 * m.quality_error, used);
}

/// Settings tried, the same number for every row or said where not.
std::string tried_text(const SamplerTable& table) {
  size_t least = SIZE_MAX, most = 0;
  for (const auto& row : table.rows) least = std::min(least, row.settings.size()), most = std::max(most, row.settings.size());
  return least == most ? fmt::format("{} settings were tried for every row", least) : fmt::format("{} to {} settings were tried for a row (column: tried)", least, most);
}

/// Forwards of the row's cheapest setting on the tuning split.
double least_forwards(const SamplerTable& table, const TableRow& row) {
  double least = INFINITY;
  for (const auto& settings : row.settings) least = std::min(least, table.tuned.at(settings).forwards());
  return least;
}

const Measured* control_of(const std::map<std::string, Measured>& run) {
  for (const auto& [settings, measured] : run)
    if (measured.control) return &measured;
  return nullptr;
}

const Chosen* chosen_for(const SamplerTable& table, size_t row, int32_t budget) {
  const auto found = std::find_if(table.chosen.begin(), table.chosen.end(), [&](const Chosen& c) { return c.row == row && c.budget == budget; });
  return found == table.chosen.end() ? nullptr : &*found;
}

std::string markdown_text(std::string text) {
  for (size_t at = 0; (at = text.find('|', at)) != std::string::npos; at += 2) text.insert(at, "\\");
  return text;
}

std::string quality_part(const SamplerTable& table) {
  std::string out = "| sampler | kind | needs | extra forwards | tried |", rule = "|---|---|---|---|--:|";
  for (const int32_t budget : table.budgets) out += fmt::format(" at most {} forwards |", budget), rule += "--:|";
  out += "\n" + rule + "\n";
  for (size_t r = 0; r < table.rows.size(); ++r) {
    const TableRow& row = table.rows[r];
    out += fmt::format("| {} | {} | {} | {} | {} |", markdown_text(row.label), kind_name(row.facts), needs(row.facts), extra(row.facts), row.settings.size());
    for (const int32_t budget : table.budgets) {
      const Chosen* chosen = chosen_for(table, r, budget);
      if (chosen) out += fmt::format(" {} |", cell(table.tested.at(chosen->settings), budget));
      else out += budget == table.budgets.back() ? fmt::format(" - (needs {:.1f}) |", least_forwards(table, row)) : " - |";
    }
    out += "\n";
  }
  if (const Measured* exact = control_of(table.tested)) {
    out += fmt::format("| *exact samples (autoregressive: one causal forward a token)* | - | - | - | - |");
    for (size_t i = 0; i < table.budgets.size(); ++i) out += fmt::format(" {:.4f} ± {:.4f} |", exact->quality, kZ95 * exact->quality_error);
    out += "\n";
  }
  return out;
}

std::string settings_part(const SamplerTable& table) {
  std::string out = "| sampler | forwards at most | denoise | verify | unconditional | append | divergence, tuning | test | NLL | output entropy | setting |\n"
                    "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|\n";
  for (const auto& choice : table.chosen) {
    const Measured &tuned = table.tuned.at(choice.settings), &m = table.tested.at(choice.settings);
    const std::string setting = fmt::format("{}; stop {}; temperature {}; emission {}; {} steps", value_of(choice.settings, "sampler"), value_of(choice.settings, "stop"),
                                            value_of(choice.settings, "temperature"), value_of(choice.settings, "emission"), value_of(choice.settings, "num_steps"));
    out += fmt::format("| {} | {} | {:.2f} | {:.2f} | {:.2f} | {:.2f} | {:.4f} | {:.4f} | {:.3f} | {:.3f} | {} |\n", markdown_text(table.rows[choice.row].label), choice.budget, m.denoise,
                       m.verify, m.unconditional, m.append, tuned.quality, m.quality, m.score, m.output_entropy, markdown_text(setting));
  }
  return out;
}

}  // namespace

std::string chosen_sweep(const SweepPlan& plan, const std::vector<Chosen>& chosen) {
  const auto quoted = [](const std::string& text) { return json_text(Json(text)); };  // JSON's strings are TOML's basic strings
  std::string out = fmt::format("# Chosen by canvaslab table from a tuning run of {}.\n[run]\nname = {}\n\n[denoiser]\nmodel = {}\ndtype = {}\n{}\n[dataset]\nname = {}\n", plan.name,
                                quoted(plan.name + "_test"), quoted(plan.denoiser), quoted(plan.dtype), plan.device == "cpu" ? "" : "device = \"cuda\"\n", quoted(plan.dataset));
  std::vector<std::string> done;
  for (const auto& choice : chosen) {
    if (std::find(done.begin(), done.end(), choice.settings) != done.end()) continue;
    done.push_back(choice.settings);
    out += "\n[[grid]]\n";
    for (const auto& [key, value] : split_settings(choice.settings)) {
      const bool text = key == "sampler" || key == "stop" || key == "temperature" || key == "emission" || key == "stats_on";
      if (text) out += fmt::format("{} = {}\n", key, quoted(value));
      else if (key == "num_steps") out += fmt::format("steps = {}\n", value);
      else if (key == "self_conditioning") out += fmt::format("self_conditioning = {}\n", value == "on" ? "true" : value == "off" ? "false" : quoted(value));
      else if (key != "rng" && key != "end_ids" && key != "pad_id") out += fmt::format("{} = {}\n", key, value);  // those come with the denoiser
    }
  }
  return out;
}

std::string table_markdown(const SamplerTable& table) {
  std::string out = fmt::format("# {}\n\nSource and denoiser: `{}`. Every number is a divergence of token pairs from the exact law, in nats, with half a 95% interval\n"
                                "(jackknife over items). Lower is better; a finite sample of the exact law itself has the number in the last row, so nothing can honestly be\n"
                                "below it. For each budget the best setting that took at most so many forwards on the tuning split (`{}`)\n"
                                "is run on the test split (`{}`). {}. Forwards of every kind count, for {} tokens;\n"
                                "in brackets what was used where it is less than allowed.\n\n"
                                "How to make it: `./experiments/sampler_table.sh`; the settings tried: `experiments/sampler_table.toml`.\n\n",
                                table.title, table.denoiser, table.tuning, table.test, tried_text(table), table.unit);
  out += quality_part(table);
  out += "\n*Commits once*: a token that is taken stays. *Revises*: it may change again. *Follows the level*: the reverse kernel of the noise, told the noise level.\n"
         "*Verified causally*: what is emitted was drawn by the causal mode. The bound of the best fixed commit-once plan (commit_once.md, in forward KL) holds for plans\n"
         "that draw from exact marginals and never revise: all rows but those of the first kind are outside its scope, and on noise, where the denoiser is not told which\n"
         "tokens are final, so is the first.\n\n"
         "## What was chosen\n\nForwards by kind, for as many tokens; NLL and output entropy in nats per token on the test split (a low NLL with a low output\n"
         "entropy is collapse, not quality).\n\n";
  return out + settings_part(table);
}

std::string table_csv(const SamplerTable& table) {
  const auto quoted = [](const std::string& text) {
    std::string out = "\"";
    for (char c : text) out += c == '"' ? "\"\"" : std::string(1, c);
    return out + "\"";
  };
  std::string out = "label,kind,needs_level,revocable,extra_forwards,forwards_at_most,settings_tried,forwards_denoise,forwards_verify,forwards_unconditional,forwards_append,"
                    "tuning_pair_divergence_nats,pair_divergence_nats,pair_divergence_standard_error,negative_log_likelihood,output_entropy_nats,num_samples,num_failed,settings\n";
  const auto numbers = [](const Measured& m) {
    return fmt::format("{:.6g},{:.6g},{:.6g},{:.6g},{}", m.quality, m.quality_error, m.score, m.output_entropy, m.count);
  };
  for (const auto& choice : table.chosen) {
    const TableRow& row = table.rows[choice.row];
    const Measured& m = table.tested.at(choice.settings);
    out += fmt::format("{},{},{},{},{},{},{},{:.6g},{:.6g},{:.6g},{:.6g},{:.6g},{},{},{}\n", quoted(row.label), kind_name(row.facts), static_cast<int>(row.facts.needs_level),
                       static_cast<int>(row.facts.revocable), extra(row.facts), choice.budget, row.settings.size(), m.denoise, m.verify, m.unconditional, m.append,
                       table.tuned.at(choice.settings).quality, numbers(m), m.failed, quoted(choice.settings));
  }
  if (const Measured* exact = control_of(table.tested)) out += fmt::format("exact samples,control,0,0,-,,,0,0,0,0,,{},{},\n", numbers(*exact), exact->failed);
  return out;
}

void draw_sampler_table(const SamplerTable& table, const std::string& stem) {
  Figure figure;
  figure.stem = stem;
  figure.title = table.title;
  figure.x.label = fmt::format("forwards of any kind for {} tokens", table.unit);
  figure.y.label = "token-pair divergence from the exact law (nats)";
  figure.x.scale = figure.y.scale = Scale::kLog10;
  figure.key = KeyShape::kPoint;
  figure.caption = fmt::format("{}; test split: {}. One mark a sampler and budget, at the setting chosen on the tuning split: {}. Intervals: in the table.", table.denoiser, table.test, table.tuning);
  figure.series.assign(std::begin(kKindNames), std::end(kKindNames));
  Panel panel;
  for (size_t series = 0; series < figure.series.size(); ++series) {
    std::vector<Mark> marks;
    for (const auto& choice : table.chosen) {
      const TableRow& row = table.rows[choice.row];
      const size_t own = row.label.starts_with("control:") ? kControls : static_cast<size_t>(kind_of(row.facts));
      const Measured& m = table.tested.at(choice.settings);
      if (own == series && m.quality > 0) marks.push_back(Mark::at(m.forwards(), m.quality));
    }
    if (!marks.empty()) panel.lines.emplace_back(series, std::move(marks));
  }
  if (const Measured* exact = control_of(table.tested)) {
    panel.control = {exact->quality, kZ95 * exact->quality_error};
    figure.control_label = "exact samples, same number (95% band)";
  }
  figure.panels.push_back(std::move(panel));
  draw_figures({figure});
}

}  // namespace canvaslab
