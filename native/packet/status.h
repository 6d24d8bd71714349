#pragma once

#include "native/layout/layout.gen.h"

namespace sluice {

// How a call ended. `code` is Ok, or says what went wrong; `call` and `error` name the system call
// and its errno when `code` is System, and `fault` says what it is about where they do not tell.
struct [[nodiscard]] Status {
  StatusCode code = StatusCode::Ok;
  int error = 0;
  const char* call = "";
  Fault fault = Fault::None;

  [[nodiscard]] bool ok() const noexcept { return code == StatusCode::Ok; }

  static Status system(const char* call, int error, Fault fault = Fault::None) noexcept {
    return {StatusCode::System, error, call, fault};
  }
};

}  // namespace sluice
