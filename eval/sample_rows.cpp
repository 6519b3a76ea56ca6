#include "eval/sample_rows.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <tuple>

#include "core/error.h"

namespace canvaslab {
namespace {

constexpr size_t kBlockBytes = size_t{1} << 25;

template <typename Sample>
bool before(const Sample& a, const Sample& b) {
  return std::tie(a.config_idx, a.item_idx, a.repeat) < std::tie(b.config_idx, b.item_idx, b.repeat);
}

}  // namespace

void sort_samples(std::vector<SampleRecord>& samples) { std::sort(samples.begin(), samples.end(), before<SampleRecord>); }

SampleRows::SampleRows(std::vector<SampleRecord> samples, size_t block_rows) : samples_(std::move(samples)), block_rows_(block_rows) {
  sort_samples(samples_);
  refs_.reserve(samples_.size());
  for (const auto& sample : samples_) refs_.push_back(ref_to(sample, 0, 0));
}

SampleRows::SampleRows(const std::string& journal, std::vector<SampleRef> refs, size_t block_rows) : refs_(std::move(refs)), journal_(journal), block_rows_(block_rows) {
  std::sort(refs_.begin(), refs_.end(), before<SampleRef>);
  fd_ = ::open(journal.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd_ < 0) throw input_error("{}: cannot be opened ({})", journal, std::strerror(errno));
}

SampleRows::~SampleRows() {
  if (fd_ >= 0) ::close(fd_);
}

size_t SampleRows::block_end(size_t begin, size_t most) const {
  size_t end = begin, bytes = 0;
  while (end < std::min(most, begin + block_rows_) && (end == begin || bytes + refs_[end].payload_bytes <= kBlockBytes)) bytes += refs_[end++].payload_bytes;
  return end;
}

std::vector<SampleRecord> SampleRows::read(size_t begin, size_t end) const {
  if (fd_ < 0) return {samples_.begin() + static_cast<ptrdiff_t>(begin), samples_.begin() + static_cast<ptrdiff_t>(end)};
  std::vector<SampleRecord> out;
  out.reserve(end - begin);
  std::string payload;
  for (size_t row = begin; row < end; ++row) {
    const SampleRef& at = refs_[row];
    payload.resize(at.payload_bytes);
    const ssize_t got = ::pread(fd_, payload.data(), payload.size(), static_cast<off_t>(at.payload_at));
    if (got != static_cast<ssize_t>(payload.size())) throw input_error("{}: {} bytes at byte {} cannot be read ({})", journal_, payload.size(), at.payload_at, std::strerror(errno));
    SampleRecord sample = read_sample(journal_, row, payload);
    if (sample.content_key != at.content_key) throw input_error("{}: has changed while it was read: another sample is at byte {}", journal_, at.payload_at);
    out.push_back(std::move(sample));
  }
  return out;
}

}  // namespace canvaslab
