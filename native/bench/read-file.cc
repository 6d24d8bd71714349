#include "native/bench/read-file.h"

#include <cstdio>

namespace sluice::bench {

bool readFile(const char* path, std::vector<std::byte>* bytes) noexcept {
  std::FILE* file = std::fopen(path, "rb");
  if (file == nullptr) {
    std::perror(path);
    return false;
  }
  constexpr size_t STEP = 1 << 20;
  size_t got = 0;
  do {
    bytes->resize(got + STEP);
    const size_t read = std::fread(bytes->data() + got, 1, STEP, file);
    got += read;
    if (read < STEP) break;
  } while (true);
  bytes->resize(got);
  const bool whole = std::ferror(file) == 0;
  if (!whole) std::perror(path);
  std::fclose(file);
  return whole;
}

}  // namespace sluice::bench
