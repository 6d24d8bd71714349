#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace sluice::cni {

// A moment of the monotonic clock by which something has to be over. Units: milliseconds.
class Deadline {
 public:
  static Deadline in(int64_t milliseconds) noexcept;
  // Never less than 0.
  [[nodiscard]] int64_t left() const noexcept;
  // Waits until a descriptor is ready for `events` of poll(2); false when the time is over.
  [[nodiscard]] bool await(int descriptor, int16_t events) const noexcept;

 private:
  explicit Deadline(int64_t atMs) noexcept : atMs_(atMs) {}
  int64_t atMs_;
};

// What a runtime has asked, as the daemon gets it.
struct Question {
  // `NAME=VALUE`, each with a NUL behind it.
  std::string_view environment;
  std::string_view configuration;
};

enum class Persistence : uint8_t {
  // One attempt.
  Once,
  // Calls again until the time is over: a daemon that is being replaced answers in a moment.
  Patient,
};

// Asks the daemon that listens at a path, and reads its answer to the end.
//
// Shape:  a line `sluice-cni 1 MILLISECONDS ENVIRONMENT-BYTES CONFIGURATION-BYTES`, then those
// bytes. The answer is
//         `ok` and a line feed, or `error`, a line feed and a CNI error.
// Errors: false when nobody of this user or root has answered in time, or the answer is none of
// these or does not fit.
[[nodiscard]] bool askDaemon(std::string_view path, const Question& question,
                             Persistence persistence, const Deadline& deadline,
                             std::span<char> room, std::string_view* answer) noexcept;

// Writes all of a text. Errors: false.
[[nodiscard]] bool writeAll(int descriptor, std::string_view text) noexcept;

}  // namespace sluice::cni
