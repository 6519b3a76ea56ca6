// The journal and the results file under fire: kills at any moment, full disks, damage, changed inputs, a clock that runs
// backwards. Whatever happens, the same command goes on to the results of an undisturbed run, or says clearly why not.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "eval/journal.h"
#include "tests/support/h5_contents.h"
#include "tests/support/small_sweep.h"
#include "tests/support/temporary.h"

namespace canvaslab {
namespace {

const std::string kProgram = CANVASLAB_PROGRAM;
const std::string kSource = CANVASLAB_SOURCE_DIR;

using testing::kSmallPlan;
constexpr size_t kSamples = testing::kSmallSamples;

class Fire : public ::testing::Test {
 protected:
  Fire() { write_file(folder / "plan.toml", kSmallPlan); }
  std::string command(const std::string& run) const { return kProgram + " sweep " + (folder / "plan.toml") + " --threads 2 --quiet --out " + (folder / run); }
  ShellResult sweep(const std::string& run) const { return shell(command(run)); }
  /// Results of a run that nothing happened to, for comparison.
  std::string undisturbed() {
    if (!std::filesystem::exists(folder / "undisturbed/run.h5")) {
      const auto result = sweep("undisturbed");
      EXPECT_EQ(result.exit_code, 0) << result.output;
    }
    return folder / "undisturbed/run.h5";
  }
  std::string difference(const std::string& run) { return h5_difference(undisturbed(), folder / (run + "/run.h5")); }
  pid_t start(const std::string& run) const { return testing::start_sweep(folder / "plan.toml", folder / run); }
  TemporaryFolder folder;
};

// --- kills

/// Where in a run's life a kill fell, by what it left behind.
enum Phase { kBeforeJournal, kSampling, kAllOnRecord, kWritingResults, kResultsInPlace, kNumPhases };
constexpr std::array<const char*, kNumPhases> kPhaseNames = {"before the journal's header", "while samples were made", "all samples on record, results not begun", "while the results were written",
                                                             "results in place"};

/// What a journal holds: its whole frames, byte for byte, and the samples among them.
struct Record {
  std::string bytes;
  std::vector<Sha256> keys;
};

Record read_record(const std::string& path) {
  Record out;
  if (!std::filesystem::exists(path)) return out;
  const JournalScan scan = scan_journal(path, [&](FrameType type, std::string_view payload) {
    if (type == FrameType::kSample) out.keys.push_back(decode_sample(payload).content_key);
  });
  EXPECT_FALSE(scan.damaged) << path;
  out.bytes = read_file(path).substr(0, scan.valid_bytes);
  return out;
}

/// When a half-written results file was last touched; an earlier kill's may still lie there.
std::filesystem::file_time_type half_written(const std::string& run) {
  std::error_code none;
  const auto time = std::filesystem::last_write_time(run + "/run.h5.tmp", none);
  return none ? std::filesystem::file_time_type::min() : time;
}

Phase phase_of(const std::string& run, const Record& record, std::filesystem::file_time_type half_written_before) {
  if (std::filesystem::exists(run + "/run.h5")) return kResultsInPlace;
  if (half_written(run) > half_written_before) return kWritingResults;
  if (record.keys.size() == kSamples) return kAllOnRecord;
  return record.bytes.size() > 8 ? kSampling : kBeforeJournal;
}

/// Waits until something that a run does to the files in its folder makes `reached` true, at most `seconds`.
void wait_until(const std::string& run, double seconds, const std::function<bool()>& reached) {
  const int watch = ::inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
  std::filesystem::create_directories(run);
  ::inotify_add_watch(watch, run.c_str(), IN_CREATE | IN_MOVED_TO | IN_MODIFY);
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  while (!reached() && std::chrono::steady_clock::now() < end) {
    pollfd ready{watch, POLLIN, 0};
    ::poll(&ready, 1, 50);
    char events[4096];
    while (::read(watch, events, sizeof events) > 0) {}
  }
  ::close(watch);
}

/// Lets `seconds` pass, less precisely than a clock and never waking early: this is when to kill, not a wait for anything.
void pass(double seconds) { ::poll(nullptr, 0, static_cast<int>(seconds * 1000)); }

/// Kills at random points of a run's whole life: one in three at any time, one when the journal has reached a random size,
/// one while the results are written; starting the program takes longer than these, and would catch most of the others.
/// After each: what was on record still is, byte for byte, and nothing stands there twice. Equal to an undisturbed run in
/// every dataset that is not volatile means: no finished sample lost, none repeated, none wrong.
TEST_F(Fire, KillsAtAnyPointLeaveTheResultsAsIfNothingHadHappened) {
  const char* asked = std::getenv("CANVASLAB_LONG");
  const int kills = asked && std::string(asked) == "1" ? 500 : 25;
  const auto begin = std::chrono::steady_clock::now();
  undisturbed();
  const double life = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  const auto journal_size = static_cast<double>(std::filesystem::file_size(folder / "undisturbed/run.journal"));
  const uint64_t seed = std::random_device{}();
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<> unit(0, 1);
  std::array<int, kNumPhases> hits{};
  int round = 0, finished_alone = 0;
  const auto run_folder = [&] { return folder / ("killed" + std::to_string(round)); };
  Record before;
  // On a busy machine a kill can come late each time: then more of them, until one has met the samples and one the results.
  const auto goes_on = [&](int k) { return k < kills || (k < 4 * kills && (hits[kSampling] == 0 || hits[kWritingResults] == 0)); };
  int made = 0;
  for (int k = 0; goes_on(k); ++k, ++made) {
    const auto half = half_written(run_folder());
    const pid_t child = start("killed" + std::to_string(round));
    const auto results_begun = [&] { return half_written(run_folder()) > half || std::filesystem::exists(run_folder() + "/run.h5"); };
    if (k % 3 == 1) {
      wait_until(run_folder(), 5 * life, results_begun);
      pass(0.02 * unit(random));
    } else if (k % 3 == 0) {  // the first of all falls on an empty journal, and while samples are made
      const auto size = static_cast<double>(before.bytes.size()) + 0.8 * unit(random) * (journal_size - static_cast<double>(before.bytes.size()));
      wait_until(run_folder(), 5 * life, [&] {
        std::error_code none;
        const auto now = std::filesystem::file_size(run_folder() + "/run.journal", none);
        return results_begun() || (!none && static_cast<double>(now) >= size);
      });
    } else {
      pass(0.7 * life * unit(random));
    }
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    finished_alone += WIFEXITED(status);
    const Record after = read_record(run_folder() + "/run.journal");
    ASSERT_TRUE(after.bytes.starts_with(before.bytes)) << "what was on record is no longer; seed " << seed << ", kill " << k;
    ASSERT_EQ(std::set(after.keys.begin(), after.keys.end()).size(), after.keys.size()) << "a sample is on record twice; seed " << seed << ", kill " << k;
    before = after;
    const Phase phase = phase_of(run_folder(), after, half);
    ++hits[phase];
    if ((phase == kWritingResults || phase == kAllOnRecord) && unit(random) < 0.5) {  // or the rest of the kills would find every sample made
      const auto finish = sweep("killed" + std::to_string(round));
      ASSERT_EQ(finish.exit_code, 0) << finish.output << "seed " << seed << ", kill " << k;
    } else if (phase != kResultsInPlace) {
      continue;
    }
    ASSERT_EQ(difference("killed" + std::to_string(round)), "") << "seed " << seed << ", kill " << k;
    before = {};
    ++round;
  }
  const auto last = sweep("killed" + std::to_string(round));
  EXPECT_EQ(last.exit_code, 0) << last.output;
  EXPECT_EQ(difference("killed" + std::to_string(round)), "") << "seed " << seed;
  EXPECT_FALSE(std::filesystem::exists(run_folder() + "/run.h5.tmp"));
  std::string log = fmt::format("kill log (seed {}, a run's life {:.2f} s): {} kills, {} of them after the run had ended by itself; {} runs brought to their end\n", seed, life, made, finished_alone, round + 1);
  for (size_t p = 0; p < hits.size(); ++p) log += fmt::format("  {:4}  {}\n", hits[p], kPhaseNames[p]);
  fmt::print("{}", log);
  EXPECT_GT(hits[kSampling], 0) << log;
  EXPECT_GT(hits[kWritingResults], 0) << log;
  if (const char* python = std::getenv("CANVASLAB_PYTHON")) {
    write_file(folder / "open.py", "import h5py, sys\nfor path in sys.argv[1:]:\n    with h5py.File(path) as f:\n        assert f.attrs['complete'] == 1\n"
                                   "        f.visititems(lambda name, d: d[()] if isinstance(d, h5py.Dataset) else None)\n");
    const auto opened = shell(std::string(python) + " " + (folder / "open.py") + " " + folder.path() + "/killed*/run.h5");
    EXPECT_EQ(opened.exit_code, 0) << opened.output;
  }
}

// --- disks

TEST_F(Fire, AFullDiskLosesNothingThatWasFinished) {
  if (::geteuid() != 0) GTEST_SKIP() << "mounting a small file system needs root; the file-size limit below takes the same path";
  std::filesystem::create_directory(folder / "tiny");
  undisturbed();
  const auto journal = std::filesystem::file_size(folder / "undisturbed/run.journal");
  // Too small for the header, then for the samples; then large enough for these and too small for the HDF5 file beside them.
  for (const auto size : {uintmax_t{4096}, journal / 2, journal + 65536}) {
    if (::mount("none", (folder / "tiny").c_str(), "tmpfs", 0, ("size=" + std::to_string(size)).c_str()) != 0) GTEST_SKIP() << "no right to mount a small folder";
    const auto full = sweep("tiny");
    EXPECT_EQ(full.exit_code, 3) << full.output;
    EXPECT_NE(full.output.find("No space left on device"), std::string::npos) << full.output;
    EXPECT_FALSE(std::filesystem::exists(folder / "tiny/run.h5"));
    const Record before = read_record(folder / "tiny/run.journal");
    ::mount("none", (folder / "tiny").c_str(), "tmpfs", MS_REMOUNT, "size=64m");
    const auto again = sweep("tiny");
    EXPECT_EQ(again.exit_code, 0) << again.output;
    EXPECT_TRUE(read_record(folder / "tiny/run.journal").bytes.starts_with(before.bytes));
    EXPECT_EQ(difference("tiny"), "");
    ::umount2((folder / "tiny").c_str(), MNT_DETACH);
  }
}

TEST_F(Fire, AFileSizeLimitIsAsGoodAsAFullDisk) {
  undisturbed();
  const auto journal_kib = std::filesystem::file_size(folder / "undisturbed/run.journal") / 1024, results_kib = std::filesystem::file_size(undisturbed()) / 1024;
  const auto limited = [&](const std::string& run, uintmax_t kib) { return shell(fmt::format("bash -c 'ulimit -f {}; exec {}'", kib, command(run))); };
  const auto expect_clear = [](const ShellResult& result) {
    EXPECT_EQ(result.exit_code, 3) << result.output;
    EXPECT_NE(result.output.find("File too large"), std::string::npos) << result.output;
  };
  for (const auto kib : {uintmax_t{1}, journal_kib / 4, journal_kib - 1}) expect_clear(limited("limited", kib));  // each goes on a little further
  EXPECT_EQ(sweep("limited").exit_code, 0);
  EXPECT_EQ(difference("limited"), "");
  for (const auto kib : {uintmax_t{1}, results_kib / 2}) {
    std::filesystem::remove(folder / "limited/run.h5");
    const auto result = limited("limited", kib);
    EXPECT_EQ(result.exit_code, 3) << result.output;
    EXPECT_FALSE(std::filesystem::exists(folder / "limited/run.h5"));
    EXPECT_FALSE(std::filesystem::exists(folder / "limited/run.h5.tmp"));
  }
  EXPECT_EQ(sweep("limited").exit_code, 0);
  EXPECT_EQ(difference("limited"), "");
}

TEST_F(Fire, AFolderThatCannotBeWrittenIsAClearError) {
  if (::geteuid() != 0) {
    std::filesystem::create_directory(folder / "locked");
    std::filesystem::permissions(folder / "locked", std::filesystem::perms::owner_read | std::filesystem::perms::owner_exec);
    const auto result = sweep("locked");
    EXPECT_EQ(result.exit_code, 3) << result.output;
    return;
  }
  std::filesystem::create_directory(folder / "fixed");
  if (::mount("none", (folder / "fixed").c_str(), "tmpfs", MS_RDONLY, "size=64k") != 0) GTEST_SKIP() << "no right to mount a read-only folder";
  const auto result = sweep("fixed"), below = sweep("fixed/below");
  ::umount2((folder / "fixed").c_str(), MNT_DETACH);
  EXPECT_EQ(result.exit_code, 3) << result.output;
  EXPECT_NE(result.output.find("run.journal: cannot be opened for writing (Read-only file system)"), std::string::npos) << result.output;
  EXPECT_EQ(below.exit_code, 3) << below.output;
  EXPECT_NE(below.output.find("fixed/below: the folder cannot be created (Read-only file system)"), std::string::npos) << below.output;
}

// --- damage

/// Where the first frame, a frame in the middle and the last one begin.
struct Places {
  size_t header = 8, middle = 0, last = 0;
};

Places places_of(const std::string& bytes) {
  std::vector<size_t> begins;
  for (size_t at = 8; at < bytes.size();) {
    begins.push_back(at);
    uint32_t length = 0;
    std::memcpy(&length, bytes.data() + at, 4);
    at += 12 + length;
  }
  return {.middle = begins[begins.size() / 2], .last = begins.back()};
}

TEST_F(Fire, ADamagedJournalIsRefusedAndATornTailIsRunAgain) {
  undisturbed();
  const std::string whole = read_file(folder / "undisturbed/run.journal");
  const Places at = places_of(whole);
  std::filesystem::create_directory(folder / "hurt");
  const std::string journal = folder / "hurt/run.journal";
  // A frame: length u32, CRC u32, type u16, version u16, payload.
  const std::pair<const char*, size_t> parts[] = {{"length", 0}, {"high byte of the length", 3}, {"CRC", 5}, {"type", 8}, {"version", 10}, {"payload", 20}};
  const auto flipped = [&](size_t byte) {
    std::string out = whole;
    out[byte] = static_cast<char>(out[byte] ^ 4);
    return out;
  };
  const auto expect_refused = [&](const std::string& bytes, const std::string& what) {
    write_file(journal, bytes);
    const auto result = sweep("hurt");
    EXPECT_EQ(result.exit_code, 3) << what << result.output;
    EXPECT_NE(result.output.find("run.journal: "), std::string::npos) << what << result.output;
    EXPECT_TRUE(read_file(journal) == bytes) << what << ": a refused journal must be left as it is";
    EXPECT_FALSE(std::filesystem::exists(folder / "hurt/run.h5")) << what;
  };
  const auto expect_repaired = [&](const std::string& bytes, const std::string& what) {
    write_file(journal, bytes);
    const auto result = sweep("hurt");
    EXPECT_EQ(result.exit_code, 0) << what << result.output;
    EXPECT_EQ(difference("hurt"), "") << what;
    std::filesystem::remove(folder / "hurt/run.h5");
  };
  expect_refused(flipped(3), "magic");
  for (const auto& [part, offset] : parts) {
    expect_refused(flipped(at.header + offset), std::string("header frame, ") + part);
    expect_refused(flipped(at.middle + offset), std::string("middle frame, ") + part);
    expect_repaired(flipped(at.last + offset), std::string("last frame, ") + part);
    expect_repaired(whole.substr(0, at.last + offset), std::string("cut in the last frame, ") + part);
  }
  for (const size_t size : {size_t{0}, size_t{5}, size_t{8}, size_t{15}, at.middle, at.middle + 1, whole.size() - 1}) expect_repaired(whole.substr(0, size), "cut after " + std::to_string(size));
  expect_repaired(whole + std::string(5000, '\0'), "zeros behind, as a power failure may leave them");
  // The remedy that the refusal names, done: the rest is run again.
  write_file(journal, flipped(at.middle + 20));
  const std::string advice = sweep("hurt").output;
  const auto truncate = advice.find("truncate -s ");
  ASSERT_NE(truncate, std::string::npos) << advice;
  ASSERT_EQ(shell(advice.substr(truncate, advice.find('\n', truncate) - truncate)).exit_code, 0);
  expect_repaired(read_file(journal), "after the advice");
}

TEST_F(Fire, ADamagedResultsFileIsMadeAgain) {
  undisturbed();
  std::filesystem::copy(folder / "undisturbed", folder / "copy");
  const std::string whole = read_file(undisturbed());
  for (const std::string& bytes : {std::string(), std::string("not HDF5 at all"), whole.substr(0, whole.size() / 2), std::string(64, '\0') + whole.substr(64)}) {
    write_file(folder / "copy/run.h5", bytes);
    const auto result = sweep("copy");
    EXPECT_EQ(result.exit_code, 0) << result.output;
    EXPECT_EQ(difference("copy"), "");
  }
}

// --- changed inputs

TEST_F(Fire, ChangedWeightsOrPromptsAgainstAnOldJournalAreRefused) {
  std::filesystem::copy(kSource + "/tests/network/goldens/base", folder / "model");
  const std::string prompts = "{\"prompt_ids\": [2, 5, 7]}\n{\"prompt_ids\": [2, 9]}\n";
  write_file(folder / "prompts.jsonl", prompts);
  write_file(folder / "plan.toml", "[denoiser]\nmodel = \"" + (folder / "model") + "\"\n[dataset]\nname = \"prompts(path='" + (folder / "prompts.jsonl") +
                                       "')\"\n[grid]\nsampler = \"entropy_bound\"\nsteps = 2\n");
  ASSERT_EQ(sweep("run").exit_code, 0);
  const std::string journal = read_file(folder / "run/run.journal"), results = read_file(folder / "run/run.h5");
  const auto expect_refused = [&](const std::string& line) {
    const auto result = sweep("run");
    EXPECT_EQ(result.exit_code, 2) << result.output;
    EXPECT_NE(result.output.find("there: " + line + " "), std::string::npos) << result.output;
    EXPECT_TRUE(read_file(folder / "run/run.journal") == journal && read_file(folder / "run/run.h5") == results) << "a refused run must be left as it is";
  };
  std::filesystem::permissions(folder / "model/model.safetensors", std::filesystem::perms::owner_all);
  const std::string weights = read_file(folder / "model/model.safetensors");
  std::string other = weights;
  other[other.size() / 2] = static_cast<char>(other[other.size() / 2] ^ 1);
  write_file(folder / "model/model.safetensors", other);
  expect_refused("model");
  write_file(folder / "model/model.safetensors", weights);
  write_file(folder / "prompts.jsonl", prompts + "{\"prompt_ids\": [3]}\n");
  expect_refused("data");
  write_file(folder / "prompts.jsonl", prompts);
  EXPECT_EQ(sweep("run").exit_code, 0);
}

/// A clock that goes back an hour whenever it is asked.
TEST_F(Fire, AClockThatRunsBackwardsChangesNothing) {
  if (shell("command -v c++").exit_code != 0) GTEST_SKIP() << "the clock is a small library that needs a compiler";
  write_file(folder / "clock.cpp", "#include <sys/syscall.h>\n#include <sys/time.h>\n#include <time.h>\n#include <unistd.h>\n"
                                   "static long back() { static long asked = 0; return 3600 * __atomic_add_fetch(&asked, 1, __ATOMIC_RELAXED); }\n"
                                   "extern \"C\" int clock_gettime(clockid_t id, timespec* t) noexcept {\n  const long code = syscall(SYS_clock_gettime, id, t);\n"
                                   "  if (id == CLOCK_REALTIME) t->tv_sec -= back();\n  return static_cast<int>(code);\n}\n"
                                   "extern \"C\" time_t time(time_t* out) noexcept { timespec t; clock_gettime(CLOCK_REALTIME, &t); if (out) *out = t.tv_sec; return t.tv_sec; }\n"
                                   "extern \"C\" int gettimeofday(timeval* v, void*) noexcept { timespec t; clock_gettime(CLOCK_REALTIME, &t); v->tv_sec = t.tv_sec; v->tv_usec = 0; return 0; }\n");
  ASSERT_EQ(shell("c++ -shared -fPIC -o " + (folder / "clock.so") + " " + (folder / "clock.cpp")).exit_code, 0);
  const std::string preload = "LD_PRELOAD=" + (folder / "clock.so") + " ";
  const auto told = shell(preload + "bash -c 'echo $EPOCHSECONDS'"), now = shell("bash -c 'echo $EPOCHSECONDS'");
  ASSERT_LT(std::stoll(told.output), std::stoll(now.output) - 1800) << "the clock does go back";
  const auto result = shell(preload + command("late"));
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_EQ(difference("late"), "");
  for (const char* name : {"samples/seconds_denoise", "samples/seconds_prefill", "samples/seconds_append"}) {
    const std::string bytes = h5_contents(folder / "late/run.h5").at(name).bytes;
    for (size_t i = 0; i + 8 <= bytes.size(); i += 8) {
      double seconds = 0;
      std::memcpy(&seconds, bytes.data() + i, 8);
      ASSERT_GE(seconds, 0) << name;
      ASSERT_LT(seconds, 1800) << name;
    }
  }
}

}  // namespace
}  // namespace canvaslab
