// Goal: every committed input of the fuzz targets holds, in the plain test program too, and the
//       seeds in the repository are those that the generator makes.
// Method: read native/testing/corpus, below the folder that the test starts in.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "native/testing/fuzz/fuzz.h"
#include "native/testing/fuzz/seeds.h"
#include "native/testing/test.h"

using namespace sluice::testing;

namespace {

const std::filesystem::path CORPUS = "native/testing/corpus";

std::map<std::string, std::vector<uint8_t>> filesOf(const std::string& target) {
  std::map<std::string, std::vector<uint8_t>> files;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(CORPUS / target, error)) {
    std::ifstream file(entry.path(), std::ios::binary);
    files[entry.path().filename()] = {std::istreambuf_iterator<char>(file), {}};
  }
  return files;
}

void holds(const std::string& target, void (*run)(std::span<const uint8_t>)) {
  const auto files = filesOf(target);
  REQUIRE(files.size() > 10);
  for (const auto& [name, bytes] : files) run(bytes);
}

}  // namespace

TEST("corpus: packets hold") { holds("packet", fuzzPacket); }
TEST("corpus: tables hold") { holds("table", fuzzTable); }
TEST("corpus: saved connections hold") { holds("connections", fuzzConnections); }

TEST("corpus: the seeds are those that are made, beside what was found") {
  std::map<std::string, std::map<std::string, std::vector<uint8_t>>> made;
  for (const Seed& seed : allSeeds()) {
    CHECK(made[seed.target].emplace(seed.name, seed.bytes).second);
  }
  for (auto& [target, seeds] : made) {
    auto files = filesOf(target);
    std::erase_if(files, [](const auto& file) { return file.first.starts_with("regression-"); });
    if (files != seeds) std::fprintf(stderr, "%s: write with fuzz --seeds\n", target.c_str());
    CHECK(files == seeds);
  }
}
