// Goal:   descriptors reach only the process that listens; a waiting process learns when the other
//         one ends; a sealed file stays unchanged.
// Method: both ends in this process, over a socket in a folder of its own.
#include "native/host/descriptor-passing.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "native/testing/test.h"

using namespace sluice;

namespace {

constexpr uint32_t SHORTLY_MS = 20;

std::span<const std::byte> bytesOf(const std::string& text) {
  return std::as_bytes(std::span(text));
}

// Two ends that are connected.
struct Pair {
  Pair() {
    std::array<char, 64> made = {"/tmp/sluice-passing-XXXXXX"};
    if (mkdtemp(made.data()) == nullptr) return;
    folder = made.data();
    path = folder + "/socket";
    ready = listenForProcess(path, &listener).ok() && callProcess(path, &caller).ok() &&
            acceptProcess(listener.get(), SHORTLY_MS, &answerer).ok();
  }
  ~Pair() {
    unlink(path.c_str());
    rmdir(folder.c_str());
  }
  std::string folder;
  std::string path;
  Descriptor listener;
  Descriptor caller;
  Descriptor answerer;
  bool ready = false;
};

}  // namespace

TEST("descriptor passing: a message and its descriptors arrive, until the other end is gone") {
  Pair pair;
  REQUIRE(pair.ready);
  struct stat of = {};
  REQUIRE(stat(pair.path.c_str(), &of) == 0);
  CHECK((of.st_mode & 0777) == 0600);

  std::array<int, 2> ends = {};
  REQUIRE(pipe(ends.data()) == 0);
  const Descriptor reads(ends[0]);
  {
    const Descriptor writes(ends[1]);
    const std::array<int, 1> passed = {writes.get()};
    CHECK(passDescriptors(pair.caller.get(), bytesOf("take this"), passed).ok());
  }
  PassedMessage message;
  REQUIRE(receiveDescriptors(pair.answerer.get(), SHORTLY_MS, &message).ok());
  CHECK(std::string(reinterpret_cast<const char*>(message.bytes.data()), message.bytes.size()) ==
        "take this");
  REQUIRE(message.descriptors.size() == 1);
  CHECK(write(message.descriptors[0].get(), "x", 1) == 1);
  char got = 0;
  CHECK(read(reads.get(), &got, 1) == 1 && got == 'x');

  const Status late = receiveDescriptors(pair.answerer.get(), SHORTLY_MS, &message);
  CHECK(late.code == StatusCode::System && late.error == ETIMEDOUT);
  // What was said before the end is heard, also by whom nobody has listened to.
  CHECK(passDescriptors(pair.answerer.get(), bytesOf("unread"), {}).ok());
  CHECK(passDescriptors(pair.caller.get(), bytesOf("mine"), {}).ok());
  pair.caller.reset();
  REQUIRE(receiveDescriptors(pair.answerer.get(), SHORTLY_MS, &message).ok());
  CHECK(message.bytes.size() == 4);
  for (int each = 0; each < 2; ++each) {
    REQUIRE(receiveDescriptors(pair.answerer.get(), SHORTLY_MS, &message).ok());
    CHECK(message.bytes.empty() && message.descriptors.empty());
  }
  CHECK(passDescriptors(pair.answerer.get(), bytesOf("x"), {}).error == EPIPE);
}

TEST("descriptor passing: nobody comes, nobody listens, and what is too long is refused") {
  Pair pair;
  REQUIRE(pair.ready);
  Descriptor other;
  CHECK(acceptProcess(pair.listener.get(), SHORTLY_MS, &other).error == ETIMEDOUT);
  CHECK(callProcess(pair.folder + "/other", &other).error == ENOENT);
  CHECK(callProcess(std::string(200, 'x'), &other).code == StatusCode::Argument);
  CHECK(listenForProcess(pair.path, &other).error == EADDRINUSE);
  CHECK(passDescriptors(pair.caller.get(), {}, {}).code == StatusCode::Argument);
  CHECK(passDescriptors(pair.caller.get(), bytesOf(std::string(PASSED_BYTES_MAX + 1, 'x')), {})
            .code == StatusCode::Argument);
  const std::vector<int> many(PASSED_DESCRIPTORS_MAX + 1, pair.caller.get());
  CHECK(passDescriptors(pair.caller.get(), bytesOf("x"), many).code == StatusCode::Argument);
  CHECK(passDescriptors(pair.caller.get(), bytesOf("x"), std::span(many).subspan(1)).ok());
  PassedMessage message;
  REQUIRE(receiveDescriptors(pair.answerer.get(), SHORTLY_MS, &message).ok());
  CHECK(message.descriptors.size() == PASSED_DESCRIPTORS_MAX);
}

TEST("descriptor passing: a sealed file cannot be changed") {
  Descriptor file;
  REQUIRE(createMemoryFile("test", &file).ok());
  CHECK(write(file.get(), "abc", 3) == 3);
  CHECK(!isSealed(file.get()));
  REQUIRE(sealMemoryFile(file.get()).ok());
  CHECK(isSealed(file.get()));
  CHECK(write(file.get(), "d", 1) == -1 && ftruncate(file.get(), 1) == -1);
  CHECK(!isSealed(STDIN_FILENO));
}
