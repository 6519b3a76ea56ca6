// canvaslab quantize: a checkpoint in fewer bits, in a layout that other programs read as well.
#include "core/embedded_models.h"
#include "core/error.h"
#include "core/network/quantise_checkpoint.h"
#include "experiments/commands.h"
#include "experiments/interrupts.h"

namespace canvaslab {
namespace {

QuantisedFormat format_of(const std::string& text) {
  const std::string name = canonical_name(text);
  if (name == "fp8") return QuantisedFormat::kFp8;
  if (name == "int4") return QuantisedFormat::kInt4;
  if (name == "nvfp4") return QuantisedFormat::kNvfp4;
  throw usage_error("--to {}: unknown format; expected fp8, int4 or nvfp4{}", text, did_you_mean(name, {"fp8", "int4", "nvfp4"}));
}

ExitCode run(const std::string& model, const std::string& to, const std::string& out, int32_t compare) {
  const QuantisedFormat format = format_of(to);
  const std::atomic<int>& interrupts = count_interrupts();
  uint64_t shown = 0;
  struct Interrupted {};
  try {
    const auto report = quantise_checkpoint(model_folder(model), out, format, [&](uint64_t done, uint64_t all) {
      if (interrupts > 0) throw Interrupted{};
      if (done * 20 / all == shown) return;
      shown = done * 20 / all;
      fmt::print(stderr, "{:3}% of {:.2f} MB\n", 5 * shown, static_cast<double>(all) * 1e-6);
    });
    fmt::print("{}: {} matrices quantised, {:.2f} MB of {:.2f} MB are left\n", out, report.num_matrices, static_cast<double>(report.bytes_after) * 1e-6, static_cast<double>(report.bytes_before) * 1e-6);
    for (const auto& [kind, error] : report.by_kind) fmt::print("  {:<10} {:>14} parameters, relative error {:.4f}\n", kind, error.num_parameters, error.relative());
    if (compare > 0) {
      const auto logits = compare_logits(model_folder(model), out, compare, 1);
      fmt::print("  logits on {} random canvases: relative error {:.4f}, divergence {:.2e} nats a position, same argmax {:.4f}\n", compare, logits.relative, logits.mean_divergence, logits.same_argmax);
    }
  } catch (const Interrupted&) {
    fmt::print(stderr, "interrupted; {} is not written\n", out);
    return ExitCode::kInterrupted;
  }
  return ExitCode::kDone;
}

}  // namespace

void add_quantize(CommandLine& line) {
  const Command command = line.command("quantize", "writes a checkpoint with the layers' matrices in 8 or 4 bits, which generate, sweep and other programs read");
  auto* model = new std::string;
  auto* to = new std::string;
  auto* out = new std::string;
  command.option("model", *model, "checkpoint folder, not quantised, or an embedded model").required();
  command.option("--to", *to, "fp8: e4m3, a scale a row; int4: integers, a scale for 32 columns; nvfp4: e2m1, a scale for 16 columns").required();
  command.option("--out", *out, "folder to write; must not exist. It appears whole or not at all").required();
  auto* compare = new int32_t(0);
  command.option("--compare", *compare, "then run both in f32 on this many random canvases and say how far their logits are apart").range(0, 10000).shows_default();
  command.footer("Examples:\n  canvaslab quantize DIR --to fp8 --out DIR-fp8\n  canvaslab quantize small --to nvfp4 --out small-nvfp4 --compare 16\n  canvaslab generate --model small-nvfp4 --prompt '6+7-5='\n"
                  "Attention, dense feed-forward and experts are rounded to nearest, without calibration; embeddings, routers, norms, self-conditioning\n"
                  "and vision stay. The layouts are compressed-tensors': float-quantized, pack-quantized, nvfp4-pack-quantized (weights only).");
  command.action([=] { return run(*model, *to, *out, *compare); });
}

}  // namespace canvaslab
