// The house's own rules: no include points up the layers; public headers outside core/network are torch-free.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <regex>

namespace {

namespace fs = std::filesystem;
const std::map<std::string, int> kRank = {{"core", 0}, {"schedules", 1}, {"samplers", 2}, {"eval", 3}, {"experiments", 4}, {"notebooks-cpp", 4}, {"tests", 5}};

std::vector<std::string> upward_includes(const std::string& folder, const std::string& text) {
  std::vector<std::string> out;
  static const std::regex include(R"re(#\s*include\s*"([^/"]+)/)re");
  for (auto at = std::sregex_iterator(text.begin(), text.end(), include); at != std::sregex_iterator(); ++at) {
    const auto rank = kRank.find((*at)[1]);
    if (rank != kRank.end() && rank->second > kRank.at(folder)) out.push_back(at->str());
  }
  return out;
}

template <typename Visit>
size_t each_source(Visit visit) {
  size_t count = 0;
  const fs::path root = CANVASLAB_SOURCE_DIR;
  for (const auto& [folder, rank] : kRank) {
    if (!fs::exists(root / folder)) continue;  // git keeps no empty folders
    for (const auto& entry : fs::recursive_directory_iterator(root / folder)) {
      const auto extension = entry.path().extension();
      if (extension != ".h" && extension != ".cpp" && extension != ".cu" && extension != ".cuh") continue;
      std::ifstream in(entry.path());
      visit(folder, fs::relative(entry.path(), root), std::string((std::istreambuf_iterator<char>(in)), {}));
      ++count;
    }
  }
  return count;
}

TEST(House, NoIncludePointsUpTheLayers) {
  const size_t seen = each_source([](const std::string& folder, const fs::path& path, const std::string& text) {
    for (const auto& include : upward_includes(folder, text)) ADD_FAILURE() << path << ": " << include;
  });
  EXPECT_GT(seen, 40u);
}

TEST(House, TheUpwardCheckFindsAWrongInclude) { EXPECT_EQ(upward_includes("core", "#include \"samplers/engine.h\"\n").size(), 1u); }

TEST(House, PublicHeadersOutsideTheNetworkAreTorchFree) {
  each_source([](const std::string&, const fs::path& path, const std::string& text) {
    if (path.extension() != ".h" || path.string().starts_with("core/network/") || path.string().starts_with("tests/")) return;
    static const std::regex torch(R"re(#\s*include\s*[<"](torch|ATen|c10)/)re");
    EXPECT_FALSE(std::regex_search(text, torch)) << path;
  });
}

/// The README's sampler compiles as it stands there.
TEST(House, TheReadmesSamplerCompiles) {
  std::ifstream in(std::string(CANVASLAB_SOURCE_DIR) + "/README.md");
  const std::string readme((std::istreambuf_iterator<char>(in)), {});
  const auto begin = readme.find("```cpp\n"), end = readme.find("```", begin + 6);
  ASSERT_NE(begin, std::string::npos);
  const std::string file = ::testing::TempDir() + "canvaslab_readme_sampler.cpp";
  std::ofstream(file) << readme.substr(begin + 7, end - begin - 7);
  EXPECT_EQ(std::system(("c++ -std=c++20 -fsyntax-only -Wall -Wextra -Werror -I '" CANVASLAB_SOURCE_DIR "' '" + file + "'").c_str()), 0);
}

}  // namespace
