#pragma once
// The law of what a sampler writes, propagated exactly on a tiny canvas: no sampling, no Monte-Carlo error.
#include <span>
#include <vector>

#include "core/sources/source.h"
#include "samplers/engine.h"

namespace canvaslab {

/// Largest number of canvases V^L that is propagated.
inline constexpr size_t kMaxExactCanvases = 4096;

/// Law over the V^L canvases of the first canvas that `plan` writes after `prompt`: canvas (x_0, ..., x_{L-1}) has
/// index sum_p x_p V^(L-1-p). The sampler itself decides; candidates and uniforms are integrated over, position by
/// position. Limits (usage errors): V^L <= kMaxExactCanvases; stop rule never; the sampler declares a
/// `product_law` (it decides on a position from that position's candidate and uniform and from the other statistics of
/// all positions, and keeps no state between steps); no self-conditioning; no reference draw order. Cost per step: V^L denoiser rows (one for all steps when neither sampler nor denoiser looks at the level) and
/// V^2L multiplications.
std::vector<double> exact_law(const Denoiser& denoiser, const GenerationPlan& plan, const Prompt& prompt = {});

/// Law of the first `length` tokens of a source after `context`, in the same order.
std::vector<double> source_law(const Source& source, size_t length, std::span<const int32_t> context = {});

/// The canvas with this index.
std::vector<int32_t> canvas_of_index(size_t index, size_t length, int32_t vocabulary);

/// Half the sum of |p - q|.
double total_variation(std::span<const double> p, std::span<const double> q);
/// sum p ln(p / q), nats; infinite when p has mass where q has none.
double kl_divergence(std::span<const double> p, std::span<const double> q);
/// -sum p ln p, nats.
double law_entropy(std::span<const double> p);
/// -sum p ln q, nats: expected negative log-likelihood of a sample of p under q.
double cross_entropy(std::span<const double> p, std::span<const double> q);

}  // namespace canvaslab
