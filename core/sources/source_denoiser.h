#pragma once
// The Bayes-optimal denoiser of any exact source: what all of them share.
#include <memory>
#include <string>
#include <vector>

#include "core/denoiser.h"
#include "core/sources/source.h"

namespace canvaslab {

/// Posterior marginals of a source from a corrupted canvas. Uniform corruption: at the level when it is told and used,
/// else averaged over a level that is uniform a priori. Absorbing corruption: the mask is the last id of the vocabulary;
/// tokens that stand in the canvas are certain, whatever the level. Self-contained: no step depends on another.
class SourceDenoiser final : public LogitsDenoiser {
 public:
  /// Reads the options of source_parameters; `text` is what the results depend on.
  SourceDenoiser(std::unique_ptr<Source> source, const Options& options, std::string text);
  SourceDenoiser(std::unique_ptr<Source> source, const Options& options) : SourceDenoiser(std::move(source), options, options.canonical()) {}

  const DenoiserFacts& facts() const override { return facts_; }
  const Source* source() const override { return source_.get(); }
  std::string content_hash() const override { return text_; }
  std::unique_ptr<Sequence> prefill(const Prompt& prompt) const override;
  std::vector<float> append(Sequence& sequence, std::span<const int32_t> canvas, bool want_causal_logits) const override;
  std::vector<float> next_logits(const Sequence& sequence) const override;
  std::unique_ptr<Sequence> cut(const Sequence& before, const Sequence& after, std::span<const int32_t> kept) const override;

 protected:
  std::vector<float> row_logits(Sequence& sequence, const StepRequest& request) const override;

 private:
  std::vector<Evidence> evidence(const StepRequest& request, double survival) const;
  std::vector<double> marginal(const StepRequest& request, const SourceState& state) const;
  std::vector<float> to_logits(std::span<const double> law) const;
  void refuse_masks(std::span<const int32_t> tokens, const std::string& what) const;

  std::unique_ptr<Source> source_;
  std::vector<double> node_, weight_;  // Gauss-Legendre on (0, 1), for an unknown level
  std::string text_;
  DenoiserFacts facts_;
};

/// A source's own parameters followed by those of SourceDenoiser; `length` is the default canvas length.
std::vector<ParamSpec> source_parameters(std::vector<ParamSpec> own, int64_t length);
/// The parameters that every source denoiser ends with: quadrature, use_level, corruption.
std::vector<ParamSpec> corruption_parameters();
/// Share of sequences that break the source's rule.
ParamSpec slip_param(double fallback);

}  // namespace canvaslab
