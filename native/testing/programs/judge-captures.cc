// Judges captures under the sanitizers: jobs on standard input, a JudgedFrame a frame on standard
// output. Between two frames lies memory that must not be read.
//
// Shape: a job is five u32 (bytes of the blob, the endpoint or NONE, bytes of the MAC: 0 or 6, how
// many
//        frames, bytes of all frames), the blob, the MAC, the CapturedFrame records and the bytes.
#include <sanitizer/asan_interface.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

#include "native/worker/capture-judge.h"

using namespace sluice;

namespace {

constexpr size_t GAP_BYTES = 64;

template <typename Element>
bool readAll(std::vector<Element>& into) {
  return std::fread(into.data(), sizeof(Element), into.size(), stdin) == into.size();
}

// Copies frames apart from each other, and forbids what lies between them.
std::vector<std::byte> spread(const std::vector<std::byte>& bytes,
                              std::vector<CapturedFrame>& frames) {
  size_t total = GAP_BYTES;
  for (const CapturedFrame& frame : frames) total += frame.frameBytes + 2 * GAP_BYTES;
  std::vector<std::byte> apart(total);
  size_t at = GAP_BYTES;
  for (CapturedFrame& frame : frames) {
    std::memcpy(apart.data() + at, bytes.data() + frame.offset, frame.frameBytes);
    frame.offset = static_cast<uint32_t>(at);
    const size_t end = at + frame.frameBytes;
    // Poison starts and ends where eight bytes do: a frame's last bytes may share theirs with it.
    at = (end + GAP_BYTES + 7) / 8 * 8;
    ASAN_POISON_MEMORY_REGION(apart.data() + end, at - end);
  }
  return apart;
}

}  // namespace

int main() {
  for (int job = 0;; ++job) {
    std::array<uint32_t, 5> head = {};
    if (std::fread(head.data(), 4, head.size(), stdin) != head.size()) return 0;
    const auto [blobBytes, endpoint, macBytes, frameCount, byteCount] = head;
    std::vector<std::byte> blob(blobBytes);
    std::vector<uint8_t> mac(macBytes);
    std::vector<CapturedFrame> frames(frameCount);
    std::vector<std::byte> bytes(byteCount);
    if (!readAll(blob) || !readAll(mac) || !readAll(frames) || !readAll(bytes)) {
      std::fprintf(stderr, "job %d is cut\n", job);
      return 2;
    }
    std::fprintf(stderr, "job %d\n", job);
    for (const CapturedFrame& frame : frames) {
      if (frame.offset > byteCount || frame.frameBytes > byteCount - frame.offset) return 2;
    }
    std::vector<std::byte> apart = spread(bytes, frames);
    std::vector<JudgedFrame> judged(frameCount);
    std::unique_ptr<CaptureJudge> judge;
    Status status =
        CaptureJudge::create({.blob = blob, .endpointId = endpoint, .podMac = mac}, &judge);
    if (status.ok()) status = judge->judge(apart, frames, judged);
    ASAN_UNPOISON_MEMORY_REGION(apart.data(), apart.size());
    if (!status.ok()) {
      std::fprintf(stderr, "job %d: %s\n", job,
                   statusCodeWords[static_cast<size_t>(status.code)].data());
      return 2;
    }
    std::fwrite(judged.data(), sizeof(JudgedFrame), judged.size(), stdout);
    std::fflush(stdout);
  }
}
