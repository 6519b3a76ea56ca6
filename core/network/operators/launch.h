#pragma once
// A call carried out where its operator's tensors lie: by the processor, or on torch's current stream of their GPU.
#include <optional>

#include <c10/core/DeviceGuard.h>

#include "core/network/operators/arguments.h"
#include "core/network/operators/on_host.h"

namespace canvaslab::operators {

/// Makes the tensors' device the current one while it lives.
class Site {
 public:
  explicit Site(const Arguments& args);
  /// Errors: TORCH_CHECK with CUDA's own words, where a launch fails.
  void run(const cuda::ProductCall& call) const;
  void run(const cuda::RowGlueCall& call) const;
  void run(const cuda::EmbedCall& call) const;
  void run(const cuda::GeluCall& call) const;
  void run(const cuda::SoftCapCall& call) const;
  void run(const cuda::HeadRowsCall& call) const;
  void run(const cuda::SequencesCall& call) const;
  void run(const cuda::AttentionCall& call) const;
  void run(const cuda::RouteCall& call) const;
  void run(const cuda::GroupCall& call) const;
  void run(const cuda::SoftEmbeddingCall& call) const;
  void run(const cuda::StatisticsRowsCall& call) const;
  void run(const cuda::StatisticsCall& call) const;
  void run(const cuda::CanvasRowsCall& call) const;
  void run(const cuda::AcceptCall& call) const;

  /// Memory on the device for as long as the tensor lives, 16-byte aligned; on the processor, which needs no workspace, there is none unless `everywhere`.
  Tensor workspace(int64_t bytes, bool everywhere = false) const;

 private:
  const Arguments& args_;
  c10::OptionalDeviceGuard guard_;
  void* stream_ = nullptr;
};

}  // namespace canvaslab::operators
