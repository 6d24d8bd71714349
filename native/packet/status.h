#pragma once

#include "native/layout/layout.gen.h"

namespace sluice {

// The result of a call. `code` is Ok or the kind of error. When `code` is System, `call` and
// `error` are the system call and its errno. `fault` is the cause when call and errno do not show
// it. `detail` is the kernel's error text, if it gives one.
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
