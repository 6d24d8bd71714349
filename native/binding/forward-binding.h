#pragma once

#include <napi.h>

namespace sluice {

// Adds the class NativeForwardFilter, and the two that read the kernel's connections by it, to the
// addon.
void defineForwardFilter(Napi::Env env, Napi::Object exports);

}  // namespace sluice
