#include "eval/journal.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <type_traits>

#include "core/error.h"

namespace canvaslab {
namespace {

constexpr char kMagic[8] = {'C', 'L', 'J', 'R', 'N', 'L', '0', '1'};
constexpr uint16_t kVersion = 2;
constexpr size_t kHead = 12;                  // length u32, crc u32, type u16, version u16
constexpr uint32_t kMaxPayload = 1u << 30;
constexpr size_t kReleaseBytes = size_t{1} << 25;  // a multiple of every page size

class Packer {
 public:
  template <typename T>
  void put(const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    out.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  void put(const std::string& text) {
    put(static_cast<uint32_t>(text.size()));
    out += text;
  }
  template <typename T>
  void put(const std::vector<T>& values) {
    put(static_cast<uint32_t>(values.size()));
    if constexpr (std::is_trivially_copyable_v<T>) {
      if (!values.empty()) out.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
    } else {
      for (const auto& value : values) put(value);
    }
  }
  std::string out;
};

class Unpacker {
 public:
  explicit Unpacker(std::string_view bytes) : bytes_(bytes) {}
  template <typename T>
  void get(T& value) {
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
  }
  void get(std::string& text) { text = std::string(take(count())); }
  template <typename T>
  void get(std::vector<T>& values) {
    values.resize(count());
    if constexpr (std::is_trivially_copyable_v<T>) {
      const std::string_view bytes = take(values.size() * sizeof(T));
      if (!values.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
    } else {
      for (auto& value : values) get(value);
    }
  }
  bool done() const { return bytes_.empty(); }

 private:
  uint32_t count() {
    uint32_t n = 0;
    get(n);
    // Every element takes at least a byte: a wild count must not allocate.
    if (n > bytes_.size()) throw std::runtime_error("a sample record is shorter than it says");
    return n;
  }
  std::string_view take(size_t n) {
    if (n > bytes_.size()) throw std::runtime_error("a sample record is shorter than it says");
    const auto out = bytes_.substr(0, n);
    bytes_.remove_prefix(n);
    return out;
  }
  std::string_view bytes_;
};

/// The one list of a sample's fields: writing and reading cannot drift apart.
template <typename Codec, typename Sample>
void each_field(Codec&& codec, Sample& s) {
  codec(s.config_idx), codec(s.item_idx), codec(s.repeat), codec(s.seed), codec(s.content_key), codec(s.error);
  codec(s.token_ids), codec(s.canvas_ids), codec(s.stop_reason), codec(s.canvas_stop), codec(s.steps_per_canvas);
  codec(s.valid_per_canvas), codec(s.steps), codec(s.forwards), codec(s.seconds), codec(s.tokens_per_forward);
  codec(s.tokens_per_forward_report), codec(s.score), codec(s.metrics);
  auto& at = s.positions;
  codec(at.canvas_in), codec(at.candidate), codec(at.argmax), codec(at.canvas_out), codec(at.accepted), codec(at.entropy_nats);
}

struct FrameHead {
  uint32_t length, crc;
  uint16_t type, version;
};

/// The frame at `at` when it is whole: its length fits and its checksum is right.
bool whole_frame(std::string_view bytes, size_t at, FrameHead& head) {
  if (at + kHead > bytes.size()) return false;
  std::memcpy(&head.length, bytes.data() + at, 4);
  std::memcpy(&head.crc, bytes.data() + at + 4, 4);
  std::memcpy(&head.type, bytes.data() + at + 8, 2);
  std::memcpy(&head.version, bytes.data() + at + 10, 2);
  if (head.length > kMaxPayload || head.length > bytes.size() - at - kHead) return false;
  return crc32c(bytes.substr(at + 8, 4 + head.length)) == head.crc;
}

/// Whether any whole frame begins after `at`. A torn tail has none; damage in the middle has.
bool frame_behind(std::string_view bytes, size_t at) {
  FrameHead head;
  for (size_t next = at + 1; next + kHead <= bytes.size(); ++next) {
    uint16_t type, version;
    std::memcpy(&type, bytes.data() + next + 8, 2);
    std::memcpy(&version, bytes.data() + next + 10, 2);
    const bool plausible = version == kVersion && type >= static_cast<uint16_t>(FrameType::kHeader) && type <= static_cast<uint16_t>(FrameType::kName);
    if (plausible && whole_frame(bytes, next, head)) return true;
  }
  return false;
}

/// A new file's name must reach the disk too.
void sync_folder(const std::string& path) {
  const int folder = ::open(std::filesystem::absolute(path).parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return;
  ::fsync(folder);
  ::close(folder);
}

double now_seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

}  // namespace

std::string first_difference(std::string_view before, std::string_view now) {
  const auto next_line = [](std::string_view& rest) {
    const auto end = rest.find('\n');
    const std::string_view line = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    return line;
  };
  while (!before.empty() || !now.empty()) {
    const auto a = next_line(before), b = next_line(now);
    if (a != b) return fmt::format("  there: {}\n  now:   {}", a.empty() ? "(nothing)" : a, b.empty() ? "(nothing)" : b);
  }
  return "";
}

SampleRecord failure_of(const SampleRecord& sample, const std::string& error) {
  SampleRecord out;
  out.config_idx = sample.config_idx, out.item_idx = sample.item_idx, out.repeat = sample.repeat, out.seed = sample.seed, out.content_key = sample.content_key;
  out.error = error;
  out.stop_reason = kNothingGenerated;
  return out;
}

SampleRef ref_to(const SampleRecord& sample, uint64_t payload_at, size_t payload_bytes) {
  return {.config_idx = sample.config_idx, .item_idx = sample.item_idx, .repeat = sample.repeat, .failed = !sample.error.empty(), .content_key = sample.content_key,
          .score = sample.score, .payload_at = payload_at, .payload_bytes = static_cast<uint32_t>(payload_bytes)};
}

std::string encode_sample(const SampleRecord& sample) {
  Packer packer;
  each_field([&](const auto& field) { packer.put(field); }, sample);
  if (!sample.length_per_canvas.empty()) packer.put(sample.length_per_canvas);  // absent in all records of one length
  return std::move(packer.out);
}

SampleRecord decode_sample(std::string_view payload) {
  SampleRecord sample;
  Unpacker unpacker(payload);
  each_field([&](auto& field) { unpacker.get(field); }, sample);
  if (!unpacker.done()) unpacker.get(sample.length_per_canvas);
  if (!unpacker.done()) throw std::runtime_error("a sample record is longer than it says");
  return sample;
}

SampleRecord read_sample(const std::string& path, size_t number, std::string_view payload) {
  try {
    return decode_sample(payload);
  } catch (const std::runtime_error& error) {
    throw input_error("{}: sample {} does not decode ({}); was it written by another build?", path, number, error.what());
  }
}

namespace {

/// scan_journal, with the byte in the file where each payload begins.
JournalScan scan_frames(const std::string& path, const std::function<void(FrameType, std::string_view, uint64_t)>& visit) {
  JournalScan scan;
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) throw input_error("{}: cannot be opened ({})", path, std::strerror(errno));
  struct stat info {};
  ::fstat(fd, &info);
  scan.file_bytes = static_cast<size_t>(info.st_size);
  if (scan.file_bytes == 0) {
    ::close(fd);
    return scan;
  }
  void* map = ::mmap(nullptr, scan.file_bytes, PROT_READ, MAP_PRIVATE, fd, 0);
  ::close(fd);
  if (map == MAP_FAILED) throw input_error("{}: cannot be read ({})", path, std::strerror(errno));
  struct Unmap {
    void* at;
    size_t n;
    ~Unmap() { ::munmap(at, n); }
  } unmap{map, scan.file_bytes};
  const std::string_view bytes(static_cast<const char*>(map), scan.file_bytes);
  if (bytes.substr(0, 8) != std::string_view(kMagic, std::min<size_t>(8, bytes.size())))
    throw input_error("{}: this is no CanvasLab journal (its first 8 bytes differ)", path);
  if (bytes.size() < 8) return scan;
  size_t at = 8, released = 0;
  scan.valid_bytes = 8;
  FrameHead head;
  while (at < bytes.size()) {
    if (!whole_frame(bytes, at, head)) {
      scan.damaged = frame_behind(bytes, at);
      break;
    }
    if (head.version != kVersion) throw input_error("{}: frame version {} at byte {}; this program reads version {}", path, head.version, at, kVersion);
    const std::string_view payload = bytes.substr(at + kHead, head.length);
    if (head.type == static_cast<uint16_t>(FrameType::kHeader)) scan.header = payload;
    visit(static_cast<FrameType>(head.type), payload, at + kHead);
    at += kHead + head.length;
    scan.valid_bytes = at;
    if (at - released < kReleaseBytes) continue;
    // Pages that were read count as this process's memory until they are given back; the file stays in the system's cache.
    const size_t whole_pages = (at - released) / kReleaseBytes * kReleaseBytes;
    ::madvise(static_cast<char*>(map) + released, whole_pages, MADV_DONTNEED);
    released += whole_pages;
  }
  return scan;
}

}  // namespace

JournalScan scan_journal(const std::string& path, const std::function<void(FrameType, std::string_view)>& visit) {
  return scan_frames(path, [&](FrameType type, std::string_view payload, uint64_t) { visit(type, payload); });
}

JournalWriter::JournalWriter(const std::string& path, const std::string& header, const std::string& name) : path_(path) {
  fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd_ < 0) throw input_error("{}: cannot be opened for writing ({})\ngive another folder with --out, or make this one writable", path, std::strerror(errno));
  if (::flock(fd_, LOCK_EX | LOCK_NB) != 0) {
    ::close(fd_);
    fd_ = -1;
    throw usage_error("{}: another run is writing into this folder\nwait for it, stop it, or give another folder with --out", path);
  }
  try {
    bool named = name.empty();
    const JournalScan scan = scan_frames(path, [&](FrameType type, std::string_view payload, uint64_t at) {
      named |= type == FrameType::kName;
      if (type == FrameType::kSample) found_.push_back(ref_to(read_sample(path, found_.size(), payload), at, payload.size()));
    });
    if (scan.damaged)
      throw input_error("{}: the frame after byte {} is damaged (its checksum does not match), {} bytes follow it.\n"
                        "the journal is left as it is. To keep its first {} samples and rerun the rest: truncate -s {} '{}'",
                        path, scan.valid_bytes, scan.file_bytes - scan.valid_bytes, found_.size(), scan.valid_bytes, path);
    if (!scan.header.empty() && scan.header != header)
      throw usage_error("{}: this folder holds a run of another plan. The first line that differs:\n{}\n"
                        "give another folder with --out, or delete this one", path, first_difference(scan.header, header));
    if (::ftruncate(fd_, static_cast<off_t>(scan.valid_bytes)) != 0 || ::lseek(fd_, 0, SEEK_END) < 0)
      throw input_error("{}: cannot be prepared for writing ({})", path, std::strerror(errno));
    if (scan.valid_bytes < 8) {
      if (::write(fd_, kMagic, 8) != 8) throw input_error("{}: cannot be written ({})", path, std::strerror(errno));
    }
    if (scan.header.empty()) {
      write_frame(FrameType::kHeader, header);
      sync_folder(path);
    }
    if (!named) write_frame(FrameType::kName, name);
  } catch (...) {
    ::close(fd_);
    fd_ = -1;
    throw;
  }
}

JournalWriter::~JournalWriter() {
  if (fd_ < 0) return;
  ::fdatasync(fd_);
  ::close(fd_);
}

uint64_t JournalWriter::write_frame(FrameType type, std::string_view payload) {
  std::string frame(kHead, '\0');
  frame += payload;
  const auto length = static_cast<uint32_t>(payload.size());
  const auto kind = static_cast<uint16_t>(type);
  std::memcpy(frame.data(), &length, 4);
  std::memcpy(frame.data() + 8, &kind, 2);
  std::memcpy(frame.data() + 10, &kVersion, 2);
  const uint32_t crc = crc32c(std::string_view(frame).substr(8));
  std::memcpy(frame.data() + 4, &crc, 4);
  const off_t begin = ::lseek(fd_, 0, SEEK_END);
  size_t written = 0;
  while (written < frame.size()) {
    const ssize_t n = ::write(fd_, frame.data() + written, frame.size() - written);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      const int error = errno;
      if (::ftruncate(fd_, begin) != 0) {}  // a torn tail is dropped at the next start anyway
      throw input_error("{}: cannot be written ({})\nall finished samples are safe; free space and start the same command again", path_, std::strerror(error));
    }
    written += static_cast<size_t>(n);
  }
  return static_cast<uint64_t>(begin) + kHead;
}

SampleRef JournalWriter::append(const SampleRecord& sample) {
  const std::string payload = encode_sample(sample);
  uint64_t at = 0;
  bool due = false;
  {
    const std::lock_guard lock(mutex_);
    at = write_frame(FrameType::kSample, payload);
    due = now_seconds() - last_sync_ > 1.0;
    if (due) last_sync_ = now_seconds();
  }
  if (due) sync();  // outside the lock: the other threads need not wait for the disk
  return ref_to(sample, at, payload.size());
}

void JournalWriter::sync() {
  if (::fdatasync(fd_) != 0)
    throw input_error("{}: cannot be brought to the disk ({})\nfree space or another disk, then the same command again: what is whole in the journal is not run again", path_, std::strerror(errno));
}

}  // namespace canvaslab
