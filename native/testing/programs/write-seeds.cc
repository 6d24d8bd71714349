// Writes the seeds of the fuzz targets, by name, below the folder that is given. Inputs that were
// found and kept (regression-…) are left alone.
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "native/testing/fuzz/seeds.h"

using namespace sluice::testing;

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: write-seeds FOLDER\n");
    return 2;
  }
  size_t count = 0;
  for (const Seed& seed : allSeeds()) {
    const std::filesystem::path folder = std::filesystem::path(argv[1]) / seed.target;
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    std::ofstream file(folder / seed.name, std::ios::binary | std::ios::trunc);
    file.write(reinterpret_cast<const char*>(seed.bytes.data()),
               static_cast<std::streamsize>(seed.bytes.size()));
    if (!file.good()) {
      std::fprintf(stderr, "cannot write %s/%s\n", seed.target, seed.name.c_str());
      return 1;
    }
    ++count;
  }
  std::printf("%zu seeds\n", count);
  return 0;
}
