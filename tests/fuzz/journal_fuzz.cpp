// A journal. First byte 0: a whole file follows. Else frames are built with right checksums, which no mutation would hit
// by chance: type, two bytes of length, payload; the low bits of the first byte spoil the end.
#include "core/digest.h"
#include "eval/journal.h"
#include "eval/merge.h"
#include "tests/fuzz/fuzz.h"

namespace {

using namespace canvaslab;

std::string with_frames(uint8_t mode, std::string_view rest) {
  std::string out = "CLJRNL01";
  while (rest.size() >= 3) {
    const size_t length = std::min<size_t>(static_cast<uint8_t>(rest[1]) << 8 | static_cast<uint8_t>(rest[2]), rest.size() - 3);
    std::string body = {static_cast<char>(rest[0] % 5), 0, 2, 0};
    body += rest.substr(3, length);
    for (const size_t value : {length, static_cast<size_t>(crc32c(body))})
      for (size_t i = 0; i < 4; ++i) out += static_cast<char>(value >> (8 * i) & 0xFF);
    out += body;
    rest.remove_prefix(3 + length);
  }
  if (mode & 2) out.resize(out.size() - std::min<size_t>(out.size(), mode >> 3));
  if (mode & 4) out[out.size() * (mode >> 3) / 32] ^= 1;
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static fuzz::MemoryFile file;
  if (size == 0) return 0;
  const auto rest = fuzz::text_of(data, size).substr(1);
  file.set(data[0] == 0 ? std::string(rest) : with_frames(data[0], rest));
  size_t samples = 0;
  std::string header;
  const bool sound = fuzz::reads([&] {
    const JournalScan scan = scan_journal(file.path(), [&](FrameType type, std::string_view payload) {
      if (type != FrameType::kSample) return;
      const SampleRecord sample = read_sample(file.path(), samples, payload);
      fuzz::demand(encode_sample(sample) == payload, "a sample that decodes encodes to the same bytes");
      ++samples;
    });
    header = scan.header;
    if (!header.empty()) plan_of_journal(ShardJournal{.path = file.path(), .plan = header});
  });
  fuzz::reads([&] {
    {
      JournalWriter writer(file.path(), header);
      fuzz::demand(!sound || writer.found().size() == samples, "what was read is found when the journal is opened again");
    }
    const JournalScan again = scan_journal(file.path(), [](FrameType, std::string_view) {});
    fuzz::demand(!again.damaged && again.valid_bytes == again.file_bytes, "an opened journal is whole");
  });
  return 0;
}
