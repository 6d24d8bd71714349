#pragma once

#include "native/layout/layout.gen.h"

namespace sluice {

// How a call ended. `code` is Ok, or says what went wrong; `call` and `error` name the system call
// and its errno when `code` is System, `fault` what it is about where they do not tell, and
// `detail` what the kernel says of it in words, where it does.
struct [[nodiscard]] Status {
  StatusCode code = StatusCode::Ok;
  int error = 0;
  const char* call = "";
  Fault fault = Fault::None;
  const char* detail = "";

  [[nodiscard]] bool ok() const noexcept { return code == StatusCode::Ok; }

  static Status system(const char* call, int error, Fault fault = Fault::None) noexcept {
    return {StatusCode::System, error, call, fault, ""};
  }
};

}  // namespace sluice
